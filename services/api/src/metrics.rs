//! What the API service counts and times, besides the requests that service-kit does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crier_bus::Bus;
use crier_outbox::Stats;
use crier_store::Store;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds in seconds: an fsync takes from a tenth of a millisecond to some.
const COMMIT_BUCKETS: [f64; 11] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 5.0,
];

/// Where the service's own numbers go. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    commit: Histogram,
}

impl Metrics {
    /// Makes the metrics, and has `registry` show them and what the relay and the connection to NATS tell.
    pub(crate) fn register(
        registry: &mut Registry,
        relay: Arc<Stats>,
        bus: Bus,
        store: Store,
    ) -> Self {
        let metrics = Self {
            commit: Histogram::new(COMMIT_BUCKETS),
        };
        registry.register_with_unit(
            "store_commit_duration",
            "Time that a commit took",
            Unit::Seconds,
            metrics.commit.clone(),
        );
        registry.register_collector(Box::new(Figures { relay, bus, store }));
        metrics
    }

    /// A commit took this long.
    pub(crate) fn committed(&self, took: Duration) {
        self.commit.observe(took.as_secs_f64());
    }
}

/// Numbers that others keep, read when somebody asks for them.
struct Figures {
    relay: Arc<Stats>,
    bus: Bus,
    store: Store,
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (stats, bus) = (&self.relay, self.bus.stats());
        let counters = [
            (
                "store_statements",
                "Statements sent to the database, begin and commit apart",
                self.store.statements(),
            ),
            (
                "relay_published",
                "Messages acknowledged at their own sequence",
                stats.published.get(),
            ),
            (
                "relay_refused",
                "Messages refused because the log did not end where expected",
                stats.refused.get(),
            ),
            (
                "relay_unavailable",
                "Messages whose fate was unknown: no answer, no leader",
                stats.unavailable.get(),
            ),
            (
                "relay_resyncs",
                "Times the relay looked where the log ends",
                stats.resyncs.get(),
            ),
            (
                "relay_buried",
                "Events refused for good",
                stats.buried.get(),
            ),
            (
                "relay_emptied",
                "Snapshots refused for good",
                stats.emptied.get(),
            ),
            ("relay_epochs", "Epochs begun", stats.epochs.get()),
            (
                "relay_acks",
                "Acknowledgements measured in relay_ack_micros",
                stats.acks.get(),
            ),
            (
                "relay_ack_micros",
                "Microseconds from publish to acknowledgement, in sum",
                stats.ack_micros.get(),
            ),
            (
                "nats_reconnects",
                "Times the connection to NATS was found again",
                bus.reconnects,
            ),
        ];
        for (name, help, value) in counters {
            let value = ConstCounter::new(value);
            value.encode(encoder.encode_descriptor(name, help, None, value.metric_type())?)?;
        }
        let gauges = [
            (
                "outbox_unsent_rows",
                "Unsent rows that the relay's last pass saw, at most a batch",
                stats.unsent.get(),
            ),
            (
                "relay_leader",
                "1 while this service's relay leads",
                stats.is_leader.get(),
            ),
            (
                "nats_connected",
                "1 while there is a connection to NATS",
                bus.connected.into(),
            ),
        ];
        for (name, help, value) in gauges {
            let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            value.encode(encoder.encode_descriptor(name, help, None, value.metric_type())?)?;
        }
        Ok(())
    }
}
