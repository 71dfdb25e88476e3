//! A gateway as far as its hub can tell: the spine, live copies and answers come late, out of turn or not at all.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use crier_domain::log::Head;
use crier_domain::{CommunityId, Keys, Seq, Snapshot, UserId};
use crier_hub::{
    Action, ConnectionId, Hub, HubConfig, PastAnswer, PastEvent, PastQuestion, ReadId, Resume,
    SnapshotRead,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use crate::log::{Entry, Log};
use crate::world::ms;

/// Events that a page of the past holds at most.
const PAGE: usize = 4;

/// Frames that wait for one client at most.
const OUTLET: usize = 10;

/// How one gateway is told of the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Way {
    /// How long each takes.
    pub(super) spine: Duration,
    pub(super) live: Duration,
    pub(super) reads: Duration,
    /// Live copies that never come, in a hundred.
    pub(super) lost: u32,
    /// Answers that are wrong in a way that replicas can be, or don't come, in a hundred.
    pub(super) wrong: u32,
}

enum Arrival {
    Live(Entry),
    Snapshot(ReadId, UserId, SnapshotRead),
    Payload(Seq),
    Past(ReadId, PastAnswer),
}

/// What waits for a client to read it.
#[derive(Default)]
pub(super) struct Outlet {
    pub(super) frames: VecDeque<Bytes>,
    /// No more will come.
    pub(super) has_ended: bool,
    /// The hub wants to know when everything has been read.
    awaited: bool,
}

pub(super) struct Gateway {
    hub: Hub,
    log: Log,
    rng: StdRng,
    pub(super) way: Way,
    /// Live copies up to here are under way, or lost.
    published: Seq,
    spine: VecDeque<(Instant, Entry)>,
    lost_until: Option<Instant>,
    arrivals: Vec<(Instant, Arrival)>,
    followed: HashSet<CommunityId>,
    outlets: HashMap<ConnectionId, Outlet>,
    connections: u64,
    /// Users whose snapshots the API service is asked for.
    pub(super) wanted: Vec<UserId>,
}

impl Gateway {
    /// One that begins at the log's end.
    pub(super) fn new(log: Log, keys: Keys, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let config = HubConfig {
            pass_at_once: 4,
            ring_events: [2, 5, 1_000][rng.random_range(0..3)],
            pages_bytes: [300, 2_000, 100_000][rng.random_range(0..3)],
            replay_messages: rng.random_range(1..6),
            seed: rng.random(),
            ..HubConfig::default()
        };
        let mut hub = Hub::new(config, keys);
        let epoch = log.marks().last().expect("an epoch").epoch();
        let end = log.tail();
        hub.begin(epoch, end, Instant::now().into_std());
        Self {
            hub,
            log,
            rng,
            way: Way::default(),
            published: end,
            spine: VecDeque::new(),
            lost_until: None,
            arrivals: Vec::new(),
            followed: HashSet::new(),
            outlets: HashMap::new(),
            connections: 0,
            wanted: Vec::new(),
        }
    }

    pub(super) fn connect(&mut self, user: UserId, resume: Resume, now: Instant) -> ConnectionId {
        let id = ConnectionId(self.connections);
        self.connections += 1;
        self.outlets.insert(id, Outlet::default());
        // A user's snapshots carry the number of a row as the time from which tokens count.
        self.hub.connect(id, user, i64::MAX, resume, now.into_std());
        self.act(now);
        id
    }

    pub(super) fn left(&mut self, id: ConnectionId) {
        let now = Instant::now();
        self.outlets.remove(&id);
        self.hub.disconnect(id, now.into_std());
        self.act(now);
    }

    /// Everything that waits for this client, and whether the stream has ended behind it.
    pub(super) fn take(&mut self, id: ConnectionId, now: Instant) -> (Vec<Bytes>, bool) {
        let Some(outlet) = self.outlets.get_mut(&id) else {
            return (Vec::new(), true);
        };
        let frames = outlet.frames.drain(..).collect();
        let ended = outlet.has_ended;
        if std::mem::take(&mut outlet.awaited) {
            self.hub.drained(id, now.into_std());
        }
        if ended {
            self.outlets.remove(&id);
        }
        self.act(now);
        (frames, ended)
    }

    pub(super) fn lose_spine(&mut self, until: Instant) {
        self.spine.clear();
        self.lost_until = Some(until);
    }

