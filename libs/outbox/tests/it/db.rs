//! The outbox in memory: rows, the lease, the position, and what can go wrong in asking for them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use crier_domain::{Audience, CommunityId, Epoch, Event, EventId, OutboxId, Seq, Snapshot, UserId};
use crier_outbox::source::{Change, Position, Row, Source, Term};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::log::Log;

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DbFate {
    /// Done after so many milliseconds.
    Fine(u64),
    /// Refused before anything is done.
    Fails,
    /// Done, but the caller hears of an error.
    DoneButFails,
    /// Done at once, answered after so many milliseconds.
    AnsweredLate(u64),
    /// Neither done nor answered.
    Hangs,
}

#[derive(Debug, thiserror::Error)]
#[error("the database is away")]
pub(crate) struct Away;

#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) row: Row,
    pub(crate) sent: Option<(Epoch, Seq)>,
    sent_at: Option<Instant>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) rows: BTreeMap<i64, Stored>,
    /// The last row of each user: what their snapshot must know of.
    pub(crate) users: HashMap<UserId, i64>,
    /// What each user may receive.
    rights: HashMap<UserId, Snapshot>,
    /// The rights of users as each of their rows left them, by the row's id.
    pub(crate) history: BTreeMap<i64, (UserId, Snapshot)>,
    pub(crate) buried: BTreeMap<OutboxId, String>,
    pub(crate) position: Option<Position>,
    pub(crate) calls: Vec<&'static str>,
    /// What must never happen, and did.
    pub(crate) wrongs: Vec<String>,
    pub(crate) leases: Vec<(Term, Uuid, Instant)>,
    last_id: i64,
    term: i64,
    lease: Option<(Uuid, Instant)>,
    fates: HashMap<&'static str, VecDeque<DbFate>>,
    any: VecDeque<DbFate>,
    hanging: bool,
}

#[derive(Clone)]
pub(crate) struct Db {
    state: Arc<Mutex<State>>,
    log: Log,
}

