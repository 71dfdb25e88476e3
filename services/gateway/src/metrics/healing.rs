//! What went missing on the way from the log, by cause, and how it was healed.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crier_hub::Stats;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Live copies that did not come.
const LIVE_COPY: &str = "live_copy";

/// All causes, so that each stands in the metrics from the beginning. The others are the spine's: those of
/// [`crier_bus::SpineLost::cause`], and of the feed.
const CAUSES: [&str; 13] = [
    LIVE_COPY,
    "disconnected",
    "unavailable",
    "silent",
    "gone",
    "gap",
    "stalled",
    "malformed",
    "replaced",
    "purged",
    "behind",
    "epoch",
    "ended",
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

/// Where the spine is, for the metrics.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SpineState {
    /// Messages that the log has beyond what was passed.
    pub(crate) behind: u64,
    /// How long the log has been out of sight.
    pub(crate) away: Duration,
}

/// Gaps and how they ended.
pub(super) struct Healing {
    gaps: Family<Cause, Counter>,
    healed: Family<Cause, Counter>,
    seconds: Family<Cause, Counter<f64, AtomicU64>>,
    behind: Gauge<u64, AtomicU64>,
    away: Gauge<f64, AtomicU64>,
}

impl Healing {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let healing = Self {
            gaps: Family::default(),
            healed: Family::default(),
            seconds: Family::default(),
            behind: Gauge::default(),
            away: Gauge::default(),
        };
        registry.register(
            "gaps",
            "Times that something did not come from the log: live copies, or the spine",
            healing.gaps.clone(),
        );
        registry.register(
            "gaps_healed",
            "Gaps that were closed: the payload was read by its sequence, or the log is followed again",
            healing.healed.clone(),
        );
        registry.register(
            "healing_seconds",
            "How long closed gaps were open, all together",
            healing.seconds.clone(),
        );
        registry.register(
            "spine_behind_messages",
            "Messages of the log that were not passed yet, as far as the log was seen",
            healing.behind.clone(),
        );
        registry.register(
            "spine_away_seconds",
            "How long the log has been out of sight; 0 while it is followed",
            healing.away.clone(),
        );
        for cause in CAUSES {
            let cause = Cause { cause };
            let _ = healing.gaps.get_or_create(&cause);
            let _ = healing.healed.get_or_create(&cause);
            let _ = healing.seconds.get_or_create(&cause);
        }
        healing
    }

    /// The spine was lost.
    pub(super) fn opened(&self, cause: &'static str) {
        self.gaps.get_or_create(&Cause { cause }).inc();
    }

    /// The log is followed again.
    pub(super) fn closed(&self, cause: &'static str, after: Duration) {
        let cause = Cause { cause };
        self.healed.get_or_create(&cause).inc();
        self.seconds
            .get_or_create(&cause)
            .inc_by(after.as_secs_f64());
    }

    /// Copies what the hub counted of live copies, and where the spine is.
    pub(super) fn update(&self, stats: &Stats, spine: SpineState) {
        let cause = Cause { cause: LIVE_COPY };
        let gaps = self.gaps.get_or_create(&cause);
        gaps.inc_by(stats.gaps.saturating_sub(gaps.get()));
        let healed = self.healed.get_or_create(&cause);
        healed.inc_by(stats.healed.saturating_sub(healed.get()));
        let seconds = self.seconds.get_or_create(&cause);
        seconds.inc_by((stats.healing.as_secs_f64() - seconds.get()).max(0.0));
        self.behind.set(spine.behind);
        self.away.set(spine.away.as_secs_f64());
    }
}
