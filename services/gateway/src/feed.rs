//! The one task that joins NATS and the hub. It owns the hub, so nothing is locked.
//!
//! In come new and ended streams, the spine, live payloads and answers of the log; each is one call of the
//! hub, and what the hub then wants done is done before the next. Nothing here waits for a client, for the
//! log or for the API service: slow answers come back as messages ([`reads`]), full queues close the stream
//! they belong to.

mod expiry;
mod reads;
mod spine;
mod watch;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crier_bus::{Bus, Live, LiveMessage, LiveReceiver};
use crier_domain::log::EventHead;
use crier_domain::{UserId, sabotage};
use crier_hub::{Action, ByeReason, ConnectionId, Hub, Resume, SnapshotRead};
use crier_service_kit::health::Readiness;
use crier_service_kit::telemetry;
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::drain::{self, Drain};
use crate::metrics::Metrics;
use crate::outlet::{Outlet, Refused, Told};
use expiry::Expiries;
use reads::{Answer, Reads};
use spine::{SpineEvent, SpineTask};
use watch::{Watch, Watched};

/// How often the metrics are brought up to date.
const METRICS_EVERY: Duration = Duration::from_secs(1);

/// Messages taken in one turn before the frames they gave are handed out.
const TURN: usize = 64;

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
    pub(crate) max_connections: usize,
    pub(crate) spine_patience: Duration,
    pub(crate) drain_window: Duration,
}

/// The name of the readiness condition: the gateway knows where the log stands.
pub(crate) const READY_SPINE: &str = "spine";

struct Turn {
    feed: Feed,
    reads: Reads,
    outlets: HashMap<ConnectionId, Outlet>,
    /// Answers whose sockets are still held, those of streams already closed included: a client that doesn't
    /// read keeps its place until it is gone.
    answers: usize,
    expiries: Expiries,
    drain: Option<Drain>,
    spine: mpsc::Receiver<SpineEvent>,
    _spine_task: SpineTask,
    /// Whether the spine has begun; until then there is nothing to be complete from.
    begun: bool,
    /// The spine has not found its place in the log again. The log may be a copy of before what was passed, and a
    /// snapshot of it may allow what has ended since.
    lost: bool,
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
            feed: self,
            outlets: HashMap::new(),
            answers: 0,
            watch: Watch::default(),
            expiries: Expiries::default(),
            drain: None,
            begun: false,
            lost: false,
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
                        None => turn.restart("the spine's task ended"),
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
            if turn.feed.hub.has_more() {
                // A burst: let the sockets take what they have before the rest is handed out.
                tokio::task::yield_now().await;
            }
            if turn.is_drained() {
                turn.feed.metrics.update(&turn.feed.hub.stats());
                return;
            }
        }
    }
}

impl Turn {
    fn open(&mut self, open: Open) {
        let held = self.answers;
        self.answers += 1;
        let refusal = if self.drain.is_some() {
            Some(ByeReason::Drain)
        } else if !self.begun {
            Some(ByeReason::Unavailable)
        } else if held >= self.feed.max_connections {
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
        self.outlets.insert(open.id, open.outlet);
        self.expiries.add(open.id, open.expires_at);
        let now = Instant::now();
        self.feed
            .hub
            .connect(open.id, open.user, open.issued_at, open.resume, now);
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Closed(id) => {
                self.answers = self.answers.saturating_sub(1);
                self.closed(id);
            }
            Told::Drained(id) => self.feed.hub.drained(id, Instant::now()),
        }
    }

    /// The client's side of a stream has ended.
    fn closed(&mut self, id: ConnectionId) {
        if self.forget(id).is_some() {
            self.feed.hub.disconnect(id, Instant::now());
        }
    }

    /// Ends a stream from this side, saying why if there is room to.
    fn close(&mut self, id: ConnectionId, reason: ByeReason) {
        if let Some(outlet) = self.forget(id) {
            let _ = outlet.push(drain::bye(reason));
            self.feed.metrics.closed(reason);
            self.feed.hub.disconnect(id, Instant::now());
        }
    }

    fn forget(&mut self, id: ConnectionId) -> Option<Outlet> {
        self.expiries.remove(id);
        self.outlets.remove(&id)
    }

    fn take(&mut self, event: SpineEvent) {
        let now = Instant::now();
        match event {
            SpineEvent::Begin { epoch, position } => {
                info!(%epoch, %position, "following the log");
                self.feed.hub.begin(epoch, position, now);
                self.begun = true;
                self.lost = false;
                self.ready();
            }
            SpineEvent::Item(item) => match item.head {
                Ok((epoch, head)) => self.feed.hub.spine(item.seq, epoch, head, item.bytes, now),
                // Only the relay writes the log, so this is a foreign hand; its message reaches nobody.
                Err(error) => warn!(seq = %item.seq, %error, "a message of the log can't be read"),
            },
            SpineEvent::Lost { reason } => {
                warn!(%reason, "the spine is lost; making it again");
                self.feed.metrics.spine_lost();
                self.lost = true;
                self.feed
                    .readiness
                    .fails(READY_SPINE, "the log can't be followed");
            }
            SpineEvent::Back => {
                self.lost = false;
                self.ready();
            }
        }
    }

