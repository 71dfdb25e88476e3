//! The one task that joins NATS and the hub. It owns the hub, so nothing is locked.
//!
//! In come new and ended streams, the spine, live payloads and answers of the log; each is one call of the
//! hub, and what the hub then wants done is done before the next. Nothing here waits for a client, for the
//! log or for the API service: slow answers come back as messages ([`reads`]), full queues close the stream
//! they belong to.

mod deliver;
mod expiry;
mod follow;
mod reads;
mod spine;
mod streams;
mod watch;

use std::time::{Duration, Instant};

use crier_bus::{Bus, Live, LiveMessage, LiveReceiver};
use crier_domain::{Seq, UserId};
use crier_hub::{Action, ByeReason, ConnectionId, Hub, Resume, SnapshotRead};
use crier_service_kit::health::Readiness;
use crier_service_kit::server::Sockets;
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::drain::{self, Drain};
use crate::metrics::Metrics;
use crate::outlet::{Due, Outlet, Told};
use reads::{Answer, Reads};
use spine::{SpineEvent, SpineTask};
pub(crate) use streams::StreamLimits;
use streams::Streams;
use watch::Watch;

/// How often the metrics are brought up to date.
const METRICS_EVERY: Duration = Duration::from_secs(1);

/// Messages taken in one turn before the frames they gave are handed out.
const TURN: usize = 64;

/// Messages taken before others may run: fewer than a stream's queue holds by default, so that nobody's fills because nobody writes.
const TAKEN: usize = 128;

/// A stream that a client has opened.
pub(crate) struct Open {
    pub(crate) id: ConnectionId,
    pub(crate) user: UserId,
    /// When the token was issued, Unix seconds.
    pub(crate) issued_at: i64,
    /// When the stream ends, Unix seconds.
    pub(crate) expires_at: i64,
    pub(crate) resume: Resume,
    pub(crate) outlet: Outlet,
}

/// What the feed is made of; see [`Feed::run`].
pub(crate) struct Feed {
    pub(crate) bus: Bus,
    pub(crate) hub: Hub,
    pub(crate) live: Live,
    pub(crate) live_copies: LiveReceiver,
    pub(crate) open: mpsc::Receiver<Open>,
    pub(crate) told: mpsc::UnboundedReceiver<Told>,
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Metrics,
    pub(crate) limits: StreamLimits,
    pub(crate) sockets: Sockets,
    pub(crate) spine_patience: Duration,
    pub(crate) drain_window: Duration,
}

/// The name of the readiness condition: the gateway knows where the log stands.
pub(crate) const READY_SPINE: &str = "spine";

struct Turn {
    feed: Feed,
    reads: Reads,
    streams: Streams,
    /// Streams with frames to be written, each once.
    due: Vec<Due>,
    /// Tasks have been spawned in this turn that write.
    handed_on: bool,
    /// Messages taken since others could run.
    taken: usize,
    drain: Option<Drain>,
    spine: mpsc::Receiver<SpineEvent>,
    _spine_task: SpineTask,
    /// Whether the spine has begun; until then there is nothing to be complete from.
    begun: bool,
    /// The spine has not found its place in the log again: why, and since when. The log may be a copy of before what
    /// was passed, and a snapshot of it may allow what has ended since.
    lost: Option<(&'static str, Instant)>,
    /// Where the log ended when it was last seen.
    log_end: Seq,
    watch: Watch,
}

impl Feed {
    /// Runs until `shutdown`, then closes the streams over the drain window and returns.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let (spine_task, spine) = spine::start(self.bus.clone(), self.spine_patience);
        let mut turn = Turn {
            spine,
            _spine_task: spine_task,
            reads: Reads::new(self.bus.clone()),
            streams: Streams::new(self.limits),
            due: Vec::new(),
            handed_on: false,
            taken: 0,
            feed: self,
            watch: Watch::default(),
            drain: None,
            begun: false,
            lost: None,
            log_end: Seq::ZERO,
        };
        let mut metrics = tokio::time::interval(METRICS_EVERY);
        loop {
            let due = turn.due();
            tokio::select! {
                () = shutdown.cancelled(), if turn.drain.is_none() => turn.start_drain(),
                Some(open) = turn.feed.open.recv() => turn.open(open),
                Some(told) = turn.feed.told.recv() => turn.told(told),
                event = turn.spine.recv(), if turn.feed.hub.can_take_more() => {
                    match event {
                        Some(event) => turn.take(event),
                        None => turn.restart("ended", "the spine's task ended"),
                    }
                    for _ in 0..TURN {
                        if !turn.feed.hub.can_take_more() { break }
                        let Ok(event) = turn.spine.try_recv() else { break };
                        turn.take(event);
                    }
                }
                Some(copy) = turn.feed.live_copies.recv() => {
                    turn.payload(copy);
                    for _ in 0..TURN {
                        let Some(copy) = turn.feed.live_copies.try_recv() else { break };
                        turn.payload(copy);
                    }
                }
                answer = turn.reads.next() => turn.answer(answer),
                () = sleep_until(due.into()) => turn.tick(),
                _ = metrics.tick() => turn.look_after(),
            }
            turn.act();
            turn.hand_out();
            if std::mem::take(&mut turn.handed_on) {
                // A worker keeps the task spawned last to itself until this one waits. Let that be one with nothing to do.
                tokio::spawn(async {});
            }
            if turn.feed.hub.has_more() || turn.taken >= TAKEN {
                turn.taken = 0;
                // In a burst the sockets take what they have before the rest is handed out.
                tokio::task::yield_now().await;
            }
            if turn.is_drained() {
                turn.update_metrics();
                return;
            }
        }
    }
}

