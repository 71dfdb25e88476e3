//! Carrying on the connections that catch up, a part at a time, so that none of them and no wave of them holds
//! up what is live.

use std::time::Instant;

use crier_domain::{Cursor, Seq};

use super::Hub;
use crate::action::{Action, ConnectionId};
use crate::frame::{self, ResetReason};
use crate::replay::{Next, Ran, Replay};
use crate::roster::{Standing, Stream};
use crate::timers::Timer;

/// Parts carried on before the frames they gave are handed out.
const RUNS_AT_ONCE: usize = 64;

impl Hub {
    pub(super) fn run_replays(&mut self, now: Instant) {
        for _ in 0..RUNS_AT_ONCE {
            let Some(id) = self.runnable.pop_front() else {
                break;
            };
            match self.run_replay(id, now) {
                Ran::On => self.runnable.push_back(id),
                Ran::Waits => {}
                Ran::Stalls => self.stalled.push_back(id),
                Ran::NeedsRoom => self.actions.push_back(Action::AwaitRoom(id)),
                Ran::Done => self.go_live(id),
                Ran::TooMuch => self.give_up(id, ResetReason::TooMuch),
            }
        }
        self.past.evict_pages();
        self.let_pages_linger(now);
        if !self.runnable.is_empty() {
            self.more = Some(now);
        }
    }

    fn run_replay(&mut self, id: ConnectionId, now: Instant) -> Ran {
        let place = self.roster.connections.get(&id).copied();
        let known = place.and_then(|place| self.roster.users.at_mut(place));
        let Some((known, position)) = known.zip(self.position) else {
            return Ran::Waits;
        };
        let user = known.id;
        let Standing::Applied(snapshot) = &known.standing else {
            return Ran::Waits;
        };
        let mut connections = known.connections.iter_mut();
        let connection = connections.find(|connection| connection.id == id);
        let Some(Stream::Replaying(replay)) = connection.map(|found| &mut found.stream) else {
            return Ran::Waits;
        };
        if replay.waits > 0 || replay.needs_room {
            return Ran::Waits;
        }
        let pinned = replay.pinned.take();
        let mut frames = replay.take_changes(false);
        let before = frames.len();
        let mut unknown = Vec::new();
        let ran = if replay.at >= position.seq {
            Ran::Done
        } else {
            match replay.next(user, snapshot, &self.past, position.seq) {
                Next::Events { upto, events } => {
                    replay.tell(upto, events, &self.config, &mut frames)
                }
                Next::Lost(lost) => {
                    let told = Cursor {
                        epoch: position.epoch,
                        seq: replay.told(),
                    };
                    let communities: Vec<_> = lost.iter().map(|(lost, _)| *lost).collect();
                    let cursor = self.cursors.seal(told);
                    let reset = frame::reset(cursor, ResetReason::Lost, &communities);
                    let ran = replay.lose(&lost, reset, &self.config, &mut frames);
                    self.stats.resets += u64::from(ran == Ran::On);
                    ran
                }
                Next::Unknown(_) if self.past.is_full() => Ran::Stalls,
                Next::Unknown(communities) => {
                    unknown = communities;
                    replay.pinned = Some(replay.at);
                    replay.used_log = true;
                    Ran::Waits
                }
            }
        };
        replay.waits = unknown.len();
        replay.moved |= ran == Ran::Stalls;
        let at = replay.at;
        if replay.pinned.is_some() {
            self.past.pin(at);
        }
        if let Some(pinned) = pinned {
            self.past.unpin(pinned);
        }
        self.stats.replayed += (frames.len() - before) as u64;
        for frame in frames {
            self.send(id, frame);
        }
        for community in unknown {
            self.recall(community, at, id, now);
        }
        ran
    }

    /// The connection has been told all up to the position: what comes next is live.
    fn go_live(&mut self, id: ConnectionId) {
        let Some((replay, position)) = self.take_replay(id) else {
            return;
        };
        if replay.used_log {
            self.stats.resumes_log += 1;
        } else {
            self.stats.resumes_ring += 1;
        }
        // Should it break soon, what was for others need not be looked at again.
        if replay.last_id < position {
            let frame = frame::moved(self.seal(position));
            self.send(id, frame);
        }
    }

    /// Not everything can be told: the client must fetch again, and goes on from the position.
    pub(super) fn give_up(&mut self, id: ConnectionId, reason: ResetReason) {
        let Some((mut replay, position)) = self.take_replay(id) else {
            return;
        };
        self.leave_past(id, &replay);
        for frame in replay.take_changes(true) {
            self.send(id, frame);
        }
        let communities = self.communities_of(id).unwrap_or_default();
        let frame = frame::reset(self.seal(position), reason, &communities);
        self.send(id, frame);
        self.stats.resets += 1;
        self.stats.resumes_reset += 1;
    }

    /// Takes the connection's replay away and leaves it open at the position.
    fn take_replay(&mut self, id: ConnectionId) -> Option<(Box<Replay>, Seq)> {
        let position = self.position?.seq;
        let connection = self.roster.connection_mut(id)?;
        let open = Stream::Open {
            last_id: position,
            event_at: None,
        };
        match std::mem::replace(&mut connection.stream, open) {
            Stream::Replaying(replay) => {
                self.replays = self.replays.saturating_sub(1);
                Some((replay, position))
            }
            other => {
                connection.stream = other;
                None
            }
        }
    }

    /// A connection that caught up has gone.
    pub(super) fn end_replay(&mut self, id: ConnectionId, replay: &Replay, now: Instant) {
        self.leave_past(id, replay);
        self.replays = self.replays.saturating_sub(1);
        self.let_pages_linger(now);
    }

    /// Pages that nobody needs any more stay for a while: in a wave of clients that come back, each may be done before
    /// the next comes.
    fn let_pages_linger(&mut self, now: Instant) {
        if self.replays == 0 && self.pages_due.is_none() && self.past.page_bytes() > 0 {
            let due = now + self.config.linger;
            self.timers.set(due, Timer::Pages);
            self.pages_due = Some(due);
        }
    }

    /// If somebody catches up, they stay until that is through and as long again.
    pub(super) fn give_up_pages(&mut self) {
        self.pages_due = None;
        if self.replays == 0 {
            self.past.drop_pages();
        }
    }

    /// There may be room for those that did not begin to read the log.
    pub(super) fn wake_stalled(&mut self) {
        self.runnable.append(&mut self.stalled);
    }

    /// A reading that the connection waited for has ended.
    pub(super) fn wake(&mut self, id: ConnectionId) {
        let known = self.roster.connection_mut(id);
        if let Some(Stream::Replaying(replay)) = known.map(|known| &mut known.stream) {
            replay.waits = replay.waits.saturating_sub(1);
            replay.moved = true;
            if replay.waits == 0 {
                self.runnable.push_back(id);
            }
        }
    }
}
