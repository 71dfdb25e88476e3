//! The past of the communities followed here, for clients that come back: a ring of recent events each, and
//! pages of older ones read back from the log.
//!
//! Nothing here belongs to a client. Rings and pages are shared, bounded and given up without asking; a client
//! that still needed one has it read again. But pages for which a client waits until those of its other communities
//! are here too stay until it has gone on: two that took each other's pages away would never get anywhere. What
//! keeps the bound then is that others don't begin to read.

use std::collections::vec_deque::Iter;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crier_domain::log::EventHead;
use crier_domain::{CommunityId, Seq};

use crate::action::{ConnectionId, ReadId};
use crate::config::HubConfig;

mod fetch;
mod kept;
mod ring;

pub(crate) use fetch::{Fetch, Reply, Verdict};
pub(crate) use kept::{Content, Due, Kept};
use ring::Ring;

/// What a page that is being read will take, as a guess.
const EXPECTED_PAGE: usize = 16 << 10;

#[derive(Debug)]
pub(crate) struct Past {
    rings: BTreeMap<CommunityId, Ring>,
    /// Whose ring holds the event at a position.
    ringed: BTreeMap<Seq, CommunityId>,
    ring_bytes: usize,
    /// By community and the position after which they begin.
    pages: BTreeMap<(CommunityId, Seq), Page>,
    /// From the oldest on.
    page_order: VecDeque<(CommunityId, Seq)>,
    page_bytes: usize,
    /// Where connections are that wait for pages, or have not gone on since.
    pins: BTreeMap<Seq, usize>,
    fetches: BTreeMap<CommunityId, Fetch>,
    limits: PastLimits,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct PastLimits {
    ring_events: usize,
    ring_bytes: usize,
    rings_bytes: usize,
    pages_bytes: usize,
}

impl From<&HubConfig> for PastLimits {
    fn from(config: &HubConfig) -> Self {
        Self {
            ring_events: config.ring_events,
            ring_bytes: config.ring_bytes,
            rings_bytes: config.rings_bytes,
            pages_bytes: config.pages_bytes,
        }
    }
}

/// All events of a community after one position up to another, or that the log has lost them.
#[derive(Debug)]
struct Page {
    upto: Seq,
    is_lost: bool,
    events: VecDeque<Kept>,
    bytes: usize,
}

/// How far after a position a community is known.
#[derive(Debug)]
pub(crate) enum Known<'a> {
    /// Up to here, and these events are there.
    Events(Seq, Iter<'a, Kept>),
    /// Up to here, and what was there the log has lost.
    Lost(Seq),
}

impl Past {
    pub(crate) fn new(limits: PastLimits) -> Self {
        Self {
            rings: BTreeMap::new(),
            ringed: BTreeMap::new(),
            ring_bytes: 0,
            pages: BTreeMap::new(),
            page_order: VecDeque::new(),
            page_bytes: 0,
            pins: BTreeMap::new(),
            fetches: BTreeMap::new(),
            limits,
        }
    }

    pub(crate) fn ring_bytes(&self) -> usize {
        self.ring_bytes
    }

    pub(crate) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    pub(crate) fn fetches(&self) -> usize {
        self.fetches.len()
    }

    /// The community's events are passed from `position` on.
    pub(crate) fn follow(&mut self, community: CommunityId, position: Seq) {
        self.rings
            .entry(community)
            .or_insert_with(|| Ring::new(position));
    }

    /// They no longer are. Gives the reading that was under way.
    pub(crate) fn unfollow(&mut self, community: CommunityId) -> Option<Fetch> {
        if let Some(ring) = self.rings.remove(&community) {
            self.ring_bytes -= ring.bytes;
            for kept in &ring.events {
                self.ringed.remove(&kept.seq);
            }
        }
        self.fetches.remove(&community)
    }

    pub(crate) fn follows(&self, community: CommunityId) -> bool {
        self.rings.contains_key(&community)
    }

