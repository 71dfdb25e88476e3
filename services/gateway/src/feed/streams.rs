//! The streams that are open, and the answers whose sockets are still held.

use std::collections::HashMap;
use std::time::Instant;

use crier_domain::UserId;
use crier_hub::ConnectionId;

use super::expiry::Expiries;
use crate::outlet::Outlet;

/// How many streams there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamLimits {
    /// Of all users.
    pub(crate) all: usize,
    /// Of one user.
    pub(crate) per_user: usize,
}

/// Open streams, and what they take up.
pub(super) struct Streams {
    limits: StreamLimits,
    /// Ids are the gateway's own, so that they need no protection from who would choose them.
    outlets: HashMap<ConnectionId, Outlet, foldhash::fast::RandomState>,
    expiries: Expiries,
    /// Answers whose sockets are still held, those of streams already closed included: a client that doesn't
    /// read keeps its place until it is gone.
    held: HashMap<ConnectionId, UserId>,
    /// How many of them each user has.
    of_user: HashMap<UserId, usize>,
}

impl Streams {
    pub(super) fn new(limits: StreamLimits) -> Self {
        Self {
            limits,
            outlets: HashMap::default(),
            expiries: Expiries::default(),
            held: HashMap::new(),
            of_user: HashMap::new(),
        }
    }

    /// An answer is about to begin. Whether there is room for it to become a stream; it takes its place in any case.
    pub(super) fn hold(&mut self, id: ConnectionId, user: UserId) -> bool {
        let of_user = self.of_user.entry(user).or_default();
        let has_room = self.held.len() < self.limits.all && *of_user < self.limits.per_user;
        if self.held.insert(id, user).is_none() {
            *of_user += 1;
        }
        has_room
    }

    /// The answer's socket is no longer held.
    pub(super) fn release(&mut self, id: ConnectionId) {
        let Some(user) = self.held.remove(&id) else {
            return;
        };
        if let Some(of_user) = self.of_user.get_mut(&user) {
            *of_user -= 1;
            if *of_user == 0 {
                self.of_user.remove(&user);
            }
        }
    }

    /// Answers whose sockets are held.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// The answer becomes a stream, until `expires_at` in Unix seconds.
    pub(super) fn open(&mut self, id: ConnectionId, outlet: Outlet, expires_at: i64) {
        self.outlets.insert(id, outlet);
        self.expiries.add(id, expires_at);
    }

    /// The stream ends.
    pub(super) fn forget(&mut self, id: ConnectionId) -> Option<Outlet> {
        self.expiries.remove(id);
        self.outlets.remove(&id)
    }

    pub(super) fn outlet(&self, id: ConnectionId) -> Option<&Outlet> {
        self.outlets.get(&id)
    }

    /// Looks at the outlets of these before they are pushed to; see [`Outlet::glance`].
    pub(super) fn glance(&self, connections: &[ConnectionId]) {
        let outlets = connections.iter().filter_map(|id| self.outlets.get(id));
        std::hint::black_box(outlets.filter(|outlet| outlet.glance()).count());
    }

    pub(super) fn all(&self) -> Vec<ConnectionId> {
        self.outlets.keys().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.outlets.is_empty()
    }

    /// The streams whose tokens end now. They stay until forgotten.
    pub(super) fn expired(&self, now: Instant) -> Vec<ConnectionId> {
        self.expiries.due(now)
    }

    /// When the next token ends.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_held_until_it_is_released_whoever_was_refused() {
        let limits = StreamLimits {
            all: 3,
            per_user: 2,
        };
        let mut streams = Streams::new(limits);
        let user = |id| UserId::try_from(id).unwrap();
        let mut hold = |id, of| streams.hold(ConnectionId(id), user(of));
        assert!(hold(1, 7));
        assert!(hold(2, 7));
        assert!(!hold(3, 7), "the third of one user");
        assert!(!hold(4, 8), "the fourth of all");
        for id in [3, 4, 4, 9] {
            streams.release(ConnectionId(id));
        }
        assert_eq!(streams.held(), 2);
        assert!(!streams.hold(ConnectionId(5), user(7)));
        for id in [5, 1] {
            streams.release(ConnectionId(id));
        }
        assert!(streams.hold(ConnectionId(6), user(7)));
        for id in [2, 6] {
            streams.release(ConnectionId(id));
        }
        assert_eq!(streams.held(), 0);
        assert!(streams.of_user.is_empty());
    }
}
