//! One trace, read back from a collector: the request, its commit, the relay, and one delivery per gateway, over
//! three processes of the real binary.

use std::collections::{BTreeMap, BTreeSet};

use crier_domain::Keys;
use crier_testkit::{HttpClient, NatsServer, Span, TraceCollector, wait_for};
use serde_json::json;
use tempfile::tempdir;

use crate::fleet::{Process, command};
use crate::people::{Person, expect, group_of};
use crate::stream::Stream;
use crate::world::SECRET;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_from_the_request_to_both_gateways() {
    let (nats, collector, data) = (
        NatsServer::start().await,
        TraceCollector::start().await,
        tempdir().unwrap(),
    );
    let database = format!("sqlite://{}", data.path().join("crier.db").display());
    let keys = format!("[\"{}\"]", Keys::random_base64());
    let start = |service: &str| {
        Process::start(
            command(&[service])
                .env("CRIER_AUTH__SECRET", SECRET)
                .env("CRIER_CURSOR__KEYS", &keys)
                .env("CRIER_NATS__URL", nats.url())
                .env("CRIER_DATABASE__URL", &database)
                .env("CRIER_API__LISTEN", "127.0.0.1:0")
                .env("CRIER_GATEWAY__LISTEN", "127.0.0.1:0")
                .env("CRIER_TELEMETRY__OTLP_ENDPOINT", collector.endpoint())
                .env("CRIER_TELEMETRY__FORMAT", "json"),
        )
    };
    let mut api = start("api");
    let api_url = api.url("crier api on").await;
    let mut gateways = [start("gateway"), start("gateway")];
    let mut urls = Vec::new();
    for gateway in &mut gateways {
        let url = gateway.url("crier gateway on").await;
        wait_for("a gateway to be ready", async || {
            let ready = HttpClient::new(&url).get("/health/ready").await;
            (ready.status == 200).then_some(())
        })
        .await;
        urls.push(url);
    }
    let [alice, bob, carol] = [(1, "alice"), (2, "bob"), (3, "carol")]
        .map(|(id, name)| Person::at(&api_url, &urls, id, name));
    let place = group_of(&alice, &[&bob, &carol]).await;
    bob.subscribe(place).await;
    carol.subscribe(place).await;
    let mut streams = [
        Stream::open(&urls[0], &bob.token).await,
        Stream::open(&urls[1], &carol.token).await,
    ];
    let discussion = alice.discuss(place, "Traced").await;

    let path = format!("/api/discussions/{discussion}/comments/");
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let http = alice.http.with_header("traceparent", traceparent);
    expect(&http.post(&path, &json!({"content": "traced"})).await, 201);
    for stream in &mut streams {
        while stream.event().await["type"] != "new_comment" {}
    }

    let wanted = BTreeMap::from([
        ("http.request", 1),
        ("store.commit", 1),
        ("relay.publish", 1),
        ("gateway.deliver", 2),
    ]);
    let spans = wait_for("the whole trace", async || {
        let spans: Vec<Span> = collector
            .spans()
            .into_iter()
            .filter(|span| span.trace_id == TRACE)
            .collect();
        let count = |name: &str| spans.iter().filter(|span| span.name == name).count();
        wanted
            .iter()
            .all(|(name, wanted)| count(name) >= *wanted)
            .then_some(spans)
    })
    .await;
    for (name, count) in &wanted {
        let found: Vec<&Span> = spans.iter().filter(|span| span.name == *name).collect();
        assert_eq!(found.len(), *count, "{name} in {spans:#?}");
    }
    show(&spans);
    // Every span but the one that continues the caller's hangs under another of the same trace.
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    for span in &spans {
        let parent = span.parent_span_id.as_str();
        assert!(
            parent == "b7ad6b7169203331" || ids.contains(parent),
            "{span:#?}"
        );
    }
    let services: BTreeSet<&str> = spans.iter().map(|span| span.service.as_str()).collect();
    assert_eq!(services, BTreeSet::from(["crier-api", "crier-gateway"]));
}

/// Prints the trace for people: `cargo test -p e2e one_trace -- --nocapture`.
fn show(spans: &[Span]) {
    let mut sorted: Vec<&Span> = spans.iter().collect();
    sorted.sort_by_key(|span| span.start);
    let begin = sorted[0].start;
    println!("trace {TRACE}");
    for span in sorted {
        let at = span.start.duration_since(begin).unwrap_or_default();
        let took = span.end.duration_since(span.start).unwrap_or_default();
        println!(
            "{:>9.3} ms  {:>8.3} ms  {:<14} {:<16} span {} under {}",
            at.as_secs_f64() * 1e3,
            took.as_secs_f64() * 1e3,
            span.service,
            span.name,
            span.span_id,
            span.parent_span_id,
        );
    }
}
