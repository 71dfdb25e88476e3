//! Writing the log, pipelined: a message is stored at the sequence after `expected_last`, or it is refused.
//!
//! Nothing is sent again here. Publishes that a lost connection held back may still reach the server on the next
//! one; they name the sequence they expect, so they are stored in their place or not at all.

use std::error::Error;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::jetstream::context;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{HeaderMap, HeaderValue};
use crier_domain::Seq;
use crier_domain::log::{Message, header};
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use super::Log;
use crate::connection::Link;
use crate::error::{Outage, ServerError};

/// How long an unanswered publish is waited for, from the moment it was handed over.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// How many publishes may be unanswered at once; one more is [`Outage::Busy`]. They are not held back, because a
/// writer that waits for a place before it awaits its acks would wait for ever.
pub const MAX_UNANSWERED: usize = 16_384;

/// Why a message was not stored, as far as one knows.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The log does not end where the writer thought, or has the message already: look at its tail.
    #[error("the log does not end where expected: {0}")]
    Refused(Refusal),
    /// It will never be stored as it is.
    #[error("refused for good: {0}")]
    Rejected(Rejection),
    /// No answer, no leader, no connection: it may or may not have been stored. Try again later.
    #[error("the log is not available: {0}")]
    Unavailable(Outage),
}

/// How the log ends otherwise than expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was refused because something else stands there.
    #[error("{0}")]
    WrongSequence(ServerError),
    /// It was stored elsewhere.
    #[error("it was stored at {found} and not at {expected}")]
    Elsewhere {
        /// Where it should have been.
        expected: Seq,
        /// Where it is.
        found: Seq,
    },
    /// A message with this id is already there.
    #[error("its id is already there, at {found}")]
    Duplicate {
        /// Where.
        found: Seq,
    },
}

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It is larger than the connection takes.
    #[error("the message is larger than the server's {limit} bytes")]
    TooLarge {
        /// The server's limit for headers and payload together.
        limit: usize,
    },
    /// A header can't be sent.
    #[error("the header {0} can't be sent")]
    Header(&'static str),
    /// The server says so.
    #[error("{0}")]
    Server(ServerError),
}

/// The acknowledgement of one message: resolves to the sequence it was stored at, which is the one after
/// `expected_last`, or to an error within [`ACK_TIMEOUT`]. Dropping it leaves the message on its way.
#[must_use = "whether a message was stored is known from its acknowledgement alone"]
pub struct Ack(BoxFuture<'static, Result<Seq, PublishError>>);

impl Future for Ack {
    type Output = Result<Seq, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl Log {
    /// How long an unanswered publish is waited for.
    #[must_use]
    pub const fn ack_timeout(&self) -> Duration {
        ACK_TIMEOUT
    }

    /// Hands a message over, to be stored only if the log then ends with `expected_last`. Resolves when it is on
    /// its way, not when it is stored; messages go out in the order of the calls.
    ///
    /// # Errors
    /// When it was not sent: [`PublishError::Unavailable`] at once without a connection, or
    /// [`PublishError::Rejected`].
    pub async fn publish(
        &self,
        message: &Message,
        expected_last: Seq,
    ) -> Result<Ack, PublishError> {
        let deadline = Instant::now() + ACK_TIMEOUT;
        let link = self.bus.link().ok_or(unavailable(Outage::Disconnected))?;
        let publish = PublishMessage::build()
            .headers(headers(message, expected_last)?)
            .payload(message.payload.clone());
        let sending = self
            .bus
            .jetstream()
            .send_publish(message.subject.to_string(), publish);
        let sent = timeout_at(deadline, sending)
            .await
            .map_err(|_| unavailable(Outage::NoAnswer(ACK_TIMEOUT)))?
            .map_err(|error| self.not_sent(error))?;
        let answer = sent.into_future();
        let expected = expected_last.next();
        Ok(Ack(Box::pin(acknowledged(
            link, deadline, answer, expected,
        ))))
    }

    /// Stores these messages, all of them or none, and without another between them, if the log then ends with
    /// `expected_last`. Gives the sequence of the last. At most a thousand, none with an id: the server's limits.
    ///
    /// # Errors
    /// When they are not stored, as far as one knows.
    pub async fn publish_all(
        &self,
        messages: &[Message],
        expected_last: Seq,
    ) -> Result<Seq, PublishError> {
        let deadline = Instant::now() + ACK_TIMEOUT;
        let link = self.bus.link().ok_or(unavailable(Outage::Disconnected))?;
        let Some((last, others)) = messages.split_last() else {
            return Ok(expected_last);
        };
        // Any id nobody else uses: that of an inbox is one.
        let batch = self.bus.client().new_inbox();
        let mut number = 0;
        let mut in_batch = |message| {
            number += 1;
            let mut headers = plain_headers(message)?;
            headers.insert(header::BATCH_ID, batch.as_str());
            headers.insert(header::BATCH_SEQUENCE, HeaderValue::from(number));
            if number == 1 {
                let expected = HeaderValue::from(expected_last.0);
                headers.insert(header::EXPECTED_LAST_SEQUENCE, expected);
            }
            Ok::<_, PublishError>(headers)
        };
        for message in others {
            let headers = in_batch(message)?;
            let (subject, payload) = (message.subject.to_string(), message.payload.clone());
            let client = self.bus.client();
            timeout_at(
                deadline,
                client.publish_with_headers(subject, headers, payload),
            )
            .await
            .map_err(|_| unavailable(Outage::NoAnswer(ACK_TIMEOUT)))?
            .map_err(|error| unavailable(Outage::client(error)))?;
        }
        let mut headers = in_batch(last)?;
        headers.insert(header::BATCH_COMMIT, "1");
        let publish = PublishMessage::build()
            .headers(headers)
            .payload(last.payload.clone());
        let sending = self
            .bus
            .jetstream()
            .send_publish(last.subject.to_string(), publish);
        let sent = timeout_at(deadline, sending)
            .await
            .map_err(|_| unavailable(Outage::NoAnswer(ACK_TIMEOUT)))?
            .map_err(|error| self.not_sent(error))?;
        let expected = Seq(expected_last.0 + number);
        acknowledged(link, deadline, sent.into_future(), expected).await
    }

    fn not_sent(&self, error: context::PublishError) -> PublishError {
        match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => PublishError::Rejected(Rejection::TooLarge {
                limit: self.bus.max_payload(),
            }),
            PublishErrorKind::MaxAckPending => unavailable(Outage::Busy),
            _ => refused(error),
        }
    }
}

/// Waits for the answer: stored at `expected`, or why not.
async fn acknowledged(
    mut link: Link,
    deadline: Instant,
    answer: impl Future<Output = Result<PublishAck, context::PublishError>>,
    expected: Seq,
) -> Result<Seq, PublishError> {
    tokio::select! {
        biased;
        answer = timeout_at(deadline, answer) => match answer {
            Ok(Ok(ack)) => accept(&ack, expected),
            Ok(Err(error)) => Err(refused(error)),
            Err(_) => Err(unavailable(Outage::NoAnswer(ACK_TIMEOUT))),
        },
        () = link.lost() => Err(unavailable(Outage::Lost)),
    }
}

const fn unavailable(outage: Outage) -> PublishError {
    PublishError::Unavailable(outage)
}

fn headers(message: &Message, expected_last: Seq) -> Result<HeaderMap, PublishError> {
    let mut headers = plain_headers(message)?;
    let expected = HeaderValue::from(expected_last.0);
    headers.insert(header::EXPECTED_LAST_SEQUENCE, expected);
    Ok(headers)
}

fn plain_headers(message: &Message) -> Result<HeaderMap, PublishError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &message.headers {
        let value = HeaderValue::from_str(value)
            .map_err(|_| PublishError::Rejected(Rejection::Header(name)))?;
        headers.insert(*name, value);
    }
    Ok(headers)
}

