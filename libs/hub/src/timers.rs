//! Deadlines in order. Whoever sets one keeps its moment, to be able to take it back.

use std::collections::BTreeSet;
use std::time::Instant;

use crier_domain::{CommunityId, UserId};

use crate::action::ConnectionId;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A heartbeat, or the end of waiting for a snapshot.
    Connection(ConnectionId),
    /// To read or request a user's snapshot again.
    Lookup(UserId),
    /// To stop following a community nobody here needs.
    Interest(CommunityId),
    /// To ask for a community's past, or ask again.
    Past(CommunityId),
    /// To ask, or ask again, where the log ends.
    Tail,
    /// To give up the pages of the past, if nobody catches up.
    Pages,
}

#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Instant, Timer)>);

impl Timers {
    pub(crate) fn set(&mut self, at: Instant, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(crate) fn unset(&mut self, at: Instant, timer: Timer) {
        self.0.remove(&(at, timer));
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, timer)| timer)
    }
}
