//! Entries of the log that wait to be passed, the payloads they need, and what must be fetched.
//!
//! A payload may come before its entry, after it, twice or not at all. Early ones are kept aside,
//! bounded on their own, so that live copies running ahead of the spine never stop the spine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crier_domain::Seq;
use crier_domain::log::Head;

use crate::chance::Chance;
use crate::config::Backoff;

/// A message of the log as the spine brought it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) seq: Seq,
    pub(crate) head: Head,
    pub(crate) payload: Payload,
    /// When the spine brought it.
    pub(crate) met: Instant,
    /// Its live copy should have come by itself.
    is_followed: bool,
    /// The payload's length, as the spine says.
    bytes: usize,
    /// What this entry adds to the queue's bytes.
    charged: usize,
}

/// How an entry's payload stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Not here, and nobody has needed it so far.
    Unwanted,
    /// Needed; to be fetched, or fetched again, at `ask_at`.
    Missing { ask_at: Instant, asked: u32 },
    /// Here.
    Here(Bytes),
    /// The log no longer has it.
    Gone,
}

/// What became of a payload that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Kept for its waiting entry, which had not asked for it.
    Live,
    /// Kept for its waiting entry, which had asked for it.
    Fetched,
    /// The same, and a live copy should have come: since when it was missing.
    Healed(Instant),
    /// Kept until its entry comes.
    Early,
    /// There was no room.
    Dropped,
    /// Here already, or its entry is passed.
    Useless,
}

/// A payload to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) seq: Seq,
    /// The first time, because the live copy did not come.
    pub(crate) is_gap: bool,
}

#[derive(Debug)]
pub(crate) struct Queue {
    entries: VecDeque<Entry>,
    /// Exactly the `ask_at` of all entries whose payload is missing.
    due: BTreeSet<(Instant, Seq)>,
    /// Payloads here or being fetched: the sum of what the entries are charged.
    bytes: usize,
    early: BTreeMap<Seq, Bytes>,
    early_bytes: usize,
    /// The last entry taken.
    taken: Seq,
    limits: Limits,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
    pub(crate) early_bytes: usize,
}

impl Queue {
    /// An empty queue; its first entry comes after `taken`.
    pub(crate) fn new(taken: Seq, limits: Limits) -> Self {
        Self {
            entries: VecDeque::new(),
            due: BTreeSet::new(),
            bytes: 0,
            early: BTreeMap::new(),
            early_bytes: 0,
            taken,
            limits,
        }
    }

    pub(crate) fn taken(&self) -> Seq {
        self.taken
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn early_bytes(&self) -> usize {
        self.early_bytes
    }

    /// Whether the spine should wait. Early payloads don't count: they wait for the spine themselves.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= self.limits.entries || self.has_no_room()
    }

    fn has_no_room(&self) -> bool {
        self.bytes >= self.limits.bytes
    }

    /// Takes the next entry, whose `seq` is above all before it.
    pub(crate) fn push(&mut self, seq: Seq, head: Head, bytes: usize, now: Instant) {
        self.taken = seq;
        let payload = self.take_early(seq);
        let charged = payload.as_ref().map_or(0, Bytes::len);
        self.bytes += charged;
        self.entries.push_back(Entry {
            seq,
            head,
            payload: payload.map_or(Payload::Unwanted, Payload::Here),
            met: now,
            is_followed: false,
            bytes,
            charged,
        });
    }

    /// The early payload of `seq`. Those before it have no entry, or it would have come: they go.
    fn take_early(&mut self, seq: Seq) -> Option<Bytes> {
        while let Some(first) = self.early.first_entry().filter(|first| *first.key() <= seq) {
            let (key, payload) = first.remove_entry();
            self.early_bytes -= payload.len();
            if key == seq {
                return Some(payload);
            }
        }
        None
    }

    pub(crate) fn front(&self) -> Option<&Entry> {
        self.entries.front()
    }

    /// A mistake on purpose: the first event, if it can be passed, and the next one of its community that can be, each
    /// stand in the other's place. Only from even to odd places, so that most events move once.
    pub(crate) fn swap_first(&mut self) {
        let mut events = self
            .entries
            .iter()
            .enumerate()
            .map_while(|(at, entry)| match &entry.head {
                Head::Event(head) => Some((at, head.community, entry)),
                Head::Mark | Head::Snapshot(_) => None,
            })
            .filter(|(_, _, entry)| matches!(entry.payload, Payload::Here(_)));
        let first = events
            .next()
            .filter(|(at, _, entry)| *at == 0 && entry.seq.0 % 2 == 0);
        let second = first.and_then(|(_, community, _)| {
            events.find(|(_, other, entry)| *other == community && entry.seq.0 % 2 == 1)
        });
        let Some(second) = second.map(|(at, ..)| at) else {
            return;
        };
        self.entries.swap(0, second);
        let mut pair = self.entries.range_mut(..=second);
        if let (Some(first), Some(second)) = (pair.next(), pair.next_back()) {
            std::mem::swap(&mut first.seq, &mut second.seq);
            if let (Head::Event(first), Head::Event(second)) = (&mut first.head, &mut second.head) {
                std::mem::swap(&mut first.prev, &mut second.prev);
            }
        }
    }

