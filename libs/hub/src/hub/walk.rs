//! Passing the log's entries, strictly in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crier_domain::log::{EventHead, Head};
use crier_domain::{Seq, Snapshot, UserId};

use super::Hub;
use crate::action::Action;
use crate::frame::{self, ByeReason, ResetReason};
use crate::queue::{Entry, Payload};
use crate::roster::{Named, Roster};

/// Well below what a gateway lets wait for one client.
const PASS_AT_ONCE: usize = 128;

impl Hub {
    /// Passes entries until one needs a payload that isn't here, then sees to the fetches. After
    /// [`PASS_AT_ONCE`] it leaves the rest to the next call, so that the frames of a burst can be taken.
    pub(super) fn advance(&mut self, now: Instant) {
        let mut left = PASS_AT_ONCE;
        self.more = None;
        while let Some(next) = self.queue.front().map(|entry| entry.seq) {
            self.apply_arrived_before(next, now);
            let Some(entry) = self.take_next(now) else {
                break;
            };
            if let Some(position) = &mut self.position {
                position.seq = entry.seq;
            }
            self.stats.passed += 1;
            left -= 1;
            match entry.head {
                Head::Mark => {}
                Head::Snapshot(user) => self.pass_snapshot(user, entry.seq, &entry.payload, now),
                Head::Event(head) => self.pass_event(head, entry.seq, &entry.payload, entry.met),
            }
            if left == 0 && self.queue.front().is_some() {
                self.more = Some(now);
                break;
            }
        }
        self.fetch_due(now);
    }

    /// The entry just taken will need its payload, as things stand: a snapshot's is fetched at once,
    /// an event's live copy usually comes.
    pub(super) fn read_ahead(&mut self, now: Instant) {
        let Some(entry) = self.queue.last().filter(|last| wanted(&self.roster, last)) else {
            return;
        };
        let grace = match entry.head {
            Head::Event(_) => self.config.payload_grace,
            Head::Snapshot(_) | Head::Mark => Duration::ZERO,
        };
        self.queue.want_last(now + grace);
    }

    pub(super) fn fetch_due(&mut self, now: Instant) {
        let backoff = self.config.fetch_backoff;
        while let Some(seq) = self.queue.fetch(now, backoff, &mut self.chance) {
            self.stats.fetches += 1;
            self.actions.push_back(Action::Fetch(seq));
        }
    }

    /// The front entry, if it can be passed now.
    fn take_next(&mut self, now: Instant) -> Option<Entry> {
        let front = self.queue.front()?;
        let is_here = match front.payload {
            Payload::Here(_) | Payload::Gone => true,
            Payload::Missing { .. } | Payload::Unwanted => false,
        };
        if is_here || !wanted(&self.roster, front) {
            return self.queue.pop();
        }
        if front.payload == Payload::Unwanted {
            // It was of no use when it came; a snapshot passed since has changed that, and may have
            // for those behind it too. Their live copies were not asked for in time.
            let roster = &self.roster;
            self.queue.want_where(|entry| wanted(roster, entry), now);
        }
        None
    }

    /// Snapshots read from ahead take effect where they stand, which may be in a gap of the spine.
    fn apply_arrived_before(&mut self, next: Seq, now: Instant) {
        while let Some((seq, user)) = self.arriving.first().copied().filter(|(at, _)| *at < next) {
            self.arriving.remove(&(seq, user));
            if let Some(position) = &mut self.position {
                position.seq = position.seq.max(seq);
            }
            self.apply_arrived(user, now);
        }
    }

    fn pass_snapshot(&mut self, user: UserId, seq: Seq, payload: &Payload, now: Instant) {
        if self.arriving.remove(&(seq, user)) {
            self.apply_arrived(user, now);
            return;
        }
        let known = self.roster.users.get(&user);
        if known.is_none_or(|known| !known.needs_snapshot(seq)) {
            return;
        }
        let snapshot = match payload {
            Payload::Here(payload) => Snapshot::decode(payload)
                .inspect_err(|_| self.stats.malformed += 1)
                .ok(),
            _ => None,
        };
        match snapshot {
            Some(snapshot) => self.apply(user, snapshot, now),
            // A newer one stands further on. What the user may receive in between can't be known, and
            // the one before may allow too much. Whoever comes back finds the newer one.
            None => self.close_all(user, ByeReason::Unavailable, now),
        }
    }

    fn pass_event(&mut self, head: EventHead, seq: Seq, payload: &Payload, met: Instant) {
        if head.reset || *payload == Payload::Gone {
            self.tell_lost(&head, seq);
            return;
        }
        let Payload::Here(payload) = payload else {
            return;
        };
        let Ok((mut named, body)) = head.open(payload) else {
            self.stats.malformed += 1;
            self.tell_lost(&head, seq);
            return;
        };
        named.dedup();
        let connections = self.roster.recipients(&head, Named::These(&named), seq);
        if connections.is_empty() {
            return;
        }
        self.stats.events += 1;
        self.stats.delivered += connections.len() as u64;
        let Some(cursor) = self.position else {
            return;
        };
        let frame = frame::event(self.cursors.seal(cursor), &body);
        self.actions.push_back(Action::Deliver {
            connections,
            frame,
            event: Arc::new(head),
            seq,
            met,
        });
    }

    /// Everyone who could have got the event is told to fetch the community again.
    fn tell_lost(&mut self, head: &EventHead, seq: Seq) {
        let Some(cursor) = self.position else {
            return;
        };
        let connections = self.roster.recipients(head, Named::Anyone, seq);
        let cursor = self.cursors.seal(cursor);
        let frame = frame::reset(cursor, ResetReason::Lost, &[head.community]);
        self.stats.resets += connections.len() as u64;
        for connection in connections {
            let frame = frame.clone();
            self.actions.push_back(Action::Send { connection, frame });
        }
    }
}

/// Whether the entry can't be passed without its payload, by the snapshots applied now.
fn wanted(roster: &Roster, entry: &Entry) -> bool {
    match &entry.head {
        Head::Mark => false,
        Head::Snapshot(user) => {
            let user = roster.users.get(user);
            user.is_some_and(|user| user.needs_snapshot(entry.seq))
        }
        Head::Event(head) => !head.reset && roster.could_concern(head),
    }
}
