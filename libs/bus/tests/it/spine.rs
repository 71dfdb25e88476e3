//! The spine: every message once and in order, or a typed end.

use std::time::{Duration, Instant};

use crier_bus::{Spine, SpineItem, SpineLost};
use crier_domain::Seq;
use crier_domain::log::{Head, Message};
use crier_testkit::{DEADLINE, wait_for};

use crate::support::{EPOCH, Fixture, RETENTION, community, event, snapshot, user};

async fn next(spine: &mut Spine) -> Result<SpineItem, SpineLost> {
    let next = tokio::time::timeout(DEADLINE, spine.next()).await;
    next.expect("a message or an end in time")
}

async fn lost(spine: &mut Spine) -> SpineLost {
    match next(spine).await {
        Ok(item) => panic!("{item:?}"),
        Err(lost) => lost,
    }
}

#[tokio::test]
async fn every_message_comes_in_order_with_its_head() {
    let fixture = Fixture::new().await;
    fixture.put(&Message::mark(EPOCH, RETENTION)).await;
    fixture.put(&snapshot(7, "snapshot")).await;
    let mut spine = Spine::start(&fixture.bus, Seq::ZERO).await.unwrap();
    fixture.put(&event(45, "{}")).await;

    let mark = next(&mut spine).await.unwrap();
    assert_eq!((mark.seq, mark.head), (Seq(1), Ok((EPOCH, Head::Mark))));
    let snapshot = next(&mut spine).await.unwrap();
    let head = Head::Snapshot(user(7));
    assert_eq!((snapshot.seq, snapshot.head), (Seq(2), Ok((EPOCH, head))));
    assert_eq!(snapshot.bytes, "snapshot".len());
    let event = next(&mut spine).await.unwrap();
    assert_eq!((event.seq, event.bytes), (Seq(3), 2));
    assert!(
        matches!(&event.head, Ok((EPOCH, Head::Event(head))) if head.community == community(45)),
        "{event:?}"
    );
    let stored = fixture.log.read(Seq(3)).await.unwrap().unwrap();
    assert_eq!(event.time, stored.time);
    assert_eq!(spine.position(), Seq(3));
}

#[tokio::test]
async fn it_begins_where_it_is_told_and_passes_over_what_is_gone() {
    let fixture = Fixture::new().await;
    for body in ["one", "two", "three"] {
        fixture.put(&snapshot(7, body)).await;
    }
    fixture.put(&event(1, "x")).await;
    fixture.log.purge_snapshots(user(7), Seq(3)).await.unwrap();
    let mut spine = Spine::start(&fixture.bus, Seq(1)).await.unwrap();
    assert_eq!(next(&mut spine).await.unwrap().seq, Seq(3));
    assert_eq!(next(&mut spine).await.unwrap().seq, Seq(4));
    let tail = fixture.log.tail().await.unwrap();
    let mut at_end = Spine::start(&fixture.bus, tail).await.unwrap();
    let seq = fixture.put(&event(1, "new")).await;
    assert_eq!(next(&mut at_end).await.unwrap().seq, seq);
}

#[tokio::test]
async fn bodies_stay_at_the_server() {
    let fixture = Fixture::new().await;
    let size = 500_000;
    fixture.put(&event(1, &"x".repeat(size))).await;
    let reader = crate::support::connect(&fixture.nats).await;
    let mut spine = Spine::start(&reader, Seq::ZERO).await.unwrap();
    assert_eq!(next(&mut spine).await.unwrap().bytes, size);
    let connections = fixture.nats.connz().await;
    let sent: Vec<u64> = connections["connections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|connection| connection["out_bytes"].as_u64().unwrap())
        .collect();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|bytes| *bytes < 100_000), "{sent:?}");
}

#[tokio::test]
async fn a_reader_that_is_far_behind_gets_all_of_it_and_fills_no_queue() {
    let fixture = Fixture::new().await;
    let mut spine = Spine::start(&fixture.bus, Seq::ZERO).await.unwrap();
    let last = fixture.fill(30_000).await;
    for seq in 1..=last.0 {
        assert_eq!(next(&mut spine).await.unwrap().seq, Seq(seq));
    }
    assert_eq!(fixture.bus.stats().slow_consumer_events, 0);
}

#[tokio::test]
async fn a_wait_that_is_given_up_loses_nothing() {
    let fixture = Fixture::new().await;
    let mut spine = Spine::start(&fixture.bus, Seq::ZERO).await.unwrap();
    let writing = async { fixture.fill(3_000).await };
    let reading = async {
        let mut seen = 0;
        while seen < 3_000 {
            let brief = Duration::from_micros(50);
            if let Ok(item) = tokio::time::timeout(brief, spine.next()).await {
                seen += 1;
                assert_eq!(item.unwrap().seq, Seq(seen));
            }
        }
    };
    let both = async { tokio::join!(writing, reading) };
    tokio::time::timeout(DEADLINE, both).await.unwrap();
}

