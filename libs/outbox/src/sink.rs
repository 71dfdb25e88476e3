//! Where the relay's messages go: the log, as its stream's leader answers for it.

use std::future::Future;
use std::time::Duration;

use crier_domain::log::{Mark, Message};
use crier_domain::{CommunityId, Epoch, EventId, Seq, UserId};

/// Why a message was not stored, as far as one knows.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The log does not end where the relay thought, or has the message already: look at its tail.
    #[error("the log does not end where expected: {0}")]
    Refused(String),
    /// It will never be stored: too large, say.
    #[error("refused for good: {0}")]
    Rejected(String),
    /// No answer, no leader, no connection: it may or may not have been stored. Try again later.
    #[error("the log is not available: {0}")]
    Unavailable(String),
}

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the log can't be read: {0}")]
pub struct ReadError(pub String);

/// What stands at one sequence of the log, as far as the relay needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The life of the log it was written in; none if it is no message of ours.
    pub epoch: Option<Epoch>,
    /// The event's id; none for snapshots and marks.
    pub event: Option<EventId>,
    /// Whose snapshot it is; none for events and marks.
    pub snapshot: Option<UserId>,
}

/// The last mark of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastMark {
    /// Where it stands.
    pub seq: Seq,
    /// Its epoch.
    pub epoch: Epoch,
    /// What it says.
    pub mark: Mark,
}

impl LastMark {
    /// How long it promises that the log reaches back.
    #[must_use]
    pub fn retention(&self) -> Duration {
        Duration::from_secs(self.mark.retention_seconds)
    }
}

/// The log as the relay sees it. Reads are answered by the stream's leader, never by a replica that may
/// be behind. Every call has a timeout of its own.
pub trait Sink: Send + Sync + 'static {
    /// The acknowledgement of one message: its sequence.
    type Ack: Future<Output = Result<Seq, PublishError>> + Send + 'static;

    /// Hands a message over, to be stored only if the log then ends with `expected_last`. Resolves when it
    /// is on its way, not when it is stored; messages go out in the order of the calls.
    fn publish(
        &self,
        message: &Message,
        expected_last: Seq,
    ) -> impl Future<Output = Result<Self::Ack, PublishError>> + Send;

    /// Stores these messages, all of them or none, and without another between them, only if the log then ends with
    /// `expected_last`. Gives the sequence of the last.
    fn publish_all(
        &self,
        messages: &[Message],
        expected_last: Seq,
    ) -> impl Future<Output = Result<Seq, PublishError>> + Send;

    /// The last sequence of the log; [`Seq::ZERO`] for a new one.
    fn tail(&self) -> impl Future<Output = Result<Seq, ReadError>> + Send;

    /// What stands at `seq`; `None` if there is nothing any more.
    fn read(&self, seq: Seq) -> impl Future<Output = Result<Option<Found>, ReadError>> + Send;

    /// The sequence of the community's last event; [`Seq::ZERO`] if the log holds none.
    fn last_event(
        &self,
        community: CommunityId,
    ) -> impl Future<Output = Result<Seq, ReadError>> + Send;

    /// The last mark, if there is one.
    fn last_mark(&self) -> impl Future<Output = Result<Option<LastMark>, ReadError>> + Send;

    /// Removes the user's snapshots before `below`.
    fn purge_snapshots(
        &self,
        user: UserId,
        below: Seq,
    ) -> impl Future<Output = Result<(), ReadError>> + Send;

    /// Removes the marks before `below`.
    fn purge_marks(&self, below: Seq) -> impl Future<Output = Result<(), ReadError>> + Send;

    /// How long an unanswered publish is waited for.
    fn ack_timeout(&self) -> Duration;
}