impl Db {
    pub(crate) fn new(log: &Log) -> Self {
        Self {
            state: Arc::default(),
            log: log.clone(),
        }
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    /// What becomes of the next calls of this name.
    pub(crate) fn fates(&self, call: &'static str, fates: impl IntoIterator<Item = DbFate>) {
        self.with(|state| state.fates.entry(call).or_default().extend(fates));
    }

    /// What becomes of the next calls of any name.
    pub(crate) fn any_fates(&self, fates: impl IntoIterator<Item = DbFate>) {
        self.with(|state| state.any.extend(fates));
    }

    pub(crate) fn hang(&self, hanging: bool) {
        self.with(|state| state.hanging = hanging);
    }

    pub(crate) fn commit_event(&self, community: i64, body: &str) -> EventId {
        let event = Event {
            id: EventId::new(),
            community: CommunityId::try_from(community).unwrap(),
            article: None,
            audience: Audience::Members,
            exclude: None,
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        let id = event.id;
        self.with(|state| state.insert(Change::Event(event)));
        id
    }

    /// The event that is made for the id of its row.
    pub(crate) fn commit(&self, make: impl FnOnce(OutboxId) -> Event) -> OutboxId {
        self.with(|state| {
            let event = make(OutboxId(state.last_id + 1));
            state.insert(Change::Event(event))
        })
    }

    /// Changes what a user may receive of a community, given the id of the row: the fence of what begins.
    pub(crate) fn commit_rights(
        &self,
        user: UserId,
        community: CommunityId,
        change: impl FnOnce(&mut Snapshot, OutboxId),
    ) -> OutboxId {
        self.with(|state| {
            let id = state.insert(Change::User(user, Some(community)));
            let rights = state.rights.entry(user).or_default();
            change(rights, id);
            state.history.insert(id.0, (user, rights.clone()));
            id
        })
    }

    pub(crate) fn last_id(&self) -> i64 {
        self.with(|state| state.last_id)
    }

    pub(crate) fn commit_user(&self, user: i64, community: i64) -> OutboxId {
        let user = UserId::try_from(user).unwrap();
        let community = CommunityId::try_from(community).unwrap();
        self.with(|state| state.insert(Change::User(user, Some(community))))
    }

    /// Somebody waits for the user's snapshot, in which nothing has changed.
    pub(crate) fn want_snapshot(&self, user: i64) -> OutboxId {
        let user = UserId::try_from(user).unwrap();
        self.with(|state| state.insert(Change::User(user, None)))
    }

    pub(crate) fn all_sent(&self) -> bool {
        self.with(|state| state.rows.values().all(|stored| stored.sent.is_some()))
    }

    pub(crate) fn sent(&self, id: EventId) -> Option<Seq> {
        self.with(|state| {
            let mut rows = state.rows.values();
            let row = rows.find(|stored| stored.event() == Some(id))?;
            row.sent.map(|(_, seq)| seq)
        })
    }

    pub(crate) fn position(&self) -> Option<Position> {
        self.with(|state| state.position)
    }

    /// One call, after its fate is known. A call that is slow holds no lock meanwhile.
    async fn call<T>(
        &self,
        name: &'static str,
        run: impl FnOnce(&mut State) -> T + Send,
    ) -> Result<T, Away> {
        let fate = self.with(|state| {
            state.calls.push(name);
            if state.hanging {
                return DbFate::Hangs;
            }
            let own = state.fates.get_mut(name).and_then(VecDeque::pop_front);
            own.or_else(|| state.any.pop_front())
                .unwrap_or(DbFate::Fine(0))
        });
        sleep(Duration::from_micros(300)).await;
        match fate {
            DbFate::Fine(ms) => {
                sleep(Duration::from_millis(ms)).await;
                Ok(self.with(run))
            }
            DbFate::Fails => Err(Away),
            DbFate::DoneButFails => {
                self.with(run);
                Err(Away)
            }
            DbFate::AnsweredLate(ms) => {
                let done = self.with(run);
                sleep(Duration::from_millis(ms)).await;
                Ok(done)
            }
            DbFate::Hangs => std::future::pending().await,
        }
    }
}

/// Where a row's change was.
fn place(row: &Row) -> Option<CommunityId> {
    match &row.change {
        Change::User(_, community) => *community,
        Change::Event(event) => Some(event.community),
    }
}

impl Stored {
    pub(crate) fn event(&self) -> Option<EventId> {
        match &self.row.change {
            Change::Event(event) => Some(event.id),
            Change::User(..) => None,
        }
    }
}

impl State {
    fn insert(&mut self, change: Change) -> OutboxId {
        self.last_id += 1;
        let id = OutboxId(self.last_id);
        if let Change::User(user, _) = change {
            self.users.insert(user, id.0);
        }
        let row = Row {
            id,
            traceparent: Some(format!("00-trace-{id}-01")),
            change,
        };
        let stored = Stored {
            row,
            sent: None,
            sent_at: None,
        };
        self.rows.insert(id.0, stored);
        id
    }

    fn mark(&mut self, id: i64, at: (Epoch, Seq), log: &Log) {
        let stored = self.rows.get_mut(&id).expect("a row that was read");
        let (row, change) = (stored.row.id, stored.row.change.clone());
        if stored.sent.is_some_and(|before| before.0 == at.0) {
            self.wrongs.push(format!("row {row} marked twice"));
        }
        stored.sent = Some(at);
        stored.sent_at = Some(Instant::now());
        let stands_there = log.ever().iter().any(|entry| {
            let same = (entry.epoch(), entry.seq) == at;
            same && match &change {
                Change::Event(event) => entry.event_id() == Some(event.id),
                // A snapshot counts for the row if it was built when the row was there.
                Change::User(user, _) => {
                    let snapshot = || Snapshot::decode(&entry.message.payload).unwrap();
                    let empty = || snapshot() == Snapshot::default();
                    entry.user() == Some(*user) && (snapshot().not_before >= row.0 || empty())
                }
            }
        });
        if !stands_there {
            self.wrongs
                .push(format!("row {row} marked at {}, where it is not", at.1));
        }
    }

    fn move_to(&mut self, position: Position, log: &Log) {
        if let Some(before) = self.position
            && before.epoch == position.epoch
            && before.seq > position.seq
        {
            self.wrongs
                .push(format!("position went from {before:?} to {position:?}"));
        }
        if !log.ever().iter().any(|entry| entry.seq >= position.seq) {
            self.wrongs.push(format!("{position:?} is beyond the log"));
        }
        self.position = Some(position);
    }

    fn leads(&self, term: Term) -> bool {
        term.0 == self.term && self.lease.is_some()
    }
}

impl Source for Db {
    type Error = Away;

    async fn lease(&self, holder: Uuid, length: Duration) -> Result<Option<Term>, Away> {
        self.call("lease", |state| {
            let now = Instant::now();
            match state.lease {
                Some((other, until)) if other != holder && until > now => return None,
                Some((same, _)) if same == holder => {}
                _ => {
                    state.term += 1;
                    state.leases.push((Term(state.term), holder, now));
                }
            }
            state.lease = Some((holder, now + length));
            Some(Term(state.term))
        })
        .await
    }

    async fn release(&self, term: Term) -> Result<(), Away> {
        self.call("release", |state| {
            if state.term == term.0 {
                state.lease = None;
            }
        })
        .await
    }

    async fn position(&self) -> Result<Option<Position>, Away> {
        self.call("position", |state| state.position).await
    }

    async fn unsent(&self, limit: usize) -> Result<Vec<Row>, Away> {
        self.call("unsent", |state| {
            let unsent = state.rows.values().filter(|stored| stored.sent.is_none());
            let rows = unsent.map(|stored| stored.row.clone());
            let (mut users, mut events): (Vec<Row>, Vec<Row>) =
                rows.partition(|row| matches!(row.change, Change::User(..)));
            let mut nth = HashMap::new();
            users.sort_by_cached_key(|row| {
                let awaited = events.iter().any(|event| place(event) == place(row));
                let n = nth.entry(place(row)).or_insert(0);
                *n += 1;
                (!awaited, if awaited { *n } else { 0 }, row.id)
            });
            let left = users.split_off(limit.min(users.len()));
            events.retain(|event| {
                let waits_for = |user: &Row| user.id < event.id && place(user) == place(event);
                !left.iter().any(waits_for)
            });
            events.truncate(limit);
            users.append(&mut events);
            users
        })
        .await
    }

    async fn snapshots(&self, users: &[UserId]) -> Result<Vec<(UserId, Bytes)>, Away> {
        self.call("snapshots", |state| {
            let build = |user: &UserId| {
                let snapshot = Snapshot {
                    not_before: state.users.get(user).copied().unwrap_or_default(),
                    ..state.rights.get(user).cloned().unwrap_or_default()
                };
                (*user, Bytes::from(snapshot.encode()))
            };
            users.iter().map(build).collect()
        })
        .await
    }

    async fn mark_sent(
        &self,
        term: Term,
        rows: &[(OutboxId, Seq)],
        position: Position,
    ) -> Result<bool, Away> {
        self.call("mark_sent", |state| {
            if !state.leads(term) {
                return false;
            }
            for (row, seq) in rows {
                state.mark(row.0, (position.epoch, *seq), &self.log);
            }
            state.move_to(position, &self.log);
            true
        })
        .await
    }

    async fn mark_found(
        &self,
        term: Term,
        events: &[(EventId, Seq)],
        position: Position,
    ) -> Result<bool, Away> {
        self.call("mark_found", |state| {
            if !state.leads(term) {
                return false;
            }
            for (event, seq) in events {
                let mut rows = state.rows.iter();
                let found = rows.find(|(_, stored)| stored.event() == Some(*event));
                if let Some((id, _)) = found.map(|(id, stored)| (*id, stored)) {
                    state.mark(id, (position.epoch, *seq), &self.log);
                }
            }
            state.move_to(position, &self.log);
            true
        })
        .await
    }

    async fn begin_epoch(
        &self,
        term: Term,
        position: Position,
        survived: Seq,
    ) -> Result<bool, Away> {
        self.call("begin_epoch", |state| {
            if !state.leads(term) {
                return false;
            }
            for stored in state.rows.values_mut() {
                let is_lost = stored.sent.is_some_and(|(_, seq)| seq > survived);
                if is_lost && stored.event().is_some() {
                    stored.sent = None;
                    stored.sent_at = None;
                }
            }
            state.move_to(position, &self.log);
            true
        })
        .await
    }

    async fn bury(&self, term: Term, row: OutboxId, reason: &str) -> Result<bool, Away> {
        self.call("bury", |state| {
            state.buried.insert(row, reason.to_owned());
            state.leads(term)
        })
        .await
    }

    async fn tidy(&self, term: Term, age: Duration) -> Result<bool, Away> {
        self.call("tidy", |state| {
            let old = |at: Instant| at.elapsed() > age;
            state
                .rows
                .retain(|_, stored| !stored.sent_at.is_some_and(old));
            state.leads(term)
        })
        .await
    }
}
