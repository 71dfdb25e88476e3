//! Following and no longer following: rows, fences, and who may see them.

use crier_domain::snapshot::MAX_ENTRIES;
use crier_domain::{CommunityId, UserId};
use crier_store::{
    CommunityArticle, CommunityKind, FollowedCommunity, Locks, Page, Role, Store, StoreError,
    Subscribed, SubscribedHow,
};

use crate::harness::{self, followed, id, on_both, published, snapshot, users};

/// Alice (1) is the admin of a private community with one article; bob (2) is a member, carol (3) is not.
struct World {
    store: Store,
    community: CommunityId,
    article: CommunityArticle,
    bob: UserId,
    carol: UserId,
}

async fn world(store: Store) -> World {
    let people = users(&store, 3).await;
    let community = harness::community(&store, people[0], CommunityKind::Private).await;
    harness::join(&store, community, people[1], Role::Member).await;
    let article = published(&store, community, people[0]).await;
    World {
        store,
        community,
        article,
        bob: people[1],
        carol: people[2],
    }
}

impl World {
    async fn subscribe(&self) -> Subscribed {
        let tx = self
            .store
            .begin(Locks::new().exclusive(self.community), None)
            .await
            .unwrap();
        let done = tx.subscribe(self.bob, &self.article).await.unwrap();
        tx.commit().await.unwrap();
        done
    }

    async fn unsubscribe(&self, done: &Subscribed) {
        let tx = self
            .store
            .begin(Locks::new().exclusive(self.community), None)
            .await
            .unwrap();
        let ended = tx
            .unsubscribe(self.bob, done.subscription.id)
            .await
            .unwrap()
            .unwrap();
        assert!(!ended.is_active);
        tx.commit().await.unwrap();
    }
}

