//! The relay is woken after a commit with new rows: not before, not for nothing, and across processes.

use std::time::Duration;

use crier_store::{CommunityKind, DatabaseConfig, Locks, Store};
use crier_testkit::Postgres;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::harness::{self, TestDb, event, id, on_both, publish, ready_at_once, users};

on_both! {
    async fn after_the_commit_and_not_before(db: &TestDb) {
        let store = db.store().await;
        users(&store, 1).await;
        let community = harness::community(&store, id(1), CommunityKind::Private).await;
        let wake = store.wake();
        wake.notified().await; // by the creator's membership
        let tx = store.begin(Locks::new().shared(community), None).await.unwrap();
        tx.outbox_event(&event(community)).await.unwrap();
        assert!(ready_at_once(wake.notified()).await.is_none(), "before the commit");
        tx.commit().await.unwrap();
        assert!(ready_at_once(wake.notified()).await.is_some(), "after the commit");
        assert!(ready_at_once(wake.notified()).await.is_none(), "once");
    }

    async fn not_for_nothing(db: &TestDb) {
        let store = db.store().await;
        users(&store, 1).await;
        let community = harness::community(&store, id(1), CommunityKind::Private).await;
        store.ensure_snapshot_pending(id(1)).await.unwrap();
        let wake = store.wake();
        wake.notified().await;
        let tx = store.begin(Locks::new().exclusive(community), None).await.unwrap();
        tx.rename_community(community, "Another").await.unwrap();
        tx.commit().await.unwrap();
        let tx = store.begin(Locks::new().shared(community), None).await.unwrap();
        tx.outbox_event(&event(community)).await.unwrap();
        drop(tx);
        store.ensure_snapshot_pending(id(1)).await.unwrap(); // one is on its way
        assert!(ready_at_once(wake.notified()).await.is_none());
    }

    async fn for_a_snapshot_that_somebody_waits_for(db: &TestDb) {
        let store = db.store().await;
        store.ensure_snapshot_pending(id(1)).await.unwrap();
        assert!(ready_at_once(store.wake().notified()).await.is_some());
    }
}

/// Waits for a wake-up, with a deadline.
async fn woken(wake: &Notify) {
    timeout(Duration::from_secs(60), wake.notified())
        .await
        .expect("a wake-up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_hears_of_it() {
    let db = TestDb::postgres().await;
    let (writer, relay) = (db.store().await, db.open().await);
    users(&writer, 1).await;
    let community = harness::community(&writer, id(1), CommunityKind::Private).await;
    relay.listen();
    relay.listen();
    let wake = relay.wake();
    woken(&wake).await; // for what was written before it listened
    for _ in 0..20 {
        publish(&writer, community).await;
        woken(&wake).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_commits_share_their_notifies_and_the_last_is_told() {
    let db = TestDb::postgres().await;
    let (writer, relay) = (db.store().await, db.open().await);
    users(&writer, 1).await;
    let community = harness::community(&writer, id(1), CommunityKind::Private).await;
    relay.listen();
    let wake = relay.wake();
    woken(&wake).await;
    let writing = tokio::spawn(async move {
        for _ in 0..300 {
            publish(&writer, community).await;
        }
        writer
    });
    // As the relay does: read after each wake-up, until all is there. A lost last wake-up hangs here.
    while relay.count_unsent().await.unwrap() < 301 {
        woken(&wake).await;
    }
    writing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ear_comes_back_with_the_database() {
    let postgres = Postgres::dedicated().await;
    let config = DatabaseConfig::new(postgres.url());
    let writer = Store::connect(&config).await.unwrap();
    writer.migrate().await.unwrap();
    users(&writer, 1).await;
    let community = harness::community(&writer, id(1), CommunityKind::Private).await;
    let relay = Store::connect(&config).await.unwrap();
    relay.listen();
    let wake = relay.wake();
    woken(&wake).await;
    postgres.kill().await;
    postgres.start_again().await;
    // Once for whatever was missed, and then for what is new.
    woken(&wake).await;
    for _ in 0..3 {
        publish(&writer, community).await;
        woken(&wake).await;
    }
}
