//! A message as it stands in the log.

use std::time::SystemTime;

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use crier_domain::log::{self, Head, HeadError, Mark, header};
use crier_domain::{Epoch, EventId, Seq};

use super::ReadError;
use crate::headers::Headers;

/// A message of the log, whole.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Where it stands.
    pub seq: Seq,
    /// When it was stored, by the leader's clock.
    pub time: SystemTime,
    /// Its subject.
    pub subject: String,
    /// Its body.
    pub payload: Bytes,
    headers: HeaderMap,
}

impl Stored {
    /// What it is.
    ///
    /// # Errors
    /// When it is nothing that the relay writes.
    pub fn head(&self) -> Result<(Epoch, Head), HeadError> {
        let headers = Headers::of(Some(&self.headers));
        log::read(&self.subject, |name| headers.get(name))
    }

    /// The life of the log it was written in; `None` if it is no message of the relay's.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.header(header::EPOCH)?.parse().ok()
    }

    /// The event's id; `None` for snapshots and marks.
    #[must_use]
    pub fn event(&self) -> Option<EventId> {
        self.header(header::ID)?.parse().ok()
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &'static str) -> Option<&str> {
        Some(self.headers.get(name)?.as_str())
    }

    fn needs_epoch(&self) -> Result<Epoch, ReadError> {
        self.epoch().ok_or(ReadError::Head {
            seq: self.seq,
            source: HeadError::Header(header::EPOCH),
        })
    }
}

impl From<StreamMessage> for Stored {
    fn from(message: StreamMessage) -> Self {
        Self {
            seq: Seq(message.sequence),
            time: message.time.into(),
            subject: message.subject.into_string(),
            payload: message.payload,
            headers: message.headers,
        }
    }
}

/// The last mark of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastMark {
    /// Where it stands.
    pub seq: Seq,
    /// Its epoch.
    pub epoch: Epoch,
    /// When it was stored.
    pub time: SystemTime,
    /// What it says.
    pub mark: Mark,
}

impl TryFrom<Stored> for LastMark {
    type Error = ReadError;

    fn try_from(stored: Stored) -> Result<Self, ReadError> {
        let mark = serde_json::from_slice(&stored.payload);
        Ok(Self {
            seq: stored.seq,
            epoch: stored.needs_epoch()?,
            time: stored.time,
            mark: mark.map_err(|source| ReadError::Mark {
                seq: stored.seq,
                source,
            })?,
        })
    }
}

/// A user's last snapshot, not yet decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// Where it stands.
    pub seq: Seq,
    /// Its epoch. One of an older epoch than the log's counts as none.
    pub epoch: Epoch,
    /// [`crier_domain::Snapshot`] as it was encoded.
    pub payload: Bytes,
}

impl TryFrom<Stored> for StoredSnapshot {
    type Error = ReadError;

    fn try_from(stored: Stored) -> Result<Self, ReadError> {
        Ok(Self {
            seq: stored.seq,
            epoch: stored.needs_epoch()?,
            payload: stored.payload,
        })
    }
}
