//! The log in memory: expected sequences, message ids sent twice, purges, losses.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crier_domain::log::{Head, Message, header, read};
use crier_domain::{Epoch, EventId, Seq, Subject, UserId};
use crier_outbox::sink::PublishError;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connection::Fate;

/// A message of the log.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) seq: Seq,
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

    fn is_filler(&self) -> bool {
        let is_mark = self.message.subject == Subject::Mark;
        is_mark && self.message.header(header::TTL) == Some("600s")
    }

    pub(crate) fn is_mark(&self) -> bool {
        self.message.subject == Subject::Mark && !self.is_filler()
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
    /// Message ids, where they stand and since when.
    pub(crate) ids: HashMap<String, (Seq, Instant)>,
    duplicate_window: Duration,
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
    /// Tells that something was stored.
    pub(crate) stored: watch::Sender<Seq>,
}

#[derive(Clone, Default)]
pub(crate) struct Log(pub(crate) Arc<Mutex<State>>);

impl Log {
    pub(crate) fn new() -> Self {
        let log = Self::default();
        {
            let mut state = log.0.lock().unwrap();
            state.longest_payload = 1_000;
            state.duplicate_window = Duration::from_mins(2);
        }
        log
    }

    /// Everything but the fillers of fences, which only take sequences.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let mut entries = self.all();
        entries.retain(|entry| !entry.is_filler());
        entries
    }

    pub(crate) fn all(&self) -> Vec<Entry> {
        self.0.lock().unwrap().entries.clone()
    }

    /// For how long a message id that comes twice is recognised.
    pub(crate) fn recognise_ids_for(&self, window: Duration) {
        self.0.lock().unwrap().duplicate_window = window;
    }

    pub(crate) fn ever(&self) -> Vec<Entry> {
        self.0.lock().unwrap().ever.clone()
    }

    /// What stands after a position.
    pub(crate) fn after(&self, seq: Seq) -> Vec<Entry> {
        let state = self.0.lock().unwrap();
        let first = state.entries.partition_point(|entry| entry.seq <= seq);
        state.entries[first..].to_vec()
    }

    pub(crate) fn get(&self, seq: Seq) -> Option<Entry> {
        let state = self.0.lock().unwrap();
        let found = state.entries.binary_search_by_key(&seq, |entry| entry.seq);
        found.ok().map(|at| state.entries[at].clone())
    }

    pub(crate) fn is_away(&self) -> bool {
        self.0.lock().unwrap().away
    }

    pub(crate) fn stored(&self) -> watch::Receiver<Seq> {
        self.0.lock().unwrap().stored.subscribe()
    }

    pub(crate) fn tail(&self) -> Seq {
        Seq(self.0.lock().unwrap().tail)
    }

    pub(crate) fn marks(&self) -> Vec<Entry> {
        let mut marks = self.entries();
        marks.retain(Entry::is_mark);
        marks
    }

    /// The epochs of all that is there, as they follow each other.
    pub(crate) fn epochs(&self) -> Vec<Epoch> {
        let mut epochs: Vec<Epoch> = self.all().iter().map(Entry::epoch).collect();
        epochs.dedup();
        epochs
    }

    /// Fillers are marks too.
    pub(crate) fn last_mark(&self) -> Option<Entry> {
        let is_mark = |entry: &Entry| entry.message.subject == Subject::Mark;
        self.all().into_iter().rfind(is_mark)
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
        state.ids.retain(|_, (seq, _)| *seq <= tail);
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

    /// Messages that are stored together reach the stream's leader, who stores them if the log ends with the expected
    /// sequence, whatever stands there. Gives the sequence of the last.
    pub(crate) fn arrive(
        &self,
        messages: Vec<Message>,
        expected: Seq,
    ) -> Result<Seq, PublishError> {
        let mut state = self.0.lock().unwrap();
        if state.away {
            return Err(PublishError::Unavailable("away".to_owned()));
        }
        let longest = state.longest_payload;
        if messages
            .iter()
            .any(|message| message.payload.len() > longest)
        {
            return Err(PublishError::Rejected(
                "message size exceeds maximum".to_owned(),
            ));
        }
        // As the server does it: a duplicate is told before the sequence is looked at.
        let window = state.duplicate_window;
        state.ids.retain(|_, (_, at)| at.elapsed() < window);
        let ids = messages
            .iter()
            .filter_map(|message| message.header(header::MSG_ID));
        for id in ids {
            if let Some((seq, _)) = state.ids.get(id) {
                return Ok(*seq);
            }
        }
        if expected.0 != state.tail {
            let text = format!("wrong last sequence: {}", state.tail);
            return Err(PublishError::Refused(text));
        }
        for message in messages {
            state.tail += 1;
            let seq = Seq(state.tail);
            if let Some(id) = message.header(header::MSG_ID) {
                state.ids.insert(id.to_owned(), (seq, Instant::now()));
            }
            let entry = Entry {
                seq,
                message,
                at: Instant::now(),
            };
            state.entries.push(entry.clone());
            state.ever.push(entry);
        }
        let seq = Seq(state.tail);
        state.stored.send_replace(seq);
        Ok(seq)
    }
}
