//! Questions to the API over NATS.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crier_bus::{Bus, RpcError};
use crier_domain::UserId;
use crier_domain::rpc::SnapshotReply;
use crier_testkit::{DEADLINE, NatsServer, wait_for};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{connect, user};

/// Answers: user 1 pending, user 2 an error, user 3 never.
fn serve(bus: Bus, asked: Arc<AtomicUsize>, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        let handler = |user: UserId| {
            asked.fetch_add(1, Ordering::Relaxed);
            async move {
                match user.get() {
                    1 => Ok(SnapshotReply::Pending),
                    2 => Err(std::io::Error::other("no database")),
                    _ => std::future::pending().await,
                }
            }
        };
        bus.serve_snapshots(handler, 4, stop).await.unwrap();
    })
}

async fn ready(bus: &Bus) {
    wait_for("the API to answer", async || {
        bus.request_snapshot(user(1)).await.ok()
    })
    .await;
}

#[tokio::test]
async fn without_an_api_the_answer_is_that_nobody_is_there() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats).await;
    let started = Instant::now();
    let error = bus.request_snapshot(user(1)).await.unwrap_err();
    assert!(matches!(error, RpcError::NoResponders), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_question_is_answered_by_one_of_the_group_and_errors_are_an_answer() {
    let nats = NatsServer::start().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let stop = CancellationToken::new();
    let first = serve(connect(&nats).await, Arc::clone(&asked), stop.clone());
    let second = serve(connect(&nats).await, Arc::clone(&asked), stop.clone());
    let gateway = connect(&nats).await;
    ready(&gateway).await;
    let before = asked.load(Ordering::Relaxed);
    for _ in 0..20 {
        let reply = gateway.request_snapshot(user(1)).await.unwrap();
        assert_eq!(reply, SnapshotReply::Pending);
    }
    assert_eq!(asked.load(Ordering::Relaxed) - before, 20);
    let failed = gateway.request_snapshot(user(2)).await.unwrap();
    assert_eq!(failed, SnapshotReply::Unavailable);
    stop.cancel();
    for server in [first, second] {
        tokio::time::timeout(DEADLINE, server)
            .await
            .unwrap()
            .unwrap();
    }
    wait_for("nobody to be there", async || {
        let answer = gateway.request_snapshot(user(1)).await;
        matches!(answer, Err(RpcError::NoResponders)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_hangs_holds_only_its_own_places_and_not_for_long() {
    let nats = NatsServer::start().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let stop = CancellationToken::new();
    let server = serve(connect(&nats).await, Arc::clone(&asked), stop.clone());
    let gateway = connect(&nats).await;
    ready(&gateway).await;
    let before = asked.load(Ordering::Relaxed);
    let mut hanging = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let gateway = gateway.clone();
        hanging.spawn(async move { gateway.request_snapshot(user(3)).await });
    }
    wait_for("all places to be taken", async || {
        (asked.load(Ordering::Relaxed) - before >= 4).then_some(())
    })
    .await;
    assert_eq!(asked.load(Ordering::Relaxed) - before, 4);
    for answer in hanging.join_all().await {
        // The handler's limit and the question's are the same, so either may come first.
        assert!(
            matches!(
                answer,
                Ok(SnapshotReply::Unavailable) | Err(RpcError::Unavailable(_))
            ),
            "{answer:?}"
        );
    }
    ready(&gateway).await;
    stop.cancel();
    tokio::time::timeout(DEADLINE, server)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn nonsense_is_answered_and_the_next_question_too() {
    let nats = NatsServer::start().await;
    let stop = CancellationToken::new();
    let server = serve(connect(&nats).await, Arc::default(), stop.clone());
    let gateway = connect(&nats).await;
    ready(&gateway).await;
    let plain = async_nats::connect(nats.url()).await.unwrap();
    for nonsense in ["", "{}", r#"{"user_id":0}"#, "\u{0}"] {
        let answer = plain
            .request("api.snapshot", nonsense.into())
            .await
            .unwrap();
        assert_eq!(
            answer.payload, r#"{"status":"unavailable"}"#,
            "{nonsense:?}"
        );
    }
    let reply = gateway.request_snapshot(user(1)).await.unwrap();
    assert_eq!(reply, SnapshotReply::Pending);
    stop.cancel();
    tokio::time::timeout(DEADLINE, server)
        .await
        .unwrap()
        .unwrap();
}
