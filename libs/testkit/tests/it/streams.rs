//! The HTTP client and the SSE client against a server of their own.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{any, get};
use crier_testkit::{DEADLINE, Ended, HttpClient, SseClient, wait_for};
use futures::StreamExt;
use serde_json::json;
use tokio::sync::mpsc;

async fn serve(routes: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("its number");
    tokio::spawn(async move { axum::serve(listener, routes).await });
    format!("http://{address}")
}

#[tokio::test]
async fn calls_carry_token_and_body_and_give_everything_back() {
    let echo = async |method: Method, headers: HeaderMap, body: String| {
        let token = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        let answer = json!({ "method": method.as_str(), "token": token, "body": body });
        (StatusCode::CREATED, [("x-seen", "yes")], axum::Json(answer))
    };
    let base = serve(Router::new().route("/echo", any(echo))).await;
    let stranger = HttpClient::new(format!("{base}/"));
    let alice = stranger.with_token("t0k");

    let answer = alice.post("/echo", &json!({ "a": 1 })).await;
    assert_eq!((answer.status, answer.header("x-seen")), (201, "yes"));
    let expected = json!({ "method": "POST", "token": "Bearer t0k", "body": "{\"a\":1}" });
    assert_eq!(answer.json, expected);
    let answer = stranger.delete("/echo").await;
    assert_eq!(
        answer.json,
        json!({ "method": "DELETE", "token": null, "body": "" })
    );
    let raw = alice
        .call(Method::PUT, "/echo", Some("{not json".into()))
        .await
        .expect("answered");
    assert_eq!(raw.json["body"], "{not json");
    let missing = alice.get("/nowhere").await;
    assert_eq!((missing.status, missing.json.is_null()), (404, true));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("its number"));
    drop(listener);
    assert!(
        HttpClient::new(&base)
            .call(Method::GET, "/", None)
            .await
            .is_err()
    );
    assert!(SseClient::connect(&base, &[]).await.is_err());
}

#[tokio::test]
async fn a_stream_gives_its_frames_as_they_come() {
    let (sender, receiver) = mpsc::channel::<&str>(8);
    let receiver = std::sync::Arc::new(std::sync::Mutex::new(Some(receiver)));
    let events = async move |headers: HeaderMap| {
        if headers.get("last-event-id").is_none_or(|id| id != "41") {
            return (StatusCode::UNAUTHORIZED, "who?").into_response();
        }
        let mut receiver = receiver
            .lock()
            .expect("unpoisoned")
            .take()
            .expect("one stream");
        let chunks = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
        let body = Body::from_stream(chunks.map(Ok::<_, Infallible>));
        ([("content-type", "text/event-stream")], body).into_response()
    };
    let base = serve(Router::new().route("/events", get(events))).await;
    let url = format!("{base}/events?x=1");

    let refused = SseClient::connect(&url, &[]).await.expect("an answer");
    assert_eq!(
        (refused.status(), refused.text().await.as_str()),
        (401, "who?")
    );

    let mut stream = SseClient::connect(&url, &[("last-event-id", "41")])
        .await
        .expect("a stream");
    assert_eq!(
        (stream.status(), stream.header("content-type")),
        (200, "text/event-stream")
    );
    sender.send("id: 42\ndata: {\"n\"").await.expect("sent");
    assert_eq!(
        stream.frame(Duration::from_millis(20)).await,
        Err(Ended::TimedOut)
    );
    sender
        .send(":1}\n\n: hb\n\nid: 43\n\n")
        .await
        .expect("sent");
    let first = stream.next_frame(DEADLINE).await.expect("an event");
    assert_eq!(
        (first.json(), stream.last_event_id()),
        (json!({ "n": 1 }), "42")
    );
    let heartbeat = stream.next_frame(DEADLINE).await.expect("a heartbeat");
    assert_eq!(heartbeat.comment.as_deref(), Some("hb"));
    sender
        .send("event: bye\ndata: {}\n\nid: lost")
        .await
        .expect("sent");
    let bye = stream.next_event(DEADLINE).await.expect("an event");
    assert_eq!(
        (bye.event.as_deref(), stream.last_event_id()),
        (Some("bye"), "43")
    );
    drop(sender);
    assert_eq!(stream.frame(DEADLINE).await, Err(Ended::Closed));
    assert_eq!(stream.last_event_id(), "43");
}

#[tokio::test]
async fn a_dropped_stream_is_a_closed_connection() {
    let (sender, receiver) = mpsc::channel::<&str>(1);
    let receiver = std::sync::Arc::new(std::sync::Mutex::new(Some(receiver)));
    let events = async move || {
        let mut receiver = receiver
            .lock()
            .expect("unpoisoned")
            .take()
            .expect("one stream");
        let chunks = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
        Body::from_stream(chunks.map(Ok::<_, Infallible>))
    };
    let base = serve(Router::new().route("/", get(events))).await;
    let stream = SseClient::connect(&base, &[]).await.expect("a stream");
    drop(stream);
    wait_for("the server to notice", async || {
        sender.is_closed().then_some(())
    })
    .await;
}
