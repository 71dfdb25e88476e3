//! Why a spine ends.

use std::time::Duration;

use crier_domain::Seq;

use crate::error::{Outage, ServerError};

/// Why a spine ended. All but [`SpineLost::Replaced`] are a reason to make it again from its position, after a
/// back-off with jitter.
#[derive(Debug, thiserror::Error)]
pub enum SpineLost {
    /// The connection was lost.
    #[error("the connection to NATS was lost")]
    Disconnected,
    /// It could not be made, or asked for more.
    #[error("the spine can't be made: {0}")]
    Unavailable(#[source] Outage),
    /// The server said nothing for so long.
    #[error("the server said nothing for {} ms", .0.as_millis())]
    Silent(Duration),
    /// The server gave the consumer up: deleted, shut down, another leader.
    #[error("the consumer is gone: {0}")]
    Gone(ServerError),
    /// A message got lost on the way.
    #[error("message {expected} of the consumer is missing: {found} came")]
    Gap {
        /// The consumer's next number.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// The log has messages that the consumer doesn't give.
    #[error("the consumer stands at {at} and the log at {tail}")]
    Stalled {
        /// The consumer's place in the log.
        at: Seq,
        /// The log's end.
        tail: Seq,
    },
    /// A message without a readable place.
    #[error("a message without a place in the log: {0:?}")]
    Malformed(String),
    /// The log ends, or goes on, at or below the position: it is not the log that was read so far. Everything known
    /// of it is void.
    #[error("the log was replaced: the position is {position}, the log is at {found}")]
    Replaced {
        /// How far the spine was.
        position: Seq,
        /// Where the log is.
        found: Seq,
    },
}

impl SpineLost {
    /// One word for it, to count by.
    #[must_use]
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Unavailable(_) => "unavailable",
            Self::Silent(_) => "silent",
            Self::Gone(_) => "gone",
            Self::Gap { .. } => "gap",
            Self::Stalled { .. } => "stalled",
            Self::Malformed(_) => "malformed",
            Self::Replaced { .. } => "replaced",
        }
    }
}