    pub(super) fn is_settled(&self, tail: Seq) -> bool {
        let stats = self.hub.stats();
        stats.position == tail && stats.replays == 0 && self.arrivals.is_empty()
    }

    pub(super) fn has_read_all(&self, id: ConnectionId) -> bool {
        let outlet = self.outlets.get(&id);
        outlet.is_some_and(|outlet| outlet.frames.is_empty() && !outlet.has_ended)
    }

    /// When [`Gateway::turn`] next has something to do, unless the log grows.
    pub(super) fn due(&self) -> Option<Instant> {
        let spine = self.spine.front().map(|(due, _)| *due);
        let arrivals = self.arrivals.iter().map(|(due, _)| *due);
        let hub = self.hub.next_deadline().map(Instant::from_std);
        let spine = spine.filter(|_| self.hub.can_take_more());
        let once = [spine, self.lost_until, hub].into_iter().flatten();
        once.chain(arrivals).min()
    }

    pub(super) fn turn(&mut self, now: Instant) {
        for entry in self.log.after(self.published) {
            self.published = entry.seq;
            self.copy(&entry, now);
            if self.lost_until.is_none() {
                let last = self.spine.back().map_or(now, |(due, _)| *due);
                self.spine
                    .push_back((last.max(now + self.way.spine), entry));
            }
        }
        if self.lost_until.is_some_and(|until| until <= now) {
            self.lost_until = None;
            let missed = self.log.after(self.hub.taken());
            self.spine = missed.into_iter().map(|entry| (now, entry)).collect();
        }
        while self.hub.can_take_more()
            && let Some((_, entry)) = self.spine.pop_front_if(|(due, _)| *due <= now)
        {
            let (epoch, head) = entry.head();
            let bytes = entry.message.payload.len();
            self.hub
                .spine(entry.seq, epoch, head, bytes, now.into_std());
            self.act(now);
        }
        while let Some(at) = self.arrivals.iter().position(|(due, _)| *due <= now) {
            let (_, arrival) = self.arrivals.swap_remove(at);
            self.arrive(arrival, now);
            self.act(now);
        }
        let due = |hub: &Hub| hub.next_deadline().is_some_and(|due| due <= now.into_std());
        while due(&self.hub) || self.hub.has_more() {
            self.hub.tick(now.into_std());
            self.act(now);
        }
    }

    fn chance(&mut self, in_a_hundred: u32) -> bool {
        self.rng.random_ratio(in_a_hundred, 100)
    }

    /// The live copy of what was just stored, if it is wanted here.
    fn copy(&mut self, entry: &Entry, now: Instant) {
        let event = entry.event();
        let followed = event.is_some_and(|event| self.followed.contains(&event.community));
        if followed && !self.chance(self.way.lost) {
            // Up to twice as long, so that they overtake each other.
            let late = self.way.live.mul_f64(self.rng.random_range(0.0..2.0));
            self.arrivals
                .push((now + late, Arrival::Live(entry.clone())));
        }
    }

    fn arrive(&mut self, arrival: Arrival, now: Instant) {
        let now = now.into_std();
        match arrival {
            Arrival::Live(entry) => {
                let payload = entry.message.payload.clone();
                self.hub.payload(entry.seq, entry.epoch(), payload, now);
            }
            // While the spine is lost, nobody knows what a snapshot is worth.
            Arrival::Snapshot(read, user, _) if self.lost_until.is_some() => {
                let failed = SnapshotRead::Failed;
                self.hub.snapshot_read(read, user, failed, now);
            }
            Arrival::Snapshot(read, user, found) => {
                self.hub.snapshot_read(read, user, found, now);
            }
            Arrival::Payload(seq) => match self.log.get(seq) {
                Some(entry) => {
                    let payload = entry.message.payload.clone();
                    self.hub.payload(seq, entry.epoch(), payload, now);
                }
                None => self.hub.gone(seq, now),
            },
            Arrival::Past(read, answer) => self.hub.past(read, answer, now),
        }
    }

