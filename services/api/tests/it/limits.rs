//! Limits as a caller meets them. What a rate is, and when it is over, is tested in `limits` itself, by its own clock.

use std::time::Duration;

use crier_testkit::{Answer, DEADLINE, HttpClient, wait_for};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fixture::{Person, Service, expect, signer};

/// Two calls at once, and then one a second: far fewer than a test makes.
fn slow(config: &mut crier_api::Config) {
    let limits = &mut config.limits;
    (limits.user_calls_per_second, limits.user_calls_burst) = (1, 2);
    (limits.service_calls_per_second, limits.service_calls_burst) = (1, 2);
}

/// Calls until one is refused. The machine may be so slow that some in between are not one too many.
async fn refusal(call: impl AsyncFn() -> Answer) -> Answer {
    for _ in 0..1_000 {
        let answer = call().await;
        if answer.status == 429 {
            return answer;
        }
    }
    panic!("a thousand calls, and none was too many");
}

async fn told_when_to_come_back(http: &HttpClient, service: &Service, limit: &str) {
    let answer = refusal(|| async { http.get("/api/communities").await }).await;
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json["type"], "/problems/too-many-requests");
    assert_eq!(answer.header("retry-after"), "1");
    let metrics = service.http.get("/metrics").await.text();
    let counted = format!("rate_limit_refusals_total{{limit=\"{limit}\"}} 0");
    assert!(metrics.contains("rate_limit_refusals_total") && !metrics.contains(&counted));
}

#[tokio::test]
async fn one_call_too_many_is_told_when_to_come_back_and_others_are_none_the_worse() {
    let service = Service::with(slow).await;
    let (alice, bob) = (service.person(1, "alice"), service.person(2, "bob"));
    told_when_to_come_back(&alice.http, &service, "user_calls").await;
    expect(&bob.get("/api/communities").await, 200);
    // Who has no valid token has no limit of their own to use up: they are 401, and cost no look into the database.
    for _ in 0..20 {
        expect(&service.http.get("/api/communities").await, 401);
    }
    service.end().await;
}

#[tokio::test]
async fn a_backend_has_its_own_limit() {
    let service = Service::with(slow).await;
    let token = |seconds| signer().sign_service(Duration::from_secs(seconds)).unwrap();
    let (one, other) = (token(600), token(601));
    told_when_to_come_back(&service.http.with_token(&one), &service, "service_calls").await;
    // 403: the call is for people. It was let through.
    let other = service.http.with_token(&other);
    expect(&other.get("/api/communities").await, 403);
    service.end().await;
}

#[tokio::test]
async fn changes_are_limited_before_reading_is() {
    let service = Service::with(|config| {
        let limits = &mut config.limits;
        (limits.user_calls_per_second, limits.user_calls_burst) = (1_000_000, 1_000_000);
        (limits.user_changes_per_second, limits.user_changes_burst) = (1, 2);
    })
    .await;
    let alice = service.person(1, "alice");
    let change = async || alice.post("/api/realtime/ticket", json!({})).await;
    refusal(change).await;
    for _ in 0..20 {
        expect(&alice.get("/api/communities").await, 200);
    }
    service.end().await;
}

#[tokio::test]
async fn who_is_admin_of_enough_communities_makes_no_more_even_at_once() {
    let service = Service::with(|config| config.limits.communities_per_user = 3).await;
    let alice = service.known(1, "alice").await;
    let make = |person: &Person| {
        let person = person.clone();
        tokio::spawn(async move {
            let body = json!({"name": "n", "type": "private"});
            person.post("/api/communities", body).await
        })
    };
    let calls: Vec<_> = (0..16).map(|_| make(&alice)).collect();
    let mut statuses = Vec::new();
    for call in calls {
        statuses.push(call.await.unwrap().status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![201; 3], vec![409; 13]].concat());
    let refused = make(&alice).await.unwrap();
    let detail = expect(&refused, 409)["detail"].as_str().unwrap();
    assert!(detail.contains("3 communities"), "{detail}");
    // bob makes his own, and alice may yet become admin of it.
    let bob = service.known(2, "bob").await;
    let bobs = bob.create_community("private").await;
    bob.put_member(bobs, &alice, "admin").await;
    service.end().await;
}

/// A call whose body never comes.
async fn unfinished(service: &Service) -> TcpStream {
    let address = service.http.base().trim_start_matches("http://").to_owned();
    let token = signer()
        .sign_user(1, "alice", Duration::from_secs(60))
        .unwrap();
    let mut socket = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /api/articles HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{{"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket
}

#[tokio::test]
async fn a_call_beyond_the_concurrency_is_sent_away_and_one_that_takes_too_long_is_given_up() {
    let service = Service::with(|config| {
        config.api.concurrency = 1;
        config.api.request_timeout = Duration::from_secs(2).into();
    })
    .await;
    let alice = service.known(1, "alice").await;
    let mut first = unfinished(&service).await;
    let refused = wait_for("a call to be one too many", async || {
        let answer = alice.get("/api/communities").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    expect(&refused, 503);
    assert_eq!(refused.header("retry-after"), "1");
    expect(&service.http.get("/health/live").await, 200);

    let mut answer = vec![0; 4096];
    let read = timeout(DEADLINE, first.read(&mut answer)).await;
    let length = read.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).to_lowercase();
    assert!(answer.starts_with("http/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    wait_for("its place to be free", async || {
        (alice.get("/api/communities").await.status == 200).then_some(())
    })
    .await;
    service.end().await;
}
