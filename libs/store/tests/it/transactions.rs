//! Transactions: taken back when dropped, carried through once commit was asked for, refused without their locks.

use std::time::Duration;

use crier_domain::{CommunityId, UserId};
use crier_store::{CommunityKind, DatabaseConfig, Locks, Role, Status, Store, StoreError};
use crier_testkit::wait_for;

use crate::harness::{self, event, id, on_both, publish, ready_at_once, submitted, users};

async fn world(store: &Store) -> (UserId, CommunityId) {
    let users = users(store, 2).await;
    (
        users[0],
        harness::community(store, users[0], CommunityKind::Private).await,
    )
}

on_both! {
    async fn a_dropped_transaction_leaves_nothing_and_frees_its_lock(db: &TestDb) {
        let store = db.store().await;
        let (_, community) = world(&store).await;
        let before = store.count_unsent().await.unwrap();
        for _ in 0..40 {
            let tx = store.begin(Locks::new().exclusive(community), None).await.unwrap();
            tx.add_member(community, id(2), Role::Member).await.unwrap();
            drop(tx);
        }
        assert_eq!(store.role(id(2), community).await.unwrap(), None);
        assert_eq!(store.count_unsent().await.unwrap(), before);
        publish(&store, community).await;
        assert_eq!(store.count_unsent().await.unwrap(), before + 1);
    }

    async fn callers_that_go_away_at_any_moment_leave_all_or_nothing(db: &TestDb) {
        let store = db.store().await;
        let (_, community) = world(&store).await;
        for steps in 0..120u32 {
            let work = {
                let store = store.clone();
                async move {
                    let tx = store.begin(Locks::new().exclusive(community), None).await.unwrap();
                    tx.add_member(community, id(2), Role::Member).await.unwrap();
                    tx.outbox_event(&event(community)).await.unwrap();
                    tx.remove_member(community, id(2)).await.unwrap();
                    tx.commit().await.unwrap();
                }
            };
            // Polled so many times, then dropped.
            let mut work = Box::pin(work);
            for _ in 0..steps {
                if ready_at_once(work.as_mut()).await.is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            drop(work);
        }
        // The sentinel comes after whatever was still on its way, for it needs the same lock.
        publish(&store, community).await;
        assert_eq!(store.role(id(2), community).await.unwrap(), None);
        let raw = db.raw().await;
        let joined = raw.number("SELECT COUNT(*) FROM outbox WHERE user_id = 2").await;
        let events = raw.number("SELECT COUNT(*) FROM outbox WHERE event_id IS NOT NULL").await;
        assert_eq!(joined, (events - 1) * 2, "rows without their transaction");
    }

    async fn a_commit_is_carried_through_when_its_caller_goes_away(db: &TestDb) {
        let store = db.store().await;
        let (_, community) = world(&store).await;
        let before = store.count_unsent().await.unwrap();
        let tx = store.begin(Locks::new().shared(community), None).await.unwrap();
        tx.outbox_event(&event(community)).await.unwrap();
        let answered = ready_at_once(tx.commit()).await;
        wait_for("the commit", async || {
            (store.count_unsent().await.unwrap() == before + 1).then_some(())
        })
        .await;
        drop(answered);
    }

    async fn changes_without_their_lock_are_refused(db: &TestDb) {
        let store = db.store().await;
        let (admin, community) = world(&store).await;
        let article = submitted(&store, community, admin).await;
        let refused = |error: StoreError| assert!(matches!(error, StoreError::NotLocked { .. }), "{error:?}");
        let none = store.begin(Locks::new(), None).await.unwrap();
        refused(none.outbox_event(&event(community)).await.unwrap_err());
        refused(none.create_discussion(&article, admin, "t", "c").await.unwrap_err());
        drop(none);
        let shared = store.begin(Locks::new().shared(community), None).await.unwrap();
        refused(shared.add_member(community, id(2), Role::Member).await.unwrap_err());
        refused(shared.remove_member(community, admin).await.unwrap_err());
        refused(shared.set_role(community, admin, Role::Member).await.unwrap_err());
        refused(shared.subscribe(admin, &article).await.unwrap_err());
        refused(shared.subscribe_admins_and_submitter(&article).await.unwrap_err());
        refused(shared.set_status(community, article.article_id, Status::Approved).await.unwrap_err());
        refused(shared.set_community_kind(community, CommunityKind::Hidden).await.unwrap_err());
        shared.outbox_event(&event(community)).await.unwrap();
    }

    async fn a_lock_that_is_not_had_in_time_is_no_bug(db: &TestDb) {
        let store = db.store().await;
        let (_, community) = world(&store).await;
        let hasty = Store::connect(&DatabaseConfig {
            acquire_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_millis(300),
            ..db.config()
        })
        .await
        .unwrap();
        let held = store.begin(Locks::new().exclusive(community), None).await.unwrap();
        let error = hasty.begin(Locks::new().shared(community), None).await.unwrap_err();
        assert!(error.is_unavailable(), "{error:?}");
        held.commit().await.unwrap();
        wait_for("the lock", async || {
            hasty.begin(Locks::new().shared(community), None).await.ok()
        })
        .await;
    }

    async fn what_is_there_already_and_what_is_not_there_are_told_apart(db: &TestDb) {
        let store = db.store().await;
        let (_, community) = world(&store).await;
        let tx = store.begin(Locks::new().exclusive(community), None).await.unwrap();
        let error = tx.add_member(community, id(404), Role::Member).await.unwrap_err();
        assert!(matches!(error, StoreError::Missing(_)), "{error:?}");
        drop(tx);
        let tx = store.begin(Locks::new().exclusive(id(404)), None).await.unwrap();
        let error = tx.add_member(id(404), id(2), Role::Member).await.unwrap_err();
        assert!(matches!(error, StoreError::Missing(_)), "{error:?}");
    }
}
