//! Figures of what lies around the hub: the sockets on one side, the way from NATS on the other.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// A moment's look.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Around {
    /// Connections of clients, whatever they are for.
    pub(crate) sockets: usize,
    /// Connections that were closed as they came.
    pub(crate) sockets_refused: u64,
    /// Answers whose sockets are held.
    pub(crate) held: usize,
    /// Live copies that found the queue to the feed full.
    pub(crate) live_dropped: u64,
    /// Live copies that no server can have made.
    pub(crate) live_malformed: u64,
    /// Times that the connection to NATS was made again.
    pub(crate) reconnects: u64,
    /// Messages that the connection to NATS dropped because nobody took them in time.
    pub(crate) slow: u64,
}

type Read = fn(&Around) -> u64;

const GAUGES: [(&str, &str, Read); 2] = [
    (
        "sockets",
        "Connections of clients, streams and others",
        |a| a.sockets as u64,
    ),
    (
        "streams_held",
        "Streams whose sockets are held, closed ones that are not read included",
        |a| a.held as u64,
    ),
];

const COUNTERS: [(&str, &str, Read); 5] = [
    (
        "sockets_refused",
        "Connections closed as they came, because there were too many",
        |a| a.sockets_refused,
    ),
    (
        "live_dropped",
        "Live copies dropped because the queue to the feed was full",
        |a| a.live_dropped,
    ),
    (
        "live_malformed",
        "Live copies that no server can have made: an alarm",
        |a| a.live_malformed,
    ),
    (
        "nats_reconnects",
        "Times the connection to NATS was made again",
        |a| a.reconnects,
    ),
    (
        "nats_slow",
        "Messages dropped by the connection to NATS because they were not taken in time",
        |a| a.slow,
    ),
];

/// The same as metrics.
pub(super) struct AroundMetrics {
    gauges: Vec<(Read, Gauge<u64, AtomicU64>)>,
    counters: Vec<(Read, Counter)>,
}

impl AroundMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let gauges = GAUGES.map(|(name, help, read)| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            (read, gauge)
        });
        let counters = COUNTERS.map(|(name, help, read)| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            (read, counter)
        });
        Self {
            gauges: gauges.into(),
            counters: counters.into(),
        }
    }

    pub(super) fn update(&self, around: &Around) {
        for (read, gauge) in &self.gauges {
            gauge.set(read(around));
        }
        for (read, counter) in &self.counters {
            counter.inc_by(read(around).saturating_sub(counter.get()));
        }
    }
}
