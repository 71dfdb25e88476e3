//! The hub's bounds and times.

use std::time::Duration;

/// How long to wait before asking again: doubling from `first` up to `most`, with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first time.
    pub first: Duration,
    /// At most.
    pub most: Duration,
}

/// Bounds and times, with defaults that suit a gateway of tens of thousands of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubConfig {
    /// From a heartbeat or an event on a connection to its next heartbeat; each varies by a fifth.
    pub heartbeat: Duration,
    /// After how long a client comes back when its connection breaks (`retry:` in `ready`; varies by
    /// a fifth, so that the clients of a gateway that died don't come at once).
    pub retry: Duration,
    /// After how long a client comes back that was sent away (`retry:` in `bye`): at least.
    pub bye_retry_least: Duration,
    /// The same: at most.
    pub bye_retry_most: Duration,
    /// How long a connection waits for its user's snapshot before it gets `bye unavailable`.
    pub snapshot_wait: Duration,
    /// After how long a snapshot's reading that was not answered is asked for again.
    pub read_timeout: Duration,
    /// Between repeated readings of, and requests for, one user's snapshot.
    pub lookup_backoff: Backoff,
    /// How long the live copy of a wanted event may take before it is fetched.
    pub payload_grace: Duration,
    /// Between repeated fetches of one payload.
    pub fetch_backoff: Backoff,
    /// How long a community is followed after the last user who needs it left, and pages of the past are kept after
    /// the last client that needed any.
    pub linger: Duration,
    /// The most entries of the log that wait to be passed.
    pub max_queue_entries: usize,
    /// The most bytes of payloads, there or being fetched, of entries that wait to be passed. The
    /// entry at the head is fetched even so.
    pub max_queue_bytes: usize,
    /// The most bytes of live copies that came before their entry of the spine.
    pub max_early_bytes: usize,
    /// The most entries passed before the frames they gave are handed out: well below what a gateway lets wait
    /// for one client.
    pub pass_at_once: usize,
    /// How many recent events of one followed community are kept for clients that come back.
    pub ring_events: usize,
    /// How many bytes of them.
    pub ring_bytes: usize,
    /// How many bytes of them over all communities; an event counts 256 bytes more than its frame.
    pub rings_bytes: usize,
    /// How many bytes of older events, read back from the log, are kept while clients replay them.
    pub pages_bytes: usize,
    /// The most events of its communities that one resume looks at, whoever they are for.
    pub resume_events: usize,
    /// The most bytes of them.
    pub resume_bytes: usize,
    /// Frames of a replay that are written to a connection before it must have read them.
    pub replay_messages: usize,
    /// The same in bytes.
    pub replay_bytes: usize,
    /// Between repeated readings of a page that was short.
    pub page_backoff: Backoff,
    /// How long a cursor may be ahead of the position before the log's leader is asked about it.
    pub ahead_grace: Duration,
    /// Seeds the dice for jitter. Give every gateway its own.
    pub seed: u64,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(25),
            retry: Duration::from_secs(2),
            bye_retry_least: Duration::from_secs(1),
            bye_retry_most: Duration::from_secs(5),
            snapshot_wait: Duration::from_secs(5),
            read_timeout: Duration::from_secs(2),
            lookup_backoff: Backoff {
                first: Duration::from_millis(250),
                most: Duration::from_secs(2),
            },
            payload_grace: Duration::from_millis(20),
            fetch_backoff: Backoff {
                first: Duration::from_secs(1),
                most: Duration::from_secs(8),
            },
            linger: Duration::from_secs(5),
            max_queue_entries: 10_000,
            max_queue_bytes: 32 << 20,
            max_early_bytes: 16 << 20,
            pass_at_once: 128,
            ring_events: 256,
            ring_bytes: 256 << 10,
            rings_bytes: 64 << 20,
            pages_bytes: 32 << 20,
            resume_events: 10_000,
            resume_bytes: 8 << 20,
            replay_messages: 128,
            replay_bytes: 512 << 10,
            page_backoff: Backoff {
                first: Duration::from_millis(20),
                most: Duration::from_secs(1),
            },
            ahead_grace: Duration::from_millis(50),
            seed: 0,
        }
    }
}
