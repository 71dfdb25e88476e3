//! Keeps the database's own ids away from those that a caller chose.
//!
//! SQLite's AUTOINCREMENT goes on behind the greatest id there ever was by itself. PostgreSQL's sequences know nothing
//! of ids that were chosen, so they are moved past them, before the rows are inserted.

use sea_orm::DbBackend;

use crate::error::StoreError;
use crate::sql::values;
use crate::tx::{SEQUENCE_LOCKS, Tx};

/// How far past the greatest chosen id a sequence is moved: a number that another call takes between our look and our
/// move is then not given twice, and ids that are chosen one after the other move it rarely.
const MARGIN: i64 = 1_000;

/// A table whose ids may be chosen. They are moved in this order, so that no two transactions wait in a circle.
#[derive(Debug, Clone, Copy)]
pub(super) enum Table {
    Communities = 1,
    Articles,
    CommunityArticles,
}

impl Table {
    fn sequence(self) -> &'static str {
        match self {
            Self::Communities => "communities_id_seq",
            Self::Articles => "articles_id_seq",
            Self::CommunityArticles => "community_articles_id_seq",
        }
    }
}

/// Sees to it that no id up to this one is given by the database from now on.
pub(super) async fn move_past(
    tx: &Tx,
    table: Table,
    chosen: Option<i64>,
) -> Result<(), StoreError> {
    let Some(chosen) = chosen.filter(|_| tx.db.backend == DbBackend::Postgres) else {
        return Ok(());
    };
    let sequence = table.sequence();
    let is_behind = format!("SELECT last_value FROM {sequence} WHERE last_value <= $1");
    let behind = tx.db.first(&is_behind, values![chosen]).await?;
    if behind.is_none() {
        return Ok(());
    }
    // One at a time, or the one that looked first could move it back.
    let lock = format!(
        "SELECT pg_advisory_xact_lock({SEQUENCE_LOCKS}, {})",
        table as i32
    );
    tx.db.script(&lock).await?;
    let sql =
        format!("SELECT setval('{sequence}', $2) AS moved FROM {sequence} WHERE last_value <= $1");
    let values = values![chosen, chosen.saturating_add(MARGIN)];
    tx.db.all(&sql, values).await?;
    Ok(())
}
