//! The calls: everything the gateway tells the hub, and the actions it takes back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use crier_domain::log::Head;
use crier_domain::{Cursor, Epoch, Keys, Seq, UserId};

use crate::action::{Action, ConnectionId, PastAnswer, ReadId, SnapshotRead};
use crate::chance::Chance;
use crate::config::HubConfig;
use crate::frame::{ByeReason, Cursors};
use crate::interest::Interest;
use crate::past::{Past, PastLimits};
use crate::queue::{Arrival, Limits, Queue};
use crate::resume::Resume;
use crate::roster::{Roster, Stream};
use crate::stats::Stats;
use crate::timers::{Timer, Timers};

mod ahead;
mod lookup;
mod people;
mod recall;
mod replay;
mod walk;

use ahead::Tail;

/// Walks the log and says who gets what. See the [crate] for what holds at all times.
///
/// After every call, take actions by [`Hub::poll_action`] until there is none, and see to it that
/// [`Hub::tick`] is called by [`Hub::next_deadline`].
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    chance: Chance,
    cursors: Cursors,
    /// Everything up to here has been passed; none before the first `begin` and after the log was
    /// replaced. While there is none, nobody is connected.
    position: Option<Cursor>,
    queue: Queue,
    roster: Roster,
    /// Users whose snapshot was read from ahead of the position.
    arriving: BTreeSet<(Seq, UserId)>,
    /// Connections whose cursor is ahead of the position, with the first reading that can tell about them.
    ahead: BTreeMap<(Seq, ConnectionId), ReadId>,
    tail: Option<Tail>,
    interest: Interest,
    past: Past,
    /// Connections that catch up.
    replays: usize,
    /// Those of them that can go on.
    runnable: VecDeque<ConnectionId>,
    /// Those that don't begin to read the log before others have ended.
    stalled: VecDeque<ConnectionId>,
    /// When pages are given up that nobody needs: others may come back from the same place in a moment.
    pages_due: Option<Instant>,
    timers: Timers,
    /// All heartbeats are whole steps from here, so that those of many streams fall on the same moments.
    first_heartbeat: Option<Instant>,
    next_read: ReadId,
    /// There is more to pass than was passed at once: since when.
    more: Option<Instant>,
    actions: VecDeque<Action>,
    stats: Stats,
}

impl Hub {
    /// A hub that waits for [`Hub::begin`].
    #[must_use]
    pub fn new(config: HubConfig, keys: Keys) -> Self {
        Self {
            chance: Chance::new(config.seed),
            cursors: Cursors::new(keys),
            position: None,
            queue: Queue::new(Seq::ZERO, limits(&config)),
            roster: Roster::default(),
            arriving: BTreeSet::new(),
            ahead: BTreeMap::new(),
            tail: None,
            past: Past::new(PastLimits::from(&config)),
            replays: 0,
            runnable: VecDeque::new(),
            stalled: VecDeque::new(),
            pages_due: None,
            interest: Interest::default(),
            timers: Timers::default(),
            first_heartbeat: None,
            next_read: ReadId(0),
            more: None,
            actions: VecDeque::new(),
            stats: Stats::default(),
            config,
        }
    }

    /// The spine begins after `position` in `epoch`: the log's end, when the gateway starts, after
    /// [`Action::Restart`], and when the spine fell so far behind that it had to be begun anew.
    /// Whoever is connected by then is sent away to come back.
    ///
    /// A spine that was only lost goes on after [`Hub::taken`], and needs no call.
    pub fn begin(&mut self, epoch: Epoch, position: Seq, now: Instant) {
        self.forget(now);
        self.queue = Queue::new(position, limits(&self.config));
        self.position = Some(Cursor {
            epoch,
            seq: position,
        });
    }

    /// A client opened a stream. `token_issued_at` is in Unix seconds.
    pub fn connect(
        &mut self,
        connection: ConnectionId,
        user: UserId,
        token_issued_at: i64,
        resume: Resume,
        now: Instant,
    ) {
        if self.position.is_none() {
            let frame = self.bye(ByeReason::Unavailable);
            self.actions.push_back(Action::Close {
                connection,
                frame,
                reason: ByeReason::Unavailable,
            });
            return;
        }
        if !self.roster.connections.contains_key(&connection) {
            self.register(connection, user, token_issued_at, resume, now);
            self.run_replays(now);
        }
    }

    /// A stream ended. One that the hub closed itself, or never knew, is no matter.
    pub fn disconnect(&mut self, connection: ConnectionId, now: Instant) {
        self.remove(connection, now);
    }

    /// The spine is in its place in the log again. What was asked in vain while it was away is asked anew, each at a
    /// moment of its own within the first pause, and not when the last of the growing pauses is over.
    pub fn back(&mut self, now: Instant) {
        let within = self.config.lookup_backoff.first;
        self.look_up_anew(within, now);
        self.queue.ask_anew(now, within, &mut self.chance);
    }

    /// The answer to [`Action::ReadSnapshot`].
    pub fn snapshot_read(&mut self, read: ReadId, user: UserId, found: SnapshotRead, now: Instant) {
        self.lookup_answered(read, user, found, now);
        self.advance(now);
    }

    /// The answer to [`Action::ReadPast`].
    pub fn past(&mut self, read: ReadId, answer: PastAnswer, now: Instant) {
        self.past_answered(read, answer, now);
        self.advance(now);
    }

