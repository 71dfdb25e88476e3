//! The joins: the store as the relay's source, NATS as its sink, and the request's trace going through.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use crier_bus::{self as bus, Log};
use crier_domain::log::Message;
use crier_domain::{CommunityId, EventId, OutboxId, Seq, Subject, UserId};
use crier_outbox::sink::{Found, LastMark, PublishError, ReadError};
use crier_outbox::source::{Change, Position, Row, Term};
use crier_outbox::{Sink, Source};
use crier_service_kit::telemetry;
use crier_store::{self as store, OutboxChange, OutboxRow, Store, StoreError};
use tracing::Span;
use uuid::Uuid;

use crate::causes;

#[cfg(test)]
mod tests;

/// Makes the publish a part of the request's trace, and gives what gateways continue it from.
pub(crate) fn join_trace(span: &Span, traceparent: Option<&str>) -> Option<String> {
    if let Some(parent) = traceparent {
        telemetry::set_remote_parent(span, parent);
    }
    telemetry::traceparent_of(span).or_else(|| traceparent.map(str::to_owned))
}

/// The outbox table.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(pub(crate) Store);

impl Source for Outbox {
    type Error = StoreError;

    async fn lease(&self, holder: Uuid, length: Duration) -> Result<Option<Term>, StoreError> {
        let term = self.0.lease(holder, length).await?;
        Ok(term.map(|term| Term(term.0)))
    }

    async fn release(&self, term: Term) -> Result<(), StoreError> {
        self.0.release(store::Term(term.0)).await
    }

    async fn position(&self) -> Result<Option<Position>, StoreError> {
        let position = self.0.relay_position().await?;
        Ok(position.map(|store::Position { epoch, seq }| Position { epoch, seq }))
    }

    async fn unsent(&self, limit: usize) -> Result<Vec<Row>, StoreError> {
        Ok(self.0.unsent(limit).await?.into_iter().map(row).collect())
    }

    async fn snapshots(&self, users: &[UserId]) -> Result<Vec<(UserId, Bytes)>, StoreError> {
        let snapshots = self.0.snapshots(users).await?.into_iter();
        Ok(snapshots
            .map(|(user, snapshot)| (user, Bytes::from(snapshot.encode())))
            .collect())
    }

    async fn mark_sent(
        &self,
        term: Term,
        rows: &[(OutboxId, Seq)],
        position: Position,
    ) -> Result<bool, StoreError> {
        let term = store::Term(term.0);
        self.0.mark_sent(term, rows, stored(position)).await
    }

    async fn mark_found(
        &self,
        term: Term,
        events: &[(EventId, Seq)],
        position: Position,
    ) -> Result<bool, StoreError> {
        let term = store::Term(term.0);
        self.0.mark_found(term, events, stored(position)).await
    }

    async fn begin_epoch(
        &self,
        term: Term,
        position: Position,
        survived: Seq,
    ) -> Result<bool, StoreError> {
        let term = store::Term(term.0);
        self.0.begin_epoch(term, stored(position), survived).await
    }

    async fn bury(&self, term: Term, row: OutboxId, reason: &str) -> Result<bool, StoreError> {
        self.0.bury(store::Term(term.0), row, reason).await
    }

    async fn tidy(&self, term: Term, age: Duration) -> Result<bool, StoreError> {
        self.0.tidy(store::Term(term.0), age).await
    }
}

fn row(row: OutboxRow) -> Row {
    Row {
        id: row.id,
        traceparent: row.traceparent,
        change: match row.change {
            OutboxChange::User(user, community) => Change::User(user, community),
            OutboxChange::Event(event) => Change::Event(event),
        },
    }
}

fn stored(Position { epoch, seq }: Position) -> store::Position {
    store::Position { epoch, seq }
}

/// The stream in NATS.
#[derive(Clone)]
pub(crate) struct Stream(pub(crate) Log);

/// The acknowledgement of one message.
pub(crate) struct Ack(bus::Ack);

impl Future for Ack {
    type Output = Result<Seq, PublishError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(publish_error)
    }
}

impl Sink for Stream {
    type Ack = Ack;

    async fn publish(&self, message: &Message, expected_last: Seq) -> Result<Ack, PublishError> {
        let ack = self.0.publish(message, expected_last).await;
        ack.map(Ack).map_err(publish_error)
    }

    async fn publish_all(
        &self,
        messages: &[Message],
        expected_last: Seq,
    ) -> Result<Seq, PublishError> {
        let stored = self.0.publish_all(messages, expected_last).await;
        stored.map_err(publish_error)
    }

    async fn tail(&self) -> Result<Seq, ReadError> {
        self.0.tail().await.map_err(read_error)
    }

    async fn read(&self, seq: Seq) -> Result<Option<Found>, ReadError> {
        let found = self.0.read(seq).await.map_err(read_error)?;
        Ok(found.map(|message| Found {
            epoch: message.epoch(),
            event: message.event(),
            snapshot: match message.subject.parse() {
                Ok(Subject::User(user)) => Some(user),
                _ => None,
            },
        }))
    }

    async fn last_event(&self, community: CommunityId) -> Result<Seq, ReadError> {
        self.0.last_event(community).await.map_err(read_error)
    }

    async fn last_mark(&self) -> Result<Option<LastMark>, ReadError> {
        let last = match self.0.last_mark().await {
            // A foreign hand wrote it. Counted as none, the next epoch's mark takes its place.
            Err(error @ (bus::ReadError::Head { .. } | bus::ReadError::Mark { .. })) => {
                tracing::error!(%error, "the log's last mark is none of ours");
                None
            }
            last => last.map_err(read_error)?,
        };
        Ok(last.map(|last| LastMark {
            seq: last.seq,
            epoch: last.epoch,
            mark: last.mark,
        }))
    }

    async fn purge_snapshots(&self, user: UserId, below: Seq) -> Result<(), ReadError> {
        self.0
            .purge_snapshots(user, below)
            .await
            .map_err(read_error)
    }

    async fn purge_marks(&self, below: Seq) -> Result<(), ReadError> {
        self.0.purge_marks(below).await.map_err(read_error)
    }

    fn ack_timeout(&self) -> Duration {
        self.0.ack_timeout()
    }
}

/// The outbox crate knows no NATS: of its errors it keeps the text, with everything that led to them.
fn publish_error(error: bus::PublishError) -> PublishError {
    match error {
        bus::PublishError::Refused(why) => PublishError::Refused(causes(&why)),
        bus::PublishError::Rejected(why) => PublishError::Rejected(causes(&why)),
        bus::PublishError::Unavailable(why) => PublishError::Unavailable(causes(&why)),
    }
}

fn read_error(error: bus::ReadError) -> ReadError {
    ReadError(causes(&error))
}
