//! What a relay tells about itself, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that one relay writes and anyone reads.
#[derive(Debug, Default)]
pub struct Figure(AtomicU64);

impl Figure {
    /// Its value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// What a relay has done and how it stands. Counts begin with the relay.
#[derive(Debug, Default)]
pub struct Stats {
    /// Messages acknowledged at their own sequence: events, snapshots and marks.
    pub published: Figure,
    /// Messages the log refused because it did not end where expected.
    pub refused: Figure,
    /// Messages whose fate was unknown: no answer, no leader, no connection.
    pub unavailable: Figure,
    /// How often the relay looked where the log ends: once per leadership, and after each failure.
    pub resyncs: Figure,
    /// Events refused for good, for which a reset was sent.
    pub buried: Figure,
    /// Snapshots refused for good, for which an empty one was sent.
    pub emptied: Figure,
    /// Epochs begun.
    pub epochs: Figure,
    /// Unsent rows that the last pass saw, at most a batch.
    pub unsent: Figure,
    /// 1 while this relay leads, else 0.
    pub is_leader: Figure,
    /// Acknowledgements measured in `ack_micros`.
    pub acks: Figure,
    /// The sum of the times from publish to acknowledgement, in microseconds.
    pub ack_micros: Figure,
}

impl Stats {
    pub(crate) fn acknowledged(&self, after: Duration) {
        self.published.add(1);
        self.acks.add(1);
        self.ack_micros
            .add(u64::try_from(after.as_micros()).unwrap_or(u64::MAX));
    }
}
