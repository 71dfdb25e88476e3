//! Whether the process lives, whether it can serve, and its metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::sync::watch;

use crate::problem::Problem;

/// Answers 200 as long as the process runs.
pub const LIVE: &str = "/health/live";
/// Answers 200 when every condition holds, else 503.
pub const READY: &str = "/health/ready";
/// The registry in OpenMetrics text.
pub const METRICS: &str = "/metrics";

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The named conditions under which a service can do its work. Clones share them.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// A missing reason means that the condition holds.
    conditions: Arc<watch::Sender<BTreeMap<&'static str, Option<String>>>>,
}

impl Readiness {
    /// None of `names` holds yet.
    pub fn new(names: impl IntoIterator<Item = &'static str>) -> Self {
        let starting = |name| (name, Some("not yet reached".to_owned()));
        let conditions = names.into_iter().map(starting).collect();
        Self {
            conditions: Arc::new(watch::Sender::new(conditions)),
        }
    }

    /// The condition holds.
    pub fn holds(&self, name: &'static str) {
        self.set(name, None);
    }

    /// The condition does not hold, and why: operators read it.
    pub fn fails(&self, name: &'static str, reason: impl Into<String>) {
        self.set(name, Some(reason.into()));
    }

    fn set(&self, name: &'static str, reason: Option<String>) {
        self.conditions.send_if_modified(|conditions| {
            let before = conditions.insert(name, reason.clone());
            before != Some(reason)
        });
    }

    /// Whether every condition holds.
    pub fn is_ready(&self) -> bool {
        all_hold(&self.conditions.borrow())
    }

    /// Returns once every condition holds, maybe never: the caller sets the deadline.
    pub async fn ready(&self) {
        let mut changes = self.conditions.subscribe();
        // The sender lives in self, so waiting can't fail.
        let _ = changes.wait_for(all_hold).await;
    }

    fn report(&self) -> Report {
        let conditions = self.conditions.borrow();
        Report {
            ready: all_hold(&conditions),
            conditions: conditions
                .iter()
                .map(|(name, reason)| {
                    let condition = Condition {
                        ready: reason.is_none(),
                        reason: reason.clone(),
                    };
                    (*name, condition)
                })
                .collect(),
        }
    }
}

fn all_hold(conditions: &BTreeMap<&'static str, Option<String>>) -> bool {
    conditions.values().all(Option::is_none)
}

#[derive(Serialize)]
struct Report {
    ready: bool,
    conditions: BTreeMap<&'static str, Condition>,
}

#[derive(Serialize)]
struct Condition {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// [`LIVE`], [`READY`] and [`METRICS`], to be merged into a service's router before its layers are put on.
pub fn routes(readiness: Readiness, registry: Arc<Registry>) -> Router {
    Router::new()
        .route(LIVE, get(live))
        .route(READY, get(ready).with_state(readiness))
        .route(METRICS, get(metrics).with_state(registry))
}

async fn live() -> Response {
    ([(CACHE_CONTROL, "no-store")], "live\n").into_response()
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let report = readiness.report();
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, [(CACHE_CONTROL, "no-store")], Json(report)).into_response()
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            Problem::internal().into_response()
        }
    }
}
