//! One client in 200 communities reads 100,000 events: every one, once, in one order.

use std::collections::HashMap;
use std::time::Duration;

use crier_domain::event::ClientEvent;
use crier_domain::{Audience, CommunityId, Event, EventId, Keys};
use crier_store::{Locks, Store};
use futures::future::join_all;
use serde_json::json;

use crate::world::{Options, World};

const COMMUNITIES: usize = 200;
const EVENTS: usize = 100_000;
const WRITERS: usize = 4;
/// Rows of one transaction.
const BATCH: usize = 250;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_in_all_communities_reads_everything_in_order() {
    let world = World::with(Options {
        // The client of a test reads more slowly than the hub writes; this is about order, not slowness.
        gateway: Some(|config| {
            config.queue_messages = EVENTS;
            config.queue_bytes = 1 << 30;
        }),
        ..Options::default()
    })
    .await;
    let alice = world.person(1, "alice");
    let mut communities = Vec::new();
    for number in 0..COMMUNITIES {
        let id = alice
            .create_community(&format!("Group {number}"), "private")
            .await;
        communities.push(CommunityId::try_from(id).unwrap());
    }
    world.settled().await;
    let mut at_alice = alice.stream(0).await;
    assert_eq!(
        at_alice.ready["communities"].as_array().unwrap().len(),
        COMMUNITIES
    );

    let store = world.store().await;
    let share = COMMUNITIES / WRITERS;
    let writers = communities.chunks(share).map(|mine| write(&store, mine));
    let written = async {
        join_all(writers).await;
    };
    let read = async {
        let mut next: HashMap<i64, i64> = HashMap::new();
        for _ in 0..EVENTS {
            let event = at_alice.event().await;
            let community = event["community_id"].as_i64().unwrap();
            let expected = next.entry(community).or_default();
            assert_eq!(
                event["data"]["number"], *expected,
                "in community {community}"
            );
            *expected += 1;
        }
        assert!(
            next.values()
                .all(|count| *count == (EVENTS / COMMUNITIES) as i64)
        );
    };
    let both = async { tokio::join!(written, read) };
    tokio::time::timeout(Duration::from_secs(300), both)
        .await
        .expect("all events in time");
    at_alice.assert_rising(&Keys::from_base64(&[&world.keys]).unwrap());
    world.end().await;
}

/// Writes each community's share, numbered, as a service that has much to tell would.
async fn write(store: &Store, communities: &[CommunityId]) {
    let per_community = EVENTS / COMMUNITIES;
    for first in (0..per_community).step_by(BATCH) {
        for community in communities {
            let tx = store
                .begin(Locks::new().shared(*community), None)
                .await
                .unwrap();
            for number in first..per_community.min(first + BATCH) {
                tx.outbox_event(&numbered(*community, number))
                    .await
                    .unwrap();
            }
            tx.commit().await.unwrap();
        }
    }
}

fn numbered(community: CommunityId, number: usize) -> Event {
    let id = EventId::new();
    let event = ClientEvent {
        event_id: id,
        kind: "numbered",
        community_id: community,
        article_id: None,
        timestamp: "2026-01-01T00:00:00.000Z",
        data: &json!({ "number": number }),
    };
    Event {
        id,
        community,
        article: None,
        audience: Audience::Members,
        exclude: None,
        body: event.encode().unwrap(),
    }
}
