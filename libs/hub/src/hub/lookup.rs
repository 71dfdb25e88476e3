//! Finding the snapshot of a user who connects: read it from the log's leader; if the log has none of
//! this epoch, have one written.
//!
//! The user is registered first and the snapshot read then, so every snapshot is either read, or met
//! on the spine. Connections wait; whoever waits too long is sent away to come back.

use std::time::{Duration, Instant};

use crier_domain::UserId;
use smallvec::smallvec;

use super::Hub;
use crate::action::{Action, ConnectionId, ReadId, SnapshotRead};
use crate::resume::Resume;
use crate::roster::{Connection, Lookup, Standing, Stream, User};
use crate::timers::Timer;
use crate::users::Users;

impl Hub {
    pub(super) fn register(
        &mut self,
        id: ConnectionId,
        user: UserId,
        token_issued_at: i64,
        resume: Resume,
        now: Instant,
    ) {
        let deadline = now + self.config.snapshot_wait;
        let connection = Connection {
            id,
            token_issued_at,
            deadline,
            stream: Stream::Waiting(resume),
        };
        self.timers.set(deadline, Timer::Connection(id));
        if let Some(place) = self.roster.users.place(user)
            && let Some(known) = self.roster.users.at_mut(place)
        {
            known.connections.push(connection);
            self.roster.connections.insert(id, place);
            if let Some(not_before) = known.not_before() {
                self.disconnect_older(user, not_before, now);
                self.welcome(user, now);
            }
            return;
        }
        let lookup = Lookup {
            since: self.next_read,
            requested: false,
            times: 0,
            again: now,
        };
        let known = User {
            id: user,
            connections: smallvec![connection],
            standing: Standing::Looking(lookup),
        };
        let place = self.roster.users.insert(user, known);
        self.roster.connections.insert(id, place);
        self.look_up(user, now);
    }

    /// Reads the snapshot or, where there is none, asks for one; and sets the time of the next try.
    pub(super) fn look_up(&mut self, user: UserId, now: Instant) {
        let read = self.next_read;
        let Some(lookup) = lookup(&mut self.roster.users, user) else {
            return;
        };
        lookup.times = lookup.times.saturating_add(1);
        let (action, wait) = if lookup.requested {
            let wait = self
                .chance
                .back_off(self.config.lookup_backoff, lookup.times);
            (Action::RequestSnapshot(user), wait)
        } else {
            self.next_read = ReadId(read.0 + 1);
            let wait = self.chance.about(self.config.read_timeout);
            (Action::ReadSnapshot { read, user }, wait)
        };
        self.actions.push_back(action);
        self.look_up_again(user, now + wait);
    }

    /// All who wait for a snapshot have it asked for again within this time, as if for the first time.
    pub(super) fn look_up_anew(&mut self, within: Duration, now: Instant) {
        let mut all: Vec<UserId> = self.roster.users.ids().collect();
        all.sort_unstable();
        for user in all {
            let Some(lookup) = lookup(&mut self.roster.users, user) else {
                continue;
            };
            lookup.times = 0;
            let wait = self.chance.between(Duration::ZERO, within);
            self.look_up_again(user, now + wait);
        }
    }

    fn look_up_again(&mut self, user: UserId, at: Instant) {
        if let Some(lookup) = lookup(&mut self.roster.users, user) {
            self.timers.unset(lookup.again, Timer::Lookup(user));
            lookup.again = at;
            self.timers.set(at, Timer::Lookup(user));
        }
    }

    pub(super) fn lookup_answered(
        &mut self,
        read: ReadId,
        user: UserId,
        found: SnapshotRead,
        now: Instant,
    ) {
        let (Some(position), Some(lookup)) = (self.position, lookup(&mut self.roster.users, user))
        else {
            return;
        };
        if read < lookup.since {
            return;
        }
        match found {
            SnapshotRead::Found {
                seq,
                epoch,
                snapshot,
            } if epoch == position.epoch => {
                self.timers.unset(lookup.again, Timer::Lookup(user));
                if seq <= position.seq {
                    self.apply(user, snapshot, now);
                } else if let Some(known) = self.roster.users.get_mut(user) {
                    let not_before = snapshot.not_before;
                    known.standing = Standing::Arriving { seq, snapshot };
                    self.arriving.insert((seq, user));
                    self.disconnect_older(user, not_before, now);
                }
            }
            SnapshotRead::Found { .. } | SnapshotRead::None => {
                if !lookup.requested {
                    lookup.requested = true;
                    lookup.times = 0;
                    self.look_up(user, now);
                }
            }
            SnapshotRead::Failed => {
                if !lookup.requested {
                    let wait = self
                        .chance
                        .back_off(self.config.lookup_backoff, lookup.times);
                    self.look_up_again(user, now + wait);
                }
            }
        }
    }
}

fn lookup(users: &mut Users, user: UserId) -> Option<&mut Lookup> {
    match &mut users.get_mut(user)?.standing {
        Standing::Looking(lookup) => Some(lookup),
        Standing::Arriving { .. } | Standing::Applied(_) => None,
    }
}
