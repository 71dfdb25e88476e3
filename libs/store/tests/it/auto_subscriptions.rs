//! Subscriptions that follow from something else.

use crier_domain::{CommunityId, UserId};
use crier_store::{AutoSubscribed, CommunityArticle, CommunityKind, Locks, Role, Status, Store};

use crate::harness::{
    self, followed, id, on_both, published, snapshot, submitted, subscribe, users,
};

const ALICE: i64 = 1;
const BOB: i64 = 2;
const CAROL: i64 = 3;
const DAVE: i64 = 4;

/// Alice and dave are admins, bob is a member, carol is not.
async fn world(store: &Store, kind: CommunityKind) -> CommunityId {
    users(store, 4).await;
    let community = harness::community(store, id(ALICE), kind).await;
    harness::join(store, community, id(BOB), Role::Member).await;
    harness::join(store, community, id(DAVE), Role::Admin).await;
    community
}

/// Publishes, with what publishing causes.
async fn publish(store: &Store, article: &CommunityArticle) -> AutoSubscribed {
    let tx = store
        .begin(Locks::new().exclusive(article.community_id), None)
        .await
        .unwrap();
    let change = tx
        .set_status(article.community_id, article.article_id, Status::Published)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(change.article.status, Status::Published);
    let done = tx
        .subscribe_admins_and_submitter(&change.article)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    done
}

async fn set_kind(store: &Store, community: CommunityId, kind: CommunityKind) -> AutoSubscribed {
    let tx = store
        .begin(Locks::new().exclusive(community), None)
        .await
        .unwrap();
    let done = tx
        .set_community_kind(community, kind)
        .await
        .unwrap()
        .unwrap();
    tx.commit().await.unwrap();
    done
}

async fn unsubscribe(store: &Store, user: UserId, article: &CommunityArticle) {
    let found = store
        .find_subscription_to(user, article.id)
        .await
        .unwrap()
        .unwrap();
    let tx = store
        .begin(Locks::new().exclusive(article.community_id), None)
        .await
        .unwrap();
    tx.unsubscribe(user, found.id).await.unwrap().unwrap();
    tx.commit().await.unwrap();
}

fn ids(users: &[i64]) -> Vec<UserId> {
    users.iter().map(|user| id(*user)).collect()
}

/// The statements that each cause takes in a public community of so many admins and published articles.
async fn filled(store: &Store, admins: i64, articles: usize) -> Vec<(&'static str, u64)> {
    let community = harness::community(store, id(1), CommunityKind::Public).await;
    for admin in 2..=admins {
        harness::join(store, community, id(admin), Role::Admin).await;
    }
    harness::join(store, community, id(34), Role::Member).await;
    let tx = store
        .begin(Locks::new().exclusive(community), None)
        .await
        .unwrap();
    let mut last = None;
    for number in 0..articles {
        let title = format!("Paper {number} of {community}");
        let article = tx.create_article(id(1), &title, "").await.unwrap().id;
        tx.submit_article(community, article, id(1)).await.unwrap();
        let change = tx.set_status(community, article, Status::Published).await;
        last = change.unwrap();
    }
    tx.commit().await.unwrap();
    let article = last.unwrap().article;

    let mut before = store.statements();
    let mut sent = || {
        let now = store.statements();
        now - std::mem::replace(&mut before, now)
    };
    let tx = store
        .begin(Locks::new().exclusive(community), None)
        .await
        .unwrap();
    let mut steps = Vec::new();
    let done = tx.set_community_kind(community, CommunityKind::Hidden);
    let done = done.await.unwrap().unwrap();
    assert_eq!(done.users.len(), usize::try_from(admins).unwrap());
    steps.push(("turned hidden", sent()));
    tx.set_role(community, id(34), Role::Admin).await.unwrap();
    let done = tx.subscribe_to_all_published(id(34), community).await;
    assert_eq!(done.unwrap().users, ids(&[34]));
    steps.push(("promoted", sent()));
    tx.subscribe_admins_and_submitter(&article).await.unwrap();
    steps.push(("published again", sent()));
    assert!(tx.remove_member(community, id(34)).await.unwrap());
    steps.push(("removed", sent()));
    tx.set_community_kind(community, CommunityKind::Public)
        .await
        .unwrap();
    steps.push(("turned public", sent()));
    tx.commit().await.unwrap();
    steps
}

