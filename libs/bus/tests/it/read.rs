//! Reading: what stands where, who has which snapshot, what is gone.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use crier_bus::{Outage, ReadError};
use crier_domain::log::{Head, Mark, Message};
use crier_domain::{Epoch, Seq};

use crate::support::{EPOCH, Fixture, RETENTION, community, event, snapshot, user};

#[tokio::test]
async fn an_empty_log_has_nothing() {
    let fixture = Fixture::new().await;
    let log = &fixture.log;
    assert_eq!(log.tail().await.unwrap(), Seq::ZERO);
    for seq in [Seq(0), Seq(1), Seq(u64::MAX)] {
        assert!(log.read(seq).await.unwrap().is_none(), "{seq}");
        let found = log.payload(seq).await;
        assert!(matches!(found, Err(ReadError::Behind { .. })), "{found:?}");
    }
    assert_eq!(log.last_event(community(1)).await.unwrap(), Seq::ZERO);
    assert_eq!(log.last_mark().await.unwrap(), None);
    assert_eq!(log.snapshot(user(1)).await.unwrap(), None);
}

#[tokio::test]
async fn the_last_event_is_the_communitys_own() {
    let fixture = Fixture::new().await;
    fixture.put(&event(4, "a")).await;
    let last = fixture.put(&event(45, "b")).await;
    fixture.put(&event(4, "c")).await;
    fixture.put(&event(451, "d")).await;
    let found = fixture.log.last_event(community(45)).await.unwrap();
    assert_eq!(found, last);
    let none = fixture.log.last_event(community(5)).await.unwrap();
    assert_eq!(none, Seq::ZERO);
}

#[tokio::test]
async fn the_last_mark_tells_its_time_and_retention() {
    let fixture = Fixture::new().await;
    fixture
        .put(&Message::mark(Epoch::from_bits(1), RETENTION))
        .await;
    let seq = fixture
        .put(&Message::mark(EPOCH, Duration::from_secs(60)))
        .await;
    fixture.put(&event(1, "after")).await;
    let mark = fixture.log.last_mark().await.unwrap().unwrap();
    assert_eq!((mark.seq, mark.epoch), (seq, EPOCH));
    let said = Mark {
        retention_seconds: 60,
    };
    assert_eq!(mark.mark, said);
    let age = SystemTime::now()
        .duration_since(mark.time)
        .unwrap_or_default();
    assert!(age < Duration::from_secs(60), "{age:?}");
}

#[tokio::test]
async fn a_mark_without_content_is_an_error_and_not_none() {
    let fixture = Fixture::new().await;
    let mut mark = Message::mark(EPOCH, RETENTION);
    mark.payload = Bytes::from_static(b"?");
    let at = fixture.put(&mark).await;
    let error = fixture.log.last_mark().await.unwrap_err();
    assert!(
        matches!(error, ReadError::Mark { seq, .. } if seq == at),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_purge_of_snapshots_keeps_the_last_and_everybody_elses() {
    let fixture = Fixture::new().await;
    let other = fixture.put(&snapshot(70, "other")).await;
    let mut last = Seq::ZERO;
    for body in ["one", "two", "three"] {
        last = fixture.put(&snapshot(7, body)).await;
    }
    fixture.put(&event(1, "x")).await;
    let tail = fixture.log.tail().await.unwrap();
    fixture
        .log
        .purge_snapshots(user(7), Seq::ZERO)
        .await
        .unwrap();
    assert!(fixture.log.read(Seq(2)).await.unwrap().is_some());
    fixture.log.purge_snapshots(user(7), last).await.unwrap();
    for gone in 2..last.0 {
        assert!(
            fixture.log.read(Seq(gone)).await.unwrap().is_none(),
            "{gone}"
        );
        assert!(
            fixture.log.find(Seq(gone)).await.unwrap().is_none(),
            "{gone}, shown by what stands behind it"
        );
    }
    assert!(fixture.log.find(last).await.unwrap().is_some());
    let beyond = fixture.log.find(tail.next()).await;
    assert!(
        matches!(beyond, Err(ReadError::Behind { .. })),
        "{beyond:?}"
    );
    let kept = fixture.log.snapshot(user(7)).await.unwrap().unwrap();
    assert_eq!((kept.seq, kept.epoch), (last, EPOCH));
    assert_eq!(kept.payload, "three");
    let others = fixture.log.snapshot(user(70)).await.unwrap().unwrap();
    assert_eq!(others.seq, other);
    assert_eq!(fixture.log.tail().await.unwrap(), tail);
}

#[tokio::test]
async fn a_payload_is_read_whole_by_any_way() {
    let fixture = Fixture::new().await;
    let body = "é".repeat(100_000);
    let seq = fixture.put(&event(45, &body)).await;
    for stored in [
        fixture.log.direct(seq).await.unwrap(),
        fixture.log.read(seq).await.unwrap(),
        fixture.log.payload(seq).await.unwrap(),
    ] {
        let stored = stored.unwrap();
        assert_eq!(stored.seq, seq);
        assert_eq!(stored.subject, "community.45.article.5");
        assert_eq!(stored.payload, body);
        let (epoch, head) = stored.head().unwrap();
        assert_eq!(epoch, EPOCH);
        assert!(matches!(head, Head::Event(head) if head.community == community(45)));
    }
    assert!(fixture.log.direct(seq.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_server_that_is_away_is_an_error_and_not_none() {
    let fixture = Fixture::new().await;
    let seq = fixture.put(&event(1, "x")).await;
    fixture.nats.kill().await;
    for answer in [
        fixture.log.read(seq).await,
        fixture.log.payload(seq).await,
        fixture.log.last("community.1.>").await,
    ] {
        assert!(
            matches!(answer, Err(ReadError::Unavailable(Outage::Disconnected))),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_question_outlives_a_short_absence() {
    let fixture = Fixture::new().await;
    let seq = fixture.put(&event(1, "x")).await;
    fixture.nats.kill().await;
    let (found, ()) = tokio::join!(
        crier_testkit::wait_for("an answer", async || fixture.log.read(seq).await.ok()),
        fixture.nats.start_again()
    );
    assert_eq!(found.unwrap().payload, "x");
}
