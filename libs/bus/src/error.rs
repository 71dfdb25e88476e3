//! Why NATS didn't answer, or answered no.

use std::error::Error;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::{RequestError, RequestErrorKind};

/// An error that the server answered with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{description}")]
pub struct ServerError {
    /// Its kind, as HTTP has them: 503.
    pub status: u16,
    /// The JetStream error code, as 10071; 0 where there is only a status.
    pub code: u64,
    /// Its text, with the code.
    pub description: String,
}

impl From<&jetstream::Error> for ServerError {
    fn from(error: &jetstream::Error) -> Self {
        Self {
            status: u16::try_from(error.code()).unwrap_or_default(),
            code: error.error_code().0,
            description: error.to_string(),
        }
    }
}

/// NATS can't do it at present. Whether what was asked has happened is not known. Worth trying again later.
#[derive(Debug, thiserror::Error)]
pub enum Outage {
    /// There is no connection.
    #[error("not connected to NATS")]
    Disconnected,
    /// The connection was lost before the answer came.
    #[error("the connection to NATS was lost before it answered")]
    Lost,
    /// No answer came in this time.
    #[error("NATS didn't answer within {} ms", .0.as_millis())]
    NoAnswer(Duration),
    /// Nobody listens there: the stream is missing or without a leader, or JetStream is off.
    #[error("nobody answers there: no stream, no leader, or JetStream is off")]
    NoResponders,
    /// Whoever answered follows a leader it has lost, or led and is out of touch with most others: what it knows may be old.
    #[error("the NATS server that answered is out of touch with the others")]
    OutOfTouch,
    /// More publishes are unanswered than are allowed at once.
    #[error("too many publishes are unanswered")]
    Busy,
    /// The server refused for a reason of its own.
    #[error("NATS answered: {0}")]
    Server(ServerError),
    /// The client library failed, or could not read the answer.
    #[error("the exchange with NATS failed")]
    Client(#[source] Box<dyn Error + Send + Sync>),
}

impl Outage {
    pub(crate) fn client(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Client(error.into())
    }

    pub(crate) fn of_request(error: RequestError, limit: Duration) -> Self {
        match error.kind() {
            RequestErrorKind::NoResponders => Self::NoResponders,
            RequestErrorKind::TimedOut => Self::NoAnswer(limit),
            RequestErrorKind::InvalidSubject | RequestErrorKind::Other => Self::client(error),
        }
    }
}