on_both! {
    async fn a_published_article_is_followed_by_admins_and_a_submitter_who_is_a_member(db: &TestDb) {
        let store = db.store().await;
        let community = world(&store, CommunityKind::Private).await;
        let bobs = submitted(&store, community, id(BOB)).await;
        assert_eq!(publish(&store, &bobs).await.users, ids(&[ALICE, BOB, DAVE]));
        let carols = submitted(&store, community, id(CAROL)).await;
        assert_eq!(publish(&store, &carols).await.users, ids(&[ALICE, DAVE]));
        assert_eq!(publish(&store, &carols).await.users, ids(&[]), "again: nothing to do");
        assert!(snapshot(&store, id(CAROL)).await.communities.is_empty());
        // Each one's fence is that one's own row.
        for user in [ALICE, BOB, DAVE] {
            let fences = followed(&store, id(user), community).await;
            let (_, fence) = fences.iter().find(|(article, _)| *article == bobs.article_id).unwrap();
            let rows = db.raw().await.numbers(&format!("SELECT id FROM outbox WHERE user_id = {user}")).await;
            assert!(rows.contains(&fence.0));
        }
    }

    async fn a_users_own_unsubscribe_is_never_undone(db: &TestDb) {
        let store = db.store().await;
        let community = world(&store, CommunityKind::Private).await;
        let article = submitted(&store, community, id(ALICE)).await;
        publish(&store, &article).await;
        unsubscribe(&store, id(DAVE), &article).await;

        publish(&store, &article).await;
        assert!(followed(&store, id(DAVE), community).await.is_empty(), "by publishing");

        let tx = store.begin(Locks::new().exclusive(community), None).await.unwrap();
        let done = tx.subscribe_to_all_published(id(DAVE), community).await.unwrap();
        tx.commit().await.unwrap();
        assert!(done.users.is_empty(), "by promotion");

        set_kind(&store, community, CommunityKind::Public).await;
        let done = set_kind(&store, community, CommunityKind::Hidden).await;
        assert_eq!(done.users, ids(&[ALICE]), "by a change of kind");
        assert!(followed(&store, id(DAVE), community).await.is_empty());
    }

    async fn nor_is_it_undone_by_any_other_cause(db: &TestDb) {
        let store = db.store().await;
        let community = world(&store, CommunityKind::Private).await;
        let bobs = submitted(&store, community, id(BOB)).await;
        publish(&store, &bobs).await;
        unsubscribe(&store, id(BOB), &bobs).await;
        let tx = store.begin(Locks::new().exclusive(community), None).await.unwrap();
        tx.set_status(community, bobs.article_id, Status::Approved).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(publish(&store, &bobs).await, AutoSubscribed::default(), "as its submitter, published again");

        // A wish that was said after the community had turned public counts like any other.
        set_kind(&store, community, CommunityKind::Public).await;
        unsubscribe(&store, id(DAVE), &bobs).await;
        let done = set_kind(&store, community, CommunityKind::Private).await;
        assert_eq!(done.users, ids(&[ALICE]), "by a change of kind");

        for role in [Role::Member, Role::Admin] {
            let tx = store.begin(Locks::new().exclusive(community), None).await.unwrap();
            tx.set_role(community, id(DAVE), role).await.unwrap();
            tx.commit().await.unwrap();
        }
        let tx = store.begin(Locks::new().exclusive(community), None).await.unwrap();
        assert_eq!(tx.subscribe_to_all_published(id(DAVE), community).await.unwrap(), AutoSubscribed::default());
        tx.remove_member(community, id(DAVE)).await.unwrap();
        tx.add_member(community, id(DAVE), Role::Admin).await.unwrap();
        let done = tx.subscribe_to_all_published(id(DAVE), community).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(done, AutoSubscribed::default(), "by coming back as an admin");
        assert!(followed(&store, id(DAVE), community).await.is_empty());
        subscribe(&store, id(DAVE), &bobs).await;
        assert_eq!(followed(&store, id(DAVE), community).await.len(), 1, "by a wish of their own");
    }

    async fn a_large_community_takes_no_more_statements_than_a_small_one(db: &TestDb) {
        let store = db.store().await;
        users(&store, 34).await;
        let small = filled(&store, 1, 1).await;
        let large = filled(&store, 30, 500).await;
        assert_eq!(small, large);
        assert!(large.iter().all(|(_, statements)| (1..=10).contains(statements)), "{large:?}");
    }

    async fn what_the_system_ended_the_system_renews(db: &TestDb) {
        let store = db.store().await;
        let community = world(&store, CommunityKind::Private).await;
        let article = published(&store, community, id(ALICE)).await;
        subscribe(&store, id(DAVE), &article).await;
        let before = followed(&store, id(DAVE), community).await;
        let tx = store.begin(Locks::new().exclusive(community), None).await.unwrap();
        tx.remove_member(community, id(DAVE)).await.unwrap();
        tx.commit().await.unwrap();
        harness::join(&store, community, id(DAVE), Role::Admin).await;
        let tx = store.begin(Locks::new().exclusive(community), None).await.unwrap();
        let done = tx.subscribe_to_all_published(id(DAVE), community).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(done.users, ids(&[DAVE]));
        let after = followed(&store, id(DAVE), community).await;
        assert!(after[0].1 > before[0].1, "with a new fence");
    }

    async fn a_promoted_member_follows_everything_published_and_nothing_else(db: &TestDb) {
        let store = db.store().await;
        let community = world(&store, CommunityKind::Hidden).await;
        let first = published(&store, community, id(ALICE)).await;
        submitted(&store, community, id(ALICE)).await;
        let second = published(&store, community, id(ALICE)).await;
        subscribe(&store, id(BOB), &first).await;
        let kept = followed(&store, id(BOB), community).await;
        let other = harness::community(&store, id(BOB), CommunityKind::Private).await;
        published(&store, other, id(BOB)).await;

        let tx = store.begin(Locks::new().exclusive(community), None).await.unwrap();
        tx.set_role(community, id(BOB), Role::Admin).await.unwrap();
        let done = tx.subscribe_to_all_published(id(BOB), community).await.unwrap();
        tx.commit().await.unwrap();

        assert_eq!(done.users, ids(&[BOB]));
        let now = followed(&store, id(BOB), community).await;
        assert_eq!(now.len(), 2);
        assert_eq!(now[0], kept[0], "what was followed keeps its fence");
        assert_eq!(now[1].0, second.article_id);
        assert!(followed(&store, id(BOB), other).await.is_empty());
    }

    async fn an_outsider_is_never_subscribed(db: &TestDb) {
        let store = db.store().await;
        let community = world(&store, CommunityKind::Private).await;
        published(&store, community, id(ALICE)).await;
        let tx = store.begin(Locks::new().exclusive(community), None).await.unwrap();
        let done = tx.subscribe_to_all_published(id(CAROL), community).await.unwrap();
        assert_eq!(done, AutoSubscribed::default());
    }

    async fn a_public_community_has_no_subscriptions(db: &TestDb) {
        let store = db.store().await;
        let community = world(&store, CommunityKind::Public).await;
        let article = submitted(&store, community, id(ALICE)).await;
        assert_eq!(publish(&store, &article).await, AutoSubscribed::default());
        assert!(snapshot(&store, id(ALICE)).await.communities.is_empty());
    }

    async fn turned_private_and_public_again(db: &TestDb) {
        let store = db.store().await;
        let community = world(&store, CommunityKind::Public).await;
        published(&store, community, id(ALICE)).await;
        let raw = db.raw().await;
        let last = raw.number("SELECT MAX(id) FROM outbox").await;

        let done = set_kind(&store, community, CommunityKind::Private).await;
        assert_eq!(done.users, ids(&[ALICE, DAVE]));
        for user in [ALICE, BOB, DAVE] {
            let since = snapshot(&store, id(user)).await.communities[&community].since;
            assert!(since.0 > last, "the community entered the snapshot just now");
        }
        assert!(followed(&store, id(BOB), community).await.is_empty());

        let since = snapshot(&store, id(BOB)).await;
        set_kind(&store, community, CommunityKind::Hidden).await;
        assert_eq!(snapshot(&store, id(BOB)).await, since, "nothing in it changed");

        let last = raw.number("SELECT MAX(id) FROM outbox").await;
        set_kind(&store, community, CommunityKind::Public).await;
        for user in [ALICE, BOB, DAVE] {
            assert!(snapshot(&store, id(user)).await.communities.is_empty());
            let told = raw.number(&format!("SELECT COUNT(*) FROM outbox WHERE user_id = {user} AND id > {last}")).await;
            assert_eq!(told, 1);
        }
        assert_eq!(raw.number("SELECT COUNT(*) FROM subscriptions WHERE is_active").await, 0);
        let tx = store.begin(Locks::new().exclusive(id(404)), None).await.unwrap();
        assert_eq!(tx.set_community_kind(id(404), CommunityKind::Public).await.unwrap(), None);
    }
}
