//! [`Tx`], a writing transaction, and [`Locks`], which it takes before anything else.
//!
//! Outbox ids are taken inside transactions. So that an id tells which of two changes in a community came first, a
//! transaction takes the locks of all its communities before its first statement and keeps them to its commit:
//! shared for events, which may run side by side, exclusive for whatever changes members, subscriptions or the kind of
//! the community. So of two rows of one community, one of them under the exclusive lock, the one with the smaller
//! id was committed before the other began. Two events that ran at the same time may have their ids either way.
//!
//! On PostgreSQL the locks are advisory, `pg_advisory_xact_lock[_shared](COMMUNITY_LOCKS, key)`, with the 64 bits of the
//! community's id folded into the 32 of `key`. Communities that share a key wait for each other, nothing worse: keys
//! are taken by ascending key, each once, in its strongest mode, so no two transactions wait in a circle. On SQLite
//! `BEGIN IMMEDIATE` lets one transaction write at a time.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crier_domain::CommunityId;
use sea_orm::DbBackend;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};
use tracing::Instrument;

use crate::error::{StoreError, Unavailable};
use crate::sql::{Db, Target};
use crate::store::{Reader, Store};
use crate::wake::Wake;

/// The first half of a community's advisory lock: "CRIE".
const COMMUNITY_LOCKS: i32 = 0x4352_4945;
/// The first half of the lock under which the schema is changed.
pub(crate) const SCHEMA_LOCKS: i32 = COMMUNITY_LOCKS + 1;
/// The first half of the locks under which sequences are moved.
pub(crate) const SEQUENCE_LOCKS: i32 = COMMUNITY_LOCKS + 2;

/// How often a transaction is begun at most before its failure is the caller's.
const ATTEMPTS: u32 = 3;
const BACK_OFF: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Shared,
    Exclusive,
}

/// The locks that a transaction takes first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locks(BTreeMap<CommunityId, Mode>);

impl Locks {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// And this community's, as events need it.
    #[must_use]
    pub fn shared(mut self, community: CommunityId) -> Self {
        self.0.entry(community).or_insert(Mode::Shared);
        self
    }

    /// And this community's, as changes of its members, subscriptions, articles' states or kind need it.
    #[must_use]
    pub fn exclusive(mut self, community: CommunityId) -> Self {
        self.0.insert(community, Mode::Exclusive);
        self
    }

    /// The statements that take them on PostgreSQL. Only whole numbers are written into the text.
    fn statements(&self) -> String {
        let mut keys = BTreeMap::new();
        for (community, mode) in &self.0 {
            let strongest = keys.entry(key(*community)).or_insert(*mode);
            *strongest = (*strongest).max(*mode);
        }
        let lock = |(key, mode): (&i32, &Mode)| match mode {
            Mode::Shared => {
                format!("SELECT pg_advisory_xact_lock_shared({COMMUNITY_LOCKS}, {key});")
            }
            Mode::Exclusive => format!("SELECT pg_advisory_xact_lock({COMMUNITY_LOCKS}, {key});"),
        };
        keys.iter().map(lock).collect()
    }
}

/// Folds 64 bits into 32; ids below 2³¹ stand for themselves.
fn key(community: CommunityId) -> i32 {
    let id = community.get();
    // The lower half of each: the casts drop what the fold has taken in.
    #[allow(clippy::cast_possible_truncation)]
    let (low, high) = (id as i32, (id >> 32) as i32);
    low ^ high
}

/// A transaction that may write. Questions stand on [`Reader`], changes here, one file per resource.
///
/// Dropping it takes everything back. What it adds to the outbox is signalled when it is committed.
pub struct Tx {
    reader: Reader,
    locks: Mutex<Locks>,
    wake: Wake,
    added_rows: AtomicBool,
    /// Its place among the calls that write; given back with the transaction.
    _slot: OwnedSemaphorePermit,
    pub(crate) trace: Option<String>,
}

