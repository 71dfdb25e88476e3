//! What a service's metrics say.

use crier_testkit::{HttpClient, wait_for};

/// One look at `/metrics`.
#[derive(Clone)]
pub(crate) struct Figures(String);

impl Figures {
    /// Of the service at this address.
    pub(crate) async fn of(url: &str) -> Self {
        Self(HttpClient::new(url).get("/metrics").await.text())
    }

    /// A figure by its name with its labels.
    pub(crate) fn get(&self, name: &str) -> f64 {
        self.find(name)
            .unwrap_or_else(|| panic!("no {name} in\n{}", self.0))
    }

    /// The same, if it has ever been counted.
    pub(crate) fn find(&self, name: &str) -> Option<f64> {
        let mut lines = self.0.lines();
        let figure = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        figure.map(|figure| figure.parse().unwrap())
    }

    /// Gaps of this cause, and how many of them were healed.
    pub(crate) fn gaps(&self, cause: &str) -> (f64, f64) {
        let [gaps, healed] = ["gaps", "gaps_healed"]
            .map(|name| format!("gateway_{name}_total{{cause=\"{cause}\"}}"));
        (self.get(&gaps), self.get(&healed))
    }

    /// How long the healing of this cause took, in seconds.
    pub(crate) fn healing(&self, cause: &str) -> f64 {
        self.get(&format!(
            "gateway_healing_seconds_total{{cause=\"{cause}\"}}"
        ))
    }
}

/// Waits until a gateway's figures are so; they are brought up to date once a second.
pub(crate) async fn until(url: &str, what: &str, is_so: impl Fn(&Figures) -> bool) -> Figures {
    wait_for(what, async || {
        let figures = Figures::of(url).await;
        is_so(&figures).then_some(figures)
    })
    .await
}
