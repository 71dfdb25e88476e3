//! The layers: request id, slashes, unknown paths and methods, panics, limits, metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Router};
use crier_service_kit::health::{self, Readiness};
use crier_service_kit::http::{HttpLimits, HttpMetrics, RequestId, layer};
use crier_service_kit::problem::Problem;
use futures::stream;
use http::StatusCode;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::client::{LONG, Service, soon};

async fn plain() -> Service {
    let router = Router::new()
        .route("/", get(|| async { "root" }))
        .route("/a/b", get(|| async { "got" }).post(|| async { "posted" }))
        .route(
            "/query",
            get(|uri: http::Uri| async move { uri.query().unwrap_or_default().to_owned() }),
        )
        .route(
            "/id",
            get(|Extension(id): Extension<RequestId>| async move { id.to_string() }),
        )
        .route("/panic", get(panicking))
        .route(
            "/panic-owned",
            get(|| async { panicked_with("swordfish".to_owned()) }),
        )
        .route("/bare", get(|| async { StatusCode::IM_A_TEAPOT }))
        .route(
            "/text",
            get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "swordfish") }),
        )
        .route(
            "/json",
            get(|| async { (StatusCode::CONFLICT, axum::Json(json!({ "own": 1 }))) }),
        )
        .route(
            "/busy",
            get(|| async { Problem::too_many(Duration::from_millis(1500)) }),
        )
        .route(
            "/extra",
            get(|| async {
                Problem::conflict("No.")
                    .with("current", 5)
                    .with("status", 200)
            }),
        )
        .route("/token", get(|| async { Problem::unauthorized() }));
    Service::layered(router, HttpLimits::default()).await
}

async fn panicking() -> &'static str {
    panic!("swordfish")
}

fn panicked_with(message: String) -> &'static str {
    std::panic::panic_any(message)
}

#[tokio::test]
async fn a_trailing_slash_changes_nothing() {
    let service = plain().await;
    for path in ["/a/b", "/a/b/", "/a/b//", "/a/b?x=1", "/a/b/?x=1"] {
        assert_eq!(service.get(path).await.body, "got", "{path}");
        assert_eq!(
            service.call("POST", path, &[]).await.body,
            "posted",
            "{path}"
        );
    }
    for path in ["/", "//", "/?x=1"] {
        assert_eq!(service.get(path).await.body, "root", "{path}");
    }
    assert_eq!(service.get("/query/?a=%2F&b=/").await.body, "a=%2F&b=/");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let service = plain().await;
    for path in ["/nothing", "/a", "/a/b/c", "/nothing/"] {
        let problem = service.get(path).await.problem(404);
        assert_eq!(problem["type"], "/problems/not-found");
    }
    for path in ["/a/b", "/a/b/"] {
        let answer = service.call("DELETE", path, &[]).await;
        answer.problem(405);
        assert_eq!(answer.header("allow"), Some("GET,HEAD,POST"));
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let service = plain().await;
    let given = service
        .call("GET", "/id", &["X-Request-Id: Abc-1_2.3"])
        .await;
    assert_eq!(given.header("x-request-id"), Some("Abc-1_2.3"));
    assert_eq!(given.body, "Abc-1_2.3");

    let too_long = format!("X-Request-Id: {}", "a".repeat(129));
    for header in [
        "X-Other: 1",
        "X-Request-Id: a b",
        "X-Request-Id: \"x\"",
        "X-Request-Id: ",
        too_long.as_str(),
    ] {
        let answer = service.call("GET", "/id", &[header]).await;
        let id = answer.header("x-request-id").unwrap();
        let uuid: uuid::Uuid = id.parse().unwrap();
        assert_eq!(uuid.get_version_num(), 7, "{header}");
        assert_eq!(answer.body, id);
    }
    let problem = service
        .call("GET", "/nothing", &["X-Request-Id: mine"])
        .await
        .problem(404);
    assert_eq!(problem["request_id"], "mine");
}

#[tokio::test]
async fn a_panic_is_a_500_that_tells_nothing() {
    let service = plain().await;
    for path in ["/panic", "/panic-owned"] {
        let answer = service.get(path).await;
        answer.problem(500);
        assert!(!answer.body.contains("swordfish"));
        assert_eq!(service.get("/a/b").await.body, "got");
    }
}

#[tokio::test]
async fn errors_made_by_libraries_become_problems() {
    let service = plain().await;
    assert_eq!(
        service.get("/bare").await.problem(418)["type"],
        "about:blank"
    );
    let text = service.get("/text").await;
    text.problem(500);
    assert!(!text.body.contains("swordfish"));
    assert_eq!(service.get("/json").await.json(), json!({ "own": 1 }));
}

#[tokio::test]
async fn problems_carry_their_headers_and_members() {
    let service = plain().await;
    let busy = service.get("/busy").await;
    busy.problem(429);
    assert_eq!(busy.header("retry-after"), Some("2"));

    let token = service.get("/token").await;
    token.problem(401);
    assert_eq!(token.header("www-authenticate"), Some("Bearer"));

    let problem = service.get("/extra").await.problem(409);
    assert_eq!(problem["current"], 5);
}

#[tokio::test]
async fn a_problem_is_whole_without_the_layers() {
    let response = Problem::not_found("Not here.").into_response();
    let body = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap()
        .to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        problem,
        json!({ "type": "/problems/not-found", "title": "Not found", "status": 404, "detail": "Not here." })
    );
}

