//! What happens to the spine, and what is seen of it from outside.

use std::time::{Duration, Instant};

use crier_domain::Seq;
use crier_hub::Stats;
use tracing::{info, warn};

use super::spine::{self, SpineEvent};
use super::watch::Watched;
use super::{READY_SPINE, Turn};
use crate::metrics::{Around, SpineState};

impl Turn {
    pub(super) fn take(&mut self, event: SpineEvent) {
        self.taken += 1;
        let now = Instant::now();
        match event {
            SpineEvent::Begin { epoch, position } => {
                info!(%epoch, %position, "following the log");
                self.feed.hub.begin(epoch, position, now);
                self.log_end = position;
                self.begun = true;
                self.found(now);
            }
            SpineEvent::Item(item) => {
                self.log_end = Seq(item.seq.0.saturating_add(item.behind));
                match item.head {
                    Ok((epoch, head)) => {
                        self.feed.hub.spine(item.seq, epoch, head, item.bytes, now);
                    }
                    // Only the relay writes the log, so this is a foreign hand; its message reaches nobody.
                    Err(error) => {
                        warn!(seq = %item.seq, %error, "a message of the log can't be read");
                    }
                }
            }
            SpineEvent::Lost { cause, reason } => {
                warn!(cause, %reason, "the spine is lost; making it again");
                self.lost(cause, now);
                self.feed
                    .readiness
                    .fails(READY_SPINE, "the log can't be followed");
            }
            SpineEvent::Back => {
                self.found(now);
                self.feed.hub.back(now);
            }
        }
    }

    fn lost(&mut self, cause: &'static str, now: Instant) {
        self.feed.metrics.spine_lost(cause);
        let since = self.lost.map_or(now, |(_, since)| since);
        self.lost = Some((cause, since));
    }

    /// The spine is in its place in the log.
    fn found(&mut self, now: Instant) {
        if let Some((cause, since)) = self.lost.take() {
            self.feed
                .metrics
                .spine_back(cause, now.duration_since(since));
        }
        self.ready();
    }

    /// The spine is there. A gateway that drains stays unready all the same.
    pub(super) fn ready(&self) {
        if self.drain.is_none() {
            self.feed.readiness.holds(READY_SPINE);
        }
    }

    /// What was known of the log no longer counts. Its end is read again, and [`crier_hub::Hub::begin`] sends away
    /// whoever is still connected.
    pub(super) fn restart(&mut self, cause: &'static str, why: &'static str) {
        warn!("{why}; beginning anew");
        self.lost(cause, Instant::now());
        self.feed.readiness.fails(READY_SPINE, why);
        self.begun = false;
        let (task, events) = spine::start(self.feed.bus.clone(), self.feed.spine_patience);
        (self._spine_task, self.spine) = (task, events);
    }

    pub(super) fn update_metrics(&self) -> Stats {
        let stats = self.feed.hub.stats();
        let spine = SpineState {
            behind: self.log_end.0.saturating_sub(stats.position.0),
            away: self
                .lost
                .map_or(Duration::ZERO, |(_, since)| since.elapsed()),
        };
        let (connection, live, sockets) =
            (self.feed.bus.stats(), &self.feed.live, &self.feed.sockets);
        let around = Around {
            sockets: sockets.open(),
            sockets_refused: sockets.refused(),
            held: self.streams.held(),
            live_dropped: live.dropped(),
            live_malformed: live.malformed(),
            reconnects: connection.reconnects,
            slow: connection.slow_consumer_events,
        };
        self.feed.metrics.update(&stats, spine, &around);
        stats
    }

    /// Once a second: brings the metrics up to date, and sees whether the hub stands still.
    pub(super) fn look_after(&mut self) {
        let stats = self.update_metrics();
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