    /// The spine is there. A gateway that drains stays unready all the same.
    fn ready(&self) {
        if self.drain.is_none() {
            self.feed.readiness.holds(READY_SPINE);
        }
    }

    fn payload(&mut self, copy: LiveMessage) {
        let now = Instant::now();
        self.feed
            .hub
            .payload(copy.seq, copy.epoch, copy.payload, now);
    }

    fn answer(&mut self, answer: Answer) {
        let (hub, now) = (&mut self.feed.hub, Instant::now());
        match answer {
            Answer::Payload {
                seq,
                epoch,
                payload,
            } => hub.payload(seq, epoch, payload, now),
            Answer::Gone(seq) => hub.gone(seq, now),
            Answer::Snapshot { read, user, .. } if self.lost => {
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
        for id in self.expiries.due(now) {
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
        [self.feed.hub.next_deadline(), self.expiries.next(), drain]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(60))
    }

    fn start_drain(&mut self) {
        self.feed.readiness.fails(READY_SPINE, "draining");
        info!(streams = self.outlets.len(), "closing the streams");
        let all = self.outlets.keys().copied().collect();
        self.drain = Some(Drain::new(all, self.feed.drain_window, Instant::now()));
    }

    fn is_drained(&self) -> bool {
        self.drain.is_some() && self.outlets.is_empty()
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
                Action::Send { connection, frame } => self.send(connection, frame),
                Action::Deliver {
                    connections,
                    frame,
                    event,
                    seq,
                    met,
                } => {
                    let span = deliver_span(&event, connections.len(), seq.0, met.elapsed());
                    let _entered = span.enter();
                    for connection in connections {
                        self.send(connection, frame.clone());
                    }
                }
                Action::Refuse(connection) => {
                    if let Some(outlet) = self.forget(connection) {
                        outlet.refuse();
                        self.feed.metrics.refused("withdrawn");
                    }
                }
                Action::Close {
                    connection,
                    frame,
                    reason,
                } => {
                    if let Some(outlet) = self.forget(connection) {
                        let _ = outlet.push(frame);
                        self.feed.metrics.closed(reason);
                    }
                }
                Action::Restart => self.restart("the log was replaced"),
            }
        }
    }

    /// What was known of the log no longer counts. Its end is read again, and [`Hub::begin`] sends away
    /// whoever is still connected.
    fn restart(&mut self, why: &'static str) {
        warn!("{why}; beginning anew");
        self.feed.readiness.fails(READY_SPINE, why);
        self.begun = false;
        let (task, events) = spine::start(self.feed.bus.clone(), self.feed.spine_patience);
        (self._spine_task, self.spine) = (task, events);
    }

    fn send(&mut self, connection: ConnectionId, frame: Bytes) {
        let Some(outlet) = self.outlets.get(&connection) else {
            return;
        };
        match outlet.push(frame) {
            Ok(()) => {}
            Err(Refused::Full) if sabotage::makes("slow-client-skipped") => {}
            Err(Refused::Full) => self.close(connection, ByeReason::Slow),
            Err(Refused::Gone) => self.closed(connection),
        }
    }

    fn await_room(&mut self, connection: ConnectionId) {
        let outlet = self.outlets.get(&connection);
        if outlet.is_some_and(Outlet::await_drained) {
            self.feed.hub.drained(connection, Instant::now());
        }
    }

    /// Once a second: brings the metrics up to date, and sees whether the hub stands still.
    fn look_after(&mut self) {
        let stats = self.feed.hub.stats();
        self.feed.metrics.update(&stats);
        match self.watch.look(&stats, Instant::now()) {
            Watched::Moves => {}
            Watched::Stands => {
                warn!(after = %stats.position, waiting = stats.queue_entries, "a message of the log can't be passed");
                self.feed
                    .readiness
                    .fails(READY_SPINE, "a message of the log can't be read");
            }
            Watched::MovesAgain => self.ready(),
        }
    }
}

/// One span per event and gateway: the end of the trace that began with the request. `held` is how long the
/// hub had the event's place in the order before it could deliver it.
fn deliver_span(event: &EventHead, connections: usize, seq: u64, held: Duration) -> tracing::Span {
    let span = tracing::info_span!(
        "gateway.deliver",
        crier.event_id = %event.id,
        crier.community_id = %event.community,
        crier.seq = seq,
        crier.connections = connections,
        crier.held_us = u64::try_from(held.as_micros()).unwrap_or(u64::MAX),
    );
    if let Some(traceparent) = &event.traceparent {
        telemetry::set_remote_parent(&span, traceparent);
    }
    span
}
