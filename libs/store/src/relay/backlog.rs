//! What has not been sent.

use crier_domain::{Audience, CommunityId, Event, EventId, OutboxId, UserId};

use crate::error::StoreError;
use crate::sql::{Row, now_ms, values};
use crate::store::{Reader, Store};

/// One unsent row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its id, which is the event's fence.
    pub id: OutboxId,
    /// The trace of the request that wrote it.
    pub traceparent: Option<String>,
    /// What it stands for.
    pub change: OutboxChange,
}

/// Permission changes that are unsent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserBacklog {
    /// How many, counted up to some number.
    pub count: u64,
    /// The oldest.
    pub first: Option<OutboxId>,
}

/// What an outbox row stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboxChange {
    /// What this user may receive has changed, in this community; in none if the snapshot is wanted for another reason.
    User(UserId, Option<CommunityId>),
    /// Something happened.
    Event(Event),
}

/// One statement, one view of the table: were the users read before the events, an event could be found without the
/// removal that was committed before it.
const UNSENT: &str = "SELECT u.* FROM (
        SELECT CASE WHEN community_id IS NULL THEN 0 ELSE 1 END AS rank, id, traceparent, user_id, event_id,
            community_id, article_id, audience, named, exclude_user, body
        FROM outbox WHERE sent_seq IS NULL AND user_id IS NOT NULL ORDER BY id LIMIT $1) u
    UNION ALL SELECT e.* FROM (
        SELECT 2 AS rank, id, traceparent, user_id, event_id, community_id, article_id, audience, named, exclude_user,
            body
        FROM outbox WHERE sent_seq IS NULL AND event_id IS NOT NULL ORDER BY id LIMIT $1) e
    ORDER BY rank, id";

impl Store {
    /// Unsent rows, at most `limit` of each kind: users' rows, then events by ascending id.
    ///
    /// An event is in the answer only if all earlier users' rows of its own community are sent or in the answer too.
    /// Those of other communities it does not wait for, however many there are. The users' rows that events wait for
    /// come first, then those without a community, then the oldest.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unsent(&self, limit: usize) -> Result<Vec<OutboxRow>, StoreError> {
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.db.all(UNSENT, values![most]).await?;
        let rows: Vec<OutboxRow> = rows.iter().map(read).collect::<Result<_, _>>()?;
        let is_user = |row: &&OutboxRow| matches!(row.change, OutboxChange::User(..));
        if rows.iter().filter(is_user).count() < limit {
            // All users' rows are in it: no event passes one that is left out.
            return Ok(rows);
        }
        self.unsent_fairly(most).await
    }
}

impl Reader {
    /// How many permission changes are unsent, counted up to `most`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn user_backlog(&self, most: u32) -> Result<UserBacklog, StoreError> {
        let sql = "SELECT COUNT(*) AS n, MIN(b.id) AS first FROM (
            SELECT id FROM outbox WHERE sent_seq IS NULL AND user_id IS NOT NULL ORDER BY id LIMIT $1) b";
        let row = self.db.only(sql, values![i64::from(most)]).await?;
        let first: Option<i64> = row.get("first")?;
        Ok(UserBacklog {
            count: row.count("n")?,
            first: first.map(OutboxId),
        })
    }

    /// How many rows are unsent, for tests and measurements.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_unsent(&self) -> Result<u64, StoreError> {
        // One for each kind: there is an index of either's unsent rows.
        let sql =
            "SELECT (SELECT COUNT(*) FROM outbox WHERE sent_seq IS NULL AND user_id IS NOT NULL)
            + (SELECT COUNT(*) FROM outbox WHERE sent_seq IS NULL AND event_id IS NOT NULL) AS n";
        self.db.only(sql, Vec::new()).await?.count("n")
    }
}

impl Store {
    /// Adds an outbox row for a user whose snapshot somebody waits for, unless there is one: it is on its way when
    /// this returns. It changes nothing of what the user may receive, so it is of no community and no event waits
    /// for it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ensure_snapshot_pending(&self, user: UserId) -> Result<(), StoreError> {
        let sql = "INSERT INTO outbox (user_id, created_at) SELECT $1, $2
            WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE user_id = $1 AND community_id IS NULL AND sent_seq IS NULL)";
        // The read first: an answer that nothing is to be done needn't wait for a writer.
        let pending = "SELECT 1 AS one FROM outbox WHERE user_id = $1 AND community_id IS NULL AND sent_seq IS NULL
            LIMIT 1";
        if self.db.first(pending, values![user.get()]).await?.is_some() {
            return Ok(());
        }
        let added = self
            .inner
            .writer
            .run(sql, values![user.get(), now_ms()])
            .await?;
        if added > 0 {
            self.inner.wake.raise();
        }
        Ok(())
    }
}

pub(super) fn read(row: &Row) -> Result<OutboxRow, StoreError> {
    let change = match row.maybe_id::<UserId>("user_id")? {
        Some(user) => OutboxChange::User(user, row.maybe_id("community_id")?),
        None => OutboxChange::Event(Event {
            id: EventId(row.get("event_id")?),
            community: row.id("community_id")?,
            article: row.maybe_id("article_id")?,
            audience: audience(row)?,
            exclude: row.maybe_id("exclude_user")?,
            body: row.get::<Vec<u8>>("body")?.into(),
        }),
    };
    Ok(OutboxRow {
        id: OutboxId(row.number("id")?),
        traceparent: row.get("traceparent")?,
        change,
    })
}

fn audience(row: &Row) -> Result<Audience, StoreError> {
    let unreadable = || StoreError::unreadable("audience");
    match row.text("audience")?.as_str() {
        "subscribers" => Ok(Audience::Subscribers),
        "members" => Ok(Audience::Members),
        "users" => {
            let named = row.text("named")?;
            let named = serde_json::from_str(&named).map_err(|_| unreadable())?;
            Ok(Audience::Users(named))
        }
        _ => Err(unreadable()),
    }
}
