//! An outbox, a log and relays between them; and what must hold whatever happened.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crier_domain::{CommunityId, EventId, OutboxId, Seq, Snapshot, UserId};
use crier_outbox::source::{Change, Term};
use crier_outbox::{Leadership, Relay, RelayConfig, Stats};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::db::Db;
use crate::log::{Entry, Log};

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A relay as a process would run it.
pub(crate) struct Runner {
    pub(crate) stats: Arc<Stats>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) wake: Arc<Notify>,
    stopped: watch::Sender<bool>,
    held: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Runner {
    /// Stops the process; with `held`, what it has sent stays in its own buffers.
    pub(crate) fn stop(&self, held: bool) {
        self.stopped.send_replace(true);
        self.held.send_replace(held);
    }

    pub(crate) fn go_on(&self) {
        self.stopped.send_replace(false);
        self.held.send_replace(false);
    }

    pub(crate) fn kill(&self) {
        self.task.as_ref().unwrap().abort();
    }

    pub(crate) fn leads(&self) -> Option<Term> {
        match *self.leadership.borrow() {
            Leadership::Leading(term) => Some(term),
            Leadership::Standby => None,
        }
    }

    pub(crate) async fn end(&mut self) {
        self.shutdown.cancel();
        let task = self.task.take().unwrap();
        tokio::time::timeout(ms(60_000), task)
            .await
            .expect("ends")
            .expect("without panic");
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) log: Log,
    pub(crate) config: RelayConfig,
    pub(crate) relays: Vec<Runner>,
}

impl World {
    pub(crate) fn new() -> Self {
        let log = Log::new();
        Self {
            db: Db::new(&log),
            log,
            config: RelayConfig::default(),
            relays: Vec::new(),
        }
    }

    /// With one relay, which leads and has begun the first epoch.
    pub(crate) async fn leading() -> Self {
        let mut world = Self::new();
        world.start();
        world
            .until("an epoch", |world| world.db.position().is_some())
            .await;
        world
    }

    pub(crate) fn start(&mut self) -> usize {
        self.start_on(|connection| connection)
    }

    pub(crate) fn start_on(&mut self, on: impl FnOnce(Connection) -> Connection) -> usize {
        let (stopped, held) = (watch::Sender::new(false), watch::Sender::new(false));
        let connection = on(Connection::new(&self.log, held.subscribe()));
        let wake = Arc::new(Notify::new());
        let config = self.config.clone();
        let relay = Relay::new(self.db.clone(), connection, config, Arc::clone(&wake));
        let shutdown = CancellationToken::new();
        let (stats, leadership) = (relay.stats(), relay.leadership());
        let run = stoppable(relay.run(shutdown.clone()), stopped.subscribe());
        self.relays.push(Runner {
            stats,
            leadership,
            shutdown,
            wake,
            stopped,
            held,
            task: Some(tokio::spawn(run)),
        });
        self.relays.len() - 1
    }

    pub(crate) fn event(&self, community: i64) -> EventId {
        self.event_of(community, "{}")
    }

    /// So many events, in these communities in turn.
    pub(crate) fn events(&self, count: usize, communities: &[i64]) {
        for community in communities.iter().cycle().take(count) {
            self.event(*community);
        }
    }

    pub(crate) fn event_of(&self, community: i64, body: &str) -> EventId {
        let id = self.db.commit_event(community, body);
        self.wake();
        id
    }

    /// A change of this user, in one of the communities that have most of the events.
    pub(crate) fn user(&self, user: i64) {
        self.user_in(user, [45, 1, 2, 3][usize::try_from(user % 4).unwrap()]);
    }

    pub(crate) fn user_in(&self, user: i64, community: i64) {
        self.db.commit_user(user, community);
        self.wake();
    }

    pub(crate) fn wake(&self) {
        self.relays.iter().for_each(|relay| relay.wake.notify_one());
    }

    pub(crate) async fn until(&self, what: &str, mut reached: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + ms(600_000);
        while !reached(self) {
            assert!(Instant::now() < deadline, "ten minutes without {what}");
            sleep(ms(1)).await;
        }
    }

    pub(crate) async fn all_sent(&self) {
        self.until("all sent", |world| world.db.all_sent()).await;
    }

