//! A database that is away is told from a bug, and its return is noticed.

use std::time::Duration;

use crier_store::{CommunityKind, DatabaseConfig, Locks, Store, Unavailable};
use crier_testkit::Postgres;
use tokio::task::JoinSet;

use crate::harness::{self, event, id, publish, users};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_dies_and_comes_back() {
    let postgres = Postgres::dedicated().await;
    let config = DatabaseConfig {
        acquire_timeout: Duration::from_secs(4),
        ..DatabaseConfig::new(postgres.url())
    };
    let store = Store::connect(&config).await.unwrap();
    store.migrate().await.unwrap();
    users(&store, 1).await;
    let community = harness::community(&store, id(1), CommunityKind::Private).await;
    let tx = store
        .begin(Locks::new().shared(community), None)
        .await
        .unwrap();
    tx.outbox_event(&event(community)).await.unwrap();
    let before = store.count_unsent().await.unwrap();
    postgres.kill().await;
    let error = tx.commit().await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    let error = store
        .begin(Locks::new().shared(community), None)
        .await
        .unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    let error = store.find_user(id(1)).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    postgres.start_again().await;
    assert_eq!(store.count_unsent().await.unwrap(), before);
    publish(&store, community).await;
    assert_eq!(store.count_unsent().await.unwrap(), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_connection_costs_no_write() {
    let postgres = Postgres::dedicated().await;
    let config = DatabaseConfig::new(postgres.url());
    let store = Store::connect(&config).await.unwrap();
    store.migrate().await.unwrap();
    users(&store, 1).await;
    let community = harness::community(&store, id(1), CommunityKind::Private).await;
    for _ in 0..5 {
        // Several connections rest in the pool, ...
        let mut open = JoinSet::new();
        for _ in 0..6 {
            let store = store.clone();
            open.spawn(async move { store.begin(Locks::new(), None).await.unwrap() });
        }
        drop(open.join_all().await);
        publish(&store, community).await;
        // ... and all are closed, as a failover or an impatient operator does.
        postgres
            .query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name = 'crier'")
            .await;
        assert!(store.find_user(id(1)).await.unwrap().is_some());
        publish(&store, community).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_without_a_free_connection_is_busy() {
    let db = harness::TestDb::sqlite().await;
    let store = Store::connect(&DatabaseConfig {
        acquire_timeout: Duration::from_secs(1),
        ..db.config()
    })
    .await
    .unwrap();
    store.migrate().await.unwrap();
    let held = store.begin(Locks::new(), None).await.unwrap();
    let error = store.begin(Locks::new(), None).await.unwrap_err();
    let why = match error {
        crier_store::StoreError::Unavailable { why, .. } => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why, Unavailable::Pool);
    held.commit().await.unwrap();
}
