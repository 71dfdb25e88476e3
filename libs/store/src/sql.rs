//! Statements and their answers: one text for both databases, with the few words in which they differ put in.
//!
//! Every value is bound, `$1`, `$2`, … on both. Lists of any length are bound as one JSON text, so that no limit on
//! the number of binds matters and a prepared statement serves lists of all lengths.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, QueryResult,
    Statement, TryGetable, Value,
};
use time::OffsetDateTime;
use tokio::time::timeout;

use crate::error::{DatabaseError, StoreError};

/// The values of a statement, in the order of `$1`, `$2`, ….
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$(sea_orm::Value::from($value)),*] };
}
pub(crate) use values;

/// Where statements go: a pool, or one transaction.
#[derive(Debug)]
pub(crate) enum Target {
    Pool(DatabaseConnection),
    Transaction(DatabaseTransaction),
}

/// A target, with the longest time that a statement may take there.
///
/// A statement that is given to a pool may be run twice, when the connection is lost before the answer: only what
/// changes nothing the second time is given to one.
#[derive(Debug)]
pub(crate) struct Db {
    pub(crate) target: Target,
    pub(crate) backend: DbBackend,
    pub(crate) statement_timeout: Duration,
    /// How many connections the pool holds at most.
    pub(crate) connections: u32,
    /// How many statements have been sent, by all of one store.
    pub(crate) sent: Arc<AtomicU64>,
}

impl Db {
    /// The same in this transaction.
    pub(crate) fn within(&self, tx: DatabaseTransaction) -> Self {
        Self {
            target: Target::Transaction(tx),
            sent: Arc::clone(&self.sent),
            ..*self
        }
    }

    /// Runs a query for all its rows.
    pub(crate) async fn all(&self, sql: &str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let statement = self.statement(sql, values);
        let rows = match &self.target {
            Target::Pool(pool) => {
                let query = || self.in_time(pool.query_all_raw(statement.clone()));
                self.on_a_live_connection(query).await?
            }
            Target::Transaction(tx) => self.in_time(tx.query_all_raw(statement)).await?,
        };
        Ok(rows.into_iter().map(Row).collect())
    }

    /// Runs a query for its first row.
    pub(crate) async fn first(
        &self,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        // All of them: on SQLite a statement that writes has to run to its end.
        Ok(self.all(sql, values).await?.into_iter().next())
    }

    /// Runs a query that always has a row.
    pub(crate) async fn only(&self, sql: &str, values: Vec<Value>) -> Result<Row, StoreError> {
        self.first(sql, values).await?.ok_or(StoreError::NoRow)
    }

    /// Runs a statement for the number of rows that it changed.
    pub(crate) async fn run(&self, sql: &str, values: Vec<Value>) -> Result<u64, StoreError> {
        let statement = self.statement(sql, values);
        let done = match &self.target {
            Target::Pool(pool) => {
                let run = || self.in_time(pool.execute_raw(statement.clone()));
                self.on_a_live_connection(run).await?
            }
            Target::Transaction(tx) => self.in_time(tx.execute_raw(statement)).await?,
        };
        Ok(done.rows_affected())
    }

    /// Runs statements without values, in one go.
    pub(crate) async fn script(&self, sql: &str) -> Result<(), StoreError> {
        match &self.target {
            Target::Pool(pool) => self.in_time(pool.execute_unprepared(sql)).await?,
            Target::Transaction(tx) => self.in_time(tx.execute_unprepared(sql)).await?,
        };
        Ok(())
    }

    /// Does it again while the connection that the pool gave turns out to be broken: when the database has come
    /// back, all that rest in the pool are. Each failure takes one out, and none is left after `connections`.
    pub(crate) async fn on_a_live_connection<T, F>(
        &self,
        mut work: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut broken = 0;
        loop {
            match work().await {
                Err(error) if error.is_lost_connection() && broken < self.connections => {
                    broken += 1;
                }
                done => return done,
            }
        }
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, StoreError> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        match timeout(self.statement_timeout, work).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(StoreError::timeout()),
        }
    }

    fn statement(&self, sql: &str, values: Vec<Value>) -> Statement {
        tracing::trace!(target: "crier_store::statement", sql);
        if sql.contains('{') {
            Statement::from_sql_and_values(self.backend, dialect(self.backend, sql), values)
        } else {
            Statement::from_sql_and_values(self.backend, sql, values)
        }
    }
}

