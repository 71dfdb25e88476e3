//! What `/metrics` says about a gateway.

mod around;
mod healing;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crier_hub::{ByeReason, Stats};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub(crate) use around::Around;
pub(crate) use healing::SpineState;

use around::AroundMetrics;
use healing::Healing;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Path {
    path: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

type Read = fn(&Stats) -> u64;

/// Figures of the hub that go up and down.
const GAUGES: [(&str, &str, Read); 10] = [
    (
        "position",
        "Position in the log up to which events were delivered",
        |s| s.position.0,
    ),
    ("connections", "Open streams", |s| s.connections as u64),
    ("users", "Users with a stream", |s| s.users as u64),
    (
        "interests",
        "Communities whose live copies are subscribed to",
        |s| s.interests as u64,
    ),
    (
        "queue_entries",
        "Messages of the log waiting to be passed",
        |s| s.queue_entries as u64,
    ),
    (
        "queue_bytes",
        "Bytes of payloads of waiting messages",
        |s| s.queue_bytes as u64,
    ),
    (
        "early_bytes",
        "Bytes of live copies that came before their place",
        |s| s.early_bytes as u64,
    ),
    ("replays", "Streams that catch up", |s| s.replays as u64),
    (
        "ring_bytes",
        "Bytes of recent events kept for streams that come back",
        |s| s.ring_bytes as u64,
    ),
    (
        "page_bytes",
        "Bytes of older events read back from the log",
        |s| s.page_bytes as u64,
    ),
];

/// How resumes went.
const RESUMES: [(&str, Read); 3] = [
    ("ring", |s| s.resumes_ring),
    ("log", |s| s.resumes_log),
    ("reset", |s| s.resumes_reset),
];

/// Figures of the hub that only rise.
const COUNTERS: [(&str, &str, Read); 13] = [
    ("log_messages", "Messages of the log passed", |s| s.passed),
    ("payloads_live", "Payloads that came as live copies", |s| {
        s.live
    }),
    (
        "payloads_fetched",
        "Payloads read from the log: snapshots, live copies that did not come, events that became of use",
        |s| s.fetched,
    ),
    (
        "payloads_gone",
        "Payloads that the log no longer had",
        |s| s.gone,
    ),
    (
        "payloads_malformed",
        "Payloads that could not be read: an alarm",
        |s| s.malformed,
    ),
    (
        "payloads_dropped",
        "Live copies dropped to keep a bound",
        |s| s.dropped,
    ),
    ("events", "Events delivered to at least one stream", |s| {
        s.events
    }),
    ("deliveries", "Events delivered, over all streams", |s| {
        s.delivered
    }),
    ("resets", "Resets sent", |s| s.resets),
    ("snapshots", "Snapshots of users applied", |s| s.snapshots),
    ("replayed", "Events replayed, over all streams", |s| {
        s.replayed
    }),
    ("pages", "Pages of the past read from the log", |s| s.pages),
    (
        "pages_again",
        "Pages of the past that were short and asked for again",
        |s| s.pages_again,
    ),
];

/// The gateway's own metrics; the hub's figures are copied over once a second.
pub(crate) struct Metrics {
    closed: Family<Reason, Counter>,
    refused: Family<Reason, Counter>,
    resumes: Family<Path, Counter>,
    spine_lost: Counter,
    gauges: Vec<(Read, Gauge<u64, AtomicU64>)>,
    counters: Vec<(Read, Counter)>,
    around: AroundMetrics,
    healing: Healing,
}

impl Metrics {
    /// Adds the metrics to the registry, each as `gateway_<name>`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("gateway");
        let closed = Family::<Reason, Counter>::default();
        registry.register(
            "streams_closed",
            "Streams ended by the gateway",
            closed.clone(),
        );
        let refused = Family::<Reason, Counter>::default();
        registry.register(
            "streams_refused",
            "Streams that did not begin, though their tokens are well signed",
            refused.clone(),
        );
        let resumes = Family::<Path, Counter>::default();
        registry.register(
            "resumes",
            "Streams that came back, by what they were given it from",
            resumes.clone(),
        );
        let spine_lost = Counter::default();
        registry.register(
            "spine_lost",
            "Times the log could not be followed",
            spine_lost.clone(),
        );
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
            closed,
            refused,
            resumes,
            spine_lost,
            gauges: gauges.into(),
            counters: counters.into(),
            around: AroundMetrics::register(registry),
            healing: Healing::register(registry),
        }
    }

    /// The gateway ended a stream.
    pub(crate) fn closed(&self, reason: ByeReason) {
        self.closed
            .get_or_create(&Reason {
                reason: reason.as_str(),
            })
            .inc();
    }

    /// A stream did not begin.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    /// The spine was lost.
    pub(crate) fn spine_lost(&self, cause: &'static str) {
        self.spine_lost.inc();
        self.healing.opened(cause);
    }

    /// The log is followed again.
    pub(crate) fn spine_back(&self, cause: &'static str, after: Duration) {
        self.healing.closed(cause, after);
    }

    /// Copies the figures of the hub, and of what lies before it.
    pub(crate) fn update(&self, stats: &Stats, spine: SpineState, around: &Around) {
        self.healing.update(stats, spine);
        self.around.update(around);
        for (read, gauge) in &self.gauges {
            gauge.set(read(stats));
        }
        for (path, read) in RESUMES {
            let counter = self.resumes.get_or_create(&Path { path });
            counter.inc_by(read(stats).saturating_sub(counter.get()));
        }
        for (read, counter) in &self.counters {
            counter.inc_by(read(stats).saturating_sub(counter.get()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_follow_the_hub_and_are_never_added_twice() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let stats = Stats {
            delivered: 7,
            resumes_log: 2,
            connections: 3,
            gaps: 5,
            healed: 4,
            healing: Duration::from_millis(250),
            ..Stats::default()
        };
        let around = Around {
            reconnects: 1,
            ..Around::default()
        };
        let behind = SpineState {
            behind: 9,
            away: Duration::from_millis(1500),
        };
        metrics.update(&stats, behind, &around);
        let later = Stats {
            connections: 2,
            ..stats
        };
        metrics.update(&later, SpineState::default(), &around);
        metrics.update(&later, behind, &around);
        metrics.spine_lost("silent");
        metrics.spine_lost("silent");
        metrics.spine_back("silent", Duration::from_millis(1250));
        metrics.closed(ByeReason::Slow);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "gateway_deliveries_total 7",
            "gateway_connections 2",
            "gateway_resumes_total{path=\"log\"} 2",
            "gateway_resumes_total{path=\"ring\"} 0",
            "gateway_streams_closed_total{reason=\"slow\"} 1",
            "gateway_gaps_total{cause=\"live_copy\"} 5",
            "gateway_gaps_healed_total{cause=\"live_copy\"} 4",
            "gateway_healing_seconds_total{cause=\"live_copy\"} 0.25",
            "gateway_gaps_total{cause=\"silent\"} 2",
            "gateway_gaps_healed_total{cause=\"silent\"} 1",
            "gateway_healing_seconds_total{cause=\"silent\"} 1.25",
            "gateway_gaps_total{cause=\"behind\"} 0",
            "gateway_spine_lost_total 2",
            "gateway_spine_behind_messages 9",
            "gateway_spine_away_seconds 1.5",
            "gateway_nats_reconnects_total 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
