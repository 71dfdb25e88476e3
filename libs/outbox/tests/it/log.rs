//! The log in memory: expected sequences, message ids sent twice, purges, losses.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use crier_domain::log::{Head, Message, header, read};
use crier_domain::{Epoch, EventId, Seq, Subject, UserId};
use crier_outbox::sink::PublishError;
use tokio::time::Instant;

use crate::connection::Fate;

/// A message of the log.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) seq: Seq,
    /// Which publish it was, of all that ever were.
    publish: usize,
    pub(crate) message: Message,
    pub(crate) at: Instant,
}

impl Entry {
    pub(crate) fn epoch(&self) -> Epoch {
        self.head().0
    }

    pub(crate) fn head(&self) -> (Epoch, Head) {
        let subject = self.message.subject.to_string();
        read(&subject, |name| self.message.header(name)).expect("a message of ours")
    }

    pub(crate) fn event(&self) -> Option<crier_domain::log::EventHead> {
        match self.head().1 {
            Head::Event(event) => Some(event),
            _ => None,
        }
    }

    pub(crate) fn event_id(&self) -> Option<EventId> {
        self.event().map(|event| event.id)
    }

    pub(crate) fn user(&self) -> Option<UserId> {
        match self.message.subject {
            Subject::User(user) => Some(user),
            _ => None,
        }
    }
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) entries: Vec<Entry>,
    pub(crate) tail: u64,
    /// What was ever stored, whatever became of it.
    pub(crate) ever: Vec<Entry>,
    pub(crate) ids: HashMap<String, Seq>,
    pub(crate) fates: VecDeque<Fate>,
    /// Answers to `tail` that are out of date.
    pub(crate) stale_tails: VecDeque<Seq>,
    /// Answers to `last_mark` that are out of date.
    pub(crate) hidden_marks: usize,
    pub(crate) failing_reads: usize,
    pub(crate) away: bool,
    pub(crate) longest_payload: usize,
    pub(crate) in_flight: (usize, usize),
    pub(crate) most_in_flight: (usize, usize),
    pub(crate) purges: Vec<(UserId, Seq)>,
    pub(crate) publishes: usize,
}

#[derive(Clone, Default)]
pub(crate) struct Log(pub(crate) Arc<Mutex<State>>);

impl Log {
    pub(crate) fn new() -> Self {
        let log = Self::default();
        log.0.lock().unwrap().longest_payload = 1_000;
        log
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap().entries.clone()
    }

    pub(crate) fn ever(&self) -> Vec<Entry> {
        self.0.lock().unwrap().ever.clone()
    }

    pub(crate) fn tail(&self) -> Seq {
        Seq(self.0.lock().unwrap().tail)
    }

    pub(crate) fn marks(&self) -> Vec<Entry> {
        let mut marks = self.entries();
        marks.retain(|entry| entry.message.subject == Subject::Mark);
        marks
    }

    pub(crate) fn events(&self) -> Vec<Entry> {
        let mut events = self.entries();
        events.retain(|entry| entry.event_id().is_some());
        events
    }

    pub(crate) fn of_user(&self, user: i64) -> Vec<Entry> {
        let mut entries = self.entries();
        entries.retain(|entry| entry.user().is_some_and(|found| found.get() == user));
        entries
    }

    /// What becomes of the next publishes, in their order; those after them are fine.
    pub(crate) fn fates(&self, fates: impl IntoIterator<Item = Fate>) {
        self.0.lock().unwrap().fates.extend(fates);
    }

    pub(crate) fn answer_tail_once(&self, seq: Seq) {
        self.0.lock().unwrap().stale_tails.push_back(seq);
    }

    pub(crate) fn hide_mark_once(&self) {
        self.0.lock().unwrap().hidden_marks = 1;
    }

    pub(crate) fn fail_reads(&self, reads: usize) {
        self.0.lock().unwrap().failing_reads = reads;
    }

    /// No server: what is on its way is lost, nothing is answered.
    pub(crate) fn away(&self, away: bool) {
        self.0.lock().unwrap().away = away;
    }

    /// A disk restored: what came after `tail` never was.
    pub(crate) fn lose_after(&self, tail: Seq) {
        let mut state = self.0.lock().unwrap();
        state.entries.retain(|entry| entry.seq <= tail);
        state.ids.retain(|_, seq| *seq <= tail);
        state.tail = tail.0;
    }

    pub(crate) fn purge_all(&self) {
        self.0.lock().unwrap().entries.clear();
    }

    pub(crate) fn longest_payload(&self, bytes: usize) {
        self.0.lock().unwrap().longest_payload = bytes;
    }

    /// The most messages, and bytes of payload, ever on their way together.
    pub(crate) fn most_in_flight(&self) -> (usize, usize) {
        self.0.lock().unwrap().most_in_flight
    }

    pub(crate) fn purges(&self) -> Vec<(UserId, Seq)> {
        self.0.lock().unwrap().purges.clone()
    }

    /// A message of nobody's reaches the stream's leader.
    pub(crate) fn arrive(&self, message: Message, expected: Seq) -> Result<Seq, PublishError> {
        self.arrive_behind(message, expected, 0, None)
    }

    /// A message reaches the stream's leader. `behind` is the publish whose message it was sent behind.
    ///
    /// Here the log is kinder than a real one: a message that was late for seconds is refused when the
    /// sequence is the expected one but another message stands there. A real log stores it, out of the
    /// order of rows (the crate's documentation names this limit).
    pub(crate) fn arrive_behind(
        &self,
        message: Message,
        expected: Seq,
        publish: usize,
        behind: Option<usize>,
    ) -> Result<Seq, PublishError> {
        let mut state = self.0.lock().unwrap();
        if state.away {
            return Err(PublishError::Unavailable("away".to_owned()));
        }
        if message.payload.len() > state.longest_payload {
            return Err(PublishError::Rejected(
                "message size exceeds maximum".to_owned(),
            ));
        }
        let id = message.header(header::MSG_ID).map(str::to_owned);
        // As the server does it: a duplicate is told before the sequence is looked at.
        if let Some(seq) = id.as_ref().and_then(|id| state.ids.get(id)) {
            return Ok(*seq);
        }
        if expected.0 != state.tail {
            let text = format!("wrong last sequence: {}", state.tail);
            return Err(PublishError::Refused(text));
        }
        let last = state.entries.last().map(|entry| entry.publish);
        if behind.is_some() && behind != last {
            return Err(PublishError::Refused("behind another".to_owned()));
        }
        state.tail += 1;
        let seq = Seq(state.tail);
        let entry = Entry {
            seq,
            publish,
            message,
            at: Instant::now(),
        };
        state.entries.push(entry.clone());
        state.ever.push(entry);
        if let Some(id) = id {
            state.ids.insert(id, seq);
        }
        Ok(seq)
    }
}