impl Turn {
    fn open(&mut self, open: Open) {
        if open.outlet.is_closed() {
            // It has gone while it waited to be taken, and that may have been told already.
            return;
        }
        let has_room = self.streams.hold(open.id, open.user);
        let refusal = if self.drain.is_some() {
            Some(ByeReason::Drain)
        } else if !self.begun {
            Some(ByeReason::Unavailable)
        } else if !has_room {
            Some(ByeReason::Busy)
        } else {
            None
        };
        if let Some(reason) = refusal {
            debug!(?reason, "stream refused");
            let _ = open.outlet.push(drain::bye(reason));
            self.feed.metrics.refused(reason.as_str());
            return;
        }
        self.streams.open(open.id, open.outlet, open.expires_at);
        let now = Instant::now();
        self.feed
            .hub
            .connect(open.id, open.user, open.issued_at, open.resume, now);
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Closed(id) => {
                self.streams.release(id);
                self.closed(id);
            }
            Told::Drained(id) => self.feed.hub.drained(id, Instant::now()),
        }
    }

    /// The client's side of a stream has ended.
    fn closed(&mut self, id: ConnectionId) {
        if self.streams.forget(id).is_some() {
            self.feed.hub.disconnect(id, Instant::now());
        }
    }

    /// Ends a stream from this side, saying why if there is room to.
    fn close(&mut self, id: ConnectionId, reason: ByeReason) {
        if let Some(outlet) = self.streams.forget(id) {
            self.push_last(&outlet, drain::bye(reason));
            self.feed.metrics.closed(reason);
            self.feed.hub.disconnect(id, Instant::now());
        }
    }

    fn payload(&mut self, copy: LiveMessage) {
        self.taken += 1;
        let now = Instant::now();
        self.feed
            .hub
            .payload(copy.seq, copy.epoch, copy.payload, now);
    }

    fn answer(&mut self, answer: Answer) {
        self.taken += 1;
        let (hub, now) = (&mut self.feed.hub, Instant::now());
        match answer {
            Answer::Payload {
                seq,
                epoch,
                payload,
            } => hub.payload(seq, epoch, payload, now),
            Answer::Gone(seq) => hub.gone(seq, now),
            Answer::Snapshot { read, user, .. } if self.lost.is_some() => {
                hub.snapshot_read(read, user, SnapshotRead::Failed, now);
            }
            Answer::Snapshot { read, user, found } => hub.snapshot_read(read, user, found, now),
            Answer::Past { read, answer } => hub.past(read, answer, now),
            // The hub asks again by itself.
            Answer::Unread(_) | Answer::Requested => {}
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.feed.hub.tick(now);
        for id in self.streams.expired(now) {
            self.close(id, ByeReason::Expired);
        }
        let step = match &mut self.drain {
            Some(drain) if drain.due().is_some_and(|due| due <= now) => drain.step(now),
            _ => Vec::new(),
        };
        for id in step {
            self.close(id, ByeReason::Drain);
        }
    }

    /// When [`Turn::tick`] next has something to do.
    fn due(&self) -> Instant {
        let drain = self.drain.as_ref().and_then(Drain::due);
        [
            self.feed.hub.next_deadline(),
            self.streams.next_expiry(),
            drain,
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or_else(|| Instant::now() + Duration::from_secs(60))
    }

    fn start_drain(&mut self) {
        self.feed.readiness.fails(READY_SPINE, "draining");
        let all = self.streams.all();
        info!(streams = all.len(), "closing the streams");
        self.drain = Some(Drain::new(all, self.feed.drain_window, Instant::now()));
    }

    fn is_drained(&self) -> bool {
        self.drain.is_some() && self.streams.is_empty()
    }

    /// Does what the hub wants done.
    fn act(&mut self) {
        while let Some(action) = self.feed.hub.poll_action() {
            match action {
                Action::Follow(community) => self.feed.live.add(community),
                Action::Unfollow(community) => self.feed.live.remove(community),
                Action::ReadSnapshot { read, user } => self.reads.snapshot(read, user),
                Action::RequestSnapshot(user) => self.reads.request(user),
                Action::Fetch(seq) => self.reads.payload(seq),
                Action::ReadPast { read, question } => self.reads.past(read, question),
                Action::AwaitRoom(connection) => self.await_room(connection),
                Action::Send { connection, frame } => {
                    self.send(connection, frame);
                }
                Action::Deliver {
                    connections,
                    frame,
                    event,
                    seq,
                    met,
                } => {
                    let span = deliver::span(&event, connections.len(), seq.0, met.elapsed());
                    let _entered = span.enter();
                    self.deliver(&connections, &frame);
                }
                Action::Refuse(connection) => {
                    if let Some(outlet) = self.streams.forget(connection) {
                        outlet.refuse();
                        self.feed.metrics.refused("withdrawn");
                    }
                }
                Action::Close {
                    connection,
                    frame,
                    reason,
                } => {
                    if let Some(outlet) = self.streams.forget(connection) {
                        self.push_last(&outlet, frame);
                        self.feed.metrics.closed(reason);
                    }
                }
                Action::Restart => self.restart("epoch", "another life of the log has begun"),
            }
        }
    }

    fn await_room(&mut self, connection: ConnectionId) {
        let outlet = self.streams.outlet(connection);
        if outlet.is_some_and(Outlet::await_drained) {
            self.feed.hub.drained(connection, Instant::now());
        }
    }
}
