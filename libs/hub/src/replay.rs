//! How far a connection is that catches up.
//!
//! It pursues the hub's position: everything up to `at` has been told or passed over, by the user's snapshot as
//! it stood then. Nothing queues behind it: what happens meanwhile is found in the rings when it gets there, or
//! read back from the log. Only changes of the snapshot wait with it, to be told at their place.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use crier_domain::{CommunityId, Seq, Snapshot, UserId};

use crate::config::HubConfig;
use crate::past::{Due, Known, Past};

/// Events of one community that are looked at in one go.
const AT_ONCE: usize = 128;

/// Changes of the snapshot that may wait for their place.
const MAX_CHANGES: usize = 64;

#[derive(Debug)]
pub(crate) struct Replay {
    /// All up to here is done.
    pub(crate) at: Seq,
    /// The last id the client has.
    pub(crate) last_id: Seq,
    /// How many readings of the past it waits for.
    pub(crate) waits: usize,
    /// Where it waited for pages, until it goes on.
    pub(crate) pinned: Option<Seq>,
    /// It has been given as much as it may before it has read it.
    pub(crate) needs_room: bool,
    /// It went on since the last heartbeat.
    pub(crate) moved: bool,
    /// The rings alone were not enough.
    pub(crate) used_log: bool,
    /// Where the events of some communities begin to count: those that came to the snapshot meanwhile, and those
    /// that must be fetched again because events before are gone.
    counts_from: BTreeMap<CommunityId, Seq>,
    changes: VecDeque<(Seq, Bytes)>,
    changes_bytes: usize,
    /// Frames and bytes written since the client had read all.
    written: (usize, usize),
    /// Events and bytes looked at.
    looked_at: (usize, usize),
}

/// How far a community's events are here to be read.
#[derive(Debug)]
enum Reach {
    /// Up to here.
    Known(Seq),
    /// Not at all, for up to here the log has lost them.
    Lost(Seq),
}

/// What comes next on a connection.
#[derive(Debug)]
pub(crate) enum Next {
    /// These communities must be read first.
    Unknown(Vec<CommunityId>),
    /// The log has lost what these have next, up to there: the client must be told before anything else.
    Lost(Vec<(CommunityId, Seq)>),
    /// All of these, in order, and then everything up to `upto` is done.
    Events { upto: Seq, events: Vec<Event> },
}

/// How a part of a replay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ran {
    /// There is more that can be told.
    On,
    /// It waits for the log, or has ended.
    Waits,
    /// It would have to read the log, and others must be done first.
    Stalls,
    /// It waits for the client to read.
    NeedsRoom,
    /// The client has been told everything.
    Done,
    /// There is more than one resume may have.
    TooMuch,
}

#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) seq: Seq,
    pub(crate) bytes: usize,
    /// None if it isn't for this user.
    pub(crate) frame: Option<Bytes>,
}

impl Replay {
    pub(crate) fn new(at: Seq) -> Self {
        Self {
            at,
            last_id: at,
            waits: 0,
            pinned: None,
            needs_room: false,
            moved: true,
            used_log: false,
            counts_from: BTreeMap::new(),
            changes: VecDeque::new(),
            changes_bytes: 0,
            written: (0, 0),
            looked_at: (0, 0),
        }
    }

    /// The user's snapshot has changed at `seq`. Whether that can still be kept.
    pub(crate) fn change(
        &mut self,
        seq: Seq,
        frame: Bytes,
        came: impl Iterator<Item = CommunityId>,
        max_bytes: usize,
    ) -> bool {
        for community in came {
            self.skip(community, seq);
        }
        // One that is larger than the bound still has its place.
        let fits = self.changes.is_empty() || self.changes_bytes + frame.len() <= max_bytes;
        self.changes_bytes += frame.len();
        self.changes.push_back((seq, frame));
        fits && self.changes.len() <= MAX_CHANGES
    }

    /// The changes to be told now that all before them is done; or all there are.
    pub(crate) fn take_changes(&mut self, all: bool) -> Vec<Bytes> {
        let mut frames = Vec::new();
        while let Some((seq, _)) = self.changes.front() {
            if *seq > self.at && !all {
                break;
            }
            if let Some((_, frame)) = self.changes.pop_front() {
                self.changes_bytes -= frame.len();
                self.wrote(&frame);
                frames.push(frame);
            }
        }
        frames
    }

    /// The id that says what this client has been told.
    pub(crate) fn told(&self) -> Seq {
        let next = self.changes.front();
        next.map_or(self.at, |(seq, _)| {
            self.at.min(Seq(seq.0.saturating_sub(1)))
        })
    }

    /// Where the community's events begin to count for this connection.
    pub(crate) fn from(&self, community: CommunityId) -> Seq {
        let from = self.counts_from.get(&community).copied();
        self.at.max(from.unwrap_or_default())
    }

    /// The community's events up to `upto` are not for this connection.
    fn skip(&mut self, community: CommunityId, upto: Seq) {
        let from = self.counts_from.entry(community).or_default();
        *from = upto.max(*from);
    }