on_both! {
    async fn following_twice_moves_no_fence_and_following_anew_does(db: &TestDb) {
        let world = world(db.store().await).await;
        let first = world.subscribe().await;
        assert_eq!(first.how, SubscribedHow::New);
        assert!(first.subscription.is_active);
        assert_eq!(first.subscription.article_id, world.article.article_id);
        let fence = followed(&world.store, world.bob, world.community).await;
        assert_eq!(fence.len(), 1);
        let unsent = world.store.count_unsent().await.unwrap();

        let second = world.subscribe().await;
        assert_eq!(second.how, SubscribedHow::Unchanged);
        assert_eq!(second.subscription, first.subscription);
        assert_eq!(followed(&world.store, world.bob, world.community).await, fence);
        assert_eq!(world.store.count_unsent().await.unwrap(), unsent, "nothing to tell");

        world.unsubscribe(&first).await;
        world.unsubscribe(&first).await;
        assert_eq!(world.store.count_unsent().await.unwrap(), unsent + 1, "told once");
        assert!(followed(&world.store, world.bob, world.community).await.is_empty());

        let third = world.subscribe().await;
        assert_eq!(third.how, SubscribedHow::Renewed);
        assert_eq!(third.subscription.id, first.subscription.id, "one row for ever");
        let moved = followed(&world.store, world.bob, world.community).await;
        assert!(moved[0].1 > fence[0].1, "{moved:?} after {fence:?}");
        let rows = db.raw().await.number("SELECT MAX(id) FROM outbox WHERE user_id = 2").await;
        assert_eq!(moved[0].1.0, rows, "the fence is the id of the user's own row");
    }

    async fn another_users_subscription_is_none(db: &TestDb) {
        let world = world(db.store().await).await;
        let bobs = world.subscribe().await.subscription.id;
        assert!(world.store.find_subscription(world.carol, bobs).await.unwrap().is_none());
        assert!(world.store.find_subscription_to(world.carol, world.article.id).await.unwrap().is_none());
        let tx = world.store.begin(Locks::new().exclusive(world.community), None).await.unwrap();
        assert!(tx.unsubscribe(world.carol, bobs).await.unwrap().is_none());
        assert!(tx.unsubscribe(world.bob, id(404)).await.unwrap().is_none());
        assert!(tx.find_subscription(world.bob, bobs).await.unwrap().unwrap().is_active);
    }

    async fn the_list_goes_by_community(db: &TestDb) {
        let world = world(db.store().await).await;
        assert!(world.store.followed(world.bob, Page::all()).await.unwrap().is_empty());
        world.subscribe().await;
        let second = published(&world.store, world.community, id(1)).await;
        harness::subscribe(&world.store, world.bob, &second).await;
        let own = harness::community(&world.store, world.bob, CommunityKind::Hidden).await;
        let third = published(&world.store, own, world.bob).await;
        harness::subscribe(&world.store, world.bob, &third).await;
        let list = world.store.followed(world.bob, Page::all()).await.unwrap();
        let shape: Vec<_> = list
            .iter()
            .map(|c| (c.community_id, c.is_admin, c.articles.iter().map(|a| a.article_id).collect::<Vec<_>>()))
            .collect();
        assert_eq!(
            shape,
            [
                (world.community, false, vec![world.article.article_id, second.article_id]),
                (own, true, vec![third.article_id]),
            ]
        );
        assert_eq!(list[0].articles[0].community_article_id, world.article.id);
        let mut paged = Vec::new();
        loop {
            let page = Page { after: paged.last().map(|last: &FollowedCommunity| last.community_id), limit: 1 };
            let listed = world.store.list_followed(world.bob, page).await.unwrap();
            if listed.items.is_empty() {
                break;
            }
            paged.extend(listed.items);
        }
        assert_eq!(paged, list);
        assert_eq!(list[0].articles[0].article_slug, "gpt-5-architecture");
    }

    async fn a_removed_member_follows_nothing_and_returns_to_nothing(db: &TestDb) {
        let world = world(db.store().await).await;
        world.subscribe().await;
        let tx = world.store.begin(Locks::new().exclusive(world.community), None).await.unwrap();
        assert!(tx.remove_member(world.community, world.bob).await.unwrap());
        assert!(!tx.remove_member(world.community, world.carol).await.unwrap());
        tx.commit().await.unwrap();
        assert!(snapshot(&world.store, world.bob).await.communities.is_empty());
        assert!(world.store.followed(world.bob, Page::all()).await.unwrap().is_empty());
        harness::join(&world.store, world.community, world.bob, Role::Member).await;
        assert!(followed(&world.store, world.bob, world.community).await.is_empty());
        assert_eq!(world.subscribe().await.how, SubscribedHow::Renewed);
    }

    async fn a_snapshot_that_is_full_takes_no_more(db: &TestDb) {
        let world = world(db.store().await).await;
        // Bob has one entry, the membership; one more fits.
        fill(db, MAX_ENTRIES - 2).await;
        assert_eq!(world.subscribe().await.how, SubscribedHow::New);
        assert_eq!(world.subscribe().await.how, SubscribedHow::Unchanged);
        let second = published(&world.store, world.community, id(1)).await;
        let tx = world.store.begin(Locks::new().exclusive(world.community), None).await.unwrap();
        let error = tx.subscribe(world.bob, &second).await.unwrap_err();
        assert!(matches!(error, StoreError::TooManyEntries), "{error:?}");
        drop(tx);
        let tx = world.store.begin(Locks::new(), None).await.unwrap();
        let error = tx.create_community(world.bob, "One more", CommunityKind::Private).await.unwrap_err();
        assert!(matches!(error, StoreError::TooManyEntries), "{error:?}");
        drop(tx);
        // What follows from something else passes over who has no room, and does not fail.
        let tx = world.store.begin(Locks::new().exclusive(world.community), None).await.unwrap();
        tx.set_role(world.community, world.bob, Role::Admin).await.unwrap();
        let done = tx.subscribe_admins_and_submitter(&second).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!((done.users, done.full), (vec![id(1)], vec![world.bob]));
        let snapshot = snapshot(&world.store, world.bob).await;
        assert_eq!(snapshot.entries(), MAX_ENTRIES);
        assert!(snapshot.encode().len() < 1024 * 1024);
    }
}

/// Makes bob (2) a member of so many more communities.
async fn fill(db: &harness::TestDb, n: usize) {
    let raw = db.raw().await;
    let numbers =
        format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})");
    raw.run(&format!(
        "{numbers} INSERT INTO communities (id, name, kind) SELECT 1000000 + i, 'c', 'private' FROM n"
    ))
    .await;
    raw.run(&format!(
        "{numbers} INSERT INTO memberships (community_id, user_id, role, fence, joined_at)
        SELECT 1000000 + i, 2, 'member', 1, 0 FROM n"
    ))
    .await;
}