#[tokio::test]
async fn a_slow_answer_is_given_up_and_a_stream_is_not() {
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        "slow"
    };
    let streamed = || async {
        let parts = stream::iter(["a", "b", "c"]);
        Body::from_stream(futures::StreamExt::then(parts, |part| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok::<_, std::convert::Infallible>(Bytes::from(part))
        }))
    };
    let router = Router::new()
        .route("/slow", get(std::future::pending::<&str>))
        .route("/untimed", get(slow))
        .route("/stream", get(streamed));
    let limits = HttpLimits {
        request_timeout: Duration::from_millis(50),
        untimed: &["/untimed"],
        ..HttpLimits::default()
    };
    let service = Service::layered(router, limits).await;
    let given_up = service.get("/slow").await;
    given_up.problem(503);
    assert_eq!(given_up.header("retry-after"), Some("1"));
    assert_eq!(service.get("/untimed").await.body, "slow");
    let streamed = service.get("/stream").await;
    assert_eq!(streamed.status, 200);
    assert!(streamed.body.contains("\r\nc\r\n0\r\n"), "{streamed:?}");
}

#[tokio::test]
async fn one_request_too_many_is_told_to_come_back() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (inside, wait) = (entered.clone(), release.clone());
    let occupied = move || {
        let (inside, wait) = (inside.clone(), wait.clone());
        async move {
            inside.notify_one();
            wait.notified().await;
            "done"
        }
    };
    let router = Router::new()
        .route("/occupied", get(occupied))
        .route("/other", get(|| async { "other" }))
        .merge(health::routes(
            Readiness::new([]),
            Arc::new(Registry::default()),
        ));
    let limits = HttpLimits {
        concurrency: 1,
        ..HttpLimits::default()
    };
    let service = Arc::new(Service::layered(router, limits).await);
    let first = tokio::spawn({
        let service = service.clone();
        async move { service.get("/occupied").await }
    });
    soon(entered.notified()).await;

    let refused = service.get("/other").await;
    refused.problem(503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(service.get(health::READY).await.status, 200);

    release.notify_one();
    assert_eq!(soon(first).await.unwrap().body, "done");
    assert_eq!(service.get("/other").await.body, "other");
}

#[tokio::test]
async fn requests_are_counted_by_route_and_not_by_path() {
    let mut registry = Registry::default();
    let metrics = HttpMetrics::register(&mut registry);
    let entered = Arc::new(Notify::new());
    let inside = entered.clone();
    let router = Router::new()
        .route("/things/{id}", get(|| async { "thing" }))
        .route("/panic", post(panicking))
        .route(
            "/wait",
            get(move || {
                inside.notify_one();
                std::future::pending::<&str>()
            }),
        )
        .merge(health::routes(Readiness::new([]), Arc::new(registry)));
    let service = Service::bare(layer(router, HttpLimits::default(), metrics), LONG).await;

    for path in ["/things/1", "/things/2/", "/a", "/b"] {
        service.get(path).await;
    }
    service.call("POST", "/panic", &[]).await;
    service.call("BREW", "/a", &[]).await;
    service.call("GET", "/a", &["traceparent: 00-x"]).await;
    // A client that leaves before it is answered.
    let mut leaving = TcpStream::connect(service.address).await.unwrap();
    leaving
        .write_all(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    soon(entered.notified()).await;
    drop(leaving);

    let lines = [
        r#"http_requests_total{route="/things/{id}",method="GET",status="200"} 2"#,
        r#"http_requests_total{route="unmatched",method="GET",status="404"} 3"#,
        r#"http_requests_total{route="unmatched",method="_OTHER",status="404"} 1"#,
        r#"http_requests_total{route="/panic",method="POST",status="500"} 1"#,
        r#"http_requests_total{route="/wait",method="GET",status="499"} 1"#,
        r#"http_request_duration_seconds_count{route="/things/{id}",method="GET"} 2"#,
    ];
    soon(async {
        loop {
            let text = service.get("/metrics").await.body;
            if lines.iter().all(|line| text.contains(line)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
