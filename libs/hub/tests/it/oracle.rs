//! What a client must have got, worked out from the whole log by the plain words of the rules.
//!
//! While a client catches up, a change of its snapshot counts for what is still to be told, so there it matters
//! when a frame was written: `from` and `upto` are the hub's positions around that.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::slice::Iter;

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

type Ahead<'a> = Peekable<Iter<'a, Expected>>;

impl Client {
    pub(crate) fn is_open(&self) -> bool {
        let last = self.frames.last();
        self.left.is_none() && last.is_none_or(|last| !matches!(last.frame, Frame::Bye(_)))
    }

    pub(crate) fn is_ready(&self) -> bool {
        let first = self.frames.first();
        first.is_some_and(|first| matches!(first.frame, Frame::Ready { .. }))
    }

    /// Holds what the client read against the log, all of which the hub has passed by now.
    pub(crate) fn check(&self, log: &Log) {
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
        let frames = self.frames.iter().map(|written| &written.frame);
        let ids = frames.filter_map(|frame| match frame {
            Frame::Event { id, .. } | Frame::Reset { id, .. } | Frame::Moved(id) => Some(*id),
            _ => None,
        });
        let mut last = match self.frames.get(1).map(|written| &written.frame) {
            // Its reset says where it begins.
            Some(Frame::Reset { id, .. }) if id.seq == begun => Seq(begun.0 - 1),
            _ => begun,
        };
        for id in ids {
            assert!(id.epoch == EPOCH && id.seq > last, "{id:?} after {last}");
            last = id.seq;
        }
    }
}

/// One client's frames against what the log says.
struct Check<'a> {
    client: &'a Client,
    log: &'a Log,
    /// The client takes up after here.
    begun: Seq,
    /// Its snapshot as of here counts for what is before, and changes after.
    base: Seq,
}

impl Check<'_> {
    fn all(&self, frames: &[Written], mut expected: Ahead<'_>) {
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
            self.replayed(&replayed[at..], &mut expected);
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

    /// The first of these frames, all written while the client catches up.
    fn replayed(&self, frames: &[Written], expected: &mut Ahead<'_>) {
        let Some(written) = frames.first() else {
            return;
        };
        let frame = &written.frame;
        let upto = match frame {
            Frame::Beat | Frame::Bye(_) => return,
            Frame::Event { id, .. } | Frame::Reset { id, .. } | Frame::Moved(id) => Some(id.seq),
            _ => None,
        };
        while expected
            .next_if(|next| {
                upto.is_none_or(|upto| next.seq <= upto)
                    && !next.any_of.contains(frame)
                    && self.may_be_withheld(next, frames)
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
            // Where it stands something is gone, which another user may have been meant by.
            "lost" => {
                let entry = self.log.get(id.seq);
                let community = entry.event().unwrap().community.get();
                assert!(entry.is_gone() && *communities == [community], "{id:?}");
                return;
            }
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

    /// Whether the client, which catches up and next got these frames, need not have got this.
    fn may_be_withheld(&self, next: &Expected, frames: &[Written]) -> bool {
        let entry = self.log.get(next.seq);
        let Some(head) = entry.event() else {
            return false;
        };
        // Out of turn nothing goes, so nobody can know that it was there.
        if next.or_nothing || entry.purged {
            return true;
        }
        let user = self.client.user;
        let upto = frames.first().map_or(self.base, |written| written.upto);
        let mut later = self.standings(self.base.max(next.seq), upto);
        if later.any(|standing| !receives(user, standing, head, &entry.named)) {
            return true;
        }
        frames.iter().any(|written| match &written.frame {
            Frame::Reset {
                id, communities, ..
            } => id.seq >= next.seq && communities.contains(&head.community.get()),
            _ => false,
        })
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
