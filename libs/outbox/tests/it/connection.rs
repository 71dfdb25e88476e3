//! A relay's connection to the log in memory, and what can go wrong on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crier_domain::log::Message;
use crier_domain::{CommunityId, Seq, Subject, UserId};
use crier_outbox::sink::{Found, LastMark, PublishError, ReadError, Sink};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, advance, sleep, sleep_until};

use crate::log::{Entry, Log};

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
    /// Not stored; the answer names the message before, as for a duplicate.
    Elsewhere,
    /// Handing it over, the process stands still for so many milliseconds, and notices nothing.
    StandsStill(u64),
}

struct Sent {
    messages: Vec<Message>,
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

    /// Messages that are stored together count as one on its way.
    async fn send(
        &self,
        messages: Vec<Message>,
        expected: Seq,
    ) -> Result<BoxFuture<'static, Result<Seq, PublishError>>, PublishError> {
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
            // The clock jumps within one poll, before any timer can tell.
            Fate::StandsStill(ms) => {
                let _ = advance(Duration::from_millis(ms)).now_or_never();
            }
            Fate::Fine(ms) => latency += Duration::from_millis(ms),
            _ => {}
        }
        while self.open.load(Ordering::Relaxed) >= self.window {
            sleep(Duration::from_micros(50)).await;
        }
        let bytes = messages.last().map_or(0, |last| last.payload.len());
        let on_its_way = OnItsWay::new(self, bytes);
        let (answer, answered) = oneshot::channel();
        let sent = Sent {
            messages,
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
        let Sent {
            messages, expected, ..
        } = next;
        let arrive = || log.arrive(messages, expected);
        let keep = |answer| Box::leak(Box::new(answer));
        match next.fate {
            Fate::Dropped => {
                keep(next.answer);
            }
            Fate::Refused => {
                let refused = PublishError::Refused("for no reason".to_owned());
                let _ = next.answer.send(Err(refused));
            }
            Fate::Elsewhere => {
                let _ = next.answer.send(Ok(expected));
            }
            Fate::LostAck => {
                let _ = arrive();
                keep(next.answer);
            }
            Fate::StoredUnavailable => {
                let _ = arrive();
                let away = PublishError::Unavailable("leader changed".to_owned());
                let _ = next.answer.send(Err(away));
            }
            Fate::LateAck(ms) => {
                let stored = arrive();
                tokio::spawn(async move {
                    sleep(Duration::from_millis(ms)).await;
                    let _ = next.answer.send(stored);
                });
            }
            Fate::Fine(_) | Fate::HeldBack(_) | Fate::StandsStill(_) | Fate::NoResponders => {
                let _ = next.answer.send(arrive());
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
        self.send(vec![message.clone()], expected).await
    }

    async fn publish_all(&self, messages: &[Message], expected: Seq) -> Result<Seq, PublishError> {
        self.send(messages.to_vec(), expected).await?.await
    }

    async fn tail(&self) -> Result<Seq, ReadError> {
        self.readable().await?;
        let mut state = self.log.0.lock().unwrap();
        Ok(state.stale_tails.pop_front().unwrap_or(Seq(state.tail)))
    }

    async fn read(&self, seq: Seq) -> Result<Option<Found>, ReadError> {
        self.readable().await?;
        let found = self.log.all().into_iter().find(|entry| entry.seq == seq);
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
        let hidden = {
            let mut state = self.log.0.lock().unwrap();
            let hidden = state.hidden_marks;
            state.hidden_marks = hidden.saturating_sub(1);
            hidden > 0
        };
        if hidden {
            return Ok(None);
        }
        Ok(self.log.last_mark().map(|entry| LastMark {
            seq: entry.seq,
            epoch: entry.epoch(),
            mark: serde_json::from_slice(&entry.message.payload).unwrap(),
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

    async fn purge_marks(&self, below: Seq) -> Result<(), ReadError> {
        self.readable().await?;
        let mut state = self.log.0.lock().unwrap();
        let old = |entry: &Entry| entry.message.subject == Subject::Mark && entry.seq < below;
        state.entries.retain(|entry| !old(entry));
        Ok(())
    }

    fn ack_timeout(&self) -> Duration {
        self.ack_timeout
    }
}
