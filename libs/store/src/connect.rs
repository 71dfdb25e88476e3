//! Opening the database: the pools, and one sentence for the operator when that fails.

use std::str::FromStr;
use std::time::Duration;

use sea_orm::sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::sqlx::{self, ConnectOptions, Connection, PgConnection};
use sea_orm::{DatabaseConnection, DbErr, RuntimeErr, SqlxPostgresConnector, SqlxSqliteConnector};
use tokio::time::timeout;

use crate::config::DatabaseConfig;
use crate::error::{DatabaseError, StoreError};

/// A connection that rested for so long is asked whether it still lives before it is used.
const PING_AFTER: Duration = Duration::from_secs(1);
/// SQLite: how long to wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const SQLITE_READERS: u32 = 4;

/// The open pools.
pub(crate) struct Pools {
    /// For questions.
    pub(crate) readers: DatabaseConnection,
    /// For transactions that write. One connection on SQLite; the readers' pool on PostgreSQL.
    pub(crate) writer: DatabaseConnection,
    /// PostgreSQL: for telling and hearing of new rows, apart so that no load keeps them waiting.
    pub(crate) signals: Option<PgPool>,
    /// How many connections each of the first two holds at most.
    pub(crate) size: u32,
}

/// Opens the database.
pub(crate) async fn open(config: &DatabaseConfig) -> Result<Pools, StoreError> {
    let url = config.url.as_str();
    if url.starts_with("sqlite:") {
        open_sqlite(config).await
    } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        open_postgres(config).await
    } else {
        let sentence = "the database address must begin with sqlite:// or postgres://";
        Err(refused(sentence.to_owned(), None))
    }
}

async fn open_sqlite(config: &DatabaseConfig) -> Result<Pools, StoreError> {
    if config.url.contains(":memory:") || config.url.contains("mode=memory") {
        let sentence = "a SQLite database in memory can't be shared by connections: name a file";
        return Err(refused(sentence.to_owned(), None));
    }
    let options = SqliteConnectOptions::from_str(&config.url).map_err(unreadable_address)?;
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("journal_size_limit", "67108864");
    let path = options.get_filename().display().to_string();
    let pool = |size| {
        SqlitePoolOptions::new()
            .max_connections(size)
            .acquire_timeout(config.acquire_timeout)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
    };
    // The first connection of all makes the file and its journal.
    let writer = pool(1)
        .connect_with(options.clone())
        .await
        .map_err(|error| sqlite_refused(&path, error))?;
    check_sqlite(&writer)
        .await
        .map_err(|error| sqlite_refused(&path, error))?;
    let size = config.max_connections.clamp(1, SQLITE_READERS);
    let readers = pool(size).connect_lazy_with(options.pragma("query_only", "on"));
    Ok(Pools {
        readers: SqlxSqliteConnector::from_sqlx_sqlite_pool(readers),
        writer: SqlxSqliteConnector::from_sqlx_sqlite_pool(writer),
        signals: None,
        size,
    })
}

/// Reads the schema, which a file that is no database, or a damaged one, does not survive.
async fn check_sqlite(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT count(*) FROM sqlite_schema")
        .execute(pool)
        .await?;
    Ok(())
}

async fn open_postgres(config: &DatabaseConfig) -> Result<Pools, StoreError> {
    let options = PgConnectOptions::from_str(&config.url)
        .map_err(unreadable_address)?
        .application_name("crier");
    // By hand at first: a pool would try again until its time is up, and then not know why.
    match timeout(config.acquire_timeout, options.connect()).await {
        Ok(Ok(connection)) => close(connection).await,
        Ok(Err(error)) => return Err(postgres_refused(&options, error)),
        Err(_) => {
            let sentence = format!(
                "{} did not answer within {} s",
                postgres_place(&options),
                config.acquire_timeout.as_secs()
            );
            return Err(refused(sentence, None));
        }
    }
    let size = config.max_connections.max(2);
    let pool = PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(config.acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for >= PING_AFTER {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options.clone());
    let signals = PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(config.acquire_timeout)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(options);
    let pool = SqlxPostgresConnector::from_sqlx_postgres_pool(pool);
    Ok(Pools {
        readers: pool.clone(),
        writer: pool,
        signals: Some(signals),
        size,
    })
}

async fn close(connection: PgConnection) {
    // It served its purpose; how it ends is of no interest.
    let _ = timeout(PING_AFTER, connection.close()).await;
}

fn refused(sentence: String, source: Option<sqlx::Error>) -> StoreError {
    let source =
        source.map(|error| DatabaseError(DbErr::Conn(RuntimeErr::SqlxError(error.into()))));
    StoreError::Connect { sentence, source }
}

fn unreadable_address(error: sqlx::Error) -> StoreError {
    refused("the database address can't be read".to_owned(), Some(error))
}

fn postgres_place(options: &PgConnectOptions) -> String {
    options.get_socket().map_or_else(
        || {
            format!(
                "PostgreSQL at {}:{}",
                options.get_host(),
                options.get_port()
            )
        },
        |socket| format!("PostgreSQL at {}", socket.display()),
    )
}

fn postgres_refused(options: &PgConnectOptions, error: sqlx::Error) -> StoreError {
    let place = postgres_place(options);
    let code = error
        .as_database_error()
        .and_then(|error| error.code())
        .unwrap_or_default()
        .into_owned();
    let sentence = match (code.as_str(), &error) {
        ("28P01" | "28000", _) => format!(
            "{place} refused user {}: a wrong password, or no permission to log in",
            options.get_username()
        ),
        ("3D000", _) => format!(
            "{place} has no database {}",
            options.get_database().unwrap_or(options.get_username())
        ),
        (_, sqlx::Error::Io(cause)) => format!("{place} can't be reached: {cause}"),
        (_, sqlx::Error::Database(cause)) => format!("{place} refused: {}", cause.message()),
        _ => format!("{place} can't be used"),
    };
    refused(sentence, Some(error))
}

fn sqlite_refused(path: &str, error: sqlx::Error) -> StoreError {
    let sentence = match primary_code(&error) {
        14 => format!(
            "{path} can't be opened: its folder must exist, and this user must be allowed to write there"
        ),
        8 => format!("{path} can't be written by this user"),
        5 | 6 => format!("{path} is locked by another process"),
        13 => format!("there is no room for {path}"),
        _ => damaged(path, &error).unwrap_or_else(|| format!("{path} can't be opened")),
    };
    refused(sentence, Some(error))
}

/// The sentence for a SQLite file that is none or is damaged, if that is what the error says.
pub(crate) fn damaged(path: &str, error: &sqlx::Error) -> Option<String> {
    matches!(primary_code(error), 11 | 26)
        .then(|| format!("{path} is not a SQLite database, or it is damaged"))
}

/// SQLite's result code without its extension; 0 for an error that has none.
fn primary_code(error: &sqlx::Error) -> i32 {
    let code = error.as_database_error().and_then(|error| error.code());
    code.and_then(|code| code.parse::<i32>().ok())
        .unwrap_or_default()
        & 0xff
}