    /// Everything sent, and everything that must hold holds.
    pub(crate) async fn settled(&self) {
        self.all_sent().await;
        self.check();
    }

    /// What must hold of rows and log when all is sent and the log has lost nothing.
    pub(crate) fn check(&self) {
        self.check_events();
        self.snapshots_in_time();
    }

    /// What must hold of events when all is sent, though the log has lost something on the way.
    pub(crate) fn check_events(&self) {
        let wrongs = self.db.with(|state| state.wrongs.clone());
        assert!(wrongs.is_empty(), "{wrongs:#?}");
        self.each_event_once();
        self.order_and_links();
    }

    fn each_event_once(&self) {
        let mut seen = HashMap::new();
        for entry in self.log.events() {
            let key = (entry.epoch(), entry.event_id().unwrap());
            if let Some(before) = seen.insert(key, entry.seq) {
                panic!("{key:?} stands at {before} and {}", entry.seq);
            }
        }
        assert_eq!(self.lacks(), None, "a row that is not in the log");
    }

    /// A row whose event is not in the log.
    pub(crate) fn lacks(&self) -> Option<OutboxId> {
        let events = self.log.events();
        let events: HashSet<EventId> = events.iter().filter_map(Entry::event_id).collect();
        self.db.with(|state| {
            let mut rows = state.rows.values();
            let lacks = |id: EventId| !events.contains(&id);
            let row = rows.find(|stored| stored.event().is_some_and(lacks))?;
            Some(row.row.id)
        })
    }

    /// Per community: each linked to the one before, and within an epoch in the order of rows.
    fn order_and_links(&self) {
        let mut last: BTreeMap<CommunityId, Seq> = BTreeMap::new();
        let mut rows: BTreeMap<(CommunityId, u64), i64> = BTreeMap::new();
        for entry in self.log.events() {
            let event = entry.event().unwrap();
            let before = last.insert(event.community, entry.seq);
            assert_eq!(
                event.prev,
                before.unwrap_or_default(),
                "the link at {}",
                entry.seq
            );
            let place = (event.community, entry.epoch().to_bits());
            let row = rows.insert(place, event.fence.0).unwrap_or_default();
            assert!(event.fence.0 > row, "row {} after row {row}", event.fence);
        }
    }

    /// No event before a snapshot that knows of its community's users' rows before it; no snapshot older than the one
    /// before; the last one of each user the true one.
    fn snapshots_in_time(&self) {
        let user_rows: Vec<(i64, UserId, Option<CommunityId>)> = self.db.with(|state| {
            let rows = state.rows.values();
            let of_user = rows.filter_map(|stored| match stored.row.change {
                Change::User(user, community) => Some((stored.row.id.0, user, community)),
                Change::Event(_) => None,
            });
            of_user.collect()
        });
        let mut known: HashMap<UserId, i64> = HashMap::new();
        for entry in self.log.entries() {
            if let Some(user) = entry.user() {
                let built = Snapshot::decode(&entry.message.payload).unwrap().not_before;
                let before = known.insert(user, built).unwrap_or_default();
                assert!(
                    built >= before,
                    "the snapshot at {} is older than the last",
                    entry.seq
                );
            } else if let Some(event) = entry.event() {
                let waited_for = |row: i64, community: Option<CommunityId>| {
                    row < event.fence.0 && community == Some(event.community)
                };
                for (row, user, _) in user_rows.iter().filter(|(row, _, c)| waited_for(*row, *c)) {
                    let built = known.get(user).copied().unwrap_or_default();
                    assert!(
                        built >= *row,
                        "row {} went before user row {row}",
                        event.fence
                    );
                }
            }
        }
        for (row, user, _) in user_rows {
            assert!(
                known.get(&user).is_some_and(|built| *built >= row),
                "user row {row}"
            );
        }
    }
}

/// A future that can be stopped as a process is by SIGSTOP: nothing in it goes on, and what became due
/// meanwhile is due at once afterwards.
async fn stoppable(inner: impl Future<Output = ()>, mut stopped: watch::Receiver<bool>) {
    let mut inner = pin!(inner);
    loop {
        if stopped.wait_for(|stopped| !stopped).await.is_err() {
            return;
        }
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => {}
            () = &mut inner => return,
        }
    }
}
