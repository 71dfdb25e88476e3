//! The hub's counters, for metrics.

use std::time::Duration;

use crier_domain::Seq;

/// A moment's look at the hub. Counters only rise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Everything up to here has been passed.
    pub position: Seq,
    /// The last entry that the spine brought.
    pub taken: Seq,
    /// Entries that wait to be passed.
    pub queue_entries: usize,
    /// Bytes of payloads of waiting entries, there or being fetched.
    pub queue_bytes: usize,
    /// Bytes of live copies that came before their entry.
    pub early_bytes: usize,
    /// Open connections, those waiting for a snapshot included.
    pub connections: usize,
    /// Users with a connection.
    pub users: usize,
    /// Communities followed, lingering ones included.
    pub interests: usize,
    /// Connections that catch up.
    pub replays: usize,
    /// Bytes of recent events kept for clients that come back.
    pub ring_bytes: usize,
    /// Bytes of older events, read back from the log.
    pub page_bytes: usize,
    /// Communities whose past is being read.
    pub fetches_past: usize,
    /// Counter: entries passed.
    pub passed: u64,
    /// Counter: payloads of waiting entries that came without having been asked for.
    pub live: u64,
    /// Counter: fetches asked for, repeated ones included.
    pub fetches: u64,
    /// Counter: payloads that came after having been asked for.
    pub fetched: u64,
    /// Counter: live copies that did not come and were asked for.
    pub gaps: u64,
    /// Counter: those of them that came then. The others were gone, or nobody needs them any more.
    pub healed: u64,
    /// Counter: how long these took, from when the spine told of them.
    pub healing: Duration,
    /// Counter: payloads that the log no longer had.
    pub gone: u64,
    /// Counter: payloads that can't be read. Only the relay writes to the log, so this is an alarm.
    pub malformed: u64,
    /// Counter: payloads dropped to keep a bound, to be fetched when their turn comes.
    pub dropped: u64,
    /// Counter: events delivered to at least one connection.
    pub events: u64,
    /// Counter: frames of events, over all connections.
    pub delivered: u64,
    /// Counter: `reset` frames.
    pub resets: u64,
    /// Counter: snapshots applied.
    pub snapshots: u64,
    /// Counter: resumes that recent events kept here were enough for.
    pub resumes_ring: u64,
    /// Counter: resumes that took events from the log.
    pub resumes_log: u64,
    /// Counter: resumes that ended in a `reset` of everything.
    pub resumes_reset: u64,
    /// Counter: events replayed, over all connections.
    pub replayed: u64,
    /// Counter: pages of the past that were of use.
    pub pages: u64,
    /// Counter: pages that were short and asked for again.
    pub pages_again: u64,
    /// Counter: connections closed by the hub.
    pub closed: u64,
}