#[tokio::test]
async fn through_a_restart_of_the_server_nothing_is_missing_and_nothing_comes_twice() {
    let fixture = Fixture::new().await;
    let mut spine = Spine::start(&fixture.bus, Seq::ZERO).await.unwrap();
    let mut last = fixture.fill(500).await;
    let mut seen = 0;
    for round in 0..2 {
        // Some are read after the server is gone: they were on their way, or they come again.
        while seen < last.0 - 200 {
            seen += 1;
            assert_eq!(next(&mut spine).await.unwrap().seq, Seq(seen));
        }
        let killed = Instant::now();
        if round == 0 {
            fixture.nats.kill().await;
        } else {
            fixture.nats.stop().await;
        }
        let end = loop {
            match next(&mut spine).await {
                Ok(item) => {
                    seen += 1;
                    assert_eq!(item.seq, Seq(seen));
                }
                Err(end) => break end,
            }
        };
        assert!(
            matches!(end, SpineLost::Disconnected | SpineLost::Gone(_)),
            "{end:?}"
        );
        assert!(killed.elapsed() < Duration::from_secs(5));
        assert_eq!(spine.position(), Seq(seen));
        fixture.nats.start_again().await;
        spine = wait_for("a new spine", async || {
            Spine::start(&fixture.bus, Seq(seen)).await.ok()
        })
        .await;
        last = fixture.fill(500).await;
    }
    while seen < last.0 {
        seen += 1;
        assert_eq!(next(&mut spine).await.unwrap().seq, Seq(seen));
    }
}

#[tokio::test]
async fn a_server_that_stands_still_ends_it() {
    let fixture = Fixture::new().await;
    let mut spine = Spine::start(&fixture.bus, Seq::ZERO).await.unwrap();
    crate::support::pause(&fixture.nats).await;
    let end = lost(&mut spine).await;
    fixture.nats.resume();
    assert!(
        matches!(end, SpineLost::Silent(_) | SpineLost::Disconnected),
        "{end:?}"
    );
}

#[tokio::test]
async fn a_consumer_that_is_taken_away_ends_it() {
    let fixture = Fixture::new().await;
    let mut spine = Spine::start(&fixture.bus, Seq::ZERO).await.unwrap();
    let other = async_nats::connect(fixture.nats.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(other);
    let name = fixture.consumers().await.remove(0);
    jetstream
        .delete_consumer_from_stream(&name, "CRIER")
        .await
        .unwrap();
    let end = lost(&mut spine).await;
    assert!(matches!(end, SpineLost::Gone(_)), "{end:?}");
}

#[tokio::test]
async fn a_log_that_was_replaced_is_told_from_one_that_went_on() {
    let fixture = Fixture::new().await;
    let last = fixture.fill(100).await;
    let mut spine = Spine::start(&fixture.bus, last).await.unwrap();
    let other = async_nats::connect(fixture.nats.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(other);
    jetstream.delete_stream("CRIER").await.unwrap();
    let end = lost(&mut spine).await;
    assert!(matches!(end, SpineLost::Gone(_)), "{end:?}");
    let missing = Spine::start(&fixture.bus, last).await;
    assert!(
        matches!(missing, Err(SpineLost::Unavailable(_))),
        "{:?}",
        missing.err()
    );

    fixture.log.ensure(&Default::default()).await.unwrap();
    let shorter = fixture.fill(10).await;
    let replaced = Spine::start(&fixture.bus, last).await.err();
    assert!(
        matches!(
            replaced,
            Some(SpineLost::Replaced { position, found }) if position == last && found == shorter
        ),
        "{replaced:?}"
    );
}

#[tokio::test]
async fn one_that_is_dropped_leaves_no_consumer() {
    let fixture = Fixture::new().await;
    let first = Spine::start(&fixture.bus, Seq::ZERO).await.unwrap();
    let second = Spine::start(&fixture.bus, Seq::ZERO).await.unwrap();
    assert_eq!(fixture.consumers().await.len(), 2);
    drop(first);
    wait_for("one consumer", async || {
        (fixture.consumers().await.len() == 1).then_some(())
    })
    .await;
    drop(second);
    wait_for("no consumer", async || {
        fixture.consumers().await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_the_relay_did_not_write_is_an_item_with_an_error() {
    let fixture = Fixture::new().await;
    let other = async_nats::connect(fixture.nats.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(other);
    for subject in ["community.45.article.5", "user.x.y", "mark"] {
        let ack = jetstream.publish(subject, "forged".into()).await.unwrap();
        ack.await.unwrap();
    }
    let seq = fixture.put(&event(1, "x")).await;
    let mut spine = Spine::start(&fixture.bus, Seq::ZERO).await.unwrap();
    for _ in 1..seq.0 {
        let forged = next(&mut spine).await.unwrap();
        assert!(forged.head.is_err(), "{forged:?}");
        assert_eq!(forged.bytes, "forged".len());
    }
    assert!(next(&mut spine).await.unwrap().head.is_ok());
}
