//! What a client must have got, worked out from the whole log by the plain words of the rules.

use std::collections::BTreeSet;

use crier_domain::log::{AudienceTag, EventHead, Head};
use crier_domain::{Cursor, Seq, Snapshot, UserId, receives};
use crier_hub::Resume;

use crate::log::{EPOCH, Entry, Log};
use crate::sse::Frame;

/// A client and everything it read.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) user: UserId,
    pub(crate) issued_at: i64,
    pub(crate) resume: Resume,
    pub(crate) frames: Vec<Frame>,
    /// It left when the hub had passed this.
    pub(crate) left: Option<Seq>,
    /// It has waited for its snapshot as long as anyone must.
    pub(crate) out_of_patience: bool,
}

/// Something that happens to a client at one place of the log.
#[derive(Debug)]
struct Expected {
    seq: Seq,
    /// The client gets one of these.
    any_of: Vec<Frame>,
    /// Or nothing.
    or_nothing: bool,
}

impl Client {
    pub(crate) fn is_open(&self) -> bool {
        self.left.is_none() && !matches!(self.frames.last(), Some(Frame::Bye(_)))
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.frames.first(), Some(Frame::Ready { .. }))
    }

    /// Holds what the client read against the log, all of which the hub has passed by now.
    pub(crate) fn check(&self, log: &Log) {
        let mut frames = self.frames.iter();
        let begun = match frames.next() {
            None => return assert!(self.left.is_some(), "an open client without ready"),
            Some(Frame::Bye(reason)) => return self.check_turned_away(reason, log),
            Some(Frame::Ready { id, communities }) => {
                let position = match self.starts_here(*id) {
                    true => *id,
                    false => self.check_reset(*id, frames.next().unwrap(), communities),
                };
                let (_, standing) = log.standing(self.user, position.seq).unwrap();
                let known: Vec<i64> = standing.communities.keys().map(|id| id.get()).collect();
                assert_eq!(*communities, known, "ready at {position:?}");
                assert!(self.issued_at >= standing.not_before);
                position
            }
            Some(first) => panic!("the first frame is {first:?}"),
        };
        self.check_ids(begun.seq);
        let expected = expected(self.user, self.issued_at, log, begun.seq);
        self.check_all(frames, &expected, log);
    }

    fn starts_here(&self, id: Cursor) -> bool {
        match self.resume {
            Resume::Fresh => true,
            Resume::At(cursor) => cursor == id && id.seq != Seq::ZERO,
            Resume::Bad => false,
        }
    }

    /// Until the reset was read, the client's cursor is one that leads to a reset again.
    fn check_reset(&self, ready: Cursor, reset: &Frame, known: &[i64]) -> Cursor {
        let before_all = Cursor {
            epoch: EPOCH,
            seq: Seq::ZERO,
        };
        assert_eq!(ready, before_all);
        let Frame::Reset {
            id, communities, ..
        } = reset
        else {
            panic!("{reset:?} instead of a reset");
        };
        assert_eq!(communities, known);
        assert_ne!(self.resume, Resume::At(*id), "it could have gone on");
        *id
    }

    fn check_turned_away(&self, reason: &str, log: &Log) {
        let mut snapshots = log.entries.iter();
        match reason {
            "unavailable" => assert!(self.out_of_patience || was_purged(self.user, log)),
            "disconnected" => assert!(snapshots.any(|entry| {
                entry.head == Head::Snapshot(self.user)
                    && entry.snapshot.not_before > self.issued_at
            })),
            _ => panic!("turned away: {reason}"),
        }
    }

    fn check_ids(&self, begun: Seq) {
        let ids = self.frames.iter().filter_map(|frame| match frame {
            Frame::Event { id, .. } | Frame::Reset { id, .. } | Frame::Moved(id) => Some(*id),
            _ => None,
        });
        let mut last = match self.frames.get(1) {
            // Its reset says where it begins.
            Some(Frame::Reset { id, .. }) if id.seq == begun => Seq(begun.0 - 1),
            _ => begun,
        };
        for id in ids {
            assert!(id.epoch == EPOCH && id.seq > last, "{id:?} after {last}");
            last = id.seq;
        }
    }

    fn check_all<'a>(
        &self,
        frames: impl Iterator<Item = &'a Frame>,
        expected: &[Expected],
        log: &Log,
    ) {
        let mut expected = expected.iter().peekable();
        for frame in frames {
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
                    return assert!(was_purged(self.user, log), "sent away for nothing");
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
        let upto = self.left.unwrap_or(log.end());
        let missed = expected.find(|next| !next.or_nothing && next.seq <= upto);
        assert!(missed.is_none(), "never came: {missed:?}");
    }
}

