//! What the hub wants to know from the log and the API service: asked in parallel, a bounded number at a time,
//! and answered as messages.
//!
//! Each question is asked once; the hub asks again, with back-off, what was not answered. So nothing here waits
//! for ever, and what finds no room is simply not asked.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use crier_bus::{Bus, Log, PageLimits, ReadError, Stored};
use crier_domain::log::Head;
use crier_domain::{Epoch, Seq, Snapshot, UserId};
use crier_hub::{PastAnswer, PastEvent, PastQuestion, ReadId, SnapshotRead};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tracing::{debug, warn};

/// Questions of one kind under way at once.
const PARALLEL: usize = 64;

/// Questions of one kind that wait for their turn.
const WAITING: usize = 16 * 1024;

/// What came back.
pub(super) enum Answer {
    Payload {
        seq: Seq,
        epoch: Epoch,
        payload: Bytes,
    },
    Gone(Seq),
    /// A payload could not be read this time.
    Unread(Seq),
    Snapshot {
        read: ReadId,
        user: UserId,
        found: SnapshotRead,
    },
    Past {
        read: ReadId,
        answer: PastAnswer,
    },
    /// A snapshot was asked for; it comes through the log, or the hub asks again.
    Requested,
}

/// The questions under way and waiting. Payloads, snapshots and the past don't wait for each other.
pub(super) struct Reads {
    bus: Bus,
    payloads: Lane,
    /// The payloads that are under way or waiting: the hub may ask again before the answer comes.
    asked: HashSet<Seq>,
    users: Lane,
    past: Lane,
    /// The questions about the past that are under way or waiting.
    asked_past: HashSet<ReadId>,
}

impl Reads {
    pub(super) fn new(bus: Bus) -> Self {
        Self {
            bus,
            payloads: Lane::default(),
            asked: HashSet::new(),
            users: Lane::default(),
            past: Lane::default(),
            asked_past: HashSet::new(),
        }
    }

    /// The next answer; waits for ever while nothing is asked, so that it can stand in a `select!`.
    pub(super) async fn next(&mut self) -> Answer {
        let answer = tokio::select! {
            answer = self.payloads.next() => answer,
            answer = self.users.next() => answer,
            answer = self.past.next() => answer,
        };
        if let Answer::Past { read, .. } = answer {
            self.asked_past.remove(&read);
        }
        if let Answer::Payload { seq, .. } | Answer::Gone(seq) | Answer::Unread(seq) = answer {
            self.asked.remove(&seq);
        }
        answer
    }

    pub(super) fn payload(&mut self, seq: Seq) {
        if self.payloads.is_full() || !self.asked.insert(seq) {
            return;
        }
        let log = self.bus.log();
        self.payloads.ask(Box::pin(async move {
            match log.payload(seq).await {
                Ok(Some(found)) => match found.epoch() {
                    Some(epoch) => Answer::Payload {
                        seq,
                        epoch,
                        payload: found.payload,
                    },
                    None => {
                        warn!(%seq, "a foreign message stands in the log");
                        Answer::Gone(seq)
                    }
                },
                Ok(None) => Answer::Gone(seq),
                Err(error) => {
                    debug!(%seq, %error, "a payload can't be read yet");
                    Answer::Unread(seq)
                }
            }
        }));
    }

    pub(super) fn snapshot(&mut self, read: ReadId, user: UserId) {
        if self.users.is_full() {
            return;
        }
        let log = self.bus.log();
        self.users.ask(Box::pin(async move {
            let found = match log.snapshot(user).await {
                Ok(Some(found)) => match Snapshot::decode(&found.payload) {
                    Ok(snapshot) => SnapshotRead::Found {
                        seq: found.seq,
                        epoch: found.epoch,
                        snapshot,
                    },
                    Err(error) => unreadable(user, &error),
                },
                Ok(None) => SnapshotRead::None,
                Err(error @ ReadError::Head { .. }) => unreadable(user, &error),
                Err(error) => {
                    debug!(%user, %error, "a snapshot can't be read yet");
                    SnapshotRead::Failed
                }
            };
            Answer::Snapshot { read, user, found }
        }));
    }

    pub(super) fn past(&mut self, read: ReadId, question: PastQuestion) {
        if self.past.is_full() || !self.asked_past.insert(read) {
            return;
        }
        let log = self.bus.log();
        self.past.ask(Box::pin(async move {
            let answer = match past(&log, question).await {
                Ok(answer) => answer,
                Err(error) => {
                    debug!(?question, %error, "the past can't be read yet");
                    PastAnswer::Failed
                }
            };
            Answer::Past { read, answer }
        }));
    }

    pub(super) fn request(&mut self, user: UserId) {
        if self.users.is_full() {
            return;
        }
        let bus = self.bus.clone();
        self.users.ask(Box::pin(async move {
            if let Err(error) = bus.request_snapshot(user).await {
                debug!(%user, %error, "a snapshot can't be asked for yet");
            }
            Answer::Requested
        }));
    }
}

async fn past(log: &Log, question: PastQuestion) -> Result<PastAnswer, ReadError> {
    Ok(match question {
        PastQuestion::Page { community, after } => {
            let page = log.page(community, after, PageLimits::default()).await?;
            PastAnswer::Page(page.into_iter().map_while(past_event).collect())
        }
        PastQuestion::Newest(community) => PastAnswer::Newest(log.last_event(community).await?),
        // A foreign message is no event: it counts as gone.
        PastQuestion::Event(seq) => PastAnswer::Event(log.find(seq).await?.and_then(past_event)),
        PastQuestion::Horizon => PastAnswer::Horizon(log.horizon().await?),
        PastQuestion::Tail => PastAnswer::Tail(log.tail().await?),
    })
}

fn past_event(stored: Stored) -> Option<PastEvent> {
    let Ok((epoch, Head::Event(head))) = stored.head() else {
        warn!(seq = %stored.seq, "a foreign message stands in the log");
        return None;
    };
    Some(PastEvent {
        seq: stored.seq,
        epoch,
        head,
        payload: stored.payload,
    })
}

/// One that stands there and can't be understood counts as none, so that a new one is written in its place.
fn unreadable(user: UserId, error: &dyn std::error::Error) -> SnapshotRead {
    warn!(%user, %error, "a snapshot can't be understood; asking for a new one");
    SnapshotRead::None
}

#[derive(Default)]
struct Lane {
    under_way: FuturesUnordered<BoxFuture<'static, Answer>>,
    waiting: VecDeque<BoxFuture<'static, Answer>>,
}

impl Lane {
    fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING
    }

    fn ask(&mut self, question: BoxFuture<'static, Answer>) {
        if self.under_way.len() < PARALLEL {
            self.under_way.push(question);
        } else {
            self.waiting.push_back(question);
        }
    }

    async fn next(&mut self) -> Answer {
        let Some(answer) = self.under_way.next().await else {
            return std::future::pending().await;
        };
        if let Some(question) = self.waiting.pop_front() {
            self.under_way.push(question);
        }
        answer
    }
}
