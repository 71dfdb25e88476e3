//! Traces from an incoming `traceparent` to a collector, and without one.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use crier_service_kit::http::HttpLimits;
use crier_service_kit::telemetry::{
    LogFormat, TelemetryConfig, TelemetryError, build, current_traceparent, set_remote_parent,
    traceparent_of,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tracing::Instrument;

use crate::client::{LONG, Service, soon};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn quiet(otlp_endpoint: Option<String>) -> TelemetryConfig {
    TelemetryConfig {
        log: "off".to_owned(),
        format: LogFormat::Pretty,
        otlp_endpoint,
    }
}

#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

impl Collected {
    fn spans(&self) -> Vec<Span> {
        let requests = self.0.lock().unwrap();
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    fn service_names(&self) -> Vec<String> {
        let requests = self.0.lock().unwrap();
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        resources
            .filter_map(|spans| spans.resource.clone())
            .flat_map(|resource| resource.attributes)
            .filter(|attribute| attribute.key == "service.name")
            .map(|attribute| format!("{:?}", attribute.value))
            .collect()
    }
}

async fn collector() -> (Service, Collected) {
    let collected = Collected::default();
    let sink = collected.clone();
    let take = move |body: Bytes| async move {
        sink.0
            .lock()
            .unwrap()
            .push(ExportTraceServiceRequest::decode(body).unwrap());
    };
    let router = Router::new().route("/v1/traces", post(take));
    (Service::bare(router, LONG).await, collected)
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span
        .attributes
        .iter()
        .find(|attribute| attribute.key == key);
    format!("{:?}", found.and_then(|attribute| attribute.value.clone()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_request_is_one_span_under_its_callers() {
    let (collector, collected) = collector().await;
    let url = format!("http://{}/", collector.address);
    let (dispatch, guard) = build(&quiet(Some(url)), "crier-test").unwrap();
    let subscriber = tracing::dispatcher::set_default(&dispatch);
    let handler = || async {
        let inner = tracing::info_span!("inner", kind = "test");
        async { current_traceparent().unwrap_or_default() }
            .instrument(inner)
            .await
    };
    let router = Router::new().route("/things/{id}", get(handler));
    let service = Service::layered(router, HttpLimits::default()).await;

    let header = format!("traceparent: {PARENT}");
    let answer = service
        .call(
            "GET",
            "/things/5/?ticket=swordfish",
            &[&header, "X-Request-Id: mine"],
        )
        .await;
    service
        .call("GET", "/nothing", &["traceparent: rubbish"])
        .await;
    drop(subscriber);
    guard.shutdown(LONG).await;

    let spans = collected.spans();
    let named = |name: &'static str| spans.iter().filter(move |span| span.name == name);
    assert_eq!(named("http.request").count(), 2, "{spans:#?}");
    let request = named("http.request")
        .find(|span| attribute(span, "http.route").contains("things"))
        .unwrap();
    assert_eq!(hex(&request.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hex(&request.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(
        request.kind(),
        opentelemetry_proto::tonic::trace::v1::span::SpanKind::Server
    );
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/things/{id}"),
        ("http.response.status_code", "200"),
        ("url.path", "/things/5"),
        ("request_id", "mine"),
    ] {
        assert!(
            attribute(request, key).contains(value),
            "{key}: {request:#?}"
        );
    }
    let inner = named("inner").next().unwrap();
    assert_eq!(inner.parent_span_id, request.span_id);
    let expected = format!("00-{}-{}-01", hex(&inner.trace_id), hex(&inner.span_id));
    assert_eq!(answer.body, expected);

    let stranger = named("http.request")
        .find(|span| attribute(span, "http.route").contains("unmatched"))
        .unwrap();
    assert!(stranger.parent_span_id.is_empty());
    assert!(!format!("{spans:?}").contains("swordfish"));
    assert!(collected.service_names()[0].contains("crier-test"));
}

#[tokio::test]
async fn spans_arrive_without_waiting_for_the_end() {
    let (collector, collected) = collector().await;
    let url = format!("http://{}", collector.address);
    let (dispatch, guard) = build(&quiet(Some(url)), "crier-test").unwrap();
    tracing::dispatcher::with_default(&dispatch, || tracing::info_span!("alone").in_scope(|| {}));
    soon(async {
        while collected.spans().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    guard.shutdown(LONG).await;
}

#[test]
fn a_traceparent_exists_without_an_exporter() {
    let (dispatch, _guard) = build(&quiet(None), "crier-test").unwrap();
    tracing::dispatcher::with_default(&dispatch, || {
        assert_eq!(current_traceparent(), None);
        let outer = tracing::info_span!("outer");
        assert!(set_remote_parent(&outer, PARENT));
        let written = traceparent_of(&outer).unwrap();
        assert_eq!(written[..36], PARENT[..36]);
        assert_ne!(written, PARENT);
        assert!(!set_remote_parent(&outer, PARENT), "it has begun");
        outer.in_scope(|| {
            assert_eq!(current_traceparent(), Some(written.clone()));
            // A span for the log alone is not traced; the one around it is named instead.
            tracing::debug_span!("detail").in_scope(|| {
                assert_eq!(current_traceparent(), Some(written.clone()));
            });
            let inner = tracing::info_span!("inner");
            let inner_traceparent = traceparent_of(&inner).unwrap();
            assert_eq!(inner_traceparent[..36], PARENT[..36]);
            assert_ne!(inner_traceparent, written);
        });
        let other = tracing::info_span!("other");
        assert!(!set_remote_parent(&other, "rubbish"));
        assert_ne!(traceparent_of(&other).unwrap()[..36], PARENT[..36]);
    });
}

#[test]
fn without_telemetry_there_is_no_traceparent_and_no_panic() {
    assert_eq!(current_traceparent(), None);
    assert_eq!(traceparent_of(&tracing::Span::none()), None);
    assert!(!set_remote_parent(&tracing::Span::none(), PARENT));
}

#[test]
fn settings_that_make_no_sense_are_refused_in_one_sentence() {
    let refused = |config: TelemetryConfig| build(&config, "x").unwrap_err();
    let filter = TelemetryConfig {
        log: "info,,=what".to_owned(),
        ..TelemetryConfig::default()
    };
    assert!(
        refused(filter)
            .to_string()
            .starts_with("telemetry.log is not a filter")
    );
    for endpoint in [
        "localhost:4318",
        "https://collector:4318",
        "http://",
        "ftp://x",
        "\u{0}",
    ] {
        let error = refused(quiet(Some(endpoint.to_owned())));
        assert!(
            matches!(error, TelemetryError::Endpoint { .. }),
            "{endpoint}"
        );
    }
    let error = refused(quiet(Some("http://localhost:4318".to_owned())));
    assert!(matches!(error, TelemetryError::NoRuntime), "{error}");
}

#[tokio::test]
async fn a_collector_that_is_down_holds_nothing_up() {
    // Bound and never accepting: connections open and nothing ever answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = closed.local_addr().unwrap();
    drop(closed);
    for address in [silent.local_addr().unwrap(), gone] {
        let (dispatch, guard) = build(&quiet(Some(format!("http://{address}"))), "x").unwrap();
        let started = Instant::now();
        tracing::dispatcher::with_default(&dispatch, || {
            // More than the queue holds.
            for _ in 0..20_000 {
                tracing::info_span!("lost").in_scope(|| {});
            }
        });
        assert!(
            started.elapsed() < LONG / 3,
            "making spans took {:?}",
            started.elapsed()
        );
        let started = Instant::now();
        guard.shutdown(Duration::from_millis(300)).await;
        assert!(
            started.elapsed() < LONG / 3,
            "the end took {:?}",
            started.elapsed()
        );
    }
}