fn was_purged(user: UserId, log: &Log) -> bool {
    let mut entries = log.entries.iter();
    entries.any(|entry| entry.purged && entry.head == Head::Snapshot(user))
}

/// What a client of `user` that is ready at `begun` gets until the end of the log.
fn expected(user: UserId, issued_at: i64, log: &Log, begun: Seq) -> Vec<Expected> {
    let (_, standing) = log.standing(user, begun).unwrap();
    let mut standing = standing.clone();
    let mut all = Vec::new();
    for entry in log.entries.iter().filter(|entry| entry.seq > begun) {
        let mut one = |any_of: Vec<Frame>, or_nothing| {
            all.push(Expected {
                seq: entry.seq,
                any_of,
                or_nothing,
            });
        };
        match &entry.head {
            Head::Snapshot(whose) if *whose == user => {
                if entry.snapshot.not_before > issued_at {
                    one(vec![Frame::Bye("disconnected".into())], false);
                    return all;
                }
                for frame in entry_frames(&standing, &entry.snapshot) {
                    one(vec![frame], false);
                }
                standing = entry.snapshot.clone();
            }
            Head::Event(head) => {
                let (any_of, or_nothing) = event_frames(user, &standing, head, entry);
                if !any_of.is_empty() {
                    one(any_of, or_nothing);
                }
            }
            Head::Mark | Head::Snapshot(_) => {}
        }
    }
    all
}

fn event_frames(
    user: UserId,
    standing: &Snapshot,
    head: &EventHead,
    entry: &Entry,
) -> (Vec<Frame>, bool) {
    let id = Cursor {
        epoch: EPOCH,
        seq: entry.seq,
    };
    let event = Frame::Event {
        id,
        body: entry.body.clone(),
    };
    let lost = Frame::Reset {
        id,
        reason: "lost".into(),
        communities: vec![head.community.get()],
    };
    let gets_it = receives(user, standing, head, &entry.named);
    // Without its payload nobody knows whom it named.
    let could_get_it = match head.audience {
        AudienceTag::Users { .. } => receives(user, standing, head, &[user]),
        AudienceTag::Members | AudienceTag::Subscribers => gets_it,
    };
    match (head.reset, entry.purged) {
        (true, _) if could_get_it => (vec![lost], false),
        // Its live copy may have come in time.
        (false, true) if gets_it => (vec![event, lost], false),
        (false, true) if could_get_it => (vec![lost], true),
        (false, false) if gets_it => (vec![event], false),
        _ => (Vec::new(), false),
    }
}

/// Every entry as community, article and fence.
fn entries(snapshot: &Snapshot) -> BTreeSet<(i64, Option<i64>, i64)> {
    let mut entries = BTreeSet::new();
    for (community, membership) in &snapshot.communities {
        entries.insert((community.get(), None, membership.since.0));
        for (article, fence) in &membership.articles {
            entries.insert((community.get(), Some(article.get()), fence.0));
        }
    }
    entries
}

fn entry_frames(old: &Snapshot, new: &Snapshot) -> Vec<Frame> {
    let (old, new) = (entries(old), entries(new));
    let frame = |came, (community, article, _): &(i64, Option<i64>, i64)| Frame::Entry {
        came,
        community: *community,
        article: *article,
    };
    let went: Vec<_> = old.difference(&new).collect();
    let went = went.into_iter().rev().map(|entry| frame(false, entry));
    let came = new.difference(&old).map(|entry| frame(true, entry));
    went.chain(came).collect()
}
