//! Writing: in order, at the one sequence a message may have, or not at all.

use std::time::{Duration, Instant};

use crier_bus::{Outage, PublishError, Refusal, Rejection};
use crier_domain::log::{Message, header};
use crier_domain::{Seq, Subject};
use crier_testkit::{DEADLINE, NatsServer, wait_for};

use crate::support::{EPOCH, Fixture, RETENTION, connect, event, snapshot};

#[tokio::test]
async fn pipelined_messages_are_stored_in_call_order_without_a_gap() {
    const COUNT: u64 = 3_000;
    let fixture = Fixture::new().await;
    let mut acks = Vec::new();
    for at in 0..COUNT {
        let message = event(1, &format!("{at}"));
        acks.push(fixture.log.publish(&message, Seq(at)).await.unwrap());
    }
    for (at, ack) in acks.into_iter().enumerate() {
        assert_eq!(ack.await.unwrap(), Seq(at as u64 + 1));
    }
    assert_eq!(fixture.log.tail().await.unwrap(), Seq(COUNT));
    for seq in [1, 2, COUNT / 2, COUNT] {
        let stored = fixture.log.read(Seq(seq)).await.unwrap().unwrap();
        assert_eq!(stored.payload, format!("{}", seq - 1));
    }
}

#[tokio::test]
async fn what_a_message_carries_is_stored() {
    let fixture = Fixture::new().await;
    let message = event(45, "body");
    let seq = fixture.put(&message).await;
    let stored = fixture.log.read(seq).await.unwrap().unwrap();
    assert_eq!(stored.subject, "community.45.article.5");
    assert_eq!(stored.payload, "body");
    for (name, value) in &message.headers {
        assert_eq!(stored.header(name), Some(value.as_str()), "{name}");
    }
    assert_eq!(stored.epoch(), Some(EPOCH));
    let id = message.header(header::ID).unwrap();
    assert_eq!(stored.event().unwrap().to_string(), id);
}

#[tokio::test]
async fn a_wrong_expectation_is_refused_with_everything_behind_it() {
    let fixture = Fixture::new().await;
    fixture.fill(10).await;
    for wrong in [Seq(9), Seq(12), Seq(0)] {
        let mut acks = Vec::new();
        for behind in 0..5 {
            let expected = Seq(wrong.0 + behind);
            // A stale writer's messages hit the right end by accident, unless the first was one of them.
            if expected == Seq(10) {
                break;
            }
            acks.push(
                fixture
                    .log
                    .publish(&event(1, "stale"), expected)
                    .await
                    .unwrap(),
            );
        }
        for ack in acks {
            let refused = ack.await;
            assert!(
                matches!(
                    refused,
                    Err(PublishError::Refused(Refusal::WrongSequence(_)))
                ),
                "{refused:?}"
            );
        }
        assert_eq!(fixture.log.tail().await.unwrap(), Seq(10));
    }
}

#[tokio::test]
async fn one_refused_in_the_middle_takes_the_rest_with_it() {
    let fixture = Fixture::new().await;
    let twice = event(1, "twice");
    let messages = [
        twice.clone(),
        event(1, "a"),
        twice,
        event(1, "b"),
        event(1, "c"),
    ];
    let mut acks = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        acks.push(fixture.log.publish(message, Seq(at as u64)).await.unwrap());
    }
    let mut results = Vec::new();
    for ack in acks {
        results.push(ack.await);
    }
    assert!(matches!(results[..2], [Ok(Seq(1)), Ok(Seq(2))]));
    let duplicate = Refusal::Duplicate { found: Seq(1) };
    assert!(
        matches!(&results[2], Err(PublishError::Refused(refusal)) if *refusal == duplicate),
        "{results:?}"
    );
    for behind in &results[3..] {
        assert!(
            matches!(behind, Err(PublishError::Refused(_))),
            "{behind:?}"
        );
    }
    assert_eq!(fixture.log.tail().await.unwrap(), Seq(2));
}

#[tokio::test]
async fn what_can_never_be_stored_is_rejected() {
    let fixture = Fixture::new().await;
    let too_large = event(1, &"x".repeat(fixture.bus.max_payload()));
    let rejected = fixture.log.publish(&too_large, Seq(0)).await;
    let limit = fixture.bus.max_payload();
    assert!(
        matches!(
            rejected,
            Err(PublishError::Rejected(Rejection::TooLarge { limit: found })) if found == limit
        ),
        "{:?}",
        rejected.err()
    );

    let with_trace = |text: String| {
        let mut message = event(1, "x");
        message.headers.push((header::TRACEPARENT, text));
        message
    };
    let broken = fixture
        .log
        .publish(&with_trace("a\r\nb".to_owned()), Seq(0))
        .await;
    assert!(matches!(
        broken,
        Err(PublishError::Rejected(Rejection::Header(
            header::TRACEPARENT
        )))
    ));
    let long = fixture
        .log
        .publish(&with_trace("x".repeat(70_000)), Seq(0))
        .await;
    let long = long.unwrap().await;
    assert!(
        matches!(long, Err(PublishError::Rejected(Rejection::Server(_)))),
        "{long:?}"
    );
    // None of it stands in the way of the next.
    assert_eq!(fixture.put(&event(1, "fine")).await, Seq(1));
}

