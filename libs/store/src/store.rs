//! [`Store`], the open database, and [`Reader`], where questions stand.

use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbBackend, IsolationLevel, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::config::DatabaseConfig;
use crate::connect;
use crate::error::StoreError;
use crate::sql::{Db, Target};
use crate::wake::{self, Task, Wake};

/// Calls that may wait for SQLite's one writer at a time.
const SQLITE_WRITERS: usize = 32;

/// Of PostgreSQL's connections, those that are kept for the relay and for reading.
const SPARE_CONNECTIONS: u32 = 4;

const CLOSING: Duration = Duration::from_secs(5);

/// The open database. Cheap to clone; all clones are one. Questions stand on [`Reader`].
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    readers: DatabaseConnection,
    writers: DatabaseConnection,
    reader: Reader,
    /// For single statements that write.
    pub(crate) writer: Db,
    pub(crate) wake: Wake,
    pub(crate) config: DatabaseConfig,
    signals: Option<sea_orm::sqlx::PgPool>,
    listener: OnceLock<Task>,
    write_slots: Arc<Semaphore>,
    /// Ends with the last clone.
    _notifier: Option<Task>,
}

/// Where questions stand. Each takes a connection for itself on [`Store`], and runs in the transaction on
/// [`Tx`](crate::Tx) and in a [`Store::read`].
#[derive(Debug)]
pub struct Reader {
    pub(crate) db: Db,
}

impl Store {
    /// Opens the database; makes it, where it is a SQLite file that is not there.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Connect`] with a sentence for the operator.
    pub async fn connect(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let pools = connect::open(config).await?;
        let (wake, notifier) = wake::start(pools.signals.clone());
        let sent = Arc::default();
        let db = |pool: DatabaseConnection| Db {
            sent: Arc::clone(&sent),
            backend: pool.get_database_backend(),
            target: Target::Pool(pool),
            statement_timeout: config.statement_timeout,
            connections: pools.size,
        };
        let writers = match pools.writer.get_database_backend() {
            DbBackend::Postgres => pools.size.saturating_sub(SPARE_CONNECTIONS).max(1) as usize,
            _ => SQLITE_WRITERS,
        };
        let inner = Inner {
            write_slots: Arc::new(Semaphore::new(writers)),
            reader: Reader {
                db: db(pools.readers.clone()),
            },
            writer: db(pools.writer.clone()),
            readers: pools.readers,
            writers: pools.writer,
            wake,
            config: config.clone(),
            signals: pools.signals,
            listener: OnceLock::new(),
            _notifier: notifier,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// A transaction for several questions that belong together. It ends when it is dropped.
    ///
    /// # Errors
    /// When the database is unavailable.
    pub async fn read(&self) -> Result<Reader, StoreError> {
        let db = &self.inner.reader.db;
        let begin = async || -> Result<_, StoreError> {
            let tx = timeout(self.inner.longest_begin(), self.inner.readers.begin()).await;
            Ok(tx.map_err(|_| StoreError::timeout())??)
        };
        let tx = db.on_a_live_connection(begin).await?;
        Ok(Reader { db: db.within(tx) })
    }

    /// Signalled after each commit that added outbox rows: by this process, and with [`Store::listen`] by others.
    /// One waiter; a signal while nobody waits is kept for the next.
    #[must_use]
    pub fn wake(&self) -> Arc<Notify> {
        self.inner.wake.local()
    }

    /// Starts hearing of rows that other processes add (PostgreSQL; does nothing on SQLite). Asking again does
    /// nothing. It reconnects by itself, and ends with the last clone of this store.
    pub fn listen(&self) {
        if let Some(pool) = &self.inner.signals {
            let start = || wake::listen(pool.clone(), &self.inner.wake);
            self.inner.listener.get_or_init(start);
        }
    }

    /// How many statements this process has sent, begin and commit of transactions apart.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.db.sent.load(Ordering::Relaxed)
    }

    /// Whether the database answers. Not counted among the statements: it is no caller's.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let ping = async || -> Result<(), StoreError> {
            let answer = timeout(self.inner.longest_begin(), self.inner.readers.ping()).await;
            Ok(answer.map_err(|_| StoreError::timeout())??)
        };
        self.db.on_a_live_connection(ping).await
    }

    /// Closes all connections, waiting a few seconds for those in use. Calls after it are refused.
    pub async fn close(&self) {
        let closing = async {
            if let Some(pool) = &self.inner.signals {
                pool.close().await;
            }
            // What fails to close is closed by the end of the process.
            let _ = self.inner.readers.close_by_ref().await;
            let _ = self.inner.writers.close_by_ref().await;
        };
        let _ = timeout(CLOSING, closing).await;
    }
}

impl Inner {
    /// A place among the calls that write. There are fewer than connections, or than what the one writer of SQLite
    /// does in the time a lease may take: however many calls come, the relay gets its turn.
    ///
    /// # Errors
    /// When none comes free within the acquire timeout.
    pub(crate) async fn write_slot(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let slot = Arc::clone(&self.write_slots).acquire_owned();
        match timeout(self.config.acquire_timeout, slot).await {
            Ok(Ok(slot)) => Ok(slot),
            // It is never closed.
            Ok(Err(_)) | Err(_) => Err(StoreError::timeout()),
        }
    }

    /// Begins a transaction that writes: on SQLite it holds the lock from its first moment.
    pub(crate) async fn begin_write(&self) -> Result<DatabaseTransaction, StoreError> {
        let options = TransactionOptions {
            // Whatever the server's default: what is read under a lock must be what stands there by then.
            isolation_level: (self.writer.backend == DbBackend::Postgres)
                .then_some(IsolationLevel::ReadCommitted),
            sqlite_transaction_mode: (self.writer.backend == DbBackend::Sqlite)
                .then_some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let begin = async || -> Result<_, StoreError> {
            let tx = timeout(
                self.longest_begin(),
                self.writers.begin_with_options(options),
            )
            .await;
            Ok(tx.map_err(|_| StoreError::timeout())??)
        };
        self.writer.on_a_live_connection(begin).await
    }

    /// Waiting for a connection included.
    fn longest_begin(&self) -> Duration {
        self.config.acquire_timeout + self.config.statement_timeout
    }
}

impl Deref for Store {
    type Target = Reader;
    fn deref(&self) -> &Reader {
        &self.inner.reader
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address may hold a password.
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