    /// The hub has passed this event.
    pub(crate) fn keep(&mut self, community: CommunityId, kept: Kept) {
        let Some(ring) = self.rings.get_mut(&community) else {
            return;
        };
        self.ringed.insert(kept.seq, community);
        self.ring_bytes -= ring.bytes;
        for given_up in ring.push(kept) {
            self.ringed.remove(&given_up.seq);
        }
        while ring.events.len() > self.limits.ring_events || ring.bytes > self.limits.ring_bytes {
            let Some(oldest) = ring.evict() else { break };
            self.ringed.remove(&oldest.seq);
        }
        self.ring_bytes += ring.bytes;
        self.evict();
    }

    /// Gives up the oldest over all communities until the bound holds.
    fn evict(&mut self) {
        while self.ring_bytes > self.limits.rings_bytes {
            let Some((_, community)) = self.ringed.pop_first() else {
                return;
            };
            let ring = self.rings.get_mut(&community);
            if let Some(oldest) = ring.and_then(Ring::evict) {
                self.ring_bytes -= oldest.bytes();
            }
        }
    }

    /// The head of an event that was kept without its content.
    pub(crate) fn blank(&self, seq: Seq) -> Option<&Arc<EventHead>> {
        self.rings.get(self.ringed.get(&seq)?)?.blank(seq)
    }

    /// Its content has come after all.
    pub(crate) fn fill(&mut self, seq: Seq, content: &Content) {
        let community = self.ringed.get(&seq);
        if let Some(ring) = community.and_then(|community| self.rings.get_mut(community)) {
            self.ring_bytes -= ring.bytes;
            ring.fill(seq, content.clone());
            self.ring_bytes += ring.bytes;
            self.evict();
        }
    }

    /// How far after `at` the community is known while the hub is at `position`. None: it must be read.
    pub(crate) fn known(
        &self,
        community: CommunityId,
        at: Seq,
        position: Seq,
    ) -> Option<Known<'_>> {
        let ring = self.rings.get(&community)?;
        // A page has read, or knows to be lost, what the ring may hold without its content.
        let begun = self.pages.range((community, Seq::ZERO)..=(community, at));
        let mut covering = begun.rev().filter(|(_, page)| page.upto > at);
        if let Some((_, page)) = covering.next() {
            return Some(if page.is_lost {
                Known::Lost(page.upto)
            } else {
                Known::Events(page.upto, kept::after(&page.events, at))
            });
        }
        (at >= ring.from).then(|| Known::Events(position, kept::after(&ring.events, at)))
    }

    /// A connection that is at `at` needs what follows. Whether the reading must be begun.
    pub(crate) fn wait(
        &mut self,
        community: CommunityId,
        at: Seq,
        connection: ConnectionId,
        read: ReadId,
        now: Instant,
    ) -> bool {
        let known = self.fetches.contains_key(&community);
        let fetch = self.fetches.entry(community);
        let fetch = fetch.or_insert_with(|| Fetch::new(community, read, now));
        fetch.waiters.insert((at, connection));
        !known
    }

    pub(crate) fn fetch_mut(&mut self, community: CommunityId) -> Option<&mut Fetch> {
        self.fetches.get_mut(&community)
    }

    /// Begins the community's reading anew for those who still wait. None: nobody does; it has ended.
    pub(crate) fn begin(&mut self, community: CommunityId) -> Option<&mut Fetch> {
        let wanted = self.fetches.get(&community)?;
        let ring = self.rings.get(&community);
        let Some(ring) = ring.filter(|_| !wanted.waiters.is_empty()) else {
            self.fetches.remove(&community);
            return None;
        };
        let fetch = self.fetches.get_mut(&community)?;
        fetch.begin(ring);
        Some(fetch)
    }

    /// The community whose reading asked this.
    pub(crate) fn asked(&self, read: ReadId) -> Option<CommunityId> {
        let mut fetches = self.fetches.iter();
        let (community, _) = fetches.find(|(_, fetch)| fetch.read == read)?;
        Some(*community)
    }

    pub(crate) fn judge(&mut self, community: CommunityId, reply: Reply) -> Option<Verdict> {
        let ring = self.rings.get_mut(&community)?;
        Some(self.fetches.get_mut(&community)?.judge(ring, reply))
    }

    /// These are all of the community's events after `after` up to the last of them.
    pub(crate) fn install(&mut self, community: CommunityId, after: Seq, events: VecDeque<Kept>) {
        let Some(upto) = events.back().map(|last| last.seq) else {
            return;
        };
        for kept in &events {
            self.fill(kept.seq, &kept.content);
        }
        let bytes = events.iter().map(Kept::bytes).sum();
        let page = Page {
            upto,
            is_lost: false,
            events,
            bytes,
        };
        self.keep_page(community, after, page);
    }