    fn act(&mut self, now: Instant) {
        while let Some(action) = self.hub.poll_action() {
            match action {
                Action::Follow(community) => drop(self.followed.insert(community)),
                Action::Unfollow(community) => drop(self.followed.remove(&community)),
                Action::ReadSnapshot { read, user } => {
                    let found = self.last_snapshot(user);
                    self.answer(now, Arrival::Snapshot(read, user, found));
                }
                Action::RequestSnapshot(user) => self.wanted.push(user),
                Action::Fetch(seq) => {
                    // Without an answer it is asked again.
                    let wrong = self.way.wrong;
                    if !self.log.is_away() && !self.chance(wrong) {
                        self.answer(now, Arrival::Payload(seq));
                    }
                }
                Action::ReadPast { read, question } => {
                    let answer = self.ask_log(question);
                    self.answer(now, Arrival::Past(read, answer));
                }
                Action::AwaitRoom(id) => self.await_room(id, now),
                Action::Send { connection, frame } => self.send(connection, frame, now),
                Action::Deliver {
                    connections, frame, ..
                } => {
                    for connection in connections {
                        self.send(connection, frame.clone(), now);
                    }
                }
                Action::Close {
                    connection, frame, ..
                } => {
                    if let Some(outlet) = self.outlets.get_mut(&connection) {
                        outlet.frames.push_back(frame);
                        outlet.has_ended = true;
                    }
                }
                Action::Refuse(_) => panic!("no token is withdrawn here"),
                Action::Restart => panic!("the log is the same"),
            }
        }
    }

    fn answer(&mut self, now: Instant, arrival: Arrival) {
        let late = self.way.reads.mul_f64(self.rng.random_range(0.0..1.0));
        self.arrivals.push((now + late + ms(1), arrival));
    }

    fn send(&mut self, id: ConnectionId, frame: Bytes, now: Instant) {
        let Some(outlet) = self.outlets.get_mut(&id) else {
            return;
        };
        if outlet.has_ended {
            return;
        }
        if outlet.frames.len() < OUTLET {
            outlet.frames.push_back(frame);
        } else {
            outlet.has_ended = true;
            self.hub.disconnect(id, now.into_std());
        }
    }

    fn await_room(&mut self, id: ConnectionId, now: Instant) {
        let Some(outlet) = self.outlets.get_mut(&id) else {
            return;
        };
        if outlet.frames.is_empty() {
            self.hub.drained(id, now.into_std());
        } else {
            outlet.awaited = true;
        }
    }

    fn last_snapshot(&mut self, user: UserId) -> SnapshotRead {
        let wrong = self.way.wrong;
        if self.log.is_away() || self.chance(wrong) {
            return SnapshotRead::Failed;
        }
        match self.log.of_user(user.get()).last() {
            None => SnapshotRead::None,
            Some(entry) => SnapshotRead::Found {
                seq: entry.seq,
                epoch: entry.epoch(),
                snapshot: Snapshot::decode(&entry.message.payload).expect("a snapshot"),
            },
        }
    }

    fn ask_log(&mut self, question: PastQuestion) -> PastAnswer {
        let wrong = self.way.wrong;
        let is_wrong = self.chance(wrong);
        if self.log.is_away() {
            return PastAnswer::Failed;
        }
        match question {
            PastQuestion::Page { community, after } => {
                let events = self.log.after(after).into_iter().filter_map(past);
                let events = events.filter(|event| event.head.community == community);
                let mut page: Vec<_> = events.take(PAGE).collect();
                // A replica that lags has not all of it, and on the way one may get lost.
                if is_wrong && !page.is_empty() {
                    let at = self.rng.random_range(0..page.len());
                    if self.rng.random() {
                        page.truncate(at);
                    } else {
                        page.remove(at);
                    }
                }
                PastAnswer::Page(page)
            }
            _ if is_wrong => PastAnswer::Failed,
            PastQuestion::Newest(community) => {
                let events = self.log.events();
                let of_community = events
                    .iter()
                    .rfind(|entry| entry.event().is_some_and(|it| it.community == community));
                PastAnswer::Newest(of_community.map_or(Seq::ZERO, |entry| entry.seq))
            }
            PastQuestion::Event(seq) => PastAnswer::Event(self.log.get(seq).and_then(past)),
            PastQuestion::Horizon => {
                let marks = self.log.marks();
                PastAnswer::Horizon(marks.first().map(|mark| mark.seq))
            }
            PastQuestion::Tail => PastAnswer::Tail(self.log.tail()),
        }
    }
}

fn past(entry: Entry) -> Option<PastEvent> {
    let (epoch, Head::Event(head)) = entry.head() else {
        return None;
    };
    Some(PastEvent {
        seq: entry.seq,
        epoch,
        head,
        payload: entry.message.payload,
    })
}