    /// The client has read everything it was given: the answer to [`Action::AwaitRoom`].
    pub fn drained(&mut self, connection: ConnectionId, now: Instant) {
        let known = self.roster.connection_mut(connection);
        if let Some(Stream::Replaying(replay)) = known.map(|known| &mut known.stream) {
            replay.drained();
            self.runnable.push_back(connection);
            self.advance(now);
        }
    }

    /// The spine brought the next message of the log; `bytes` is the length of its payload. Gaps in
    /// `seq` are normal, for messages expire and are purged. May be called while
    /// [`Hub::can_take_more`] says no, but should not.
    pub fn spine(&mut self, seq: Seq, epoch: Epoch, head: Head, bytes: usize, now: Instant) {
        let Some(position) = self.position else {
            return;
        };
        if epoch != position.epoch || seq <= self.queue.taken() {
            self.forget(now);
            self.position = None;
            self.actions.push_back(Action::Restart);
            return;
        }
        self.queue.push(seq, head, bytes, now);
        self.read_ahead(now);
        self.advance(now);
    }

    /// A payload came, as a live copy or as the answer to [`Action::Fetch`]. Early, late, twice or
    /// unwanted are all fine.
    pub fn payload(&mut self, seq: Seq, epoch: Epoch, payload: Bytes, now: Instant) {
        if self.position.is_none_or(|position| position.epoch != epoch) {
            return;
        }
        match self.queue.arrived(seq, payload.clone()) {
            Arrival::Live => self.stats.live += 1,
            Arrival::Fetched => self.stats.fetched += 1,
            Arrival::Healed(since) => {
                self.stats.fetched += 1;
                self.stats.healed += 1;
                self.stats.healing += now.saturating_duration_since(since);
            }
            Arrival::Dropped => self.stats.dropped += 1,
            Arrival::Useless => return self.fill_blank(seq, &payload),
            Arrival::Early => return,
        }
        self.advance(now);
    }

    /// The log's leader says that the message of an [`Action::Fetch`] is no longer there.
    pub fn gone(&mut self, seq: Seq, now: Instant) {
        if self.queue.gone(seq) {
            self.stats.gone += 1;
            self.advance(now);
        }
    }

    /// Time has passed: heartbeats, waits that are over, interest that lingered, fetches that are due.
    pub fn tick(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Connection(connection) => self.connection_due(connection, now),
                Timer::Lookup(user) => self.look_up(user, now),
                Timer::Interest(community) => {
                    self.interest.end(community);
                    self.actions.push_back(Action::Unfollow(community));
                    self.forget_past(community);
                }
                Timer::Past(community) => self.ask_past(community, now),
                Timer::Tail => self.ask_tail(now),
                Timer::Pages => self.give_up_pages(),
            }
        }
        if self.has_more() {
            self.advance(now);
        } else {
            self.fetch_due(now);
        }
    }

    /// When [`Hub::tick`] is next needed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.timers.next(), self.queue.next_due(), self.more]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether a burst is being passed in parts: [`Hub::tick`] is due at once, after the actions so far have been
    /// taken.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.more.is_some()
    }

    /// Whether the reader of the spine should go on; else it waits until a payload came.
    #[must_use]
    pub fn can_take_more(&self) -> bool {
        !self.queue.is_full()
    }

    /// Everything up to here has been passed. None before the first [`Hub::begin`], and between
    /// [`Action::Restart`] and the next.
    #[must_use]
    pub fn position(&self) -> Option<Cursor> {
        self.position
    }

    /// The last message the spine brought: a spine that was lost goes on after it.
    #[must_use]
    pub fn taken(&self) -> Seq {
        self.queue.taken()
    }

    /// Sizes and counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            position: self.position.map_or(Seq::ZERO, |position| position.seq),
            taken: self.queue.taken(),
            queue_entries: self.queue.len(),
            queue_bytes: self.queue.bytes(),
            early_bytes: self.queue.early_bytes(),
            connections: self.roster.connections.len(),
            users: self.roster.users.len(),
            interests: self.interest.len(),
            replays: self.replays,
            ring_bytes: self.past.ring_bytes(),
            page_bytes: self.past.page_bytes(),
            fetches_past: self.past.fetches(),
            ..self.stats
        }
    }

    fn bye(&mut self, reason: ByeReason) -> Bytes {
        let (least, most) = (self.config.bye_retry_least, self.config.bye_retry_most);
        crate::frame::bye(reason, self.chance.between(least, most))
    }

    /// Sends everyone away and drops what waits. What was followed lingers, for most will come back.
    fn forget(&mut self, now: Instant) {
        self.queue = Queue::new(Seq::ZERO, limits(&self.config));
        let mut connections: Vec<_> = self.roster.connections.keys().copied().collect();
        connections.sort_unstable();
        for connection in connections {
            self.close(connection, ByeReason::Unavailable, now);
        }
        self.clear_past();
    }

    fn new_read(&mut self) -> ReadId {
        let read = self.next_read;
        self.next_read = ReadId(read.0 + 1);
        read
    }
}

fn limits(config: &HubConfig) -> Limits {
    Limits {
        entries: config.max_queue_entries,
        bytes: config.max_queue_bytes,
        early_bytes: config.max_early_bytes,
    }
}
