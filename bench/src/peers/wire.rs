//! What goes between the processes of a measurement: the stamp in each event, and the client's orders and answers, a
//! line of JSON each.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Every event carries this text: when it was published, and its number.
pub(super) const STAMP_BYTES: usize = 32;
/// How a stamp begins; nothing else that is sent holds it.
pub(super) const STAMP_BEGIN: &[u8] = b"~~T";

/// Nanoseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// The stamp of an event that is published now.
pub(super) fn stamp(number: u32) -> String {
    format!("~~T{:020}N{number:08}", now())
}

/// Reads a stamp: the event's number, and when it was published.
pub(super) fn read_stamp(text: &[u8]) -> Option<(u32, u64)> {
    let digits = |from: usize, to: usize| std::str::from_utf8(text.get(from..to)?).ok();
    Some((
        digits(24, STAMP_BYTES)?.parse().ok()?,
        digits(3, 23)?.parse().ok()?,
    ))
}

/// What the client is told to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Order {
    /// Open connections; answered when all are open or have failed.
    Connect(Connect),
    /// Answered when this many events have come since the last answer, or the time is over.
    Collect { frames: u64, patience_ms: u64 },
    /// Close all but the first so many.
    Leave { keep: usize },
}

/// Connections to open.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Connect {
    pub(super) servers: Vec<SocketAddr>,
    /// The requests' heads, one after the other, each with the empty line at its end.
    pub(super) heads: PathBuf,
    pub(super) count: usize,
    /// A stream is open once this has come.
    pub(super) marker: String,
    /// So many may be on their way at a time.
    pub(super) at_once: usize,
    pub(super) patience_ms: u64,
}

/// What the client has seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Answer {
    Connected(Connected),
    Collected(Box<Collected>),
    Left { open: usize },
}

/// How connecting went.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Connected {
    pub(crate) open: usize,
    pub(crate) failed: usize,
    pub(super) seconds: f64,
    /// What the first failed one was answered, or the error.
    pub(crate) failure: Option<String>,
}

/// What came.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Collected {
    pub(super) frames: u64,
    pub(super) bytes: u64,
    pub(super) reads: u64,
    /// Streams that the server ended.
    pub(super) ended: u64,
    /// Bytes of an event on the wire: the median of the reads with exactly one.
    pub(super) frame_bytes: u64,
    /// Microseconds from publishing to reading, over all events and readers.
    pub(super) latency: Latency,
    /// For each event: how many got it, and after how many microseconds half of them and the last one had it.
    pub(super) events: Vec<Fan>,
}

/// Microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

/// One event on its way to all.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Fan {
    pub(super) number: u32,
    pub(super) readers: usize,
    pub(super) median_us: u64,
    pub(super) last_us: u64,
}
