//! Taking a user's snapshot in, and the lives of connections: welcome, heartbeat, close.

use std::time::Instant;

use crier_domain::{Snapshot, UserId};

use super::Hub;
use crate::action::{Action, ConnectionId};
use crate::changes::Changes;
use crate::frame::{self, ByeReason, Ready};
use crate::interest::Needed;
use crate::resume::{Start, start};
use crate::roster::{Standing, Stream, User};
use crate::timers::Timer;

impl Hub {
    /// From the position on, `snapshot` says what the user may receive.
    pub(super) fn apply(&mut self, user: UserId, snapshot: Snapshot, now: Instant) {
        self.stats.snapshots += 1;
        self.disconnect_older(user, snapshot.not_before, now);
        let Some(known) = self.roster.users.get_mut(&user) else {
            return;
        };
        let changes = match &known.standing {
            Standing::Applied(before) => Changes::between(before, &snapshot),
            Standing::Looking(_) | Standing::Arriving { .. } => {
                Changes::between(&Snapshot::default(), &snapshot)
            }
        };
        if let Standing::Looking(lookup) = &known.standing {
            self.timers.unset(lookup.again, Timer::Lookup(user));
        }
        known.standing = Standing::Applied(snapshot);
        let open: Vec<_> = known.open().collect();
        if !changes.is_empty() && !open.is_empty() {
            let frame = frame::changes(&changes);
            for connection in open {
                let frame = frame.clone();
                self.actions.push_back(Action::Send { connection, frame });
            }
        }
        self.reindex(user, &changes, now);
        self.welcome(user, now);
    }

    /// The snapshot that was read from ahead for this user is reached.
    pub(super) fn apply_arrived(&mut self, user: UserId, now: Instant) {
        let known = self.roster.users.get_mut(&user);
        if let Some(Standing::Arriving { snapshot, .. }) = known.map(|known| &mut known.standing) {
            let snapshot = std::mem::take(snapshot);
            self.apply(user, snapshot, now);
        }
    }

    fn reindex(&mut self, user: UserId, changes: &Changes, now: Instant) {
        for entry in &changes.went {
            if self.roster.index.leave(*entry, user) {
                let until = now + self.config.linger;
                self.interest.release(entry.0, until);
                self.timers.set(until, Timer::Interest(entry.0));
            }
        }
        for entry in &changes.came {
            if self.roster.index.enter(*entry, user) {
                match self.interest.need(entry.0) {
                    Needed::Follow => self.actions.push_back(Action::Follow(entry.0)),
                    Needed::Lingered(until) => {
                        self.timers.unset(until, Timer::Interest(entry.0));
                    }
                    Needed::Already => {}
                }
            }
        }
    }

    /// Sends `ready` to all connections of the user that waited for the snapshot just applied.
    pub(super) fn welcome(&mut self, user: UserId, now: Instant) {
        let Some(snapshot) = self.roster.users.get(&user).and_then(User::snapshot) else {
            return;
        };
        let communities: Vec<_> = snapshot.communities.keys().copied().collect();
        let Some((known, position)) = self.roster.users.get_mut(&user).zip(self.position) else {
            return;
        };
        for connection in &mut known.connections {
            let Stream::Waiting(resume) = connection.stream else {
                continue;
            };
            let start = start(resume, position);
            // Whoever loses the stream between `ready` and `reset` must not take up here as if the
            // reset had been seen: until then the id is one that is always answered with a reset.
            let unseen = matches!(start, Start::Reset(_)).then(|| self.cursors.unseen(position));
            let here = self.cursors.seal(position);
            let frame = frame::ready(Ready {
                cursor: unseen.as_deref().unwrap_or(here),
                retry: self.chance.about(self.config.retry),
                connection: connection.id,
                heartbeat: self.config.heartbeat,
                communities: &communities,
            });
            let id = connection.id;
            self.actions.push_back(Action::Send {
                connection: id,
                frame,
            });
            if let Start::Reset(reason) = start {
                let frame = frame::reset(here, reason, &communities);
                self.actions.push_back(Action::Send {
                    connection: id,
                    frame,
                });
                self.stats.resets += 1;
            }
            connection.stream = Stream::Open {
                last_id: position.seq,
            };
            self.timers
                .unset(connection.deadline, Timer::Connection(id));
            connection.deadline = now + self.chance.about(self.config.heartbeat);
            self.timers.set(connection.deadline, Timer::Connection(id));
        }
    }

    /// The connection's timer, which is no longer set, went off.
    pub(super) fn connection_due(&mut self, id: ConnectionId, now: Instant) {
        let Some((connection, position)) = self.roster.connection_mut(id).zip(self.position) else {
            return;
        };
        let Stream::Open { last_id } = &mut connection.stream else {
            self.close(id, ByeReason::Unavailable, now);
            return;
        };
        let frame = if *last_id < position.seq {
            *last_id = position.seq;
            frame::moved(self.cursors.seal(position))
        } else {
            frame::heartbeat()
        };
        connection.deadline = now + self.chance.about(self.config.heartbeat);
        self.timers.set(connection.deadline, Timer::Connection(id));
        self.actions.push_back(Action::Send {
            connection: id,
            frame,
        });
    }

    /// Closes the connections whose token was issued before `not_before`, in Unix seconds.
    pub(super) fn disconnect_older(&mut self, user: UserId, not_before: i64, now: Instant) {
        let older: Vec<_> = self.roster.users.get(&user).map_or_else(Vec::new, |known| {
            let older = known.connections.iter();
            older
                .filter(|connection| connection.token_issued_at < not_before)
                .map(|connection| connection.id)
                .collect()
        });
        for connection in older {
            self.close(connection, ByeReason::Disconnected, now);
        }
    }

    pub(super) fn close_all(&mut self, user: UserId, reason: ByeReason, now: Instant) {
        let all: Vec<_> = self.roster.users.get(&user).map_or_else(Vec::new, |known| {
            known
                .connections
                .iter()
                .map(|connection| connection.id)
                .collect()
        });
        for connection in all {
            self.close(connection, reason, now);
        }
    }

    pub(super) fn close(&mut self, connection: ConnectionId, reason: ByeReason, now: Instant) {
        if self.remove(connection, now) {
            self.stats.closed += 1;
            let frame = self.bye(reason);
            self.actions.push_back(Action::Close {
                connection,
                frame,
                reason,
            });
        }
    }

    /// Forgets a connection, and with its last one the user. Whether it was known.
    pub(super) fn remove(&mut self, id: ConnectionId, now: Instant) -> bool {
        let Some(user) = self.roster.connections.remove(&id) else {
            return false;
        };
        let Some(known) = self.roster.users.get_mut(&user) else {
            return false;
        };
        let at = known
            .connections
            .iter()
            .position(|connection| connection.id == id);
        if let Some(at) = at {
            let removed = known.connections.swap_remove(at);
            self.timers.unset(removed.deadline, Timer::Connection(id));
        }
        if known.connections.is_empty() {
            self.forget_user(user, now);
        }
        true
    }

    fn forget_user(&mut self, user: UserId, now: Instant) {
        match self.roster.users.remove(&user).map(|known| known.standing) {
            Some(Standing::Looking(lookup)) => {
                self.timers.unset(lookup.again, Timer::Lookup(user));
            }
            Some(Standing::Arriving { seq, .. }) => {
                self.arriving.remove(&(seq, user));
            }
            Some(Standing::Applied(snapshot)) => {
                let all = Changes::between(&snapshot, &Snapshot::default());
                self.reindex(user, &all, now);
            }
            None => {}
        }
    }
}
