//! Events that an application beside Crier publishes: each audience gets its own, through both gateways, and nobody
//! else learns of it.

use std::time::Duration;

use crier_testkit::HttpClient;
use serde_json::{Value, json};

use crate::people::{expect, group, group_of};
use crate::stream::Stream;
use crate::world::{Options, World, signer};

/// What a number can't hold, names that come twice, and a line's end that is none in JSON.
const AS_WRITTEN: &str =
    "{\"n\":123456789012345678901234567890.10,\"n\":1e999,\"text\":\"\u{2028}\\u2029\\n\"}";

fn backend(world: &World) -> HttpClient {
    let token = signer().sign_service(Duration::from_secs(3600));
    world.api().with_token(token.unwrap())
}

/// What comes up to and with the sentinel.
async fn types_until(stream: &mut Stream, sentinel: &str) -> Vec<String> {
    let mut types = Vec::new();
    while types.last().is_none_or(|last| last != sentinel) {
        let event = stream.event().await;
        types.push(event["type"].as_str().unwrap().to_owned());
    }
    types
}

/// alice and bob follow the article, carol does not, dave is in another community.
async fn each_audience_gets_its_own(world: &World) {
    let (alice, bob, carol, place) = group(world).await;
    let dave = world.person(4, "dave");
    let elsewhere = group_of(&dave, &[]).await;
    bob.subscribe(place).await;
    world.settled().await;
    let mut streams = Vec::new();
    for (number, person) in [&alice, &bob, &carol, &dave].into_iter().enumerate() {
        streams.push(person.stream(number % 2).await);
    }
    let [at_alice, at_bob, at_carol, at_dave] = &mut streams[..] else {
        panic!("four streams");
    };

    let backend = backend(world);
    let (community, article) = (place.community, place.article);
    let event = |kind: &str, changes: Value| {
        let mut event = json!({"type": kind, "community_id": community, "data": {}});
        for (name, value) in changes.as_object().unwrap() {
            event[name] = value.clone();
        }
        event
    };
    let events = json!([
        event("for.followers", json!({ "article_id": article })),
        event("for.members", json!({ "exclude_user_id": alice.id })),
        event(
            "for.named",
            json!({ "subscriber_ids": [carol.id, dave.id, 404], "article_id": article })
        ),
        event("last", json!({})),
        event("elsewhere", json!({ "community_id": elsewhere.community })),
    ]);
    let kept = backend.post("/api/events", &events).await;
    assert_eq!(expect(&kept, 202).as_array().unwrap().len(), 5);

    assert_eq!(
        types_until(at_alice, "last").await,
        ["for.followers", "last"]
    );
    let bobs = ["for.followers", "for.members", "last"];
    assert_eq!(types_until(at_bob, "last").await, bobs);
    let carols = ["for.members", "for.named", "last"];
    assert_eq!(types_until(at_carol, "last").await, carols);
    assert_eq!(types_until(at_dave, "elsewhere").await, ["elsewhere"]);
}

/// What is told twice comes once, to the letter, with the caller's id and no list of recipients.
async fn what_is_told_twice_comes_once_as_it_was_written(world: &World) {
    let (_, bob, carol, place) = group(world).await;
    let (mut at_bob, mut at_carol) = (bob.stream(0).await, carol.stream(1).await);
    let backend = backend(world);
    let id = "0198c6a5-52a6-7b1e-8f5e-0123456789ab";
    let body = format!(
        "{{\"id\":\"{id}\",\"type\":\"t\",\"community_id\":{},\n\"subscriber_ids\":[3,2],\"data\":\n {AS_WRITTEN}}}",
        place.community
    );
    for _ in 0..3 {
        let call = backend.call(http::Method::POST, "/api/events", Some(body.clone().into()));
        assert_eq!(expect(&call.await.unwrap(), 202)["id"], id);
    }
    let last = json!({"type": "last", "community_id": place.community, "data": 1});
    expect(&backend.post("/api/events", &last).await, 202);
    for stream in [&mut at_bob, &mut at_carol] {
        let frame = stream.frame().await;
        let line = frame.data.unwrap();
        assert!(
            line.starts_with(&format!("{{\"event_id\":\"{id}\",\"type\":\"t\",")),
            "{line}"
        );
        assert!(
            line.ends_with(&format!(",\"data\":{AS_WRITTEN}}}")),
            "{line}"
        );
        assert!(!line.contains("[3,2]") && !line.contains("[2,3]"), "{line}");
        assert_eq!(types_until(stream, "last").await, ["last"]);
    }
}

macro_rules! on_both_databases {
    ($($name:ident),+) => { $(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let world = World::start().await;
                super::$name(&world).await;
                world.end().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                let world = World::with(Options { postgres: true, ..Options::default() }).await;
                super::$name(&world).await;
                world.end().await;
            }
        }
    )+ };
}

on_both_databases!(
    each_audience_gets_its_own,
    what_is_told_twice_comes_once_as_it_was_written
);
