//! All rules at once: a log, a NATS that brings payloads in any order or not at all, reads that are
//! answered late, and clients that come and go, against an oracle that knows the whole log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crier_domain::log::Head;
use crier_domain::{CommunityId, Cursor, Epoch, Keys, Seq, UserId};
use crier_hub::{Action, ConnectionId, Hub, HubConfig, PastAnswer, ReadId, Resume, SnapshotRead};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::log::{Change, EPOCH, Log};
use crate::oracle::{Client, Written};
use crate::sse::{self, Frame};
use ops::{Op, PastHow, ReadHow, change, config, op};

mod ops;
mod past;

struct Model {
    hub: Hub,
    keys: Keys,
    now: Instant,
    log: Log,
    /// How many entries the spine has brought.
    brought: usize,
    /// Copies of stored messages under way.
    live: Vec<Seq>,
    fetches: Vec<Seq>,
    reads: Vec<(ReadId, UserId, SnapshotRead)>,
    requests: Vec<UserId>,
    /// Questions about the past, with the answers as the log was when they were asked.
    pasts: Vec<(ReadId, PastAnswer)>,
    /// Clients that have something to read.
    unread: Vec<ConnectionId>,
    /// The hub's position before the call whose actions are taken, and whether its cause was a snapshot that
    /// was read, or the log's past.
    before: Seq,
    is_read: Option<UserId>,
    is_past: bool,
    resume_events: usize,
    followed: BTreeSet<CommunityId>,
    clients: BTreeMap<ConnectionId, (Client, Instant)>,
    wait: Duration,
}