#[tokio::test]
async fn without_a_stream_it_is_unavailable_at_once() {
    let nats = NatsServer::start().await;
    let log = connect(&nats).await.log();
    let started = Instant::now();
    let answer = log.publish(&event(1, "x"), Seq(0)).await.unwrap().await;
    assert!(
        matches!(answer, Err(PublishError::Unavailable(Outage::NoResponders))),
        "{answer:?}"
    );
    assert!(started.elapsed() < log.ack_timeout());
}

#[tokio::test]
async fn a_stopped_server_is_unavailable_and_the_next_life_takes_up_where_it_was() {
    let fixture = Fixture::new().await;
    let last = fixture.fill(100).await;
    fixture.nats.stop().await;
    let started = Instant::now();
    // The first ones may still think that there is a connection.
    wait_for("publishing to fail at once", async || {
        match fixture.log.publish(&event(1, "x"), last).await {
            Err(PublishError::Unavailable(Outage::Disconnected)) => Some(()),
            Err(other) => panic!("{other:?}"),
            Ok(ack) => {
                let answer = ack.await;
                assert!(
                    matches!(answer, Err(PublishError::Unavailable(_))),
                    "{answer:?}"
                );
                None
            }
        }
    })
    .await;
    assert!(started.elapsed() < DEADLINE);
    fixture.nats.start_again().await;
    let tail = wait_for("the log", async || fixture.log.tail().await.ok()).await;
    // One that was on its way may have been stored by the next life, in its place.
    assert!(tail == last || tail == last.next(), "{tail}");
    assert_eq!(fixture.put(&event(1, "after")).await, tail.next());
}

#[tokio::test]
async fn a_server_that_stands_still_is_unavailable_within_the_timeout() {
    let fixture = Fixture::new().await;
    crate::support::pause(&fixture.nats).await;
    let started = Instant::now();
    let mut acks = Vec::new();
    for at in 0..50 {
        acks.push(fixture.log.publish(&event(1, "x"), Seq(at)).await.unwrap());
    }
    for ack in acks {
        let answer = ack.await;
        assert!(
            matches!(answer, Err(PublishError::Unavailable(_))),
            "{answer:?}"
        );
    }
    // All time out together: it counts from the call, not from the moment they are looked at.
    let limit = fixture.log.ack_timeout() + Duration::from_secs(4);
    assert!(started.elapsed() < limit, "{:?}", started.elapsed());
    fixture.nats.resume();
    wait_for("the log", async || fixture.log.tail().await.ok()).await;
}

#[tokio::test]
async fn events_and_marks_expire_and_snapshots_stay_through_a_restart() {
    let fixture = Fixture::new().await;
    let second = Duration::from_secs(1);
    let brief = crate::support::event_kept(1, "brief", second);
    let brief_mark = Message::mark(EPOCH, second);
    let snapshot_at = fixture.put(&snapshot(7, "{}")).await;
    let brief_at = fixture.put(&brief).await;
    let mark_at = fixture.put(&brief_mark).await;
    let long_at = fixture.put(&Message::mark(EPOCH, RETENTION)).await;
    let stored = fixture.log.read(brief_at).await.unwrap();
    assert!(stored.is_none_or(|stored| stored.header(header::TTL) == Some("1s")));
    for at in [brief_at, mark_at] {
        wait_for("the message to expire", async || {
            fixture.log.read(at).await.unwrap().is_none().then_some(())
        })
        .await;
    }
    // One that expires while the server is down is gone as well.
    let next_at = fixture
        .put(&crate::support::event_kept(1, "next", 3 * second))
        .await;
    fixture.nats.kill().await;
    fixture.nats.start_again().await;
    wait_for("the message to expire", async || {
        fixture
            .log
            .read(next_at)
            .await
            .ok()?
            .is_none()
            .then_some(())
    })
    .await;
    for at in [snapshot_at, long_at] {
        assert!(fixture.log.read(at).await.unwrap().is_some(), "{at}");
    }
    assert_eq!(fixture.log.tail().await.unwrap(), next_at);
    let subject = Subject::Mark.to_string();
    let mark = fixture.log.last(&subject).await.unwrap().unwrap();
    assert_eq!(mark.seq, long_at);
    assert_eq!(fixture.put(&event(1, "after")).await, next_at.next());
}
