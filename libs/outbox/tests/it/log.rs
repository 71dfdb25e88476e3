//! The log in memory: expected sequences, message ids sent twice, purges, and what can go wrong between
//! a relay and it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crier_domain::log::{Head, Mark, Message, header, read};
use crier_domain::{CommunityId, Epoch, EventId, Seq, Subject, UserId};
use crier_outbox::sink::{Found, LastMark, PublishError, ReadError, Sink};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// What becomes of one publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives after so many milliseconds, and all behind it on its connection not before.
    Fine(u64),
    /// It is handed over only after so many milliseconds.
    HeldBack(u64),
    /// It is stored; the acknowledgement comes so many milliseconds later.
    LateAck(u64),
    /// It is stored; the acknowledgement never comes.
    LostAck,
    /// It is stored; the answer says that the log is not available.
    StoredUnavailable,
    /// It never arrives, and no answer comes.
    Dropped,
    /// Nobody is there: an error at once.
    NoResponders,
    /// Refused for no reason one could see.
    Refused,
}

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
struct State {
    entries: Vec<Entry>,
    tail: u64,
    /// What was ever stored, whatever became of it.
    ever: Vec<Entry>,
    ids: HashMap<String, Seq>,
    fates: VecDeque<Fate>,
    /// Answers to `tail` that are out of date.
    stale_tails: VecDeque<Seq>,
    failing_reads: usize,
    away: bool,
    longest_payload: usize,
    in_flight: (usize, usize),
    most_in_flight: (usize, usize),
    purges: Vec<(UserId, Seq)>,
}

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<State>>);

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

    /// A message reaches the stream's leader.
    pub(crate) fn arrive(&self, message: Message, expected: Seq) -> Result<Seq, PublishError> {
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
        state.tail += 1;
        let seq = Seq(state.tail);
        let entry = Entry {
            seq,
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

struct Sent {
    message: Message,
    expected: Seq,
    arrives: Instant,
    fate: Fate,
    answer: oneshot::Sender<Result<Seq, PublishError>>,
}

/// One relay's connection: what it sends arrives in order.
pub(crate) struct Connection {
    log: Log,
    line: mpsc::UnboundedSender<Sent>,
    /// Publishes wait for earlier acknowledgements beyond this many.
    window: usize,
    open: Arc<AtomicUsize>,
    pub(crate) ack_timeout: Duration,
}

impl Connection {
    /// While `held`, what was sent stays in the sender's buffers.
    pub(crate) fn new(log: &Log, held: watch::Receiver<bool>) -> Self {
        let (line, sent) = mpsc::unbounded_channel();
        tokio::spawn(carry(log.clone(), sent, held));
        Self {
            log: log.clone(),
            line,
            window: usize::MAX,
            open: Arc::default(),
            ack_timeout: Duration::from_secs(5),
        }
    }

    pub(crate) fn with_window(self, window: usize) -> Self {
        Self { window, ..self }
    }

    async fn readable(&self) -> Result<(), ReadError> {
        sleep(Duration::from_micros(200)).await;
        let mut state = self.log.0.lock().unwrap();
        if state.failing_reads > 0 {
            state.failing_reads -= 1;
            return Err(ReadError("not now".to_owned()));
        }
        if state.away {
            return Err(ReadError("away".to_owned()));
        }
        Ok(())
    }
}

async fn carry(log: Log, mut sent: mpsc::UnboundedReceiver<Sent>, mut held: watch::Receiver<bool>) {
    while let Some(next) = sent.recv().await {
        sleep_until(next.arrives).await;
        if held.wait_for(|held| !held).await.is_err() {
            return;
        }
        let log = log.clone();
        let keep = |answer| Box::leak(Box::new(answer));
        match next.fate {
            Fate::Dropped => {
                keep(next.answer);
            }
            Fate::Refused => {
                let refused = PublishError::Refused("for no reason".to_owned());
                let _ = next.answer.send(Err(refused));
            }
            Fate::LostAck => {
                let _ = log.arrive(next.message, next.expected);
                keep(next.answer);
            }
            Fate::StoredUnavailable => {
                let _ = log.arrive(next.message, next.expected);
                let away = PublishError::Unavailable("leader changed".to_owned());
                let _ = next.answer.send(Err(away));
            }
            Fate::LateAck(ms) => {
                let stored = log.arrive(next.message, next.expected);
                tokio::spawn(async move {
                    sleep(Duration::from_millis(ms)).await;
                    let _ = next.answer.send(stored);
                });
            }
            Fate::Fine(_) | Fate::HeldBack(_) | Fate::NoResponders => {
                let _ = next.answer.send(log.arrive(next.message, next.expected));
            }
        }
    }
}

/// Counts a message as on its way until it is dropped.
struct OnItsWay {
    log: Log,
    open: Arc<AtomicUsize>,
    bytes: usize,
}

impl OnItsWay {
    fn new(connection: &Connection, bytes: usize) -> Self {
        connection.open.fetch_add(1, Ordering::Relaxed);
        let mut state = connection.log.0.lock().unwrap();
        state.in_flight.0 += 1;
        state.in_flight.1 += bytes;
        state.most_in_flight.0 = state.most_in_flight.0.max(state.in_flight.0);
        state.most_in_flight.1 = state.most_in_flight.1.max(state.in_flight.1);
        Self {
            log: connection.log.clone(),
            open: Arc::clone(&connection.open),
            bytes,
        }
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        let mut state = self.log.0.lock().unwrap();
        state.in_flight.0 -= 1;
        state.in_flight.1 -= self.bytes;
    }
}

impl Sink for Connection {
    type Ack = BoxFuture<'static, Result<Seq, PublishError>>;

    async fn publish(&self, message: &Message, expected: Seq) -> Result<Self::Ack, PublishError> {
        let fate = {
            let mut state = self.log.0.lock().unwrap();
            if state.away {
                return Err(PublishError::Unavailable("no responders".to_owned()));
            }
            state.fates.pop_front().unwrap_or(Fate::Fine(0))
        };
        let mut latency = Duration::from_micros(100);
        match fate {
            Fate::NoResponders => {
                return Err(PublishError::Unavailable("no responders".to_owned()));
            }
            Fate::HeldBack(ms) => sleep(Duration::from_millis(ms)).await,
            Fate::Fine(ms) => latency += Duration::from_millis(ms),
            _ => {}
        }
        while self.open.load(Ordering::Relaxed) >= self.window {
            sleep(Duration::from_micros(50)).await;
        }
        let on_its_way = OnItsWay::new(self, message.payload.len());
        let (answer, answered) = oneshot::channel();
        let sent = Sent {
            message: message.clone(),
            expected,
            arrives: Instant::now() + latency,
            fate,
            answer,
        };
        self.line
            .send(sent)
            .expect("carried for as long as the relay runs");
        let ack = async move {
            let answer = answered.await;
            drop(on_its_way);
            answer.unwrap_or_else(|_| Err(PublishError::Unavailable("closed".to_owned())))
        };
        Ok(ack.boxed())
    }

    async fn tail(&self) -> Result<Seq, ReadError> {
        self.readable().await?;
        let mut state = self.log.0.lock().unwrap();
        Ok(state.stale_tails.pop_front().unwrap_or(Seq(state.tail)))
    }

    async fn read(&self, seq: Seq) -> Result<Option<Found>, ReadError> {
        self.readable().await?;
        let found = self
            .log
            .entries()
            .into_iter()
            .find(|entry| entry.seq == seq);
        Ok(found.map(|entry| Found {
            epoch: Some(entry.epoch()),
            event: entry.event_id(),
            snapshot: entry.user(),
        }))
    }

    async fn last_event(&self, community: CommunityId) -> Result<Seq, ReadError> {
        self.readable().await?;
        let events = self.log.events();
        let of_community = |entry: &&Entry| entry.event().unwrap().community == community;
        let last = events.iter().rev().find(of_community);
        Ok(last.map(|entry| entry.seq).unwrap_or_default())
    }

    async fn last_mark(&self) -> Result<Option<LastMark>, ReadError> {
        self.readable().await?;
        Ok(self.log.marks().last().map(|entry| LastMark {
            seq: entry.seq,
            epoch: entry.epoch(),
            time: SystemTime::now() - entry.at.elapsed(),
            mark: Mark {
                retention_seconds: 1,
            },
        }))
    }

    async fn purge_snapshots(&self, user: UserId, below: Seq) -> Result<(), ReadError> {
        self.readable().await?;
        let mut state = self.log.0.lock().unwrap();
        let old = |entry: &Entry| entry.user() == Some(user) && entry.seq < below;
        state.entries.retain(|entry| !old(entry));
        state.purges.push((user, below));
        Ok(())
    }

    fn ack_timeout(&self) -> Duration {
        self.ack_timeout
    }
}