    /// What comes next while the hub is at `position`.
    pub(crate) fn next(
        &self,
        user: UserId,
        snapshot: &Snapshot,
        past: &Past,
        position: Seq,
    ) -> Next {
        let mut upto = self.changes.front().map_or(position, |(seq, _)| *seq);
        let (mut unknown, mut lost) = (Vec::new(), Vec::new());
        for community in snapshot.communities.keys() {
            match self.reach(*community, user, snapshot, past, position) {
                Reach::Known(reach) if reach > self.at => upto = upto.min(reach),
                Reach::Known(_) => unknown.push(*community),
                Reach::Lost(reach) => lost.push((*community, reach)),
            }
        }
        if !unknown.is_empty() {
            return Next::Unknown(unknown);
        }
        if !lost.is_empty() {
            return Next::Lost(lost);
        }
        let mut events = Vec::new();
        for community in snapshot.communities.keys() {
            let from = self.from(*community);
            let Some(Known::Events(_, later)) = past.known(*community, from, position) else {
                continue;
            };
            for kept in later.take_while(|kept| kept.seq <= upto) {
                let frame = match kept.due(user, snapshot) {
                    Due::Frame(frame) => Some(frame.clone()),
                    Due::Nothing | Due::Blank => None,
                };
                events.push(Event {
                    seq: kept.seq,
                    bytes: kept.content.bytes(),
                    frame,
                });
            }
        }
        events.sort_unstable_by_key(|event| event.seq);
        Next::Events { upto, events }
    }

    /// Up to where the community's events are here to be read by this user, no more than a number of them.
    fn reach(
        &self,
        community: CommunityId,
        user: UserId,
        snapshot: &Snapshot,
        past: &Past,
        position: Seq,
    ) -> Reach {
        let from = self.from(community);
        if from >= position {
            return Reach::Known(position.max(self.at.next()));
        }
        let (known, events) = match past.known(community, from, position) {
            Some(Known::Events(known, events)) => (known, events),
            Some(Known::Lost(upto)) if from == self.at => return Reach::Lost(upto),
            Some(Known::Lost(_)) | None => return Reach::Known(from),
        };
        for (count, kept) in events.enumerate() {
            if kept.seq > known {
                break;
            }
            if kept.due(user, snapshot) == Due::Blank {
                return Reach::Known(Seq(kept.seq.0.saturating_sub(1)));
            }
            if count + 1 == AT_ONCE {
                return Reach::Known(kept.seq);
            }
        }
        Reach::Known(known)
    }

    /// Adds the frames of these events, and marks them and everything up to `upto` done, as far as the client
    /// and the bounds of one resume allow.
    pub(crate) fn tell(
        &mut self,
        upto: Seq,
        events: Vec<Event>,
        config: &HubConfig,
        frames: &mut Vec<Bytes>,
    ) -> Ran {
        for event in events {
            if let Some(frame) = &event.frame
                && !self.has_room(frame, config)
            {
                return Ran::NeedsRoom;
            }
            self.looked_at.0 += 1;
            self.looked_at.1 += event.bytes;
            if self.looked_at.0 > config.resume_events || self.looked_at.1 > config.resume_bytes {
                return Ran::TooMuch;
            }
            self.at = event.seq;
            if let Some(frame) = event.frame {
                self.last_id = event.seq;
                self.wrote(&frame);
                frames.push(frame);
            }
        }
        self.at = upto;
        self.moved = true;
        Ran::On
    }

    /// Adds the `reset` which says that the log has lost what these communities had next, up to there. Its id is that of what
    /// was told so far. With a later one a client that breaks off after it would miss what its other communities have up
    /// to there; and it can't wait for its place, for the client may get to between without it, and go on at a gateway
    /// that remembers the rest.
    pub(crate) fn lose(
        &mut self,
        lost: &[(CommunityId, Seq)],
        reset: Bytes,
        config: &HubConfig,
        frames: &mut Vec<Bytes>,
    ) -> Ran {
        // Those of its other communities are still needed.
        self.pinned = Some(self.at);
        if !self.has_room(&reset, config) {
            return Ran::NeedsRoom;
        }
        for (community, upto) in lost {
            self.skip(*community, *upto);
        }
        self.last_id = self.told();
        self.wrote(&reset);
        frames.push(reset);
        Ran::On
    }

    /// Whether the client has read enough of what it was given to be given this as well. If not, it is waited for.
    fn has_room(&mut self, frame: &Bytes, config: &HubConfig) -> bool {
        let (messages, bytes) = self.written;
        let is_full =
            messages >= config.replay_messages || bytes + frame.len() > config.replay_bytes;
        self.needs_room = messages > 0 && is_full;
        !self.needs_room
    }

    fn wrote(&mut self, frame: &Bytes) {
        self.written.0 += 1;
        self.written.1 += frame.len();
        self.moved = true;
    }

    /// The client has read all it was given.
    pub(crate) fn drained(&mut self) {
        self.written = (0, 0);
        self.needs_room = false;
        self.moved = true;
    }
}
