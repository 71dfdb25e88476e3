//! What can go wrong, told apart by what the caller can do about it.

use std::fmt;

use crier_domain::CommunityId;
use sea_orm::sqlx::error::ErrorKind;
use sea_orm::{DbErr, RuntimeErr, sqlx};

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database can't be opened; one sentence for the operator.
    #[error("{sentence}")]
    Connect {
        /// What is wrong, without any password.
        sentence: String,
        /// What the database said.
        #[source]
        source: Option<DatabaseError>,
    },
    /// The database was last used by a newer Crier.
    #[error(
        "the database has migrations that this version of Crier does not know ({}): use the version that made them",
        .0.join(", ")
    )]
    NewerSchema(
        /// The names of the unknown migrations.
        Vec<String>,
    ),
    /// The database is away or too busy: the same may work later.
    #[error("the database is unavailable: {why}")]
    Unavailable {
        /// In what way.
        why: Unavailable,
        /// What the database said, where it said something.
        #[source]
        source: Option<DatabaseError>,
    },
    /// Something with the same unique value is there already.
    #[error("it is there already")]
    Exists(#[source] DatabaseError),
    /// It refers to something that is not there.
    #[error("it refers to something that does not exist")]
    Missing(#[source] DatabaseError),
    /// The user would have more memberships and subscriptions than a snapshot may list.
    #[error(
        "a user can have at most {} memberships and subscriptions",
        crier_domain::snapshot::MAX_ENTRIES
    )]
    TooManyEntries,
    /// The transaction did not take the lock that this change needs: a bug of the caller.
    #[error("the transaction has no {needed} lock of community {community}")]
    NotLocked {
        /// Whose lock.
        community: CommunityId,
        /// `shared` or `exclusive`.
        needed: &'static str,
    },
    /// A column holds what Crier never writes.
    #[error("column {column} holds what can't be read")]
    Unreadable {
        /// Its name.
        column: String,
        /// What the driver said, if it was the driver that could not read it.
        #[source]
        source: Option<DatabaseError>,
    },
    /// A statement that always answers with a row did not.
    #[error("a row is missing")]
    NoRow,
    /// A statement is wrong, or the database broke: not to be tried again.
    #[error("a statement failed")]
    Statement(#[source] DatabaseError),
}

/// In what way the database is unavailable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// All connections were in use for the whole waiting time.
    Pool,
    /// The connection can't be made or was lost.
    Connection,
    /// Another transaction was in the way: a lock, a deadlock, a serialization failure.
    Contention,
    /// It did not answer in time.
    Timeout,
    /// It has no room, or takes no writes at the moment.
    Resources,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pool => "all connections are in use",
            Self::Connection => "no connection",
            Self::Contention => "other transactions are in the way",
            Self::Timeout => "no answer in time",
            Self::Resources => "it has no room or takes no writes",
        })
    }
}

/// What the database or its driver said. Opaque: only its text and sources can be had.
#[derive(Debug)]
pub struct DatabaseError(pub(crate) DbErr);

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for DatabaseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl StoreError {
    /// Whether the same call may work later.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(crate) fn timeout() -> Self {
        Self::Unavailable {
            why: Unavailable::Timeout,
            source: None,
        }
    }

    pub(crate) fn unreadable(column: &str) -> Self {
        Self::Unreadable {
            column: column.to_owned(),
            source: None,
        }
    }

    pub(crate) fn is_lost_connection(&self) -> bool {
        matches!(
            self,
            Self::Unavailable {
                why: Unavailable::Connection,
                ..
            }
        )
    }

    /// Whether a transaction that failed so before its first change can be begun anew at once.
    pub(crate) fn is_worth_beginning_again(&self) -> bool {
        matches!(
            self,
            Self::Unavailable {
                why: Unavailable::Connection | Unavailable::Contention,
                ..
            }
        )
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        let unavailable = |why, error| Self::Unavailable {
            why,
            source: Some(DatabaseError(error)),
        };
        if matches!(error, DbErr::ConnectionAcquire(_)) {
            return unavailable(Unavailable::Pool, error);
        }
        let Some(cause) = cause(&error) else {
            return Self::Statement(DatabaseError(error));
        };
        match classify(cause) {
            Class::Unavailable(why) => unavailable(why, error),
            Class::Exists => Self::Exists(DatabaseError(error)),
            Class::Missing => Self::Missing(DatabaseError(error)),
            Class::Statement => Self::Statement(DatabaseError(error)),
        }
    }
}

/// What the driver said.
pub(crate) fn cause(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(cause))
        | DbErr::Exec(RuntimeErr::SqlxError(cause))
        | DbErr::Query(RuntimeErr::SqlxError(cause)) => Some(cause),
        _ => None,
    }
}

enum Class {
    Unavailable(Unavailable),
    Exists,
    Missing,
    Statement,
}

fn classify(error: &sqlx::Error) -> Class {
    use sqlx::Error;
    match error {
        Error::Io(_) | Error::Tls(_) | Error::WorkerCrashed | Error::BeginFailed => {
            Class::Unavailable(Unavailable::Connection)
        }
        // What is left of a connection that broke in the middle of an answer.
        Error::Protocol(_) => Class::Unavailable(Unavailable::Connection),
        Error::PoolTimedOut | Error::PoolClosed => Class::Unavailable(Unavailable::Pool),
        Error::Database(error) => match error.kind() {
            ErrorKind::UniqueViolation => Class::Exists,
            ErrorKind::ForeignKeyViolation => Class::Missing,
            _ => error
                .code()
                .and_then(|code| why_unavailable(&code))
                .map_or(Class::Statement, Class::Unavailable),
        },
        _ => Class::Statement,
    }
}

/// By SQLSTATE (five characters) or SQLite's extended result code (a number, the primary code in its low byte).
fn why_unavailable(code: &str) -> Option<Unavailable> {
    if code.len() == 5 {
        return match (code, code.get(..2)) {
            ("40001" | "40P01", _) => Some(Unavailable::Contention),
            // A lock or an answer that did not come in its time.
            ("55P03" | "57014", _) => Some(Unavailable::Timeout),
            ("25006", _) | (_, Some("53")) => Some(Unavailable::Resources),
            (_, Some("08" | "57")) => Some(Unavailable::Connection),
            _ => None,
        };
    }
    let code = code.parse::<i32>().ok()?;
    match code & 0xff {
        // BUSY after the whole busy timeout; its extensions and LOCKED come at once.
        5 if code == 5 => Some(Unavailable::Timeout),
        5 | 6 => Some(Unavailable::Contention),
        // READONLY, IOERR, FULL, CANTOPEN
        8 | 10 | 13 | 14 => Some(Unavailable::Resources),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_what_may_work_later() {
        for (code, why) in [
            ("40P01", Some(Unavailable::Contention)),
            ("57P01", Some(Unavailable::Connection)),
            ("08006", Some(Unavailable::Connection)),
            ("57014", Some(Unavailable::Timeout)),
            ("53100", Some(Unavailable::Resources)),
            ("42601", None),
            ("5", Some(Unavailable::Timeout)),
            ("517", Some(Unavailable::Contention)),
            ("13", Some(Unavailable::Resources)),
            ("1", None),
            ("2067", None),
        ] {
            assert_eq!(why_unavailable(code), why, "{code}");
        }
    }
}