/// Puts the database's own words in:
///
/// | word | is |
/// |---|---|
/// | `{now}` | the database's clock, Unix milliseconds |
/// | `{ids:n}` | a table of one column `id`: the JSON list `$n` of whole numbers |
/// | `{pairs:n}` | a table of two columns `a`, `b`: the JSON list `$n` of pairs of whole numbers |
/// | `{hashes:n}` | a table of two columns `event_id`, `body_hash`: the JSON list `$n` of pairs of a UUID and hex digits |
/// | `{events:n}` | a table of events, in the columns that the outbox has, and their `place` in the JSON list `$n` |
/// | `{for_update:t}` | the rows of `t` are locked against all others (PostgreSQL; SQLite has one writer anyhow) |
/// | `{key_share:t}` | the rows of `t` are locked against those who delete them (the same) |
/// | `{among:n a}` | the whole number `a` is one of the JSON list `$n`, in the words that make each database search an index over `a` |
/// | `{behind:o,c,i,j}` | the outbox rows `o` of community `c` with ids between `i` and `j`, or beyond `i` alone |
/// | `{found:n}` | a table of two columns `event_id`, `seq`: the JSON list `$n` of pairs of a UUID and a whole number |
/// | `{rows:n a b:text}` | a table of the columns `a`, a whole number, and `b`, a text: the JSON list `$n` of lists of their values |
pub(crate) fn dialect(backend: DbBackend, sql: &str) -> String {
    let dialect = Dialect {
        postgres: backend == DbBackend::Postgres,
    };
    let mut done = String::with_capacity(sql.len() + 128);
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('{') {
        done.push_str(before);
        let (word, after) = after.split_once('}').unwrap_or((after, ""));
        let (word, n) = word.split_once(':').unwrap_or((word, ""));
        let (n, names) = n.split_once(' ').unwrap_or((n, ""));
        done.push_str(&dialect.render(word, n, names));
        rest = after;
    }
    done.push_str(rest);
    done
}

/// How one of the databases says it.
struct Dialect {
    postgres: bool,
}

impl Dialect {
    /// The word, with the list `$n`, and the columns' names if it has no names of its own for them.
    fn render(&self, word: &str, n: &str, names: &str) -> String {
        let columns = match word {
            "now" => {
                return self.either(
                    "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
                    "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
                );
            }
            "for_update" => return self.either(&format!("FOR UPDATE OF {n}"), ""),
            "key_share" => return self.either(&format!("FOR KEY SHARE OF {n}"), ""),
            "behind" => return self.behind(n),
            "among" => {
                let ids = self.render("ids", n, "");
                let (list, end) = (self.either("= ANY (ARRAY", "IN "), self.either(")", ""));
                return format!("{names} {list}(SELECT i.id FROM {ids} i){end}");
            }
            "ids" => "CAST(CAST(e.value AS TEXT) AS BIGINT) AS id".to_owned(),
            "pairs" => format!("{} AS a, {} AS b", number(0), number(1)),
            "found" => format!("{} AS event_id, {} AS seq", self.uuid(0), number(1)),
            "hashes" => format!("{} AS event_id, {} AS body_hash", self.uuid(0), self.hex(1)),
            "events" => format!(
                "{} AS place, {} AS event_id, {} AS community_id, {} AS article_id, {} AS audience, {} AS named,
                    {} AS exclude_user, {} AS body",
                number(0),
                self.uuid(1),
                number(2),
                number(3),
                text(4),
                text(5),
                number(6),
                self.utf8(7)
            ),
            "rows" => typed(names),
            // A word that is none shows itself in the first test that meets it.
            other => return other.to_owned(),
        };
        let elements = if self.postgres {
            format!("json_array_elements(CAST(${n} AS json)) AS e (value)")
        } else {
            // With a limit it is made once, and searched by an index of its own, where it is joined; without one it is
            // read from the JSON again for every row that it is joined to.
            format!("json_each(${n}) AS e LIMIT -1")
        };
        format!("(SELECT {columns} FROM {elements})")
    }

    fn either(&self, postgres: &str, sqlite: &str) -> String {
        if self.postgres { postgres } else { sqlite }.to_owned()
    }

    /// A stretch of an index over community and id, in the words that make each database take just that index from just
    /// there. To PostgreSQL an equal community would make the order by community and id one by id, for which it might
    /// walk all communities' rows.
    fn behind(&self, args: &str) -> String {
        let mut args = args.split(',');
        let mut next = || args.next().unwrap_or_default();
        let (o, community, after) = (next(), next(), next());
        let before = args.next();
        if self.postgres {
            let from = format!("({o}.community_id, {o}.id) > ({community}, {after})");
            let to = before.map_or_else(
                || format!("{o}.community_id <= {community}"),
                |id| format!("({o}.community_id, {o}.id) < ({community}, {id})"),
            );
            format!("{from} AND {to}")
        } else {
            let to = before.map_or_else(String::new, |id| format!(" AND {o}.id < {id}"));
            format!("{o}.community_id = {community} AND {o}.id > {after}{to}")
        }
    }