impl Store {
    /// Begins a transaction under these locks. `trace` is the W3C `traceparent` of the request, kept in its outbox
    /// rows.
    ///
    /// # Errors
    /// When the database is unavailable, or a lock was not had within the statement timeout.
    pub async fn begin(&self, locks: Locks, trace: Option<String>) -> Result<Tx, StoreError> {
        let slot = self.inner.write_slot().await?;
        let mut attempt = 1;
        let db = loop {
            match self.try_begin(&locks).await {
                Ok(db) => break db,
                Err(error) if attempt < ATTEMPTS && error.is_worth_beginning_again() => {
                    sleep(BACK_OFF.mul_f64(f64::from(attempt) * rand::random_range(0.5..1.5)))
                        .await;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        };
        Ok(Tx {
            reader: Reader { db },
            locks: Mutex::new(locks),
            wake: self.inner.wake.clone(),
            added_rows: AtomicBool::new(false),
            _slot: slot,
            trace,
        })
    }

    async fn try_begin(&self, locks: &Locks) -> Result<Db, StoreError> {
        let writer = &self.inner.writer;
        let tx = self.inner.begin_write().await?;
        let db = writer.within(tx);
        if writer.backend == DbBackend::Postgres {
            let ms = writer.statement_timeout.as_millis();
            let take = locks.statements();
            db.script(&format!(
                "SET LOCAL lock_timeout = {ms}; SET LOCAL statement_timeout = {ms}; {take}"
            ))
            .await?;
        }
        Ok(db)
    }
}

impl Tx {
    /// Makes everything true at once, and then signals the relay if there are new rows.
    ///
    /// It is carried through even when the caller stops waiting.
    ///
    /// # Errors
    /// When the database is lost before it answered: then nobody knows whether it was committed.
    pub async fn commit(self) -> Result<(), StoreError> {
        let Self {
            reader,
            wake,
            added_rows,
            _slot: slot,
            ..
        } = self;
        let Target::Transaction(tx) = reader.db.target else {
            return Ok(());
        };
        let limit = reader.db.statement_timeout;
        let work = async move {
            let done = timeout(limit, tx.commit()).await;
            drop(slot);
            if added_rows.into_inner() {
                wake.raise();
            }
            done
        };
        let task = tokio::spawn(work.in_current_span());
        match task.await {
            Ok(Ok(done)) => Ok(done?),
            Ok(Err(_)) => Err(StoreError::timeout()),
            Err(_) => Err(StoreError::Unavailable {
                why: Unavailable::Connection,
                source: None,
            }),
        }
    }

    pub(crate) fn needs_shared(&self, community: CommunityId) -> Result<(), StoreError> {
        self.needs(community, Mode::Shared, "shared")
    }

    pub(crate) fn needs_exclusive(&self, community: CommunityId) -> Result<(), StoreError> {
        self.needs(community, Mode::Exclusive, "exclusive")
    }

    fn needs(
        &self,
        community: CommunityId,
        mode: Mode,
        needed: &'static str,
    ) -> Result<(), StoreError> {
        let held = self.held(|locks| locks.0.get(&community).copied());
        if held >= Some(mode) {
            Ok(())
        } else {
            Err(StoreError::NotLocked { community, needed })
        }
    }

    /// A community that this transaction made: nobody else can know of it, so it needs no lock.
    pub(crate) fn made(&self, community: CommunityId) {
        self.held(|locks| locks.0.insert(community, Mode::Exclusive));
    }

    pub(crate) fn added_rows(&self) {
        self.added_rows.store(true, Ordering::Relaxed);
    }

    fn held<T>(&self, read: impl FnOnce(&mut Locks) -> T) -> T {
        let mut locks = self
            .locks
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        read(&mut locks)
    }
}

impl Deref for Tx {
    type Target = Reader;
    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl std::fmt::Debug for Tx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn community(id: i64) -> CommunityId {
        CommunityId::try_from(id).unwrap()
    }

    #[test]
    fn locks_are_taken_once_each_by_ascending_key_in_their_strongest_mode() {
        let far = (1 << 32) | 6; // folds to 7
        let locks = Locks::new()
            .shared(community(far))
            .exclusive(community(3))
            .shared(community(3))
            .exclusive(community(7));
        let n = COMMUNITY_LOCKS;
        assert_eq!(
            locks.statements(),
            format!("SELECT pg_advisory_xact_lock({n}, 3);SELECT pg_advisory_xact_lock({n}, 7);")
        );
        assert_eq!(key(community(i64::MAX)), i32::MIN);
    }
}
