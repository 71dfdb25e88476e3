//! The relay's side of the outbox: its lease and the log's position. The backlog is in [`backlog`](self), the
//! snapshots and marks beside it.
//!
//! Whatever the relay writes names its [`Term`] and changes nothing, answering `false`, when another has taken the
//! lease meanwhile: the row of table `relay` is updated first, and its lock held to the commit, so that a takeover
//! comes before all of it or after.

mod backlog;
mod fair;
mod marks;
mod snapshots;

use std::time::Duration;

use crier_domain::{Epoch, Seq};
use uuid::Uuid;

pub use backlog::{OutboxChange, OutboxRow, UserBacklog};
#[cfg(test)]
pub(crate) use snapshots::SNAPSHOTS;

use crate::error::StoreError;
use crate::sql::{millis, values};
use crate::store::{Reader, Store};

/// The number of a leadership; each new leader's is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term(pub i64);

/// How far the log has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The life of the log.
    pub epoch: Epoch,
    /// The last acknowledged sequence.
    pub seq: Seq,
}

impl Position {
    /// The two numbers as columns hold them: the same 64 bits, signed.
    fn to_columns(self) -> (i64, i64) {
        (self.epoch.to_bits().cast_signed(), self.seq.0.cast_signed())
    }
}

impl Store {
    /// Takes the relay's lease if it is free or has run out, or renews the holder's own. `None`: another holds it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lease(&self, holder: Uuid, length: Duration) -> Result<Option<Term>, StoreError> {
        // By the database's clock alone, so that those of the holders needn't agree. One that ends far later than any
        // that is taken now was taken before that clock was set back, and would last for as long as the step was.
        let sql = "UPDATE relay SET term = CASE WHEN holder = $1 THEN term ELSE term + 1 END, holder = $1,
                expires = {now} + $2
            WHERE id = 1 AND (holder IS NULL OR holder = $1 OR expires <= {now} OR expires > {now} + 2 * $2)
            RETURNING term";
        let values = values![holder, millis(length)];
        let row = self.inner.writer.first(sql, values).await?;
        row.map(|row| Ok(Term(row.number("term")?))).transpose()
    }

    /// Gives the lease up. Does nothing when another has it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release(&self, term: Term) -> Result<(), StoreError> {
        let sql = "UPDATE relay SET holder = NULL, expires = 0 WHERE id = 1 AND term = $1";
        self.inner.writer.run(sql, values![term.0]).await?;
        Ok(())
    }
}

impl Reader {
    /// The stored position; `None` before the log's first life.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn relay_position(&self) -> Result<Option<Position>, StoreError> {
        let sql = "SELECT epoch, seq FROM relay WHERE id = 1";
        let row = self.db.only(sql, Vec::new()).await?;
        let epoch: Option<i64> = row.get("epoch")?;
        let seq: Option<i64> = row.get("seq")?;
        Ok(epoch.zip(seq).map(|(epoch, seq)| Position {
            epoch: Epoch::from_bits(epoch.cast_unsigned()),
            seq: Seq(seq.cast_unsigned()),
        }))
    }
}
