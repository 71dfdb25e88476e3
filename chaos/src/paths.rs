//! By which way events came to clients, as the gateways count it. A gateway that dies takes with it what it counted
//! since it was last asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::faults::Hands;
use crate::system::{Server, figure};

const EVERY: Duration = Duration::from_millis(400);

/// What is counted, by the name in the gateways' metrics.
const COUNTED: [(&str, &str); 7] = [
    ("gateway_deliveries_total", "live"),
    ("gateway_replayed_total", "replayed"),
    ("gateway_resumes_total{path=\"ring\"}", "resumes from rings"),
    (
        "gateway_resumes_total{path=\"log\"}",
        "resumes from the log",
    ),
    ("gateway_payloads_fetched_total", "payloads healed"),
    ("gateway_spine_lost_total", "spines lost"),
    (
        "gateway_streams_closed_total{reason=\"slow\"}",
        "slow streams closed",
    ),
];

/// Figures by name.
pub(crate) type Figures = BTreeMap<&'static str, u64>;

/// The figures of all gateways through all their lives.
#[derive(Clone, Default)]
pub(crate) struct Paths {
    /// By gateway: of lives that are over, and of this one.
    seen: Arc<Mutex<BTreeMap<String, (Figures, Figures)>>>,
}

impl Paths {
    /// Asks again and again, until it is dropped.
    pub(crate) async fn watch(self, hands: Arc<Hands>) {
        loop {
            self.look(&hands).await;
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Asks every gateway that answers.
    pub(crate) async fn look(&self, hands: &Hands) {
        futures::future::join_all(
            hands
                .system
                .gateways
                .iter()
                .map(|gateway| self.look_at(gateway)),
        )
        .await;
    }

    async fn look_at(&self, gateway: &Server) {
        let Some(text) = gateway.metrics().await else {
            return;
        };
        let now: Figures = COUNTED
            .into_iter()
            .map(|(metric, name)| (name, figure(&text, metric).unwrap_or(0)))
            .collect();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (over, last) = seen.entry(gateway.name.clone()).or_default();
        // A figure that fell is of a new life.
        if now
            .iter()
            .any(|(name, value)| last.get(name).is_some_and(|before| before > value))
        {
            add(over, last);
        }
        *last = now;
    }

    pub(crate) fn all(&self) -> Figures {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Figures::new();
        for (over, last) in seen.values() {
            add(&mut all, over);
            add(&mut all, last);
        }
        all
    }
}

/// Adds the figures of the one to the other.
pub(crate) fn add(sum: &mut Figures, more: &Figures) {
    for (name, value) in more {
        *sum.entry(name).or_default() += value;
    }
}
