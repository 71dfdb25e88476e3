//! Keeps a spine: begins at the log's end, goes on from its position when it is lost, and begins anew when
//! it has been away for too long.

use std::time::{Duration, Instant};

use crier_bus::{Bus, ReadError, Spine, SpineItem, SpineLost};
use crier_domain::{Epoch, Seq};
use rand::RngExt as _;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::{debug, info};

/// What happened to the spine.
pub(super) enum SpineEvent {
    /// It begins after this position: whatever was known before no longer counts.
    Begin { epoch: Epoch, position: Seq },
    /// The next message of the log.
    Item(SpineItem),
    /// It can't be followed for now; one word for the metrics.
    Lost { cause: &'static str, reason: String },
    /// It goes on where it was lost.
    Back,
}

/// Messages between the spine and the hub; behind it the server holds them back.
const AHEAD: usize = 1024;

const RETRY: std::ops::Range<Duration> = Duration::from_millis(50)..Duration::from_millis(500);

/// Ends the task when dropped.
pub(super) struct SpineTask(AbortHandle);

impl Drop for SpineTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts following the log.
pub(super) fn start(bus: Bus, patience: Duration) -> (SpineTask, mpsc::Receiver<SpineEvent>) {
    let (events, receiver) = mpsc::channel(AHEAD);
    let task = tokio::spawn(async move {
        // An error means that nobody listens any more.
        let _ = Follower {
            bus,
            events,
            patience,
        }
        .follow()
        .await;
    });
    (SpineTask(task.abort_handle()), receiver)
}

struct Follower {
    bus: Bus,
    events: mpsc::Sender<SpineEvent>,
    patience: Duration,
}

struct NobodyListens;

impl Follower {
    async fn follow(&self) -> Result<(), NobodyListens> {
        loop {
            let position = self.begin().await?;
            self.keep(position).await?;
            info!("the log was replaced or out of sight for too long; beginning at its end");
        }
    }

    /// Waits for a log that has begun, and takes its end.
    async fn begin(&self) -> Result<Seq, NobodyListens> {
        loop {
            match self.end().await {
                Ok(Some((epoch, position))) => {
                    self.tell(SpineEvent::Begin { epoch, position }).await?;
                    return Ok(position);
                }
                Ok(None) => debug!("the log has not begun yet"),
                Err(error) => debug!(%error, "the log can't be read yet"),
            }
            pause().await;
        }
    }

    /// The log's end and the epoch there; `None` before its first mark. The epoch is read first: one that
    /// begins in between shows in the first message after the end, and the hub begins anew.
    async fn end(&self) -> Result<Option<(Epoch, Seq)>, ReadError> {
        let log = self.bus.log();
        let Some(mark) = log.last_mark().await? else {
            return Ok(None);
        };
        Ok(Some((mark.epoch, log.tail().await?)))
    }

    /// Follows from `position`, until the log turns out to be another one or the spine can't be made again in
    /// time.
    async fn keep(&self, mut position: Seq) -> Result<(), NobodyListens> {
        let mut alive = Instant::now();
        let mut lost = false;
        while alive.elapsed() < self.patience {
            match Spine::start(&self.bus, position).await {
                Ok(mut spine) => {
                    if std::mem::take(&mut lost) {
                        self.tell(SpineEvent::Back).await?;
                    }
                    loop {
                        match spine.next().await {
                            // Nothing is taken away for its age while a spine may still need it: the log was
                            // purged, and with it perhaps permissions that ended.
                            Ok(item) if item.seq > position.next() => {
                                let reason = format!(
                                    "what stood between {position} and {} is gone",
                                    item.seq
                                );
                                return self.lost("purged", reason).await;
                            }
                            Ok(item) => {
                                position = item.seq;
                                self.tell(SpineEvent::Item(item)).await?;
                            }
                            Err(error) => {
                                self.lost(error.cause(), error.to_string()).await?;
                                if matches!(error, SpineLost::Replaced { .. }) {
                                    return Ok(());
                                }
                                lost = true;
                                break;
                            }
                        }
                    }
                    alive = Instant::now();
                }
                Err(error @ SpineLost::Replaced { .. }) => {
                    return self.lost(error.cause(), error.to_string()).await;
                }
                Err(error) if lost => debug!(%error, "the spine can't be made yet"),
                Err(error) => {
                    self.lost(error.cause(), error.to_string()).await?;
                    lost = true;
                }
            }
            pause().await;
        }
        let reason = format!("it was away for more than {:?}", self.patience);
        self.lost("behind", reason).await
    }

    async fn lost(&self, cause: &'static str, reason: String) -> Result<(), NobodyListens> {
        self.tell(SpineEvent::Lost { cause, reason }).await
    }

    async fn tell(&self, event: SpineEvent) -> Result<(), NobodyListens> {
        self.events.send(event).await.map_err(|_| NobodyListens)
    }
}

async fn pause() {
    let pause = rand::rng().random_range(RETRY);
    tokio::time::sleep(pause).await;
}
