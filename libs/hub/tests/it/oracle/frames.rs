//! One client's frames against what the log says, while it catches up and after.

use std::iter::Peekable;
use std::slice::Iter;

use crier_domain::log::Head;
use crier_domain::{Cursor, Seq, Snapshot, receives};

use super::{Client, Expected, Written, known, was_purged};
use crate::log::Log;
use crate::sse::Frame;

type Ahead<'a> = Peekable<Iter<'a, Expected>>;

/// One client's frames against what the log says.
pub(super) struct Check<'a> {
    pub(super) client: &'a Client,
    pub(super) log: &'a Log,
    /// The client takes up after here.
    pub(super) begun: Seq,
    /// Its snapshot as of here counts for what is before, and changes after.
    pub(super) base: Seq,
}

impl Check<'_> {
    pub(super) fn all(&self, frames: &[Written], mut expected: Ahead<'_>) {
        // It catches up until a frame is as far as the hub was.
        let catching_up = self.begun < self.base;
        let caught_up = frames.iter().position(|written| match &written.frame {
            Frame::Reset { reason, .. } if reason != "lost" => true,
            Frame::Event { id, .. } | Frame::Reset { id, .. } | Frame::Moved(id) => {
                id.seq == written.upto
            }
            _ => false,
        });
        let live = match (catching_up, caught_up) {
            (false, _) => 0,
            (true, Some(at)) => at + 1,
            (true, None) => frames.len(),
        };
        let (replayed, later) = frames.split_at(live);
        for at in 0..replayed.len() {
            self.replayed(replayed, at, &mut expected);
        }
        if catching_up && caught_up.is_none() {
            let has_ended = matches!(frames.last().map(|last| &last.frame), Some(Frame::Bye(_)));
            return assert!(
                self.client.left.is_some() || has_ended,
                "it never caught up"
            );
        }
        self.live(later, expected);
    }

    /// One of these frames, all written while the client catches up.
    fn replayed(&self, frames: &[Written], at: usize, expected: &mut Ahead<'_>) {
        let written = &frames[at];
        let frame = &written.frame;
        let upto = match frame {
            Frame::Beat | Frame::Bye(_) => return,
            Frame::Event { id, .. } | Frame::Reset { id, .. } | Frame::Moved(id) => Some(id.seq),
            _ => None,
        };
        // What has no id may be told with a reset right after it, instead of what stands before.
        let has_id = |written: &Written| {
            matches!(
                written.frame,
                Frame::Event { .. } | Frame::Reset { .. } | Frame::Moved(_)
            )
        };
        let next_id = frames[at..].iter().position(has_id);
        let told = &frames[..next_id.map_or(frames.len(), |next| at + next + 1)];
        while expected
            .next_if(|next| {
                upto.is_none_or(|upto| next.seq <= upto)
                    && !next.any_of.contains(frame)
                    && self.may_be_withheld(next, told, written.upto)
            })
            .is_some()
        {}
        if expected
            .next_if(|next| next.any_of.contains(frame))
            .is_some()
        {
            return self.is_allowed(written);
        }
        match frame {
            Frame::Reset {
                id,
                reason,
                communities,
            } => self.reset(*id, reason, communities, written),
            Frame::Moved(_) => {}
            _ => panic!("{frame:?} instead of {:?}", expected.peek()),
        }
        let next = expected.peek();
        assert!(
            upto.is_none_or(|upto| next.is_none_or(|next| next.seq > upto)),
            "{frame:?} skips {next:?}"
        );
    }

    /// A reset that stands for more than one event.
    fn reset(&self, id: Cursor, reason: &str, communities: &[i64], written: &Written) {
        let events = self
            .log
            .entries
            .iter()
            .filter(|entry| entry.event().is_some());
        match reason {
            "lost" => return assert!(self.is_lost(id, communities), "{id:?}"),
            "behind" => {
                let horizon = self.log.horizon();
                assert!(horizon.is_none_or(|mark| mark > self.begun), "{horizon:?}");
            }
            "too_much" => {
                let missed = events.filter(|event| event.seq > self.begun && event.seq <= id.seq);
                assert!(missed.count() > self.client.resume_events);
            }
            _ => panic!("a reset for {reason}"),
        }
        assert!(id.seq == written.from || id.seq == written.upto);
        assert_eq!(*communities, known(self.client.user, self.log, id.seq));
    }

    /// Where such a reset stands, or after it, an event of each of the communities is gone, which another user may have
    /// been meant by.
    fn is_lost(&self, id: Cursor, communities: &[i64]) -> bool {
        communities.iter().all(|community| {
            let mut gone = self.log.entries.iter().filter(|entry| entry.is_gone());
            gone.any(|entry| {
                let event = entry.event();
                entry.seq >= id.seq && event.is_some_and(|head| head.community.get() == *community)
            })
        })
    }

    /// What is replayed is what the snapshot that stands then allows.
    fn is_allowed(&self, written: &Written) {
        let Frame::Event { id, .. } = &written.frame else {
            return;
        };
        let entry = self.log.get(id.seq);
        let head = entry.event().unwrap();
        let from = written.from.max(self.base);
        let allowed = self.standings(from, written.upto);
        let mut allowed =
            allowed.filter(|standing| receives(self.client.user, standing, head, &entry.named));
        assert!(allowed.next().is_some(), "{id:?} is not for this user");
    }

    /// The user's snapshots that stood between two positions.
    fn standings(&self, from: Seq, upto: Seq) -> impl Iterator<Item = &Snapshot> {
        let user = self.client.user;
        let first = self.log.standing(user, from).map(|(_, snapshot)| snapshot);
        let later = self.log.entries.iter().filter(move |entry| {
            entry.head == Head::Snapshot(user) && entry.seq > from && entry.seq <= upto
        });
        first.into_iter().chain(later.map(|entry| &entry.snapshot))
    }

    /// Whether the client, which got these frames so far while it caught up, need not have got this.
    fn may_be_withheld(&self, next: &Expected, frames: &[Written], upto: Seq) -> bool {
        let entry = self.log.get(next.seq);
        let Some(head) = entry.event() else {
            return false;
        };
        // What goes out of turn is missed only where an event after it tells.
        let mut after = self.log.left(head.community, next.seq);
        let is_linked = after.next().is_some_and(|event| event.seq <= upto);
        if next.or_nothing || entry.purged && !is_linked {
            return true;
        }
        let user = self.client.user;
        let mut later = self.standings(self.base.max(next.seq), upto);
        if later.any(|standing| !receives(user, standing, head, &entry.named)) {
            return true;
        }
        let community = head.community.get();
        frames
            .iter()
            .enumerate()
            .any(|(at, written)| match &written.frame {
                Frame::Reset {
                    id,
                    communities,
                    reason,
                } if communities.contains(&community) => {
                    // One with an earlier id stands for all up to an event that is gone, for more than that may be missing
                    // from the page that showed it; but for nothing beyond what is told next of the community.
                    let from_here = Cursor {
                        seq: next.seq,
                        ..*id
                    };
                    let goes_on = frames[at..]
                        .iter()
                        .any(|later| self.is_of(later, community, next.seq));
                    id.seq >= next.seq
                        || reason == "lost" && !goes_on && self.is_lost(from_here, &[community])
                }
                _ => false,
            })
    }

    /// Whether this is an event of the community from before a position.
    fn is_of(&self, written: &Written, community: i64, before: Seq) -> bool {
        let Frame::Event { id, .. } = &written.frame else {
            return false;
        };
        let event = self.log.get(id.seq).event();
        id.seq < before && event.is_some_and(|head| head.community.get() == community)
    }

    fn live(&self, frames: &[Written], mut expected: Ahead<'_>) {
        for written in frames {
            let frame = &written.frame;
            match frame {
                Frame::Beat => continue,
                Frame::Moved(id) => {
                    // All that stands before it has been read.
                    while expected
                        .next_if(|next| next.seq <= id.seq && next.or_nothing)
                        .is_some()
                    {}
                    let next = expected.peek();
                    assert!(
                        next.is_none_or(|next| next.seq > id.seq),
                        "{id:?} skips {next:?}"
                    );
                    continue;
                }
                Frame::Bye(reason) if reason == "unavailable" => {
                    let purged = was_purged(self.client.user, self.log);
                    return assert!(purged, "sent away for nothing");
                }
                _ => {}
            }
            while expected
                .next_if(|next| next.or_nothing && !next.any_of.contains(frame))
                .is_some()
            {}
            let next = expected.next();
            assert!(
                next.is_some_and(|next| next.any_of.contains(frame)),
                "{frame:?} instead of {next:?}"
            );
            if matches!(frame, Frame::Bye(_)) {
                return;
            }
        }
        let upto = self.client.left.unwrap_or(self.log.end());
        let missed = expected.find(|next| !next.or_nothing && next.seq <= upto);
        assert!(missed.is_none(), "never came: {missed:?}");
    }
}