fn accept(ack: &PublishAck, expected: Seq) -> Result<Seq, PublishError> {
    let found = Seq(ack.sequence);
    if ack.duplicate {
        return Err(PublishError::Refused(Refusal::Duplicate { found }));
    }
    if found != expected {
        let elsewhere = Refusal::Elsewhere { expected, found };
        return Err(PublishError::Refused(elsewhere));
    }
    Ok(found)
}

fn refused(error: context::PublishError) -> PublishError {
    match error.kind() {
        PublishErrorKind::StreamNotFound => return unavailable(Outage::NoResponders),
        PublishErrorKind::TimedOut => return unavailable(Outage::NoAnswer(ACK_TIMEOUT)),
        PublishErrorKind::BrokenPipe => return unavailable(Outage::Lost),
        _ => {}
    }
    let answer = error
        .source()
        .and_then(|source| source.downcast_ref::<jetstream::Error>());
    match answer {
        Some(answer) => by_code(answer.error_code(), ServerError::from(answer)),
        None => unavailable(Outage::client(error)),
    }
}

/// What the server's error code means. What is unknown may pass, so it counts as an outage: to call it a rejection
/// would lose the message.
fn by_code(code: ErrorCode, error: ServerError) -> PublishError {
    match code {
        ErrorCode::STREAM_WRONG_LAST_SEQUENCE | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT => {
            PublishError::Refused(Refusal::WrongSequence(error))
        }
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM
        | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM
        | ErrorCode::MESSAGE_TTL_INVALID => PublishError::Rejected(Rejection::Server(error)),
        _ => unavailable(Outage::Server(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(code: u64) -> PublishError {
        let description = "said the server".to_owned();
        by_code(
            ErrorCode(code),
            ServerError {
                status: 0,
                code,
                description,
            },
        )
    }

    #[test]
    fn codes_are_told_apart_and_the_unknown_is_an_outage() {
        for code in [10_071, 10_164] {
            assert!(
                matches!(classified(code), PublishError::Refused(_)),
                "{code}"
            );
        }
        for code in [10_054, 10_097, 10_165] {
            assert!(
                matches!(classified(code), PublishError::Rejected(_)),
                "{code}"
            );
        }
        // A message id in process, no leader, a full disk, TTLs switched off, and whatever comes.
        for code in [10_158, 10_008, 10_009, 10_077, 10_166, 99_999, 0] {
            assert!(
                matches!(classified(code), PublishError::Unavailable(_)),
                "{code}"
            );
        }
    }

    #[test]
    fn an_ack_for_any_other_place_is_a_refusal() {
        let ack = |sequence, duplicate| PublishAck {
            sequence,
            duplicate,
            ..PublishAck::default()
        };
        assert!(matches!(accept(&ack(8, false), Seq(8)), Ok(Seq(8))));
        for bad in [ack(7, false), ack(9, false), ack(8, true)] {
            let refused = accept(&bad, Seq(8));
            assert!(matches!(refused, Err(PublishError::Refused(_))), "{bad:?}");
        }
    }
}
