//! Bad bodies, paths and queries: each answered with the status and the words that help.

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use crier_service_kit::http::HttpLimits;
use crier_service_kit::problem::{ValidJson, ValidPath, ValidQuery};
use serde::Deserialize;

use crate::client::Service;

const JSON: &str = "Content-Type: application/json";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewComment {
    content: String,
    at: Option<Place>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    line: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    community_id: i64,
}

async fn comment(ValidJson(comment): ValidJson<NewComment>) -> String {
    format!(
        "{} {:?}",
        comment.content,
        comment.at.map(|place| place.line)
    )
}

async fn service() -> Service {
    let router =
        Router::new()
            .route("/comments", post(comment))
            .route(
                "/bytes",
                post(|body: Bytes| async move { body.len().to_string() }),
            )
            .route(
                "/comments/{id}",
                get(|ValidPath(id): ValidPath<i64>| async move { id.to_string() }),
            )
            .route(
                "/pairs/{a}/{b}",
                get(
                    |ValidPath((a, b)): ValidPath<(i64, String)>| async move { format!("{a} {b}") },
                ),
            )
            .route(
                "/wrong/{a}/{b}",
                get(|ValidPath(a): ValidPath<i64>| async move { a.to_string() }),
            )
            .route(
                "/search",
                get(|ValidQuery(filter): ValidQuery<Filter>| async move {
                    filter.community_id.to_string()
                }),
            );
    let limits = HttpLimits {
        body_bytes: 10_000,
        ..HttpLimits::default()
    };
    Service::layered(router, limits).await
}

#[tokio::test]
async fn a_good_body_arrives() {
    let service = service().await;
    let body = r#"{"content":"hello","at":{"line":3}}"#;
    for kind in [JSON, "Content-Type: application/json; charset=utf-8"] {
        let answer = service.send("POST", "/comments", &[kind], body).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "hello Some(3)")
        );
    }
}

#[tokio::test]
async fn a_bad_body_is_told_where_it_is_bad() {
    let service = service().await;
    let nested = format!("{{\"content\":{}", "[".repeat(5_000));
    for (body, status, says) in [
        (r#"{"content":"#, 400, "line 1 column 11"),
        (r#"{"content":"a"} x"#, 400, "line 1 column 17"),
        ("{'content':'a'}", 400, "line 1 column 2"),
        (" ", 400, "EOF"),
        (nested.as_str(), 422, "content"),
        (
            r#"{"content":5}"#,
            422,
            "content: invalid type: integer `5`, expected a string at line 1",
        ),
        (
            r#"{"content":"a","at":{"line":"x"}}"#,
            422,
            "at.line: invalid type",
        ),
        (
            r#"{"content":"a","at":{"line":1e40}}"#,
            422,
            "at.line: invalid type",
        ),
        (
            r#"{"content":"a","colour":1}"#,
            422,
            "unknown field `colour`, expected `content` or `at`",
        ),
        (r#"{"at":null}"#, 422, "missing field `content`"),
        (
            r#"{"content":"a","content":"b"}"#,
            422,
            "duplicate field `content`",
        ),
        ("[]", 422, "expected an object with 2 elements at line 1"),
        (
            "null",
            422,
            "invalid type: null, expected an object at line 1",
        ),
    ] {
        let answer = service.send("POST", "/comments", &[JSON], body).await;
        let detail = answer.detail(status);
        assert!(detail.contains(says), "{body:.40} → {detail}");
    }
    let empty = service.call("POST", "/comments", &[JSON]).await;
    assert!(empty.detail(400).contains("EOF"));
    let not_text = b"POST /comments HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n\xff\xfe";
    service.raw(not_text).await.problem(400);
}

#[tokio::test]
async fn a_long_name_is_not_sent_back_whole() {
    let service = service().await;
    let body = format!(r#"{{"{}":1}}"#, "é".repeat(4_000));
    let answer = service.send("POST", "/comments", &[JSON], &body).await;
    assert!(answer.detail(422).ends_with("…."));
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let service = service().await;
    let body = r#"{"content":"a"}"#;
    for headers in [
        &[][..],
        &["Content-Type: text/plain"],
        &["Content-Type: application/xml"],
    ] {
        let answer = service.send("POST", "/comments", headers, body).await;
        assert!(answer.detail(415).contains("application/json"));
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_however_it_is_sent() {
    let service = service().await;
    let long = format!(r#"{{"content":"{}"}}"#, "a".repeat(20_000));
    for path in ["/comments", "/bytes"] {
        service
            .send("POST", path, &[JSON], &long)
            .await
            .problem(413);
        let chunked = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
            long.len()
        );
        service.raw(chunked.as_bytes()).await.problem(413);
    }
    let fits = format!(r#"{{"content":"{}"}}"#, "a".repeat(9_000));
    assert_eq!(
        service
            .send("POST", "/comments", &[JSON], &fits)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_path_that_can_name_nothing_is_not_found() {
    let service = service().await;
    assert_eq!(service.get("/comments/7").await.body, "7");
    assert_eq!(service.get("/pairs/7/x").await.body, "7 x");
    for path in [
        "/comments/seven",
        "/comments/7.5",
        "/comments/99999999999999999999",
        "/comments/%ff",
        "/pairs/x/7",
    ] {
        service.get(path).await.problem(404);
    }
    // A handler that doesn't fit its route is our mistake, and says nothing about it.
    let detail = service.get("/wrong/1/2").await.detail(500);
    assert!(!detail.contains("parameters"), "{detail}");
}

#[tokio::test]
async fn a_query_is_told_what_is_wrong_with_it() {
    let service = service().await;
    assert_eq!(service.get("/search?community_id=5").await.body, "5");
    for (query, says) in [
        ("", "missing field `community_id`"),
        ("?community_id=five", "community_id: invalid digit"),
        ("?community_id=5&colour=red", "unknown field `colour`"),
        ("?community_id=5&community_id=6", "duplicate field"),
    ] {
        let detail = service.get(&format!("/search{query}")).await.detail(422);
        assert!(detail.contains(says), "{query} → {detail}");
    }
}
