//! Live copies: only what is followed, with the right sequence, and never in the way.

use std::collections::BTreeMap;

use crier_bus::{Live, LiveCapacity, LiveMessage, LiveReceiver};
use crier_domain::Seq;
use crier_domain::log::Message;
use crier_testkit::{DEADLINE, wait_for};

use crate::support::{EPOCH, Fixture, RETENTION, community, event, snapshot};

async fn next(copies: &mut LiveReceiver) -> LiveMessage {
    let next = tokio::time::timeout(DEADLINE, copies.recv()).await;
    next.expect("a live copy in time").expect("an open channel")
}

async fn interests(fixture: &Fixture, expected: &[&str]) {
    wait_for(&format!("the interests {expected:?}"), async || {
        (fixture.interests().await == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn copies_of_followed_communities_arrive_with_their_sequence_and_no_others() {
    let fixture = Fixture::new().await;
    let (live, mut copies) = Live::new(&fixture.bus, LiveCapacity::default());
    live.add(community(45));
    live.add(community(46));
    interests(&fixture, &["live.community.45.>", "live.community.46.>"]).await;
    let mut sent = BTreeMap::new();
    for (id, body) in [
        (4, "no"),
        (45, "a"),
        (451, "no"),
        (46, "b"),
        (47, "no"),
        (45, "c"),
    ] {
        let seq = fixture.put(&event(id, body)).await;
        fixture.put(&snapshot(45, "no")).await;
        fixture.put(&Message::mark(EPOCH, RETENTION)).await;
        if body != "no" {
            sent.insert(seq, body);
        }
    }
    // The sentinel comes last; whatever else was on its way came before it.
    let sentinel = fixture.put(&event(45, "end")).await;
    let mut received = BTreeMap::new();
    loop {
        let copy = next(&mut copies).await;
        assert_eq!(copy.epoch, EPOCH);
        if copy.seq == sentinel {
            break;
        }
        received.insert(copy.seq, String::from_utf8(copy.payload.to_vec()).unwrap());
    }
    let expected: BTreeMap<Seq, String> =
        sent.into_iter().map(|(at, b)| (at, b.to_owned())).collect();
    assert_eq!(received, expected);
    assert_eq!((live.dropped(), live.malformed()), (0, 0));
    assert_eq!(live.interests(), 2);
}

#[tokio::test]
async fn a_removed_interest_leaves_no_subscription() {
    let fixture = Fixture::new().await;
    let (live, mut copies) = Live::new(&fixture.bus, LiveCapacity::default());
    for id in 1..=200 {
        live.add(community(id));
    }
    wait_for("200 interests", async || {
        (fixture.interests().await.len() == 200).then_some(())
    })
    .await;
    for id in 1..=200 {
        if id != 7 {
            live.remove(community(id));
        }
    }
    interests(&fixture, &["live.community.7.>"]).await;
    // Back again, and once more than needed.
    live.add(community(8));
    live.add(community(8));
    interests(&fixture, &["live.community.7.>", "live.community.8.>"]).await;
    let seq = fixture.put(&event(8, "again")).await;
    assert_eq!(next(&mut copies).await.seq, seq);
    drop(live);
    interests(&fixture, &[]).await;
    let end = tokio::time::timeout(DEADLINE, copies.recv()).await.unwrap();
    assert_eq!(end, None);
}

#[tokio::test]
async fn an_interest_that_comes_and_goes_at_once_ends_as_it_was_said_last() {
    let fixture = Fixture::new().await;
    let (live, _copies) = Live::new(&fixture.bus, LiveCapacity::default());
    for _ in 0..50 {
        live.add(community(1));
        live.remove(community(1));
        live.remove(community(2));
        live.add(community(2));
        tokio::task::yield_now().await;
    }
    interests(&fixture, &["live.community.2.>"]).await;
}

#[tokio::test]
async fn a_receiver_that_is_behind_loses_copies_and_nothing_else() {
    let fixture = Fixture::new().await;
    let few = LiveCapacity {
        messages: 10,
        bytes: 1 << 20,
    };
    let (live, mut copies) = Live::new(&fixture.bus, few);
    live.add(community(1));
    interests(&fixture, &["live.community.1.>"]).await;
    // Acks come over the same connection: they are not held up.
    fixture.fill(100).await;
    wait_for("90 dropped copies", async || {
        (live.dropped() == 90).then_some(())
    })
    .await;
    for seq in 1..=10 {
        assert_eq!(next(&mut copies).await.seq, Seq(seq));
    }
    assert_eq!(copies.try_recv(), None);
    let seq = fixture.put(&event(1, "next")).await;
    assert_eq!(next(&mut copies).await.seq, seq);
}

#[tokio::test]
async fn the_queue_is_bounded_in_bytes() {
    let fixture = Fixture::new().await;
    let small = LiveCapacity {
        messages: 1_000,
        bytes: 25_000,
    };
    let (live, mut copies) = Live::new(&fixture.bus, small);
    live.add(community(1));
    interests(&fixture, &["live.community.1.>"]).await;
    for _ in 0..2 {
        for _ in 0..4 {
            fixture.put(&event(1, &"x".repeat(10_000))).await;
        }
        let before = live.dropped();
        let dropped = before.next_multiple_of(2).max(2);
        wait_for("dropped copies", async || {
            (live.dropped() >= dropped).then_some(())
        })
        .await;
        assert_eq!(next(&mut copies).await.payload.len(), 10_000);
        assert_eq!(next(&mut copies).await.payload.len(), 10_000);
        assert_eq!(copies.try_recv(), None);
    }
    assert_eq!(live.dropped(), 4);
}

#[tokio::test]
async fn interests_outlive_the_server_and_are_made_while_it_is_away() {
    let fixture = Fixture::new().await;
    let (live, mut copies) = Live::new(&fixture.bus, LiveCapacity::default());
    live.add(community(1));
    live.add(community(2));
    interests(&fixture, &["live.community.1.>", "live.community.2.>"]).await;
    fixture.nats.kill().await;
    live.remove(community(2));
    live.add(community(3));
    fixture.nats.start_again().await;
    interests(&fixture, &["live.community.1.>", "live.community.3.>"]).await;
    wait_for("the log", async || fixture.log.tail().await.ok()).await;
    let seq = fixture.put(&event(3, "x")).await;
    assert_eq!(next(&mut copies).await.seq, seq);
}

#[tokio::test]
async fn what_others_publish_there_is_counted_and_dropped() {
    let fixture = Fixture::new().await;
    let (live, mut copies) = Live::new(&fixture.bus, LiveCapacity::default());
    live.add(community(1));
    interests(&fixture, &["live.community.1.>"]).await;
    let other = async_nats::connect(fixture.nats.url()).await.unwrap();
    let subject = "live.community.1.article.5";
    other.publish(subject, "forged".into()).await.unwrap();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Sequence", "-1");
    headers.insert("Crier-Epoch", "0000000000000001");
    other
        .publish_with_headers(subject, headers, "forged".into())
        .await
        .unwrap();
    other.flush().await.unwrap();
    wait_for("both to be counted", async || {
        (live.malformed() == 2).then_some(())
    })
    .await;
    assert_eq!(copies.try_recv(), None);
}
