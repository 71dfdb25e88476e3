//! Calls that come again: what they were answered with, and the ids that outside publishers gave their events. Both are
//! kept for a time by the database's clock; what has expired counts as not there.

use std::collections::BTreeSet;
use std::time::Duration;

use crier_domain::{EventId, UserId};

use crate::error::StoreError;
use crate::sql::{Row, millis, values};
use crate::tx::Tx;

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// What is known of a caller's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nothing: it is this transaction's now. Others who claim it wait for the commit.
    New,
    /// The same request was answered so before.
    Again(Vec<u8>),
    /// It was used for another request.
    OtherRequest,
}

/// What is known of the ids that were claimed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimedIds {
    /// Nothing was: they are this transaction's now.
    pub new: BTreeSet<EventId>,
    /// They stand for other events.
    pub others: BTreeSet<EventId>,
}

impl Tx {
    /// Claims a key of this caller for the request with this hash.
    ///
    /// # Errors
    /// When the database fails, or another transaction holds the key for longer than the statement timeout.
    pub async fn claim_key(
        &self,
        caller: UserId,
        key: &str,
        request: &Hash,
        keep: Duration,
    ) -> Result<Claim, StoreError> {
        let sql = "INSERT INTO idempotency_keys (caller, idempotency_key, request_hash, answer, expires_at)
            VALUES ($1, $2, $3, $4, {now} + $5)
            ON CONFLICT (caller, idempotency_key) DO UPDATE SET request_hash = excluded.request_hash,
                answer = excluded.answer, expires_at = excluded.expires_at
                WHERE idempotency_keys.expires_at <= {now}
            RETURNING caller";
        // The answer is not known yet, and nobody sees the row before it is.
        let values = values![
            caller.get(),
            key,
            request.to_vec(),
            Vec::<u8>::new(),
            millis(keep)
        ];
        if self.db.first(sql, values).await?.is_some() {
            return Ok(Claim::New);
        }
        let sql = "SELECT request_hash, answer FROM idempotency_keys WHERE caller = $1 AND idempotency_key = $2";
        let row = self.db.only(sql, values![caller.get(), key]).await?;
        if row.get::<Vec<u8>>("request_hash")? == request {
            Ok(Claim::Again(row.get("answer")?))
        } else {
            Ok(Claim::OtherRequest)
        }
    }

    /// Keeps the answer of the call whose key this transaction has claimed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_answer(
        &self,
        caller: UserId,
        key: &str,
        answer: &[u8],
    ) -> Result<(), StoreError> {
        let sql =
            "UPDATE idempotency_keys SET answer = $3 WHERE caller = $1 AND idempotency_key = $2";
        let values = values![caller.get(), key, answer.to_vec()];
        self.db.run(sql, values).await?;
        Ok(())
    }

    /// Claims ids for events whose bodies have these hashes; each id is given once. Others who claim one of them wait
    /// for the commit.
    ///
    /// # Errors
    /// As [`Tx::claim_key`].
    pub async fn claim_event_ids(
        &self,
        ids: &[(EventId, Hash)],
        keep: Duration,
    ) -> Result<ClaimedIds, StoreError> {
        if ids.is_empty() {
            return Ok(ClaimedIds::default());
        }
        let list = hash_list(ids);
        // By ascending id, so that two transactions never wait for each other.
        let sql = "INSERT INTO event_ids (event_id, body_hash, expires_at)
            SELECT h.event_id, h.body_hash, {now} + $2 FROM {hashes:1} h WHERE TRUE ORDER BY h.event_id
            ON CONFLICT (event_id) DO UPDATE SET body_hash = excluded.body_hash, expires_at = excluded.expires_at
                WHERE event_ids.expires_at <= {now}
            RETURNING event_id";
        let new = self
            .db
            .all(sql, values![list.as_str(), millis(keep)])
            .await?;
        let new = event_ids(&new)?;
        if new.len() == ids.len() {
            let others = BTreeSet::new();
            return Ok(ClaimedIds { new, others });
        }
        let sql = "SELECT h.event_id FROM {hashes:1} h JOIN event_ids i ON i.event_id = h.event_id
            WHERE i.body_hash <> h.body_hash";
        let others = event_ids(&self.db.all(sql, values![list]).await?)?;
        Ok(ClaimedIds { new, others })
    }
}

fn event_ids(rows: &[Row]) -> Result<BTreeSet<EventId>, StoreError> {
    rows.iter()
        .map(|row| row.get("event_id").map(EventId))
        .collect()
}

/// Pairs of an id and a hash, to be bound for `{hashes:n}`.
fn hash_list(ids: &[(EventId, Hash)]) -> String {
    let pair = |(id, hash): &(EventId, Hash)| {
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("[\"{id}\",\"{hex}\"]")
    };
    let pairs: Vec<String> = ids.iter().map(pair).collect();
    format!("[{}]", pairs.join(","))
}