    /// The entry taken last.
    pub(crate) fn last(&self) -> Option<&Entry> {
        self.entries.back()
    }

    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.charged;
        if let Payload::Missing { ask_at, .. } = entry.payload {
            self.due.remove(&(ask_at, entry.seq));
        }
        Some(entry)
    }

    /// Marks the payload of the entry taken last as needed: it is fetched at `ask_at` unless it comes before, as it
    /// should if `is_followed`.
    pub(crate) fn want_last(&mut self, ask_at: Instant, is_followed: bool) {
        if let Some(last) = self.entries.back_mut() {
            last.is_followed = is_followed;
            want(last, &mut self.due, ask_at);
        }
    }

    /// Looks over all entries nobody has needed so far, and has those fetched that somebody does now.
    pub(crate) fn want_where(&mut self, wanted: impl Fn(&Entry) -> bool, ask_at: Instant) {
        for entry in &mut self.entries {
            if entry.payload == Payload::Unwanted && wanted(entry) {
                want(entry, &mut self.due, ask_at);
            }
        }
    }

    /// A payload came.
    pub(crate) fn arrived(&mut self, seq: Seq, payload: Bytes) -> Arrival {
        if seq > self.taken {
            return self.keep_early(seq, payload);
        }
        let has_room = !self.has_no_room();
        let is_front = self.front().is_some_and(|front| front.seq == seq);
        let Some(entry) = find(&mut self.entries, seq) else {
            return Arrival::Useless;
        };
        let asked = match entry.payload {
            Payload::Here(_) | Payload::Gone => return Arrival::Useless,
            Payload::Unwanted => false,
            Payload::Missing { asked, .. } => asked > 0,
        };
        if !(has_room || is_front || asked) {
            return Arrival::Dropped;
        }
        let arrival = match (asked, entry.is_followed) {
            (false, _) => Arrival::Live,
            (true, false) => Arrival::Fetched,
            (true, true) => Arrival::Healed(entry.met),
        };
        let length = payload.len();
        self.settle(seq, Payload::Here(payload), length);
        arrival
    }

    /// Near ones are worth more than far ones: what is over the bound goes from the far end.
    fn keep_early(&mut self, seq: Seq, payload: Bytes) -> Arrival {
        let added = payload.len();
        if self.early.contains_key(&seq) {
            return Arrival::Useless;
        }
        self.early.insert(seq, payload);
        self.early_bytes += added;
        let mut arrival = Arrival::Early;
        while self.early_bytes > self.limits.early_bytes {
            let Some((_, dropped)) = self.early.pop_last() else {
                break;
            };
            self.early_bytes -= dropped.len();
            arrival = Arrival::Dropped;
        }
        arrival
    }

    /// The log no longer has this payload. Whether an entry was waiting for it.
    pub(crate) fn gone(&mut self, seq: Seq) -> bool {
        let waited = find(&mut self.entries, seq)
            .is_some_and(|entry| matches!(entry.payload, Payload::Missing { .. }));
        if waited {
            self.settle(seq, Payload::Gone, 0);
        }
        waited
    }

    fn settle(&mut self, seq: Seq, payload: Payload, charge: usize) {
        let Some(entry) = find(&mut self.entries, seq) else {
            return;
        };
        if let Payload::Missing { ask_at, .. } = entry.payload {
            self.due.remove(&(ask_at, seq));
        }
        self.bytes = self.bytes - entry.charged + charge;
        entry.charged = charge;
        entry.payload = payload;
    }

    /// The next payload to fetch now. The front's is never held back for want of room.
    pub(crate) fn fetch(
        &mut self,
        now: Instant,
        backoff: Backoff,
        chance: &mut Chance,
    ) -> Option<Fetch> {
        let (ask_at, seq) = self.next_fetch().filter(|(ask_at, _)| *ask_at <= now)?;
        let entry = find(&mut self.entries, seq)?;
        let Payload::Missing { asked, .. } = &entry.payload else {
            return None;
        };
        let asked = asked.saturating_add(1);
        let is_gap = entry.is_followed && asked == 1;
        let again = now + chance.back_off(backoff, asked);
        entry.payload = Payload::Missing {
            ask_at: again,
            asked,
        };
        self.bytes = self.bytes - entry.charged + entry.bytes;
        entry.charged = entry.bytes;
        self.due.remove(&(ask_at, seq));
        self.due.insert((again, seq));
        Some(Fetch { seq, is_gap })
    }

    /// Has all that was asked for in vain asked for again within this time.
    pub(crate) fn ask_anew(&mut self, now: Instant, within: Duration, chance: &mut Chance) {
        for entry in &mut self.entries {
            if let Payload::Missing {
                ask_at,
                asked: asked @ 1..,
            } = &mut entry.payload
            {
                self.due.remove(&(*ask_at, entry.seq));
                *ask_at = now + chance.between(Duration::ZERO, within);
                *asked = 1;
                self.due.insert((*ask_at, entry.seq));
            }
        }
    }

    /// When a fetch is next due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.next_fetch().map(|(ask_at, _)| ask_at)
    }

    fn next_fetch(&self) -> Option<(Instant, Seq)> {
        if !self.has_no_room() {
            return self.due.first().copied();
        }
        match self.front()? {
            Entry {
                payload: Payload::Missing { ask_at, .. },
                seq,
                ..
            } => Some((*ask_at, *seq)),
            _ => None,
        }
    }
}

fn want(entry: &mut Entry, due: &mut BTreeSet<(Instant, Seq)>, ask_at: Instant) {
    if entry.payload == Payload::Unwanted {
        entry.payload = Payload::Missing { ask_at, asked: 0 };
        due.insert((ask_at, entry.seq));
    }
}

fn find(entries: &mut VecDeque<Entry>, seq: Seq) -> Option<&mut Entry> {
    let at = entries.binary_search_by_key(&seq, |entry| entry.seq).ok()?;
    entries.get_mut(at)
}
