//! Starting, being looked after, stopping.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crier_domain::Ticket;
use crier_service_kit::config::Secret;
use crier_testkit::wait_for;
use serde_json::json;

use crate::fixture::{Service, config, expect};

#[tokio::test]
async fn it_is_ready_without_nats_and_shows_its_metrics() {
    let service = Service::start().await;
    expect(&service.http.get("/health/live").await, 200);
    let http = &service.http;
    wait_for("readiness", async || {
        (http.get("/health/ready").await.status == 200).then_some(())
    })
    .await;
    expect(
        &service
            .person(1, "alice")
            .post("/api/communities", json!({"name": "n", "type": "private"}))
            .await,
        201,
    );
    let metrics = service.http.get("/metrics").await.text();
    for line in [
        "http_requests_total{",
        "store_commit_duration_seconds_count 1",
        "outbox_unsent_rows 0",
        "relay_leader 0",
        "relay_published_total 0",
        "relay_refused_total 0",
        "relay_resyncs_total 0",
        "nats_connected 0",
    ] {
        assert!(metrics.contains(line), "no {line} in\n{metrics}");
    }
    service.end().await;
}

#[tokio::test]
async fn a_ticket_is_the_callers_and_short() {
    let service = Service::start().await;
    let answer = service
        .person(7, "grace")
        .post("/api/realtime/ticket", json!({}))
        .await;
    let body = expect(&answer, 200);
    assert_eq!(body["expires_in"], 60);
    let ticket = Ticket::open(body["ticket"].as_str().unwrap(), &service.keys).unwrap();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let now = i64::try_from(now).unwrap();
    assert_eq!(ticket.user.get(), 7);
    assert!((now + 1..=now + 60).contains(&ticket.expires_at));
    assert!((now + 300..=now + 600).contains(&ticket.token_expires_at));
    assert!((now - 300..=now).contains(&ticket.issued_at));

    let token = crate::fixture::signer().sign_user(7, "grace", Duration::from_secs(20));
    let short = service
        .http
        .with_token(token.unwrap())
        .post("/api/realtime/ticket", &json!({}))
        .await;
    assert!(
        expect(&short, 200)["expires_in"].as_i64().unwrap() <= 20,
        "no longer than the token"
    );
    service.end().await;
}

#[tokio::test]
async fn tokens_from_before_a_disconnect_are_refused() {
    let service = Service::start().await;
    let alice = service.known(1, "alice").await;
    let call = || async {
        let backend = service.backend();
        let answer = backend
            .post("/api/users/1/disconnect/", &serde_json::json!({}))
            .await;
        expect(&answer, 202)["not_before"].as_i64().unwrap()
    };
    let now = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(now.as_secs()).unwrap()
    };
    let begun = now();
    let not_before = call().await;
    assert!(
        (begun + 1..=now() + 1).contains(&not_before),
        "{not_before}"
    );
    expect(&alice.get("/api/communities").await, 401);
    expect(
        &service.known(2, "bob").await.get("/api/communities").await,
        200,
    );
    service.end().await;
}

#[tokio::test]
async fn what_stands_against_a_start_is_one_sentence() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = listener.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken.db");
    std::fs::write(&broken, b"This is no database. ".repeat(400)).unwrap();
    let cases = [
        (
            "no secret",
            "auth.secret",
            config(&dir).tap(|c| c.auth.secret = None),
        ),
        (
            "no fleet key",
            "no fleet key",
            config(&dir).tap(|c| c.cursor.keys.clear()),
        ),
        (
            "a bad fleet key",
            "fleet key 1",
            config(&dir).tap(|c| c.cursor.keys = vec![Secret::new("x")]),
        ),
        (
            "no database address",
            "sqlite://",
            config(&dir).tap(|c| c.database.url = Secret::new("mysql://x")),
        ),
        (
            "a broken database",
            "broken.db",
            config(&dir).tap(|c| {
                c.database.url = Secret::new(format!("sqlite://{}", broken.display()));
            }),
        ),
        (
            "no address of NATS",
            "nats.url",
            config(&dir).tap(|c| c.nats.url = "nats://h:port".to_owned()),
        ),
    ];
    for (what, expected, config) in cases {
        let Err(error) = crier_api::build(config).await else {
            panic!("{what} is accepted");
        };
        let sentence = error.to_string();
        assert!(sentence.contains(expected), "{what}: {sentence}");
        assert!(!sentence.contains('\n'), "{what}: {sentence}");
    }
    let Err(error) = crier_api::build(config(&dir).tap(|c| c.api.listen = busy.clone())).await
    else {
        panic!("a busy port is accepted");
    };
    assert!(error.to_string().contains(&busy), "{error}");
    drop(listener);
}

trait Tap: Sized {
    fn tap(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

impl Tap for crier_api::Config {}
