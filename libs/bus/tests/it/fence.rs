//! Messages that are stored together: all or none, with none between. They move the log's end beyond the reach of what
//! is still on its way.

use std::time::{Duration, Instant};

use crier_bus::{Bus, Log, LogConfig, NatsConfig, PublishError, Refusal};
use crier_domain::Seq;
use crier_domain::log::Message;
use crier_testkit::{NatsCluster, wait_for};

use crate::support::{EPOCH, Fixture, RETENTION, connect, event};

/// As many as a relay has on their way.
const LENGTH: u64 = 256;

fn fence() -> Vec<Message> {
    let filler = Message::filler(EPOCH, RETENTION, Duration::from_mins(10));
    vec![filler; usize::try_from(LENGTH).unwrap()]
}

#[tokio::test]
async fn all_are_stored_or_none() {
    let fixture = Fixture::new().await;
    fixture.fill(10).await;
    for wrong in [Seq(0), Seq(9), Seq(11)] {
        let refused = fixture.log.publish_all(&fence(), wrong).await;
        assert!(
            matches!(
                refused,
                Err(PublishError::Refused(Refusal::WrongSequence(_)))
            ),
            "{refused:?}"
        );
        assert_eq!(fixture.log.tail().await.unwrap(), Seq(10));
    }
    let end = fixture.log.publish_all(&fence(), Seq(10)).await.unwrap();
    assert_eq!(end, Seq(10 + LENGTH));
    assert_eq!(fixture.log.tail().await.unwrap(), end);
    assert_eq!(fixture.put(&event(1, "behind")).await, end.next());
    for one in [1, 2] {
        let few = &fence()[..one];
        let tail = fixture.log.tail().await.unwrap();
        let end = fixture.log.publish_all(few, tail).await.unwrap();
        assert_eq!(end, Seq(tail.0 + one as u64));
    }
}

/// While `late` sends all that a relay may have on its way behind the log's end, another moves that end. Gives how often
/// the other had to look again.
async fn race(late: &Bus, other: &Log) -> usize {
    let tail = other.tail().await.unwrap();
    let sending = tokio::spawn({
        let log = late.log();
        async move {
            let mut acks = Vec::new();
            for at in 0..LENGTH {
                let sent = log.publish(&event(1, "late"), Seq(tail.0 + at)).await;
                acks.push(sent.unwrap());
            }
            acks
        }
    });
    let mut again = 0;
    let end = loop {
        let tail = other.tail().await.unwrap();
        match other.publish_all(&fence(), tail).await {
            Ok(end) => break end,
            Err(_) => again += 1,
        }
    };
    for seq in [end.0 - LENGTH + 1, end.0 - LENGTH / 2, end.0] {
        let stored = other.read(Seq(seq)).await.unwrap().unwrap();
        assert_eq!(stored.subject, "mark", "{seq} of the fence up to {end}");
    }
    for ack in sending.await.unwrap() {
        if let Ok(seq) = ack.await {
            assert!(seq.0 <= end.0 - LENGTH, "{seq} is late, behind {end}");
        }
    }
    assert_eq!(other.tail().await.unwrap(), end);
    again
}

async fn races(late: &Bus, other: &Bus) {
    let log = other.log();
    let mut again = 0;
    for _ in 0..40 {
        again += race(late, &log).await;
    }
    assert!(again > 0, "they did meet");
    let begun = Instant::now();
    for _ in 0..20 {
        let tail = log.tail().await.unwrap();
        log.publish_all(&fence(), tail).await.unwrap();
    }
    println!("a fence takes {:?}", begun.elapsed() / 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_stored_in_a_fence_or_late_behind_it() {
    let fixture = Fixture::new().await;
    let late = connect(&fixture.nats).await;
    races(&late, &fixture.bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_where_the_log_is_kept_three_times() {
    let cluster = NatsCluster::start().await;
    let config = NatsConfig::at(cluster.url());
    let late = Bus::connect(&config, "late").await.unwrap();
    let other = Bus::connect(&config, "other").await.unwrap();
    let three = LogConfig {
        replicas: 3,
        ..LogConfig::default()
    };
    wait_for("the stream", async || other.log().ensure(&three).await.ok()).await;
    races(&late, &other).await;
}
