//! What a pull consumer says and is told, byte by byte.

use std::time::{Duration, SystemTime};

use async_nats::{Message, StatusCode};
use bytes::Bytes;
use crier_domain::Seq;
use serde_json::json;

use super::Pace;
use crate::error::ServerError;
use crate::headers::Headers;

/// The size of a body that was left out.
pub(super) const MSG_SIZE: &str = "Nats-Msg-Size";
/// On a heartbeat: how far in the stream the consumer is.
const LAST_STREAM_SEQ: &str = "Nats-Last-Stream";
/// On a heartbeat: how many messages the consumer has given.
const LAST_CONSUMER_SEQ: &str = "Nats-Last-Consumer";
/// On the end of a request: how many of its messages were not sent.
const PENDING_MESSAGES: &str = "Nats-Pending-Messages";

/// A request for `batch` messages.
pub(super) fn pull(batch: usize, pace: &Pace) -> Bytes {
    let request = json!({
        "batch": batch,
        "expires": nanos(pace.request),
        "idle_heartbeat": nanos(pace.heartbeat),
    });
    Bytes::from(request.to_string())
}

/// Durations are nanoseconds there.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Where a message stands, as its reply subject says it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// In the stream.
    pub(super) seq: Seq,
    /// Among the consumer's messages, from 1.
    pub(super) consumer_seq: u64,
    /// When it was stored.
    pub(super) time: SystemTime,
    /// How many the consumer had yet to give.
    pub(super) behind: u64,
}

impl Place {
    /// Reads `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<seq>.<consumer_seq>.<time>.<pending>[.…]`.
    pub(super) fn parse(reply: &str) -> Option<Self> {
        let tokens = reply.strip_prefix("$JS.ACK.")?;
        // The short form has 7 tokens, the long one 9 or more.
        let before = match tokens.split('.').count() {
            7 => 3,
            9.. => 5,
            _ => return None,
        };
        let mut tokens = tokens.split('.').skip(before);
        let seq = tokens.next()?.parse().ok()?;
        let consumer_seq = tokens.next()?.parse().ok()?;
        let nanos = Duration::from_nanos(tokens.next()?.parse().ok()?);
        let behind = tokens.next()?.parse().ok()?;
        Some(Self {
            seq: Seq(seq),
            consumer_seq,
            time: SystemTime::UNIX_EPOCH.checked_add(nanos)?,
            behind,
        })
    }
}

/// What a message without a subject of the log says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// All is well and nothing to send.
    Heartbeat {
        /// How far in the stream the consumer is.
        at: Option<Seq>,
        /// How many messages it has given.
        given: Option<u64>,
    },
    /// A request is over.
    Expired {
        /// How many of its messages were not sent.
        unused: usize,
    },
    /// There will be no more.
    Gone(ServerError),
}

impl Status {
    pub(super) fn of(message: &Message) -> Self {
        let headers = Headers::of(message.headers.as_ref());
        match message.status {
            Some(StatusCode::IDLE_HEARTBEAT) => Self::Heartbeat {
                at: headers.parsed(LAST_STREAM_SEQ).map(Seq),
                given: headers.parsed(LAST_CONSUMER_SEQ),
            },
            // Should it not say how many, then we ask for all of them again: too many is harmless.
            Some(StatusCode::TIMEOUT) => Self::Expired {
                unused: headers.parsed(PENDING_MESSAGES).unwrap_or(usize::MAX),
            },
            status => Self::Gone(ServerError {
                status: status.map_or(0, |status| status.as_u16()),
                code: 0,
                description: format!(
                    "{} {}",
                    status.map_or_else(String::new, |status| status.to_string()),
                    message.description.as_deref().unwrap_or("without a reason"),
                ),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_both_forms() {
        let place = Some(Place {
            seq: Seq(42),
            consumer_seq: 7,
            time: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789),
            behind: 3,
        });
        for reply in [
            "$JS.ACK.CRIER.spine-1.1.42.7.1700000000123456789.3",
            "$JS.ACK._.acc.CRIER.spine-1.1.42.7.1700000000123456789.3",
            "$JS.ACK.hub.acc.CRIER.spine-1.1.42.7.1700000000123456789.3.token.more",
        ] {
            assert_eq!(Place::parse(reply), place, "{reply}");
        }
    }

    #[test]
    fn anything_else_is_no_place() {
        for reply in [
            "",
            "_INBOX.x",
            "$JS.ACK.",
            "$JS.ACK.CRIER.spine.1.42.7.1700000000123456789",
            "$JS.ACK.a.CRIER.spine.1.42.7.1700000000123456789.3",
            "$JS.ACK.CRIER.spine.1.x.7.1700000000123456789.3",
            "$JS.ACK.CRIER.spine.1.42.7.-1.3",
            "$JS.ACK.CRIER.spine.1.42.7.1700000000123456789.x",
        ] {
            assert_eq!(Place::parse(reply), None, "{reply}");
        }
    }
}