    /// The log has lost the community's events after `after` up to `upto`.
    pub(crate) fn lost(&mut self, community: CommunityId, after: Seq, upto: Seq) {
        let page = Page {
            upto,
            is_lost: true,
            events: VecDeque::new(),
            bytes: kept::OVERHEAD,
        };
        self.keep_page(community, after, page);
    }

    fn keep_page(&mut self, community: CommunityId, after: Seq, page: Page) {
        self.page_bytes += page.bytes;
        if let Some(replaced) = self.pages.insert((community, after), page) {
            self.page_bytes -= replaced.bytes;
            self.page_order.retain(|key| *key != (community, after));
        }
        self.page_order.push_back((community, after));
    }

    /// Gives up the oldest pages that nobody waits with, until the bound holds.
    pub(crate) fn evict_pages(&mut self) {
        if self.page_bytes <= self.limits.pages_bytes {
            return;
        }
        for key in std::mem::take(&mut self.page_order) {
            let page = self.pages.get(&key);
            let is_pinned = page.is_some_and(|page| {
                let (_, after) = key;
                self.pins.range(after..page.upto).next().is_some()
            });
            if is_pinned || self.page_bytes <= self.limits.pages_bytes {
                self.page_order.push_back(key);
            } else if let Some(page) = self.pages.remove(&key) {
                self.page_bytes -= page.bytes;
            }
        }
    }

    /// Whether a connection should not begin to read as long as others do.
    pub(crate) fn is_full(&self) -> bool {
        let expected = self.fetches.len().saturating_mul(EXPECTED_PAGE);
        !self.fetches.is_empty()
            && self.page_bytes.saturating_add(expected) > self.limits.pages_bytes
    }

    /// A connection that is here waits for pages.
    pub(crate) fn pin(&mut self, at: Seq) {
        *self.pins.entry(at).or_default() += 1;
    }

    /// It has gone on.
    pub(crate) fn unpin(&mut self, at: Seq) {
        if let Some(count) = self.pins.get_mut(&at) {
            *count -= 1;
            if *count == 0 {
                self.pins.remove(&at);
            }
        }
    }

    /// Those who wait from one position on and before another. They no longer wait.
    pub(crate) fn end_waits(
        &mut self,
        community: CommunityId,
        within: Range<Seq>,
    ) -> Vec<ConnectionId> {
        let Some(fetch) = self.fetches.get_mut(&community) else {
            return Vec::new();
        };
        let mut ended = fetch.waiters.split_off(&(within.start, ConnectionId(0)));
        let mut later = ended.split_off(&(within.end, ConnectionId(0)));
        fetch.waiters.append(&mut later);
        ended
            .into_iter()
            .map(|(_, connection)| connection)
            .collect()
    }

    pub(crate) fn reaches(&mut self, community: CommunityId, from: Seq, at_event: bool) {
        if let Some(ring) = self.rings.get_mut(&community) {
            ring.reaches(from, at_event);
        }
    }

    /// Nobody has replayed for a while.
    pub(crate) fn drop_pages(&mut self) {
        self.pages.clear();
        self.page_order.clear();
        self.page_bytes = 0;
    }

    /// A connection has gone. Gives the readings nobody waits for any more.
    pub(crate) fn leave(&mut self, at: Seq, connection: ConnectionId) -> Vec<(CommunityId, Fetch)> {
        let mut ended = Vec::new();
        for (community, fetch) in &mut self.fetches {
            if fetch.waiters.remove(&(at, connection)) && fetch.waiters.is_empty() {
                ended.push(*community);
            }
        }
        let fetches = &mut self.fetches;
        let ended = ended.into_iter();
        ended
            .filter_map(|community| Some((community, fetches.remove(&community)?)))
            .collect()
    }

    /// Everything is forgotten. Gives the readings that were under way.
    pub(crate) fn clear(&mut self) -> BTreeMap<CommunityId, Fetch> {
        std::mem::replace(self, Self::new(self.limits)).fetches
    }
}
