//! Taking a user's snapshot in, and the lives of connections: welcome, heartbeat, close.

use std::time::{Duration, Instant};

use bytes::Bytes;
use crier_domain::{CommunityId, Seq, Snapshot, UserId, sabotage};

use super::Hub;
use crate::action::{Action, ConnectionId};
use crate::changes::Changes;
use crate::frame::{self, ByeReason, Ready};
use crate::interest::Needed;
use crate::replay::Replay;
use crate::resume::{Resume, Start, start};
use crate::roster::{Standing, Stream};
use crate::timers::Timer;
use crate::users::Place;

/// Moments at which there may be heartbeats, for each heartbeat's time.
const HEARTBEAT_STEPS: u32 = 256;

impl Hub {
    /// From the position on, `snapshot` says what the user may receive.
    pub(super) fn apply(&mut self, user: UserId, snapshot: Snapshot, now: Instant) {
        self.stats.snapshots += 1;
        self.disconnect_older(user, snapshot.not_before, now);
        let Some(known) = self.roster.users.get_mut(user) else {
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
        // First: who doesn't keep up with what is told is forgotten, by the new snapshot.
        if let Some(place) = self.roster.users.place(user) {
            self.reindex((user, place), &changes, now);
        }
        if !changes.is_empty() {
            self.tell_changes(user, &changes, now);
        }
        self.welcome(user, now);
    }

    /// On connections that still catch up, the changes wait for their place.
    fn tell_changes(&mut self, user: UserId, changes: &Changes, now: Instant) {
        let Some((known, position)) = self.roster.users.get_mut(user).zip(self.position) else {
            return;
        };
        let told = frame::changes(changes);
        let mut slow = Vec::new();
        for connection in &mut known.connections {
            let frame = told.clone();
            match &mut connection.stream {
                Stream::Waiting(_) => {}
                Stream::Open { .. } => self.actions.push_back(Action::Send {
                    connection: connection.id,
                    frame,
                }),
                Stream::Replaying(replay) => {
                    let came = changes.came.iter().filter(|(_, article)| article.is_none());
                    let came = came.map(|(community, _)| *community);
                    if !replay.change(position.seq, frame, came, self.config.replay_bytes) {
                        slow.push(connection.id);
                    }
                }
            }
        }
        for connection in slow {
            self.close(connection, ByeReason::Slow, now);
        }
    }

    /// The snapshot that was read from ahead for this user is reached.
    pub(super) fn apply_arrived(&mut self, user: UserId, now: Instant) {
        let known = self.roster.users.get_mut(user);
        if let Some(Standing::Arriving { snapshot, .. }) = known.map(|known| &mut known.standing) {
            let snapshot = std::mem::take(snapshot);
            self.apply(user, snapshot, now);
        }
    }

    fn reindex(&mut self, (user, place): (UserId, Place), changes: &Changes, now: Instant) {
        for entry in &changes.went {
            if self.roster.index.leave(*entry, place) {
                let until = now + self.config.linger;
                self.interest.release(entry.0, until);
                self.timers.set(until, Timer::Interest(entry.0));
            }
        }
        for entry in &changes.came {
            // Whoever left and joined again at once may still follow an article since before.
            if entry.1.is_none() && changes.went.contains(entry) {
                self.roster.enter_articles(entry.0, user);
            }
            if self.roster.enter(*entry, user) {
                let position = self.position.map_or(Seq::ZERO, |position| position.seq);
                self.past.follow(entry.0, position);
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

    /// Begins all connections of the user that waited for the snapshot just applied, or for the position.
    pub(super) fn welcome(&mut self, user: UserId, now: Instant) {
        let Some((known, position)) = self.roster.users.get(user).zip(self.position) else {
            return;
        };
        if known.snapshot().is_none() {
            return;
        }
        let waiting = known.connections.iter();
        let waiting = waiting.filter_map(|connection| match connection.stream {
            Stream::Waiting(resume) => Some((connection.id, start(resume, position))),
            Stream::Replaying(_) | Stream::Open { .. } => None,
        });
        let waiting: Vec<_> = waiting.collect();
        for (id, start) in waiting {
            match start {
                Start::Ahead(seq) => self.wait_for(seq, id, now),
                Start::Here | Start::Replay(_) | Start::Reset(_) => self.greet(id, start, now),
            }
        }
    }

    /// Sends `ready`, and what must follow it at once.
    pub(super) fn greet(&mut self, id: ConnectionId, start: Start, now: Instant) {
        let Some(position) = self.position else {
            return;
        };
        let Some(communities) = self.communities_of(id) else {
            return;
        };
        // The client's own cursor if it is to be told what it missed: wherever the stream breaks, it takes up
        // after what it has seen. And whoever loses the stream between `ready` and `reset` must not take up
        // here as if the reset had been seen: until then the id is one that is always answered with a reset.
        let cursor = match start {
            Start::Here | Start::Ahead(_) => self.seal(position.seq).to_owned(),
            Start::Replay(seq) => self.seal(seq).to_owned(),
            Start::Reset(_) => self.cursors.unseen(position),
        };
        let frame = frame::ready(Ready {
            cursor: &cursor,
            retry: self.chance.about(self.config.retry),
            connection: id,
            heartbeat: self.config.heartbeat,
            communities: &communities,
        });
        self.send(id, frame);
        let mut stream = Stream::Open {
            last_id: position.seq,
            event_at: None,
        };
        match start {
            Start::Here | Start::Ahead(_) => {}
            Start::Replay(mut seq) => {
                if sabotage::makes("duplicate-on-resume") {
                    seq.0 = seq.0.saturating_sub(1);
                }
                stream = Stream::Replaying(Box::new(Replay::new(seq)));
                self.replays += 1;
                self.runnable.push_back(id);
            }
            Start::Reset(reason) => {
                let frame = frame::reset(self.seal(position.seq), reason, &communities);
                self.send(id, frame);
                self.stats.resets += 1;
                self.stats.resumes_reset += 1;
            }
        }
        let deadline = self.next_heartbeat(now);
        if let Some(connection) = self.roster.connection_mut(id) {
            connection.stream = stream;
            let waited = std::mem::replace(&mut connection.deadline, deadline);
            self.timers.unset(waited, Timer::Connection(id));
            self.timers.set(deadline, Timer::Connection(id));
        }
    }

    /// When a stream gets its next heartbeat: about a heartbeat from now, give or take a fifth. Each moment costs the
    /// gateway more than each stream does, so moments are few.
    fn next_heartbeat(&mut self, now: Instant) -> Instant {
        let about = self.config.heartbeat;
        let step = (about / HEARTBEAT_STEPS).max(Duration::from_millis(1));
        let most = about.mul_f64(1.2).saturating_sub(step);
        let wanted = now + self.chance.between(about.mul_f64(0.8), most);
        let first = *self.first_heartbeat.get_or_insert(now);
        let beyond = wanted.saturating_duration_since(first).as_nanos() % step.as_nanos();
        // Less than a step, whose nanoseconds fit for centuries.
        wanted + step - Duration::from_nanos(u64::try_from(beyond).unwrap_or_default())
    }

    /// The communities in the snapshot of the user whose connection this is.
    pub(super) fn communities_of(&self, id: ConnectionId) -> Option<Vec<CommunityId>> {
        let place = self.roster.connections.get(&id)?;
        let snapshot = self.roster.users.at(*place)?.snapshot()?;
        Some(snapshot.communities.keys().copied().collect())
    }

    pub(super) fn send(&mut self, connection: ConnectionId, frame: Bytes) {
        self.actions.push_back(Action::Send { connection, frame });
    }

    /// The connection's timer, which is no longer set, went off. Events since it was set put the heartbeat off.
    pub(super) fn connection_due(&mut self, id: ConnectionId, now: Instant) {
        let known = self.roster.connection_mut(id);
        let event_at = known.and_then(|connection| connection.stream.event_at());
        let least = self.config.heartbeat.mul_f64(0.8);
        let since = event_at.filter(|at| now < *at + least);
        let again = self.next_heartbeat(since.unwrap_or(now));
        let Some((connection, position)) = self.roster.connection_mut(id).zip(self.position) else {
            return;
        };
        connection.deadline = again;
        self.timers.set(again, Timer::Connection(id));
        if since.is_some() {
            return;
        }
        let (last_id, told) = match &mut connection.stream {
            Stream::Open { last_id, .. } => (last_id, position.seq),
            // What it waits for has not come for a whole heartbeat: another gateway may do better.
            Stream::Replaying(replay) if replay.waits == 0 || replay.moved => {
                replay.moved = false;
                let told = replay.told();
                (&mut replay.last_id, told)
            }
            Stream::Waiting(_) | Stream::Replaying(_) => {
                self.close(id, ByeReason::Unavailable, now);
                return;
            }
        };
        let moved = (*last_id < told).then_some(told);
        *last_id = told.max(*last_id);
        let frame = match moved {
            Some(seq) => frame::moved(self.seal(seq)),
            None => frame::heartbeat(),
        };
        self.send(id, frame);
    }

    /// Ends the connections whose token was issued before `not_before`, in Unix seconds: those that have been
    /// told nothing are refused, so that their clients don't come back.
    pub(super) fn disconnect_older(&mut self, user: UserId, not_before: i64, now: Instant) {
        let older: Vec<_> = self.roster.users.get(user).map_or_else(Vec::new, |known| {
            let older = known.connections.iter();
            older
                .filter(|connection| connection.token_issued_at < not_before)
                .map(|connection| (connection.id, &connection.stream))
                .map(|(id, stream)| (id, matches!(stream, Stream::Waiting(_))))
                .collect()
        });
        for (connection, was_told_nothing) in older {
            if !was_told_nothing {
                self.close(connection, ByeReason::Disconnected, now);
            } else if self.remove(connection, now) {
                self.actions.push_back(Action::Refuse(connection));
            }
        }
    }

    pub(super) fn close_all(&mut self, user: UserId, reason: ByeReason, now: Instant) {
        let all: Vec<_> = self.roster.users.get(user).map_or_else(Vec::new, |known| {
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
        let Some(place) = self.roster.connections.remove(&id) else {
            return false;
        };
        let Some(known) = self.roster.users.at_mut(place) else {
            return false;
        };
        let user = known.id;
        let at = known
            .connections
            .iter()
            .position(|connection| connection.id == id);
        if let Some(at) = at {
            let removed = known.connections.swap_remove(at);
            let is_last = known.connections.is_empty();
            self.timers.unset(removed.deadline, Timer::Connection(id));
            match removed.stream {
                Stream::Waiting(Resume::At(cursor)) => {
                    self.ahead.remove(&(cursor.seq, id));
                }
                Stream::Replaying(replay) => self.end_replay(id, &replay, now),
                Stream::Waiting(_) | Stream::Open { .. } => {}
            }
            if is_last {
                self.forget_user(user, now);
            }
        }
        true
    }

    fn forget_user(&mut self, user: UserId, now: Instant) {
        let Some((place, known)) = self.roster.users.remove(user) else {
            return;
        };
        match known.standing {
            Standing::Looking(lookup) => {
                self.timers.unset(lookup.again, Timer::Lookup(user));
            }
            Standing::Arriving { seq, .. } => {
                self.arriving.remove(&(seq, user));
            }
            // Out of the index before anyone else has the place.
            Standing::Applied(snapshot) => {
                let all = Changes::between(&snapshot, &Snapshot::default());
                self.reindex((user, place), &all, now);
            }
        }
    }
}
