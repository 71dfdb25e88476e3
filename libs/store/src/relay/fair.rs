//! What goes out next while there are more users' rows than one pass takes.
//!
//! A bulk change leaves a hundred thousand of them. An event waits for those of its own community alone, so these go
//! first: as many from each community in which there are events, half a pass together. Then come the snapshots that
//! somebody waits for, then all others by age. In which order users' rows go is free otherwise: a snapshot may be early.
//!
//! The statement never reads the backlog. Communities and rows are walked one by one, each step one look into an index
//! that ends with the id: the work grows with the answer.

use sea_orm::DbBackend;

use super::backlog::{OutboxRow, read};
use crate::error::StoreError;
use crate::sql::values;
use crate::store::Store;

/// `$1` is the most rows of each kind, `$2` half of it. One statement, one view of the table: an event must not be found
/// without the removal that was committed before it.
///
/// | table | is |
/// |---|---|
/// | `busy` | communities with unsent events, not all if there are very many |
/// | `waiting` | those of them with unsent users' rows, and the first of these |
/// | `awaited` | the users' rows in `waiting`, the first of each community, then the second of each, … |
/// | `chosen` | the users' rows of the answer |
/// | `bounds` | for each of `busy`, the first users' row that is left out: no event goes past it |
/// | `free` | the events in front of it, the first of each community, then the second of each, … |
const FAIR: &str = "WITH RECURSIVE busy (community, n) AS (
        SELECT MIN(community_id), 1 FROM outbox WHERE sent_seq IS NULL AND event_id IS NOT NULL
        UNION ALL
        SELECT (SELECT MIN(e.community_id) FROM outbox e
            WHERE e.sent_seq IS NULL AND e.event_id IS NOT NULL AND e.community_id > b.community), b.n + 1
        FROM busy b WHERE b.community IS NOT NULL AND b.n < $1),
    waiting (community, id) AS (
        SELECT w.community, w.id FROM (
            SELECT b.community, (SELECT u.id FROM outbox u WHERE u.sent_seq IS NULL AND u.user_id IS NOT NULL
                AND {behind:u,b.community,0} ORDER BY u.community_id, u.id LIMIT 1) AS id
            FROM busy b WHERE b.community IS NOT NULL) w
        WHERE w.id IS NOT NULL),
    awaited (community, id, n) AS (
        SELECT community, id, 1 FROM waiting
        UNION ALL
        SELECT a.community, (SELECT u.id FROM outbox u WHERE u.sent_seq IS NULL AND u.user_id IS NOT NULL
            AND {behind:u,a.community,a.id} ORDER BY u.community_id, u.id LIMIT 1), a.n + 1
        FROM awaited a WHERE a.id IS NOT NULL AND a.n < $2 / (SELECT COUNT(*) FROM waiting)),
    candidates (rank, id) AS (
        SELECT * FROM (SELECT 0 AS rank, id FROM awaited WHERE id IS NOT NULL ORDER BY n, id LIMIT $2) a
        UNION ALL
        SELECT * FROM (SELECT 1 AS rank, id FROM outbox
            WHERE sent_seq IS NULL AND user_id IS NOT NULL AND community_id IS NULL
            ORDER BY community_id, id LIMIT $2) w
        UNION ALL
        SELECT * FROM (SELECT 2 AS rank, id FROM outbox WHERE sent_seq IS NULL AND user_id IS NOT NULL
            ORDER BY id LIMIT $1) o),
    chosen (rank, id) AS (
        SELECT MIN(rank), id FROM candidates GROUP BY id ORDER BY MIN(rank), id LIMIT $1),
    bounds (community, bound) AS (
        SELECT b.community, COALESCE((SELECT u.id FROM outbox u WHERE u.sent_seq IS NULL AND u.user_id IS NOT NULL
            AND {behind:u,b.community,0} AND u.id NOT IN (SELECT id FROM chosen)
            ORDER BY u.community_id, u.id LIMIT 1), 9223372036854775807)
        FROM busy b WHERE b.community IS NOT NULL),
    free (community, bound, id) AS (
        SELECT b.community, b.bound, (SELECT e.id FROM outbox e WHERE e.sent_seq IS NULL AND e.event_id IS NOT NULL
            AND {behind:e,b.community,0,b.bound} ORDER BY e.community_id, e.id LIMIT 1)
        FROM bounds b
        UNION ALL
        SELECT f.community, f.bound, (SELECT e.id FROM outbox e WHERE e.sent_seq IS NULL AND e.event_id IS NOT NULL
            AND {behind:e,f.community,f.id,f.bound} ORDER BY e.community_id, e.id LIMIT 1)
        FROM free f WHERE f.id IS NOT NULL),
    answer (rank, id) AS (
        SELECT rank, id FROM chosen
        UNION ALL
        SELECT * FROM (SELECT 3 AS rank, id FROM free WHERE id IS NOT NULL LIMIT $1) f)
    SELECT o.id, o.traceparent, o.user_id, o.event_id, o.community_id, o.article_id, o.audience, o.named,
        o.exclude_user, o.body
    FROM answer a JOIN outbox o ON o.id = a.id ORDER BY a.rank, o.id";

/// PostgreSQL: every step has its index, whatever the planner thinks of the table. Left alone it may keep a plan that it
/// made when the outbox was empty, and then read the whole backlog at every step: minutes instead of milliseconds.
const BY_INDEX: &str =
    "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = off;
    SET LOCAL enable_sort = off; SET LOCAL enable_hashjoin = off; SET LOCAL jit = off";

impl Store {
    /// Up to `limit` rows of each kind, evenly.
    pub(super) async fn unsent_fairly(&self, limit: i64) -> Result<Vec<OutboxRow>, StoreError> {
        let values = values![limit, (limit / 2).max(1)];
        let rows = if self.db.backend == DbBackend::Postgres {
            let reader = self.read().await?;
            reader.db.script(BY_INDEX).await?;
            reader.db.all(FAIR, values).await?
        } else {
            self.db.all(FAIR, values).await?
        };
        rows.iter().map(read).collect()
    }
}
