//! What the relay writes, each in one transaction under its term.

use std::time::Duration;

use crier_domain::{EventId, OutboxId, Seq};
use sea_orm::Value;
use tokio::time::timeout;

use super::{Position, Term};
use crate::error::StoreError;
use crate::sql::{Target, millis, pair_list, values};
use crate::store::Store;

/// The most sent rows that one call deletes, so that no other writer waits long.
const TIDY_AT_MOST: i64 = 10_000;

/// The most rows that are made unsent in one transaction: while it runs, the lease can't be renewed.
const LOST_AT_ONCE: i64 = 10_000;

impl Store {
    /// Marks exactly these rows sent and moves the position.
    ///
    /// # Errors
    /// When the database fails; nothing is changed then.
    pub async fn mark_sent(
        &self,
        term: Term,
        rows: &[(OutboxId, Seq)],
        position: Position,
    ) -> Result<bool, StoreError> {
        let pairs = pair_list(rows.iter().map(|(id, seq)| (id.0, seq.0.cast_signed())));
        let sql = "UPDATE outbox SET sent_seq = p.b, sent_at = {now} FROM {pairs:1} p WHERE outbox.id = p.a";
        let marks = (!rows.is_empty()).then(|| (sql, values![pairs]));
        let done = self.under_term(term, Some(position), marks).await?;
        Ok(done.is_some())
    }

    /// Marks the unsent rows of these events sent, which were found in the log, and moves the position.
    ///
    /// # Errors
    /// When the database fails; nothing is changed then.
    pub async fn mark_found(
        &self,
        term: Term,
        events: &[(EventId, Seq)],
        position: Position,
    ) -> Result<bool, StoreError> {
        let found: Vec<String> = events
            .iter()
            .map(|(id, seq)| format!(r#"["{id}",{}]"#, seq.0))
            .collect();
        let sql = "UPDATE outbox SET sent_seq = f.seq, sent_at = {now} FROM {found:1} f
            WHERE outbox.event_id = f.event_id AND outbox.sent_seq IS NULL";
        let found = format!("[{}]", found.join(","));
        let marks = (!events.is_empty()).then(|| (sql, values![found]));
        let done = self.under_term(term, Some(position), marks).await?;
        Ok(done.is_some())
    }

    /// Records a new epoch by its first position. Before that, events that were sent and stood behind `survived` become
    /// unsent again: the log has lost them. Users' rows do not: snapshots of an older epoch count as none, and are made
    /// anew as they are now.
    ///
    /// # Errors
    /// When the database fails; the epoch is not recorded then.
    pub async fn begin_epoch(
        &self,
        term: Term,
        position: Position,
        survived: Seq,
    ) -> Result<bool, StoreError> {
        let sql =
            "UPDATE outbox SET sent_seq = NULL, sent_at = NULL WHERE id IN (SELECT id FROM outbox
            WHERE sent_at IS NOT NULL AND event_id IS NOT NULL AND sent_seq > $1 LIMIT $2)";
        let at_most = LOST_AT_ONCE;
        loop {
            let values = values![survived.0.cast_signed(), at_most];
            let done = self.under_term(term, None, Some((sql, values))).await?;
            match done {
                None => return Ok(false),
                Some(rows) if i64::try_from(rows).is_ok_and(|rows| rows < at_most) => break,
                Some(_) => {}
            }
        }
        // Last: whoever finds it not yet recorded begins another one, and makes the rest unsent.
        let done = self.under_term(term, Some(position), None).await?;
        Ok(done.is_some())
    }

    /// Records that a row was refused for good. The row stays, so that a stand-in can be sent for it.
    ///
    /// # Errors
    /// When the database fails; nothing is changed then.
    pub async fn bury(&self, term: Term, row: OutboxId, reason: &str) -> Result<bool, StoreError> {
        let sql = "INSERT INTO dead_letters (outbox_id, event_id, user_id, community_id, article_id, body, reason,
                created_at)
            SELECT id, event_id, user_id, community_id, article_id, body, $2, {now} FROM outbox WHERE id = $1
            ON CONFLICT (outbox_id) DO NOTHING";
        // PostgreSQL's texts hold no NUL.
        let reason = reason.replace('\0', "");
        let bury = (sql, values![row.0, reason]);
        Ok(self.under_term(term, None, Some(bury)).await?.is_some())
    }

    /// Deletes sent rows older than `age`, and what is remembered of repeated calls beyond its time; the oldest first
    /// and not too many at a time: the next call goes on.
    ///
    /// # Errors
    /// When the database fails; nothing is changed then.
    pub async fn tidy(&self, term: Term, age: Duration) -> Result<bool, StoreError> {
        for sql in [
            "DELETE FROM event_ids WHERE event_id IN (
                SELECT event_id FROM event_ids WHERE expires_at < {now} ORDER BY expires_at LIMIT $1)",
            "DELETE FROM idempotency_keys WHERE (caller, idempotency_key) IN (
                SELECT caller, idempotency_key FROM idempotency_keys WHERE expires_at < {now}
                ORDER BY expires_at LIMIT $1)",
        ] {
            let statement = (sql, values![TIDY_AT_MOST]);
            if self
                .under_term(term, None, Some(statement))
                .await?
                .is_none()
            {
                return Ok(false);
            }
        }
        let sql = "DELETE FROM outbox WHERE id IN (
            SELECT id FROM outbox WHERE sent_at < {now} - $1 ORDER BY sent_at LIMIT $2)";
        let values = values![millis(age), TIDY_AT_MOST];
        let delete = (sql, values);
        Ok(self.under_term(term, None, Some(delete)).await?.is_some())
    }

    /// Moves the position, or merely locks it, and runs the statement, if the term is the current one. Gives how many
    /// rows the statement changed.
    async fn under_term(
        &self,
        term: Term,
        position: Option<Position>,
        statement: Option<(&str, Vec<Value>)>,
    ) -> Result<Option<u64>, StoreError> {
        let writer = &self.inner.writer;
        let tx = self.inner.begin_write().await?;
        let db = writer.within(tx);
        let current = match position {
            Some(position) => {
                let (epoch, seq) = position.to_columns();
                let sql = "UPDATE relay SET epoch = $2, seq = $3 WHERE id = 1 AND term = $1";
                db.run(sql, values![term.0, epoch, seq]).await?
            }
            None => {
                let sql = "UPDATE relay SET term = term WHERE id = 1 AND term = $1";
                db.run(sql, values![term.0]).await?
            }
        };
        if current == 0 {
            return Ok(None);
        }
        let changed = match statement {
            Some((sql, values)) => db.run(sql, values).await?,
            None => 0,
        };
        if let Target::Transaction(tx) = db.target {
            timeout(writer.statement_timeout, tx.commit())
                .await
                .map_err(|_| StoreError::timeout())??;
        }
        Ok(Some(changed))
    }
}
