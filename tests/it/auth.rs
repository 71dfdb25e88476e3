//! Tokens forged by the test's own code, tickets, cookies: what opens a stream or a call, and what doesn't.

use std::time::{SystemTime, UNIX_EPOCH};

use crier_testkit::{HttpClient, SseClient};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::people::{expect, group};
use crate::stream::Stream;
use crate::world::{PAGE, SECRET, World};

pub(crate) fn now() -> i64 {
    i64::try_from(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    )
    .unwrap()
}

fn claims() -> Value {
    json!({"sub": "1", "username": "alice", "aud": "crier", "iat": now(), "exp": now() + 600})
}

fn changed(field: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[field] = value;
    claims
}

fn without(field: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(field);
    claims
}

fn signed(claims: &Value, algorithm: Algorithm, secret: &str) -> String {
    encode(
        &Header::new(algorithm),
        claims,
        &EncodingKey::from_secret(secret.as_bytes()),
    )
    .unwrap()
}

/// A token without a signature, as `alg: none` would have it.
fn unsigned(claims: &Value) -> String {
    use base64::Engine as _;
    let encode =
        |value: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    format!(
        "{}.{}.",
        encode(&json!({"alg": "none", "typ": "JWT"})),
        encode(claims)
    )
}

/// Every way in which a token can be wrong.
fn forged() -> Vec<(&'static str, String)> {
    let good = |claims: &Value| signed(claims, Algorithm::HS256, SECRET);
    let mut cut = good(&claims());
    cut.pop();
    vec![
        ("empty", String::new()),
        ("no token", "hello".to_owned()),
        ("alg none", unsigned(&claims())),
        (
            "another secret",
            signed(&claims(), Algorithm::HS256, &"x".repeat(40)),
        ),
        (
            "another algorithm",
            signed(&claims(), Algorithm::HS512, SECRET),
        ),
        ("a signature cut short", cut),
        ("expired this second", good(&changed("exp", json!(now())))),
        ("without exp", good(&without("exp"))),
        ("without iat", good(&without("iat"))),
        (
            "issued in the future",
            good(&changed("iat", json!(now() + 60))),
        ),
        (
            "for another audience",
            good(&changed("aud", json!("other"))),
        ),
        ("without sub", good(&without("sub"))),
        (
            "sub that is no number",
            good(&changed("sub", json!("alice"))),
        ),
        ("negative sub", good(&changed("sub", json!(-1)))),
        ("fractional sub", good(&changed("sub", json!(1.5)))),
        (
            "sub beyond i64",
            good(&changed("sub", json!("9223372036854775808"))),
        ),
        ("very long", "x".repeat(20_000)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_tokens_open_nothing() {
    let world = World::start().await;
    let good = signed(&claims(), Algorithm::HS256, SECRET);
    expect(
        &world.api().with_token(&good).get("/api/communities/").await,
        200,
    );
    drop(Stream::open(world.gateway_url(0), &good).await);

    expect(&world.api().get("/api/communities/").await, 401);
    expect(
        &HttpClient::new(world.gateway_url(0)).get("/events").await,
        401,
    );
    for (what, token) in forged() {
        for (url, path) in [
            (world.api_url(), "/api/communities/"),
            (world.gateway_url(0), "/events"),
        ] {
            let answer = HttpClient::new(url).with_token(&token).get(path).await;
            assert_eq!(answer.status, 401, "{what} at {path}: {}", answer.text());
            assert_eq!(
                answer.header("content-type"),
                "application/problem+json",
                "{what}"
            );
            assert_eq!(answer.json["status"], 401, "{what}");
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_its_token() {
    let world = World::start().await;
    let token = signed(&changed("exp", json!(now() + 3)), Algorithm::HS256, SECRET);
    let mut stream = Stream::open(world.gateway_url(0), &token).await;
    let bye = stream.frame().await;
    assert_eq!(bye.event.as_deref(), Some("bye"));
    assert_eq!(bye.json()["reason"], "expired");
    assert!(stream.try_frame().await.is_none());
    expect(
        &HttpClient::new(world.gateway_url(0))
            .with_token(&token)
            .get("/events")
            .await,
        401,
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_opens_streams_and_nothing_else() {
    let world = World::start().await;
    let (alice, bob, _, place) = group(&world).await;
    bob.subscribe(place).await;
    world.settled().await;
    let answer = bob.http.post("/api/realtime/ticket", &json!({})).await;
    let body = expect(&answer, 200);
    assert_eq!(body["expires_in"], 60);
    let ticket = body["ticket"].as_str().unwrap();

    let url = format!("{}/events?ticket={ticket}", world.gateway_url(1));
    let mut sse = SseClient::connect(&url, &[]).await.unwrap();
    assert_eq!(sse.status(), 200);
    sse.next_frame(crier_testkit::DEADLINE).await.unwrap();
    let discussion = alice.discuss(place, "By ticket").await;
    let event = sse
        .next_event(crier_testkit::DEADLINE)
        .await
        .unwrap()
        .json();
    assert_eq!(event["data"]["discussion"]["id"], discussion);

    expect(
        &world
            .api()
            .with_token(ticket)
            .get("/api/communities/")
            .await,
        401,
    );
    let damaged = format!("{}/events?ticket={}A", world.gateway_url(1), &ticket[1..]);
    assert_eq!(
        SseClient::connect(&damaged, &[]).await.unwrap().status(),
        401
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_counts_for_listed_pages_and_errors_carry_cors() {
    let world = World::start().await;
    let good = signed(&claims(), Algorithm::HS256, SECRET);
    let cookie = format!("crier_token={good}");
    let url = format!("{}/events", world.gateway_url(0));
    let open = |origin: &'static str| {
        let headers = [("cookie", cookie.clone()), ("origin", origin.to_owned())];
        let url = url.clone();
        async move {
            let headers: Vec<_> = headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            SseClient::connect(&url, &headers).await.unwrap()
        }
    };
    let own = open(PAGE).await;
    assert_eq!(own.status(), 200);
    assert_eq!(own.header("access-control-allow-origin"), PAGE);
    assert_eq!(own.header("access-control-allow-credentials"), "true");
    let foreign = open("http://evil.test").await;
    assert_eq!(foreign.status(), 403);
    assert_eq!(foreign.header("access-control-allow-origin"), "");

    let refused = SseClient::connect(&url, &[("origin", PAGE)]).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(
        refused.header("access-control-allow-origin"),
        PAGE,
        "a page can read why"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_is_none_of_ours_gives_reset_never_an_error() {
    let world = World::start().await;
    let (alice, bob, _, place) = group(&world).await;
    bob.subscribe(place).await;
    let mut first = bob.stream(0).await;
    alice.discuss(place, "One").await;
    first.event().await;
    let behind = first.last_event_id().to_owned();
    drop(first);
    alice.discuss(place, "Two").await;
    world.settled().await;

    let mut damaged = behind.clone();
    damaged.replace_range(3..4, if &behind[3..4] == "A" { "B" } else { "A" });
    for cursor in [damaged.as_str(), "x", "0", &"9".repeat(500)] {
        let mut stream = Stream::resume(world.gateway_url(1), &bob.token, Some(cursor)).await;
        let reset = stream.frame().await;
        assert_eq!(reset.event.as_deref(), Some("reset"), "{cursor}: {reset:?}");
        assert_eq!(reset.json()["communities"], json!([place.community]));
        assert!(reset.id.is_some());
        // Cut between `ready` and `reset`, the client would come back with the id of `ready`.
        let cut = Stream::open(world.gateway_url(1), &bob.token).await;
        drop(cut);
    }
    world.end().await;
}
