//! How to reach the database.

use std::fmt;
use std::time::Duration;

/// How to reach the database.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseConfig {
    /// `sqlite://path/to/file.db`, made if it is not there, or `postgres://user:password@host:port/database`.
    pub url: String,
    /// The most connections to PostgreSQL at a time (one more listens for wake-ups). SQLite has one writer and up
    /// to four readers.
    pub max_connections: u32,
    /// How long a call may wait for a free connection.
    pub acquire_timeout: Duration,
    /// How long a statement may take, and a transaction wait for a lock.
    pub statement_timeout: Duration,
}

impl DatabaseConfig {
    /// The database at this address, with the other settings as they do well.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            max_connections: 16,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the address, which may hold a password.
        f.debug_struct("DatabaseConfig")
            .field("max_connections", &self.max_connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .finish_non_exhaustive()
    }
}
