//! Liveness, readiness and metrics as an orchestrator sees them.

use std::sync::Arc;

use axum::Router;
use crier_service_kit::health::{Readiness, routes};
use crier_service_kit::http::HttpLimits;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use serde_json::json;

use crate::client::{Service, soon};

async fn service(readiness: Readiness, registry: Registry) -> Service {
    let router = Router::new().merge(routes(readiness, Arc::new(registry)));
    Service::layered(router, HttpLimits::default()).await
}

#[tokio::test]
async fn a_service_is_ready_when_every_condition_holds() {
    let readiness = Readiness::new(["database", "log"]);
    let service = service(readiness.clone(), Registry::default()).await;
    assert_eq!(service.get("/health/live").await.status, 200);
    assert_eq!(service.get("/health/ready").await.status, 503);

    readiness.holds("database");
    readiness.fails("log", "no leader");
    let answer = service.get("/health/ready/").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        answer.json(),
        json!({ "ready": false, "conditions": {
            "database": { "ready": true },
            "log": { "ready": false, "reason": "no leader" },
        }})
    );

    let waiting = tokio::spawn({
        let readiness = readiness.clone();
        async move { readiness.ready().await }
    });
    readiness.holds("log");
    soon(waiting).await.unwrap();
    assert!(readiness.is_ready());
    assert_eq!(service.get("/health/ready").await.status, 200);

    readiness.fails("log", "gone again");
    assert_eq!(service.get("/health/ready").await.status, 503);
    assert_eq!(service.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn metrics_are_open_metrics_text() {
    let mut registry = Registry::default();
    let counter: Counter = Counter::default();
    registry.register("things", "Things that happened", counter.clone());
    counter.inc_by(3);
    let service = service(Readiness::new([]), registry).await;
    let answer = service.get("/metrics").await;
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(answer.body.contains("things_total 3\n"), "{}", answer.body);
    assert!(answer.body.ends_with("# EOF\n"));
}
