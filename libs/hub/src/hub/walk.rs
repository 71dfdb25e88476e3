//! Passing the log's entries, strictly in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crier_domain::log::{EventHead, Head};
use crier_domain::{CommunityId, Cursor, Epoch, Seq, Snapshot, UserId, sabotage};

use super::Hub;
use crate::action::Action;
use crate::frame::{self, ByeReason, ResetReason};
use crate::past::{Content, Kept};
use crate::queue::{Entry, Payload};
use crate::roster::{Named, Roster};

impl Hub {
    /// Passes entries until one needs a payload that isn't here, then sees to the fetches. After
    /// a number of them it leaves the rest to the next call, so that the frames of a burst can be taken.
    pub(super) fn advance(&mut self, now: Instant) {
        let mut left = self.config.pass_at_once.max(1);
        self.more = None;
        while let Some(next) = self.queue.front().map(|entry| entry.seq) {
            if left == 0 {
                self.more = Some(now);
                break;
            }
            if self.apply_arrived_before(next, now) {
                left -= 1;
                continue;
            }
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
                Head::Event(head) => {
                    self.pass_event(head, entry.seq, &entry.payload, (entry.met, now));
                }
            }
        }
        self.welcome_reached(now);
        self.run_replays(now);
        self.fetch_due(now);
    }

    /// The entry just taken will need its payload, as things stand: a snapshot's is fetched at once,
    /// an event's live copy usually comes.
    pub(super) fn read_ahead(&mut self, now: Instant) {
        let Some(entry) = self.queue.last().filter(|last| wanted(&self.roster, last)) else {
            return;
        };
        let is_followed = matches!(entry.head, Head::Event(_));
        let grace = if is_followed {
            self.config.payload_grace
        } else {
            Duration::ZERO
        };
        self.queue.want_last(now + grace, is_followed);
    }

    pub(super) fn fetch_due(&mut self, now: Instant) {
        let backoff = self.config.fetch_backoff;
        while let Some(fetch) = self.queue.fetch(now, backoff, &mut self.chance) {
            self.stats.fetches += 1;
            self.stats.gaps += u64::from(fetch.is_gap);
            self.actions.push_back(Action::Fetch(fetch.seq));
        }
    }

    /// The front entry, if it can be passed now.
    fn take_next(&mut self, now: Instant) -> Option<Entry> {
        if sabotage::makes("newest-first") {
            self.queue.swap_first();
        }
        let front = self.queue.front()?;
        let is_here = match front.payload {
            Payload::Here(_) | Payload::Gone => true,
            Payload::Missing { .. } | Payload::Unwanted => false,
        };
        let given_up = sabotage::makes("live-copy-not-healed")
            && matches!(front.head, Head::Event(_))
            && matches!(front.payload, Payload::Missing { asked: 1.., .. });
        if is_here || given_up || !wanted(&self.roster, front) {
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

    /// A snapshot read from ahead takes effect where it stands, which may be in a gap of the spine. Whether there
    /// was one.
    fn apply_arrived_before(&mut self, next: Seq, now: Instant) -> bool {
        let first = self.arriving.first().copied();
        let Some((seq, user)) = first.filter(|(at, _)| *at < next) else {
            return false;
        };
        self.arriving.remove(&(seq, user));
        if let Some(position) = &mut self.position {
            position.seq = position.seq.max(seq);
        }
        self.apply_arrived(user, now);
        true
    }

    fn pass_snapshot(&mut self, user: UserId, seq: Seq, payload: &Payload, now: Instant) {
        if self.arriving.remove(&(seq, user)) {
            self.apply_arrived(user, now);
            return;
        }
        let known = self.roster.users.get(user);
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

    fn pass_event(
        &mut self,
        head: EventHead,
        seq: Seq,
        payload: &Payload,
        (met, now): (Instant, Instant),
    ) {
        let head = Arc::new(head);
        let content = match payload {
            _ if head.reset => self.lost(head.community, seq),
            Payload::Gone => self.lost(head.community, seq),
            Payload::Here(payload) if self.past.follows(head.community) => {
                self.content(&head, seq, payload)
            }
            Payload::Here(_) | Payload::Unwanted | Payload::Missing { .. } => Content::Blank,
        };
        match &content {
            Content::Blank => {}
            // Everyone who could have got the event is told to fetch the community again.
            Content::Lost(frame) => {
                let connections = self.roster.recipients(&head, Named::Anyone, seq, now);
                self.stats.resets += connections.len() as u64;
                for connection in connections {
                    let frame = frame.clone();
                    self.actions.push_back(Action::Send { connection, frame });
                }
            }
            Content::Here { named, frame } => {
                let connections = self.roster.recipients(&head, Named::These(named), seq, now);
                if !connections.is_empty() {
                    self.stats.events += 1;
                    self.stats.delivered += connections.len() as u64;
                    self.actions.push_back(Action::Deliver {
                        connections,
                        frame: frame.clone(),
                        event: Arc::clone(&head),
                        seq,
                        met,
                    });
                }
            }
        }
        let kept = Kept {
            seq,
            head: Arc::clone(&head),
            content,
        };
        self.past.keep(head.community, kept);
    }

    /// An event as clients read it, by its payload.
    pub(super) fn content(&mut self, head: &EventHead, seq: Seq, payload: &Bytes) -> Content {
        if head.reset {
            return self.lost(head.community, seq);
        }
        let Ok((mut named, body)) = head.open(payload) else {
            self.stats.malformed += 1;
            return self.lost(head.community, seq);
        };
        named.dedup();
        Content::Here {
            named: named.into(),
            frame: frame::event(self.seal(seq), &body),
        }
    }

    /// What stands in the place of an event that can't be had.
    pub(super) fn lost(&mut self, community: CommunityId, seq: Seq) -> Content {
        Content::Lost(frame::reset(
            self.seal(seq),
            ResetReason::Lost,
            &[community],
        ))
    }

    /// A live copy came after its event was passed, which nobody needed then; somebody may yet come back for it.
    pub(super) fn fill_blank(&mut self, seq: Seq, payload: &Bytes) {
        if let Some(head) = self.past.blank(seq).map(Arc::clone) {
            let content = self.content(&head, seq, payload);
            self.past.fill(seq, &content);
        }
    }

    /// The cursor of a position in this life of the log.
    pub(super) fn seal(&mut self, seq: Seq) -> &str {
        // Without a position nobody is connected to read it.
        let epoch = self.position.map_or(Epoch::from_bits(0), |at| at.epoch);
        self.cursors.seal(Cursor { epoch, seq })
    }
}

/// Whether the entry can't be passed without its payload, by the snapshots applied now.
fn wanted(roster: &Roster, entry: &Entry) -> bool {
    match &entry.head {
        Head::Mark => false,
        Head::Snapshot(user) => {
            let user = roster.users.get(*user);
            user.is_some_and(|user| user.needs_snapshot(entry.seq))
        }
        Head::Event(head) => !head.reset && roster.could_concern(head),
    }
}
