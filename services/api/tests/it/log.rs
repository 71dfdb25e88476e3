//! With NATS: what was written reaches the log, whether NATS was there or not.

use crier_bus::{Bus, NatsConfig};
use crier_domain::log::{AudienceTag, Head};
use crier_domain::{Cursor, Seq};
use crier_testkit::{NatsServer, wait_for};

use crate::fixture::{Person, Place, Service, expect, id};

async fn service(nats: &NatsServer) -> Service {
    let url = nats.url();
    Service::with(|config| config.nats = NatsConfig::at(url)).await
}

async fn scene(service: &Service) -> (Person, Place) {
    let alice = service.person(1, "alice");
    let community = alice.create_community("private").await;
    let place = alice.submit(community, "GPT-5 Architecture").await;
    alice.publish(place).await;
    (alice, place)
}

async fn sent(service: &Service) {
    let store = service.store().await;
    wait_for("the outbox to be sent", async || {
        (store.count_unsent().await.unwrap() == 0).then_some(())
    })
    .await;
}

/// The events of the log, by sequence: community, author and body.
async fn events(nats: &NatsServer) -> Vec<(Seq, i64, serde_json::Value)> {
    let bus = Bus::connect(&NatsConfig::at(nats.url()), "test")
        .await
        .unwrap();
    let log = bus.log();
    let mut events = Vec::new();
    for seq in 1..=log.tail().await.unwrap().0 {
        let Some(message) = log.read(Seq(seq)).await.unwrap() else {
            continue;
        };
        if let (_, Head::Event(head)) = message.head().unwrap() {
            assert_eq!(head.audience, AudienceTag::Subscribers);
            let body = serde_json::from_slice(&message.payload).unwrap();
            events.push((message.seq, head.exclude.unwrap().get(), body));
        }
    }
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_is_in_the_log_at_once_and_the_list_says_where() {
    let nats = NatsServer::start().await;
    let service = service(&nats).await;
    let (alice, place) = scene(&service).await;
    let discussion = id(&alice.discuss(place, "Scaling").await, 201);
    // The sweep comes once an hour: it is the wake-up that brings it there.
    sent(&service).await;
    let found = events(&nats).await;
    let [(seq, author, body)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(*author, 1);
    assert_eq!(body["data"]["discussion"]["id"], discussion);
    let list = alice.get(&place.discussions()).await;
    let cursor = expect(&list, 200)["last_event_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let cursor = Cursor::open(&cursor, &service.keys).unwrap();
    assert!(cursor.seq >= *seq, "{cursor:?} after {seq}");
    for path in [
        "/api/communities".to_owned(),
        format!("/api/communities/{}", place.community),
        format!("/api/communities/{}/members", place.community),
        format!("/api/discussions/{discussion}/comments"),
        "/api/discussions/user-subscriptions".to_owned(),
    ] {
        let list = alice.get(&path).await;
        let position = expect(&list, 200)["last_event_id"].as_str().unwrap();
        let position = Cursor::open(position, &service.keys).unwrap();
        assert_eq!(position.epoch, cursor.epoch);
        assert!(position.seq >= cursor.seq, "{path}");
    }
    service.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_answered_while_nats_is_away_and_delivered_after() {
    let nats = NatsServer::start().await;
    let service = service(&nats).await;
    let (alice, place) = scene(&service).await;
    let discussion = id(&alice.discuss(place, "Scaling").await, 201);
    sent(&service).await;
    nats.stop().await;
    for number in 0..5 {
        expect(&alice.comment(discussion, &number.to_string()).await, 201);
    }
    expect(&service.http.get("/health/ready").await, 200);
    nats.start_again().await;
    sent(&service).await;
    let found = events(&nats).await;
    let contents: Vec<&serde_json::Value> = found
        .iter()
        .skip(1)
        .map(|(_, _, body)| &body["data"]["comment"]["content"])
        .collect();
    assert_eq!(contents, ["0", "1", "2", "3", "4"]);
    service.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_asks_gets_a_snapshot_through_the_log() {
    let nats = NatsServer::start().await;
    let service = service(&nats).await;
    scene(&service).await;
    sent(&service).await;
    let bus = Bus::connect(&NatsConfig::at(nats.url()), "test")
        .await
        .unwrap();
    let stranger = 99.try_into().unwrap();
    assert!(bus.log().snapshot(stranger).await.unwrap().is_none());
    wait_for("an answer", async || {
        bus.request_snapshot(stranger).await.ok()
    })
    .await;
    wait_for("the snapshot", async || {
        bus.log().snapshot(stranger).await.unwrap()
    })
    .await;
    service.end().await;
}
