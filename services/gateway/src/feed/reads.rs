//! What the hub wants to know from the log and the API service: asked in parallel, a bounded number at a
//! time, and answered as messages.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use crier_bus::Bus;
use crier_domain::{Epoch, Seq, Snapshot, UserId};
use crier_hub::{ReadId, SnapshotRead};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use rand::RngExt as _;
use tracing::{debug, warn};

/// Questions under way at once; the others wait here. The hub bounds how many those can be.
const PARALLEL: usize = 64;

/// Between two tries at a payload; the log is away meanwhile, and nothing can be delivered before it.
const RETRY: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_secs(1);

/// What came back.
pub(super) enum Answer {
    Payload {
        seq: Seq,
        epoch: Epoch,
        payload: Bytes,
    },
    Gone(Seq),
    Snapshot {
        read: ReadId,
        user: UserId,
        found: SnapshotRead,
    },
    /// A snapshot was asked for; it comes through the log, or the hub asks again.
    Requested,
}

/// The questions under way and waiting.
pub(super) struct Reads {
    bus: Bus,
    under_way: FuturesUnordered<BoxFuture<'static, Answer>>,
    waiting: VecDeque<BoxFuture<'static, Answer>>,
}

impl Reads {
    pub(super) fn new(bus: Bus) -> Self {
        Self {
            bus,
            under_way: FuturesUnordered::new(),
            waiting: VecDeque::new(),
        }
    }

    /// The next answer; waits for ever while nothing is asked, so that it can stand in a `select!`.
    pub(super) async fn next(&mut self) -> Option<Answer> {
        if self.under_way.is_empty() {
            return std::future::pending().await;
        }
        let answer = self.under_way.next().await;
        if let Some(question) = self.waiting.pop_front() {
            self.under_way.push(question);
        }
        answer
    }

    pub(super) fn payload(&mut self, seq: Seq) {
        let log = self.bus.log();
        self.ask(Box::pin(async move {
            loop {
                match log.payload(seq).await {
                    Ok(Some(found)) => {
                        if let Some(epoch) = found.epoch() {
                            return Answer::Payload {
                                seq,
                                epoch,
                                payload: found.payload,
                            };
                        }
                        warn!(%seq, "a foreign message stands in the log");
                        return Answer::Gone(seq);
                    }
                    Ok(None) => return Answer::Gone(seq),
                    Err(error) => debug!(%seq, %error, "a payload can't be read yet"),
                }
                let pause = rand::rng().random_range(RETRY);
                tokio::time::sleep(pause).await;
            }
        }));
    }

    pub(super) fn snapshot(&mut self, read: ReadId, user: UserId) {
        let log = self.bus.log();
        self.ask(Box::pin(async move {
            let found = match log.snapshot(user).await {
                Ok(Some(found)) => match Snapshot::decode(&found.payload) {
                    Ok(snapshot) => {
                        let (seq, epoch) = (found.seq, found.epoch);
                        SnapshotRead::Found {
                            seq,
                            epoch,
                            snapshot,
                        }
                    }
                    Err(error) => {
                        warn!(%user, %error, "a snapshot can't be understood");
                        SnapshotRead::Failed
                    }
                },
                Ok(None) => SnapshotRead::None,
                Err(error) => {
                    debug!(%user, %error, "a snapshot can't be read yet");
                    SnapshotRead::Failed
                }
            };
            Answer::Snapshot { read, user, found }
        }));
    }

    pub(super) fn request(&mut self, user: UserId) {
        let bus = self.bus.clone();
        self.ask(Box::pin(async move {
            if let Err(error) = bus.request_snapshot(user).await {
                debug!(%user, %error, "a snapshot can't be asked for yet");
            }
            Answer::Requested
        }));
    }

    fn ask(&mut self, question: BoxFuture<'static, Answer>) {
        if self.under_way.len() < PARALLEL {
            self.under_way.push(question);
        } else {
            self.waiting.push_back(question);
        }
    }
}
