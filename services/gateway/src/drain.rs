//! How streams are closed when the gateway stops: a few at a time over a window, each with its own time to
//! come back, so that the others aren't hit by all clients at once.

use std::time::{Duration, Instant};

use bytes::Bytes;
use crier_hub::{ByeReason, ConnectionId, frame};
use rand::RngExt as _;
use rand::seq::SliceRandom as _;

/// How far apart steps are.
const STEP: Duration = Duration::from_millis(50);

/// A reconnecting client spreads over this long, in milliseconds.
const RETRY_MS: std::ops::Range<u64> = 200..3_000;

/// The order and pace in which streams are closed.
pub(crate) struct Drain {
    waiting: Vec<ConnectionId>,
    per_step: usize,
    next: Instant,
}

impl Drain {
    /// Closes these over the window, beginning now.
    pub(crate) fn new(mut connections: Vec<ConnectionId>, window: Duration, now: Instant) -> Self {
        connections.shuffle(&mut rand::rng());
        let steps = window.as_millis() / STEP.as_millis();
        let steps = usize::try_from(steps).unwrap_or(usize::MAX).max(1);
        let per_step = connections.len().div_ceil(steps).max(1);
        Self {
            waiting: connections,
            per_step,
            next: now,
        }
    }

    /// When the next step is due; `None` once all have been named.
    pub(crate) fn due(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.next)
    }

    /// The connections to close now.
    pub(crate) fn step(&mut self, now: Instant) -> Vec<ConnectionId> {
        self.next = now + STEP;
        let rest = self.waiting.len().saturating_sub(self.per_step);
        self.waiting.split_off(rest)
    }
}

/// The last frame of a stream that this gateway ends by itself.
pub(crate) fn bye(reason: ByeReason) -> Bytes {
    frame::bye(
        reason,
        Duration::from_millis(rand::rng().random_range(RETRY_MS)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_closed_once_and_evenly_over_the_window() {
        let now = Instant::now();
        let all: Vec<ConnectionId> = (0..1_001).map(ConnectionId).collect();
        let mut drain = Drain::new(all.clone(), Duration::from_secs(5), now);
        let (mut closed, mut steps, mut at) = (Vec::new(), 0, now);
        while let Some(due) = drain.due() {
            assert!(due >= at);
            at = due;
            let step = drain.step(at);
            assert!(step.len() <= 11, "{}", step.len());
            closed.extend(step);
            steps += 1;
        }
        closed.sort_unstable();
        assert_eq!(closed, all);
        assert!((80..=100).contains(&steps), "{steps}");
    }

    #[test]
    fn nothing_to_close_is_nothing_to_wait_for() {
        let drain = Drain::new(Vec::new(), Duration::ZERO, Instant::now());
        assert_eq!(drain.due(), None);
    }
}
