//! NATS may be away: what is written meanwhile is answered at once and delivered later. And nothing waits for
//! a sweep.

use std::time::Duration;

use crier_testkit::{DEADLINE, NatsServer, Proxy, SseClient, Way, wait_for};

use serde_json::json;

use crate::people::{expect, group, talk};
use crate::stream::Stream;
use crate::world::{Options, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_while_nats_is_away_comes_after() {
    let world = World::start().await;
    let (alice, bob, carol, place) = group(&world).await;
    bob.subscribe(place).await;
    let mut at_bob = bob.stream(0).await;
    let mut at_carol = carol.stream(1).await;
    let discussion = alice.discuss(place, "Storm").await;
    at_bob.event().await;

    world.nats().stop().await;
    alice.comment(discussion, "one").await;
    // A subscription made meanwhile counts for what is written after it, and only for that.
    carol.subscribe(place).await;
    alice.comment(discussion, "two").await;
    world.nats().start_again().await;
    alice.comment(discussion, "three").await;

    assert_eq!(at_bob.comments_until("three").await, ["one", "two"]);
    assert_eq!(at_carol.comments_until("three").await, ["two"]);
    world.settled().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_database_writes_are_refused_and_streams_go_on() {
    let world = World::with(Options {
        dedicated: true,
        ..Options::default()
    })
    .await;
    let (alice, bob, discussion) = talk(&world).await;
    let mut open = bob.stream(0).await;
    alice.comment(discussion, "before").await;
    assert_eq!(open.event().await["data"]["comment"]["content"], "before");

    world.database().kill().await;
    let path = format!("/api/discussions/{discussion}/comments/");
    let refused = alice.http.post(&path, &json!({"content": "lost"})).await;
    expect(&refused, 503);
    assert!(!refused.header("retry-after").is_empty());
    // Whoever comes back now needs nothing of the database.
    let cursor = open.last_event_id().to_owned();
    let mut back = Stream::resume(&bob.gateways[1], &bob.token, Some(&cursor)).await;

    world.database().start_again().await;
    alice.comment(discussion, "after").await;
    for stream in [&mut open, &mut back] {
        assert_eq!(stream.event().await["data"]["comment"]["content"], "after");
    }
    world.settled().await;
    world.end().await;
}

/// With the sweep at one hour only a wake-up can move the relay.
async fn without_a_sweep(postgres: bool) {
    let sweep = Some(Duration::from_secs(3600));
    let world = World::with(Options {
        postgres,
        sweep,
        ..Options::default()
    })
    .await;
    let (alice, bob, _, place) = group(&world).await;
    bob.subscribe(place).await;
    let mut at_bob = bob.stream(0).await;
    let discussion = alice.discuss(place, "Now").await;
    assert_eq!(at_bob.event().await["data"]["discussion"]["id"], discussion);
    for text in ["1", "2", "3"] {
        alice.comment(discussion, text).await;
        assert_eq!(at_bob.event().await["data"]["comment"]["content"], text);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_out_at_once_on_sqlite() {
    without_a_sweep(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_out_at_once_on_postgres() {
    without_a_sweep(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_stops_sends_its_streams_away_and_is_gone() {
    let mut world = World::start().await;
    let (_, bob, _, _) = group(&world).await;
    let mut at_bob = bob.stream(0).await;
    let url = world.gateway_url(0).to_owned();
    world.stop_gateway(0).await;
    let bye = at_bob.frame().await;
    assert_eq!(bye.event.as_deref(), Some("bye"));
    assert_eq!(bye.json()["reason"], "drain");
    assert!(bye.retry.is_some());
    assert!(at_bob.try_frame().await.is_none(), "the stream has ended");
    wait_for("the port to be closed", async || {
        tokio::net::TcpStream::connect(url.trim_start_matches("http://"))
            .await
            .is_err()
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_was_purged_before_a_gateway_saw_it_holds_all_the_same() {
    let nats = NatsServer::start().await;
    let way = Proxy::start(nats.address()).await;
    let world = World::with(Options {
        nats_by_way_of: Some(way.url()),
        nats: Some(nats),
        ..Options::default()
    })
    .await;
    let (alice, bob, carol, place) = group(&world).await;
    bob.subscribe(place).await;
    carol.subscribe(place).await;
    let discussion = alice.discuss(place, "Purge").await;
    world.settled().await;
    let mut at_bob = bob.stream(0).await;

    way.set(Way::Cut);
    alice.manage_member(place.community, &bob, "remove").await;
    let store = world.store().await;
    wait_for("the removal to be in the log", async || {
        store.unsent(1).await.unwrap().is_empty().then_some(())
    })
    .await;
    world.nats().purge("CRIER", "user.>").await;
    alice.comment(discussion, "not for bob").await;
    way.set(Way::Open);

    let bye = at_bob.frame().await;
    assert_eq!(bye.event.as_deref(), Some("bye"), "{bye:?}");
    assert!(at_bob.try_frame().await.is_none(), "the stream has ended");
    let at_bob = bob.stream(0).await;
    assert_eq!(at_bob.ready["communities"], serde_json::json!([]));
    world.end().await;
}

/// Everything that a stream gives until it ends or is told `reset`.
async fn until_reset(url: String, token: String, cursor: String) -> String {
    let authorization = format!("Bearer {token}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("last-event-id", &cursor),
    ];
    let mut sse = SseClient::connect(&format!("{url}/events"), &headers)
        .await
        .unwrap();
    let mut all = String::new();
    while let Some(frame) = sse.next_frame(DEADLINE).await {
        all.push_str(&frame.data.unwrap_or_default());
        if frame.event.as_deref() == Some("reset") {
            break;
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_put_back_to_before_a_removal_gives_nobody_what_came_after_it() {
    let world = World::start().await;
    let (alice, bob, carol, place) = group(&world).await;
    bob.subscribe(place).await;
    carol.subscribe(place).await;
    world.settled().await;
    let mut at_bob = bob.stream(0).await;
    let discussion = alice.discuss(place, "Restored").await;
    at_bob.discussion("Restored").await;
    let cursor = at_bob.last_event_id().to_owned();
    drop(at_bob);
    world.settled().await;
    let store = world.nats().store_dir();
    let copy = store.with_extension("copy");
    world.nats().kill().await;
    let copied = std::process::Command::new("cp")
        .arg("-R")
        .args([&store, &copy])
        .status();
    assert!(copied.unwrap().success());
    world.nats().start_again().await;

    // Carol's stream keeps the gateway's memory of the community.
    let mut at_carol = carol.stream(0).await;
    alice.manage_member(place.community, &bob, "remove").await;
    alice.comment(discussion, "not for bob").await;
    at_carol.comments_until("not for bob").await;
    world.nats().kill().await;
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::rename(&copy, &store).unwrap();
    let url = world.gateway_url(0).to_owned();
    let read = tokio::spawn(until_reset(url, bob.token.clone(), cursor));
    world.nats().start_again().await;
    let read = read.await.unwrap();
    assert!(!read.contains("not for bob"), "{read}");
    world.end().await;
}