impl Model {
    fn new(config: HubConfig, before: &[Op]) -> Self {
        let keys = Keys::from_base64(&[Keys::random_base64()]).unwrap();
        let mut model = Self {
            wait: config.snapshot_wait,
            resume_events: config.resume_events,
            pasts: Vec::new(),
            unread: Vec::new(),
            before: Seq::ZERO,
            is_read: None,
            is_past: false,
            hub: Hub::new(config, keys.clone()),
            keys,
            now: Instant::now(),
            log: Log::default(),
            brought: 0,
            live: Vec::new(),
            fetches: Vec::new(),
            reads: Vec::new(),
            requests: Vec::new(),
            followed: BTreeSet::new(),
            clients: BTreeMap::new(),
        };
        model.log.mark(0);
        for op in before {
            model.step(op);
        }
        model.brought = model.log.entries.len();
        model.hub.begin(EPOCH, model.log.end(), model.now);
        model.before = model.log.end();
        model
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Event { new, gap, is_lost } => {
                let seq = self.log.event(new, *gap);
                if self.followed.contains(&new.community) && !is_lost {
                    self.live.push(seq);
                }
            }
            Op::Change { user, change, gap } => self.log.change(*user, change, *gap),
            Op::Mark { gap } => self.log.mark(*gap),
            // The newest the spine has brought: older ones matter to nobody any more. And what it has
            // not brought it would never bring, which is a gap.
            Op::Purge(which) => {
                let newest = which.index(self.brought.min(6));
                self.log.purge(self.brought - 1 - newest);
            }
            Op::Expire(which) => self.log.expire(which.index(self.brought / 2 + 1)),
            Op::Past { which, how } => {
                if let Some(at) = pick(which, self.pasts.len()) {
                    self.answer_past(at, *how);
                }
            }
            Op::Drained(which) => {
                if let Some(at) = pick(which, self.unread.len()) {
                    let id = self.unread.swap_remove(at);
                    self.hub.drained(id, self.now);
                }
            }
            Op::Spine { entries } => self.spine(*entries),
            Op::Live { which, again } => {
                if let Some(at) = pick(which, self.live.len()) {
                    let seq = self.live[at];
                    if !again {
                        self.live.swap_remove(at);
                    }
                    self.payload(seq);
                }
            }
            Op::Stray(which) => {
                let seq = self.log.entries[which.index(self.log.entries.len())].seq;
                self.payload(seq);
            }
            Op::Fetched(which) => {
                if let Some(at) = pick(which, self.fetches.len()) {
                    self.fetched(at);
                }
            }
            Op::Read { which, how } => {
                if let Some(at) = pick(which, self.reads.len()) {
                    self.read(at, *how);
                }
            }
            Op::Requested(which) => {
                if let Some(at) = pick(which, self.requests.len()) {
                    let user = self.requests.swap_remove(at);
                    self.log.change(user, &Change::Nothing, 0);
                }
            }
            Op::Connect {
                user,
                resume,
                cursor,
                old_token,
            } => self.connect(*user, resume, cursor, *old_token),
            Op::Disconnect(which) => {
                let open = self
                    .clients
                    .iter()
                    .filter(|(_, (client, _))| client.is_open());
                let open: Vec<_> = open.map(|(id, _)| *id).collect();
                if let Some(at) = pick(which, open.len()) {
                    self.disconnect(open[at]);
                }
            }
            Op::Time { millis } => self.pass(Duration::from_millis(*millis)),
        }
        self.act();
        // A gateway comes back at once, but other things may happen before.
        while self.hub.has_more() && !matches!(op, Op::Live { .. } | Op::Past { .. }) {
            self.hub.tick(self.now);
            self.act();
        }
    }

    fn spine(&mut self, entries: usize) {
        for _ in 0..entries {
            let Some(entry) = self.log.entries.get(self.brought) else {
                return;
            };
            if !self.hub.can_take_more() {
                return;
            }
            self.brought += 1;
            let (seq, head, bytes) = (entry.seq, entry.head.clone(), entry.payload.len());
            self.hub.spine(seq, EPOCH, head, bytes, self.now);
            self.act();
        }
    }

    fn payload(&mut self, seq: Seq) {
        let payload = self.log.get(seq).payload.clone();
        self.hub.payload(seq, EPOCH, payload, self.now);
    }

    fn fetched(&mut self, at: usize) {
        let seq = self.fetches.swap_remove(at);
        if self.log.get(seq).is_gone() {
            self.hub.gone(seq, self.now);
        } else {
            self.payload(seq);
        }
    }

    fn last_snapshot(&self, user: UserId) -> SnapshotRead {
        match self.log.standing(user, self.log.end()) {
            None => SnapshotRead::None,
            Some((seq, snapshot)) => SnapshotRead::Found {
                seq,
                epoch: EPOCH,
                snapshot: snapshot.clone(),
            },
        }
    }

    fn read(&mut self, at: usize, how: ReadHow) {
        let (read, user, then) = self.reads.swap_remove(at);
        let found = match how {
            ReadHow::Then => then,
            ReadHow::Now => self.last_snapshot(user),
            ReadHow::Fails => SnapshotRead::Failed,
        };
        let position = self.hub.stats().position;
        let counts = matches!(found, SnapshotRead::Found { seq, .. } if seq <= position);
        self.is_read = counts.then_some(user);
        self.hub.snapshot_read(read, user, found, self.now);
        self.act();
        self.is_read = None;
    }

    fn connect(&mut self, user: UserId, resume: &Index, cursor: &Index, old_token: bool) {
        let id = ConnectionId(self.clients.len() as u64);
        let position = self.hub.position().unwrap();
        let at = |seq| Resume::At(Cursor { seq, ..position });
        let resume = match resume.index(12) {
            0 => at(position.seq),
            1 => Resume::Bad,
            2 => Resume::At(Cursor {
                epoch: Epoch::from_bits(2),
                ..position
            }),
            // Anywhere, beyond the log's end too.
            3..=8 => at(Seq(cursor.index(self.log.end().0 as usize + 3) as u64)),
            _ => Resume::Fresh,
        };
        let issued_at = if old_token { 0 } else { 9 };
        let client = Client {
            user,
            issued_at,
            resume,
            log_end: self.log.end(),
            resume_events: self.resume_events,
            frames: Vec::new(),
            ready_at: Seq::ZERO,
            left: None,
            out_of_patience: false,
            is_refused: false,
        };
        self.clients.insert(id, (client, self.now));
        self.hub.connect(id, user, issued_at, resume, self.now);
    }

    fn disconnect(&mut self, id: ConnectionId) {
        let (client, _) = self.clients.get_mut(&id).unwrap();
        client.left = Some(self.hub.position().unwrap().seq);
        self.hub.disconnect(id, self.now);
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.hub.next_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.hub.tick(self.now);
            assert!(
                self.hub.has_more() || self.hub.next_deadline().is_none_or(|next| next > due),
                "a tick in vain"
            );
            self.act();
        }
        self.now = until;
    }

    fn act(&mut self) {
        while let Some(action) = self.hub.poll_action() {
            match action {
                Action::Follow(community) => assert!(self.followed.insert(community)),
                Action::Unfollow(community) => assert!(self.followed.remove(&community)),
                Action::ReadSnapshot { read, user } => {
                    let then = self.last_snapshot(user);
                    self.reads.push((read, user, then));
                }
                Action::RequestSnapshot(user) => self.requests.push(user),
                Action::Fetch(seq) => self.fetches.push(seq),
                Action::ReadPast { read, question } => {
                    let answer = self.ask_log(question);
                    self.pasts.push((read, answer));
                }
                Action::AwaitRoom(connection) => self.unread.push(connection),
                Action::Send { connection, frame } => self.write(connection, &frame),
                Action::Deliver {
                    connections,
                    frame,
                    event,
                    seq,
                    ..
                } => {
                    assert!(!connections.is_empty());
                    assert_eq!(self.log.get(seq).head, Head::Event((*event).clone()));
                    for connection in connections {
                        self.write(connection, &frame);
                    }
                }
                Action::Close {
                    connection, frame, ..
                } => self.write(connection, &frame),
                Action::Refuse(connection) => self.refuse(connection),
                Action::Restart => panic!("the log is the same"),
            }
        }
        self.before = self.hub.stats().position;
        self.check_interest();
    }

    fn write(&mut self, id: ConnectionId, frame: &[u8]) {
        let (client, since) = self.clients.get_mut(&id).unwrap();
        assert!(client.is_open(), "{id} is closed");
        client.out_of_patience = self.now >= *since + self.wait;
        let (from, upto) = (self.before, self.hub.position().unwrap().seq);
        let frames = sse::read(frame, &self.keys);
        if client.frames.is_empty() {
            // A snapshot or the log's end that was read counts before what is passed then.
            let is_reset = matches!(frames[0], Frame::Ready { id, .. } if id.seq == Seq::ZERO);
            let is_beyond = is_reset && client.is_ours();
            let is_before = self.is_read == Some(client.user) || (self.is_past && is_beyond);
            client.ready_at = if is_before { from } else { upto };
        }
        let frames = frames.into_iter();
        let written = frames.map(|frame| Written { frame, from, upto });
        client.frames.extend(written);
    }

    fn refuse(&mut self, id: ConnectionId) {
        let (client, _) = self.clients.get_mut(&id).unwrap();
        assert!(
            client.is_open() && client.frames.is_empty(),
            "{id} was told something"
        );
        client.is_refused = true;
    }

    /// The communities that ready clients need at the hub's position.
    fn needed(&self) -> BTreeSet<CommunityId> {
        let Some(position) = self.hub.position() else {
            return BTreeSet::new();
        };
        let clients = self.clients.values().map(|(client, _)| client);
        let ready = clients.filter(|client| client.is_open() && client.is_ready());
        let snapshots = ready.filter_map(|client| self.log.standing(client.user, position.seq));
        snapshots
            .flat_map(|(_, snapshot)| snapshot.communities.keys().copied())
            .collect()
    }

    fn check_interest(&self) {
        let needed = self.needed();
        assert!(
            needed.is_subset(&self.followed),
            "{needed:?} of {:?}",
            self.followed
        );
    }

    /// Everything that is under way comes, but no live copy: then everybody has all.
    fn settle(&mut self) {
        self.live.clear();
        for _ in 0..2_000 {
            while let Some(user) = self.requests.pop() {
                self.log.change(user, &Change::Nothing, 0);
            }
            self.spine(usize::MAX);
            while !self.fetches.is_empty() {
                self.fetched(0);
                self.act();
            }
            while !self.reads.is_empty() {
                self.read(0, ReadHow::Now);
                self.act();
            }
            for _ in 0..self.pasts.len() {
                self.answer_past(0, PastHow::Whole);
                self.act();
            }
            for id in std::mem::take(&mut self.unread) {
                self.hub.drained(id, self.now);
                self.act();
            }
            let clients = self.clients.values().map(|(client, _)| client);
            let mut open = clients.filter(|client| client.is_open());
            let stats = self.hub.stats();
            let passed = stats.position == self.log.end() && stats.replays == 0;
            if passed && self.requests.is_empty() && open.all(Client::is_ready) {
                return;
            }
            self.pass(Duration::from_millis(10));
        }
        panic!("it never comes to rest: {:?}", self.hub.stats());
    }

    fn check(&mut self, linger: Duration) {
        self.settle();
        for (client, _) in self.clients.values() {
            client.check(&self.log);
        }
        self.pass(linger);
        assert_eq!(self.followed, self.needed());

        let open = self
            .clients
            .iter()
            .filter(|(_, (client, _))| client.is_open());
        let open: Vec<_> = open.map(|(id, _)| *id).collect();
        open.into_iter().for_each(|id| self.disconnect(id));
        self.pass(linger);
        let stats = self.hub.stats();
        assert_eq!((stats.connections, stats.users, stats.interests), (0, 0, 0));
        assert_eq!((stats.queue_entries, stats.queue_bytes), (0, 0));
        let past = (stats.ring_bytes, stats.page_bytes, stats.fetches_past);
        assert_eq!((past, stats.replays), ((0, 0, 0), 0));
        assert_eq!(self.hub.next_deadline(), None, "something was left behind");
    }
}

fn pick(which: &Index, among: usize) -> Option<usize> {
    (among > 0).then(|| which.index(among))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_024, ..ProptestConfig::default() })]

    #[test]
    fn every_client_gets_what_the_rule_gives_in_order_and_once(
        config in config(),
        before in prop::collection::vec(change(), 0..12),
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let linger = config.linger;
        let mut model = Model::new(config, &before);
        for op in &ops {
            model.step(op);
        }
        model.check(linger);
    }
}