    fn uuid(&self, i: u8) -> String {
        let text = text(i);
        self.either(
            &format!("CAST({text} AS uuid)"),
            &format!("unhex({text}, '-')"),
        )
    }

    /// Bytes written as hex digits.
    fn hex(&self, i: u8) -> String {
        let text = text(i);
        self.either(&format!("decode({text}, 'hex')"), &format!("unhex({text})"))
    }

    /// A text as bytes.
    fn utf8(&self, i: u8) -> String {
        let text = text(i);
        self.either(
            &format!("convert_to({text}, 'UTF8')"),
            &format!("CAST({text} AS BLOB)"),
        )
    }
}

/// The `i`th of an element's own elements, as a text.
fn text(i: u8) -> String {
    format!("(e.value ->> {i})")
}

/// The same as a whole number.
fn number(i: u8) -> String {
    format!("CAST({} AS BIGINT)", text(i))
}

/// Columns of these names, with blanks between: whole numbers, and texts where it says so.
fn typed(names: &str) -> String {
    let column = |(i, name): (u8, &str)| match name.strip_suffix(":text") {
        Some(name) => format!("{} AS {name}", text(i)),
        None => format!("{} AS {name}", number(i)),
    };
    let columns: Vec<String> = (0..).zip(names.split(' ')).map(column).collect();
    columns.join(", ")
}

/// A list of ids, to be bound for `{ids:n}`.
pub(crate) fn id_list<Id: Copy + Into<i64>>(ids: &[Id]) -> String {
    let mut text = String::with_capacity(ids.len() * 8 + 2);
    text.push('[');
    for (i, id) in ids.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        let id: i64 = (*id).into();
        text.push_str(&id.to_string());
    }
    text.push(']');
    text
}

/// A list of pairs, to be bound for `{pairs:n}`.
pub(crate) fn pair_list(pairs: impl IntoIterator<Item = (i64, i64)>) -> String {
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(a, b)| format!("[{a},{b}]"))
        .collect();
    format!("[{}]", pairs.join(","))
}

/// A list of lists, to be bound for `{rows:n …}`.
pub(crate) fn row_list(rows: impl IntoIterator<Item = serde_json::Value>) -> String {
    serde_json::Value::Array(rows.into_iter().collect()).to_string()
}

/// The application's clock, Unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A moment from Unix milliseconds.
pub(crate) fn moment(column: &str, ms: i64) -> Result<OffsetDateTime, StoreError> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .map_err(|_| StoreError::unreadable(column))
}

/// A length of time in milliseconds, as the database adds it.
pub(crate) fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX / 4)
}

/// One row of an answer.
pub(crate) struct Row(QueryResult);

impl Row {
    /// The column as the database holds it.
    pub(crate) fn get<T: TryGetable>(&self, column: &str) -> Result<T, StoreError> {
        self.0
            .try_get("", column)
            .map_err(|error| StoreError::Unreadable {
                column: column.to_owned(),
                source: Some(DatabaseError(error)),
            })
    }

    /// A whole number.
    pub(crate) fn number(&self, column: &str) -> Result<i64, StoreError> {
        self.get(column)
    }

    /// A count, which is never negative.
    pub(crate) fn count(&self, column: &str) -> Result<u64, StoreError> {
        Ok(u64::try_from(self.number(column)?).unwrap_or_default())
    }

    /// An id.
    pub(crate) fn id<Id: TryFrom<i64>>(&self, column: &str) -> Result<Id, StoreError> {
        Id::try_from(self.number(column)?).map_err(|_| StoreError::unreadable(column))
    }

    /// An id, or null.
    pub(crate) fn maybe_id<Id: TryFrom<i64>>(
        &self,
        column: &str,
    ) -> Result<Option<Id>, StoreError> {
        let Some(number) = self.get::<Option<i64>>(column)? else {
            return Ok(None);
        };
        let id = Id::try_from(number).map_err(|_| StoreError::unreadable(column))?;
        Ok(Some(id))
    }

    /// A text.
    pub(crate) fn text(&self, column: &str) -> Result<String, StoreError> {
        self.get(column)
    }

    /// One of a set of words.
    pub(crate) fn word<W: FromStr>(&self, column: &str) -> Result<W, StoreError> {
        let text = self.text(column)?;
        text.parse().map_err(|_| StoreError::unreadable(column))
    }

    /// One of a set of words, or null.
    pub(crate) fn maybe_word<W: FromStr>(&self, column: &str) -> Result<Option<W>, StoreError> {
        let Some(text) = self.get::<Option<String>>(column)? else {
            return Ok(None);
        };
        let word = text.parse().map_err(|_| StoreError::unreadable(column))?;
        Ok(Some(word))
    }

    /// A moment.
    pub(crate) fn moment(&self, column: &str) -> Result<OffsetDateTime, StoreError> {
        moment(column, self.number(column)?)
    }
}
