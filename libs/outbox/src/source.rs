//! Where the relay's rows come from: the outbox table, its lease and its position.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use crier_domain::{CommunityId, Epoch, Event, EventId, OutboxId, Seq, UserId};
use uuid::Uuid;

/// The number of a leadership. It grows with each new leader; whatever is written under an older one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term(pub i64);

/// How far the log has acknowledged, as the database remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The life of the log.
    pub epoch: Epoch,
    /// The last acknowledged sequence.
    pub seq: Seq,
}

/// One unsent row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its id, which is the event's fence.
    pub id: OutboxId,
    /// The trace of the request that wrote it.
    pub traceparent: Option<String>,
    /// What it stands for.
    pub change: Change,
}

/// What an outbox row stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// What this user may receive has changed, in this community: a snapshot is due. In none: it is wanted for another
    /// reason.
    User(UserId, Option<CommunityId>),
    /// Something happened.
    Event(Event),
}

/// The outbox as the relay sees it. Every call is short and holds no transaction when it returns.
///
/// All writes take the caller's term and answer `false`, having changed nothing, when it is no longer the
/// current one.
pub trait Source: Send + Sync + 'static {
    /// What can go wrong: the database is away, say. All errors are worth trying again.
    type Error: Error + Send + Sync + 'static;

    /// Takes the lease if it is free or expired, or renews the holder's own. `None`: another holds it.
    fn lease(
        &self,
        holder: Uuid,
        length: Duration,
    ) -> impl Future<Output = Result<Option<Term>, Self::Error>> + Send;

    /// Gives the lease up, so that the next leader needn't wait for its end.
    fn release(&self, term: Term) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The stored position; `None` before the first epoch.
    fn position(&self) -> impl Future<Output = Result<Option<Position>, Self::Error>> + Send;

    /// Unsent rows, at most `limit` of each kind: users' rows, those that events wait for first, then events by
    /// ascending id. An event is among them only if all earlier users' rows of its own community are sent or among
    /// them too. Where there are more users' rows than that, communities are served evenly, so that the bulk of one
    /// holds up no event of another.
    fn unsent(&self, limit: usize) -> impl Future<Output = Result<Vec<Row>, Self::Error>> + Send;

    /// The encoded snapshots of these users as they stand now, in one statement. Every user asked for is
    /// in the answer, with an empty snapshot where nothing is followed.
    fn snapshots(
        &self,
        users: &[UserId],
    ) -> impl Future<Output = Result<Vec<(UserId, Bytes)>, Self::Error>> + Send;

    /// Marks exactly these rows sent and moves the position, in one transaction.
    fn mark_sent(
        &self,
        term: Term,
        rows: &[(OutboxId, Seq)],
        position: Position,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Marks the rows of these events sent, which were found in the log, and moves the position.
    fn mark_found(
        &self,
        term: Term,
        events: &[(EventId, Seq)],
        position: Position,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Makes unsent again the events that were sent and stood behind `survived`, which the log has lost; then records
    /// the new epoch by its first position.
    fn begin_epoch(
        &self,
        term: Term,
        position: Position,
        survived: Seq,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Records that this row was refused for good, with the reason. The row itself stays, so that a
    /// stand-in can be sent for it.
    fn bury(
        &self,
        term: Term,
        row: OutboxId,
        reason: &str,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Deletes sent rows older than `age`.
    fn tidy(
        &self,
        term: Term,
        age: Duration,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;
}
