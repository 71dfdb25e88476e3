//! What a client must have got, worked out from the whole log by the plain words of the rules.
//!
//! While a client catches up, a change of its snapshot counts for what is still to be told, so there it matters
//! when a frame was written: `from` and `upto` are the hub's positions around that.

use std::collections::BTreeSet;

use crier_domain::log::{AudienceTag, EventHead, Head};
use crier_domain::{Cursor, Seq, Snapshot, UserId, receives};
use crier_hub::Resume;

use crate::log::{EPOCH, Entry, Log};
use crate::sse::Frame;
use frames::Check;

mod frames;

/// A client and everything it read.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) user: UserId,
    pub(crate) issued_at: i64,
    pub(crate) resume: Resume,
    /// Where the log ended when it connected.
    pub(crate) log_end: Seq,
    /// How many events one resume may look at.
    pub(crate) resume_events: usize,
    pub(crate) frames: Vec<Written>,
    /// Where the hub was when the first frame was written.
    pub(crate) ready_at: Seq,
    /// It left when the hub had passed this.
    pub(crate) left: Option<Seq>,
    /// It has waited for its snapshot as long as anyone must.
    pub(crate) out_of_patience: bool,
    /// Its token has been withdrawn, it was told, and no stream began.
    pub(crate) is_refused: bool,
}

/// A frame, and where the hub was before and after the call that gave it.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) frame: Frame,
    pub(crate) from: Seq,
    pub(crate) upto: Seq,
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
        let last = self.frames.last();
        !self.is_refused
            && self.left.is_none()
            && last.is_none_or(|last| !matches!(last.frame, Frame::Bye(_)))
    }

    pub(crate) fn is_ready(&self) -> bool {
        let first = self.frames.first();
        first.is_some_and(|first| matches!(first.frame, Frame::Ready { .. }))
    }

    /// Holds what the client read against the log, all of which the hub has passed by now.
    pub(crate) fn check(&self, log: &Log) {
        if self.is_refused {
            let mut snapshots = log.entries.iter();
            return assert!(snapshots.any(|entry| {
                entry.head == Head::Snapshot(self.user)
                    && entry.snapshot.not_before > self.issued_at
            }));
        }
        let (begun, read) = match self.frames.first().map(|first| &first.frame) {
            None => return assert!(self.left.is_some(), "an open client without ready"),
            Some(Frame::Bye(reason)) => return self.check_turned_away(reason, log),
            Some(Frame::Ready { id, communities }) => {
                assert_eq!(*communities, known(self.user, log, self.ready_at));
                let (_, standing) = log.standing(self.user, self.ready_at).unwrap();
                assert!(self.issued_at >= standing.not_before);
                match self.goes_on_from() {
                    Some(seq) => {
                        assert_eq!(id.seq, seq);
                        (seq, 1)
                    }
                    None => (self.check_reset(*id, communities), 2),
                }
            }
            Some(first) => panic!("the first frame is {first:?}"),
        };
        self.check_ids(begun);
        let base = self.ready_at.max(begun);
        let expected = expected(self.user, self.issued_at, log, begun, base);
        let check = Check {
            client: self,
            log,
            base,
            begun,
        };
        check.all(&self.frames[read..], expected.iter().peekable());
    }

    /// Whether the client came with a cursor that could be followed.
    pub(crate) fn is_ours(&self) -> bool {
        let Resume::At(cursor) = self.resume else {
            return false;
        };
        cursor.epoch == EPOCH && cursor.seq > Seq::ZERO
    }

    /// After which position the client takes up, unless it begins with a reset.
    fn goes_on_from(&self) -> Option<Seq> {
        match self.resume {
            Resume::Fresh => Some(self.ready_at),
            Resume::At(cursor) => {
                // Beyond the log's end it may be waited for, or not.
                let ready = self.frames.first().map(|first| &first.frame);
                let is_reset =
                    matches!(ready, Some(Frame::Ready { id, .. }) if id.seq == Seq::ZERO);
                let was_beyond = cursor.seq > self.log_end;
                (self.is_ours() && !(was_beyond && is_reset)).then_some(cursor.seq)
            }
            Resume::Bad => None,
        }
    }

    /// Until the reset was read, the client's cursor is one that leads to a reset again.
    fn check_reset(&self, ready: Cursor, known: &[i64]) -> Seq {
        let before_all = Cursor {
            epoch: EPOCH,
            seq: Seq::ZERO,
        };
        assert_eq!(ready, before_all);
        let reset = &self.frames[1].frame;
        let Frame::Reset {
            id,
            communities,
            reason,
        } = reset
        else {
            panic!("{reset:?} instead of a reset");
        };
        assert_eq!(communities, known);
        assert_eq!(id.seq, self.ready_at);
        let expected = match self.resume {
            Resume::Bad => "damaged",
            Resume::At(cursor) if cursor.epoch != EPOCH => "foreign",
            Resume::At(cursor) if cursor.seq == Seq::ZERO => "behind",
            Resume::At(_) => "ahead",
            Resume::Fresh => panic!("it began anew"),
        };
        assert_eq!(reason, expected);
        id.seq
    }

    fn check_turned_away(&self, reason: &str, log: &Log) {
        assert_eq!(reason, "unavailable");
        assert!(self.out_of_patience || was_purged(self.user, log));
    }

    fn check_ids(&self, begun: Seq) {
        let frames = self.frames.iter().map(|written| &written.frame);
        // A reset for what is gone may stand where the client is.
        let ids = frames.filter_map(|frame| match frame {
            Frame::Event { id, .. } | Frame::Moved(id) => Some((*id, false)),
            Frame::Reset { id, reason, .. } => Some((*id, reason == "lost")),
            _ => None,
        });
        let mut last = match self.frames.get(1).map(|written| &written.frame) {
            // Its reset says where it begins.
            Some(Frame::Reset { id, .. }) if id.seq == begun => Seq(begun.0 - 1),
            _ => begun,
        };
        for (id, may_repeat) in ids {
            let goes_on = id.seq > last || may_repeat && id.seq == last;
            assert!(id.epoch == EPOCH && goes_on, "{id:?} after {last}");
            last = id.seq;
        }
    }
}

/// The communities in the user's snapshot at a position.
fn known(user: UserId, log: &Log, seq: Seq) -> Vec<i64> {
    let (_, standing) = log.standing(user, seq).unwrap();
    standing.communities.keys().map(|id| id.get()).collect()
}

fn was_purged(user: UserId, log: &Log) -> bool {
    let mut entries = log.entries.iter();
    entries.any(|entry| entry.purged && entry.head == Head::Snapshot(user))
}

/// What a client of `user` that takes up after `begun` gets until the end of the log, with its snapshot as of
/// `base` and whatever changes it after.
fn expected(user: UserId, issued_at: i64, log: &Log, begun: Seq, base: Seq) -> Vec<Expected> {
    let (_, standing) = log.standing(user, base).unwrap();
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
            Head::Snapshot(whose) if *whose == user && entry.seq > base => {
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
    match (head.reset, entry.is_gone()) {
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
