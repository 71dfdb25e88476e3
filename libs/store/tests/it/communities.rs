//! Users, communities and members, and who may know of them.

use crier_domain::UserId;
use crier_store::{CommunityKind, Joined, Locks, Page, Role};

use crate::harness::{self, id, on_both, users};

on_both! {
    async fn a_user_is_made_once_and_renamed(db: &TestDb) {
        let store = db.store().await;
        assert!(store.find_user(id(7)).await.unwrap().is_none());
        let (a, b) = tokio::join!(store.ensure_user(id(7), "alice"), store.ensure_user(id(7), "alice"));
        assert_eq!(a.unwrap(), b.unwrap());
        let before = store.find_user(id(7)).await.unwrap().unwrap();
        assert_eq!((before.username.as_str(), before.not_before), ("alice", 0));
        let renamed = store.ensure_user(id(7), "Alice").await.unwrap();
        assert_eq!((renamed.username.as_str(), renamed.created_at), ("Alice", before.created_at));
    }

    async fn a_known_user_costs_no_write(db: &TestDb) {
        let store = db.store().await;
        users(&store, 1).await;
        // On SQLite this one holds the only writing connection.
        let _writer = store.begin(Locks::new(), None).await.unwrap();
        store.ensure_user(id(1), "user 1").await.unwrap();
    }

    async fn withdrawn_tokens_only_move_forward(db: &TestDb) {
        let store = db.store().await;
        users(&store, 1).await;
        for (seconds, holds) in [
            (1_700_000_000, 1_700_000_000),
            (1_700_000_000, 1_700_000_000),
            (1_600_000_000, 1_700_000_000),
            (1_700_000_001, 1_700_000_001),
        ] {
            let tx = store.begin(Locks::new(), None).await.unwrap();
            assert_eq!(tx.set_not_before(id(1), seconds).await.unwrap(), holds, "{seconds}");
            tx.commit().await.unwrap();
        }
        let unseen = id(404);
        let tx = store.begin(Locks::new(), None).await.unwrap();
        assert_eq!(tx.set_not_before(unseen, 1_700_000_000).await.unwrap(), 1_700_000_000);
        tx.commit().await.unwrap();
        let user = store.ensure_user(unseen, "mallory").await.unwrap();
        assert_eq!((user.username.as_str(), user.not_before), ("mallory", 1_700_000_000));
        assert_eq!(store.find_user(id(1)).await.unwrap().unwrap().not_before, 1_700_000_001);
        assert_eq!(harness::snapshot(&store, id(1)).await.not_before, 1_700_000_001);
        assert_eq!(store.count_unsent().await.unwrap(), 3);
    }

    async fn a_withdrawal_stands_in_front_of_the_events_of_each_of_the_users_communities(db: &TestDb) {
        let store = db.store().await;
        users(&store, 2).await;
        let mut own = Vec::new();
        for user in [1, 1, 2] {
            own.push(harness::community(&store, id(user), CommunityKind::Private).await.get());
        }
        let raw = db.raw().await;
        let last = raw.number("SELECT MAX(id) FROM outbox").await;
        let tx = store.begin(Locks::new(), None).await.unwrap();
        tx.set_not_before(id(1), 1_700_000_000).await.unwrap();
        tx.commit().await.unwrap();
        let sql = format!("SELECT COALESCE(community_id, 0) FROM outbox WHERE id > {last} AND user_id = 1 ORDER BY 1");
        assert_eq!(raw.numbers(&sql).await, [0, own[0], own[1]]);
    }

    async fn who_may_know_of_a_community(db: &TestDb) {
        let store = db.store().await;
        let people = users(&store, 3).await;
        let (admin, member, outsider) = (people[0], people[1], people[2]);
        let mut made = Vec::new();
        for kind in [CommunityKind::Public, CommunityKind::Private, CommunityKind::Hidden] {
            let community = harness::community(&store, admin, kind).await;
            harness::join(&store, community, member, Role::Member).await;
            made.push(community);
        }
        for (user, role) in [(admin, Some(Role::Admin)), (member, Some(Role::Member)), (outsider, None)] {
            for (i, community) in made.iter().enumerate() {
                let found = store.find_community(user, *community).await.unwrap();
                let expected = (i < 2 || user != outsider).then_some((role, 2));
                assert_eq!(found.map(|view| (view.role, view.member_count)), expected, "{user} {i}");
            }
            assert!(store.find_community(user, id(404)).await.unwrap().is_none());
            let listed = store.communities(user, Page::first(100)).await.unwrap();
            let expected = if user == outsider { &made[..1] } else { &made[..] };
            assert_eq!(listed.iter().map(|view| view.community.id).collect::<Vec<_>>(), expected);
        }
        let page = Page { after: Some(made[0]), limit: 1 };
        let listed = store.communities(member, page).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].community.id, made[1]);
        assert_eq!(listed[0].community.kind, CommunityKind::Private);
    }

    async fn members_come_and_go(db: &TestDb) {
        let store = db.store().await;
        let people = users(&store, 5).await;
        let community = harness::community(&store, people[0], CommunityKind::Hidden).await;
        let tx = store.begin(Locks::new().exclusive(community), None).await.unwrap();
        for user in &people[1..] {
            assert_eq!(tx.add_member(community, *user, Role::Member).await.unwrap(), Joined::New);
        }
        let again = tx.add_member(community, people[1], Role::Admin).await.unwrap();
        assert_eq!(again, Joined::Already(Role::Member));
        assert!(tx.set_role(community, people[1], Role::Moderator).await.unwrap());
        assert!(!tx.set_role(community, id(404), Role::Admin).await.unwrap());
        assert_eq!(tx.count_admins(community).await.unwrap(), 1);
        tx.commit().await.unwrap();

        let all = store.members(community, Page::first(100)).await.unwrap();
        assert_eq!(all.iter().map(|member| member.user_id).collect::<Vec<_>>(), people);
        assert_eq!((all[1].role, all[1].username.as_str()), (Role::Moderator, "user 2"));
        let mut paged: Vec<UserId> = Vec::new();
        loop {
            let page = Page { after: paged.last().copied(), limit: 2 };
            let part = store.members(community, page).await.unwrap();
            if part.is_empty() {
                break;
            }
            paged.extend(part.iter().map(|member| member.user_id));
        }
        assert_eq!(paged, people);
        assert_eq!(store.find_member(community, people[4]).await.unwrap().unwrap(), all[4]);
        assert!(store.find_member(id(404), people[4]).await.unwrap().is_none());
    }

    async fn a_membership_keeps_its_fence_through_roles(db: &TestDb) {
        let store = db.store().await;
        let people = users(&store, 2).await;
        let community = harness::community(&store, people[0], CommunityKind::Private).await;
        harness::join(&store, community, people[1], Role::Member).await;
        let before = harness::snapshot(&store, people[1]).await;
        let unsent = store.count_unsent().await.unwrap();
        for role in [Role::Admin, Role::Reviewer, Role::Member] {
            let tx = store.begin(Locks::new().exclusive(community), None).await.unwrap();
            tx.set_role(community, people[1], role).await.unwrap();
            tx.commit().await.unwrap();
        }
        harness::join(&store, community, people[1], Role::Member).await;
        assert_eq!(harness::snapshot(&store, people[1]).await, before);
        assert_eq!(store.count_unsent().await.unwrap(), unsent);
    }

    async fn a_community_is_renamed(db: &TestDb) {
        let store = db.store().await;
        users(&store, 1).await;
        let community = harness::community(&store, id(1), CommunityKind::Private).await;
        let tx = store.begin(Locks::new(), None).await.unwrap();
        assert!(tx.rename_community(community, "Ångström 🜂").await.unwrap());
        assert!(!tx.rename_community(id(404), "x").await.unwrap());
        tx.commit().await.unwrap();
        let view = store.find_community(id(1), community).await.unwrap().unwrap();
        assert_eq!(view.community.name, "Ångström 🜂");
    }
}
