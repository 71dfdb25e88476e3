//! Calls that meet: whatever comes first, one consistent state is left, and nobody is answered 500.

use std::collections::BTreeSet;

use crier_testkit::Answer;
use futures::future::join_all;
use serde_json::json;

use crate::fixture::{Person, Place, Service, expect};

/// How often two calls are let loose on each other: each time they meet in another way.
const ROUNDS: usize = 20;

/// Runs the same race on both databases.
macro_rules! on_both {
    ($($name:ident)*) => { $(
        mod $name {
            use crate::fixture::Service;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let service = Service::start().await;
                super::$name(&service).await;
                service.end().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                let (service, _database) = Service::on_postgres().await;
                super::$name(&service).await;
                service.end().await;
            }
        }
    )* };
}

on_both! {
    thirty_two_subscribes_make_one_subscription
    two_admins_who_demote_each_other_leave_one
    all_admins_who_leave_at_once_leave_one
    joining_during_a_removal_ends_in_one_of_both
    subscribing_during_a_removal_leaves_no_outsider_subscribed
    subscribing_while_the_community_turns_public_leaves_nobody_subscribed
    publishing_during_a_removal_subscribes_no_outsider
    a_comment_is_deleted_once_and_keeps_its_answers
    what_is_written_while_its_discussion_is_deleted_is_gone_or_refused
    an_article_is_submitted_once
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    statuses
}

fn all_are(answers: &[Answer], allowed: &[u16]) {
    for answer in answers {
        assert!(allowed.contains(&answer.status), "{}", answer.text());
    }
}

/// alice is the admin, bob is known, and the article is published.
async fn scene(service: &Service, kind: &str) -> (Person, Person, Place) {
    let (alice, bob) = (service.person(1, "alice"), service.known(2, "bob").await);
    let community = alice.create_community(kind).await;
    let place = alice.submit(community, "GPT-5 Architecture").await;
    alice.publish(place).await;
    (alice, bob, place)
}

async fn members(admin: &Person, community: i64) -> BTreeSet<(i64, String)> {
    let path = format!("/api/communities/{community}/members/");
    let answer = admin.get(&path).await;
    let members = expect(&answer, 200)["members"].as_array().unwrap().clone();
    let read = |member: &serde_json::Value| {
        let role = member["role"].as_str().unwrap().to_owned();
        (member["user_id"].as_i64().unwrap(), role)
    };
    members.iter().map(read).collect()
}

async fn is_member(admin: &Person, community: i64, user: &Person) -> bool {
    let members = members(admin, community).await;
    members.iter().any(|(id, _)| *id == user.id)
}

async fn thirty_two_subscribes_make_one_subscription(service: &Service) {
    let (alice, bob, place) = scene(service, "private").await;
    alice.put_member(place.community, &bob, "member").await;
    let before = service.store().await.count_unsent().await.unwrap();
    let answers = join_all((0..32).map(|_| bob.subscribe(place))).await;
    let mut expected = vec![200; 31];
    expected.push(201);
    assert_eq!(statuses(&answers), expected);
    let ids: BTreeSet<i64> = answers
        .iter()
        .map(|answer| answer.json["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(bob.follows().await, [place.community_article]);
    let after = service.store().await.count_unsent().await.unwrap();
    assert_eq!(after, before + 1, "one change, one row");
}

async fn two_admins_who_demote_each_other_leave_one(service: &Service) {
    let (alice, bob, place) = scene(service, "hidden").await;
    let community = place.community;
    alice.put_member(community, &bob, "admin").await;
    for round in 0..ROUNDS {
        let answers = join_all([
            alice.manage_member(community, bob.id, "demote_admin"),
            bob.manage_member(community, alice.id, "demote_admin"),
        ])
        .await;
        // Whoever comes second is no admin any more.
        assert_eq!(statuses(&answers), [200, 403], "round {round}");
        let left = members(&alice, community).await;
        let mut admins = left.iter().filter(|(_, role)| role == "admin");
        let (admin, None) = (admins.next().unwrap(), admins.next()) else {
            panic!("{left:?}");
        };
        let (admin, other) = if admin.0 == alice.id {
            (&alice, &bob)
        } else {
            (&bob, &alice)
        };
        let promoted = admin
            .manage_member(community, other.id, "promote_admin")
            .await;
        expect(&promoted, 200);
    }
}

async fn all_admins_who_leave_at_once_leave_one(service: &Service) {
    let (alice, _, place) = scene(service, "private").await;
    let community = place.community;
    let mut admins = vec![alice.clone()];
    for id in 10..17 {
        let admin = service.known(id, "an admin").await;
        alice.put_member(community, &admin, "admin").await;
        admins.push(admin);
    }
    let path = format!("/api/communities/{community}/leave/");
    let answers = join_all(admins.iter().map(|admin| admin.post(&path, json!({})))).await;
    let mut expected = vec![204; 7];
    expected.push(409);
    assert_eq!(statuses(&answers), expected);
    let last = answers.iter().position(|answer| answer.status == 409);
    let last = &admins[last.unwrap()];
    let left = members(last, community).await;
    assert_eq!(left, BTreeSet::from([(last.id, "admin".to_owned())]));
    for admin in admins.iter().filter(|admin| admin.id != last.id) {
        assert!(admin.follows().await.is_empty());
    }
}

async fn joining_during_a_removal_ends_in_one_of_both(service: &Service) {
    let (alice, bob, place) = scene(service, "public").await;
    let community = place.community;
    let join = format!("/api/communities/{community}/join/");
    expect(&bob.post(&join, json!({})).await, 200);
    for _ in 0..ROUNDS {
        let (joined, removed) = tokio::join!(
            bob.post(&join, json!({})),
            alice.manage_member(community, bob.id, "remove"),
        );
        all_are(&[joined], &[200]);
        all_are(&[removed], &[204, 404]);
        let listed = is_member(&alice, community, &bob).await;
        let own = bob.get(&format!("/api/communities/{community}/")).await;
        assert_eq!(expect(&own, 200)["role"] == "member", listed);
    }
}

async fn subscribing_during_a_removal_leaves_no_outsider_subscribed(service: &Service) {
    let (alice, bob, place) = scene(service, "private").await;
    for _ in 0..ROUNDS {
        alice.put_member(place.community, &bob, "member").await;
        let (subscribed, removed) = tokio::join!(
            bob.subscribe(place),
            alice.manage_member(place.community, bob.id, "remove"),
        );
        all_are(&[subscribed], &[200, 201, 403]);
        all_are(&[removed], &[204]);
        assert!(bob.follows().await.is_empty());
        let again = format!(
            "/api/discussions/subscription-status/?community_article_id={}&community_id={}",
            place.community_article, place.community
        );
        expect(&bob.get(&again).await, 403);
        // Back in, the old subscription stays ended.
        alice.put_member(place.community, &bob, "member").await;
        let status = bob.get(&again).await;
        assert_eq!(expect(&status, 200)["is_subscribed"], false);
        expect(
            &alice.manage_member(place.community, bob.id, "remove").await,
            204,
        );
    }
}

async fn subscribing_while_the_community_turns_public_leaves_nobody_subscribed(service: &Service) {
    let (alice, bob, place) = scene(service, "private").await;
    alice.put_member(place.community, &bob, "member").await;
    let path = format!("/api/communities/{}/", place.community);
    for _ in 0..ROUNDS {
        let (subscribed, turned) = tokio::join!(
            bob.subscribe(place),
            alice.put(&path, json!({"type": "public"})),
        );
        all_are(&[subscribed], &[200, 201, 400]);
        all_are(&[turned], &[200]);
        assert!(bob.follows().await.is_empty());
        assert!(alice.follows().await.is_empty());
        expect(&alice.put(&path, json!({"type": "hidden"})).await, 200);
        assert_eq!(alice.follows().await, [place.community_article]);
    }
}

async fn publishing_during_a_removal_subscribes_no_outsider(service: &Service) {
    let (alice, bob, place) = scene(service, "private").await;
    for round in 0..ROUNDS {
        alice.put_member(place.community, &bob, "member").await;
        let submitted = bob.submit(place.community, &format!("Paper {round}")).await;
        let (published, removed) = tokio::join!(
            alice.manage(submitted, "publish"),
            alice.manage_member(place.community, bob.id, "remove"),
        );
        all_are(&[published], &[200]);
        all_are(&[removed], &[204]);
        assert!(bob.follows().await.is_empty());
        assert_eq!(alice.follows().await.len(), round + 2);
    }
}

async fn an_article_is_submitted_once(service: &Service) {
    let (alice, _, place) = scene(service, "private").await;
    let article = alice
        .post("/api/articles/", json!({"title": "Twice"}))
        .await;
    let article = expect(&article, 201)["id"].as_i64().unwrap();
    let path = format!(
        "/api/communities/{}/articles/{article}/submit/",
        place.community
    );
    let answers = join_all((0..8).map(|_| alice.post(&path, json!({})))).await;
    assert_eq!(statuses(&answers), [201, 409, 409, 409, 409, 409, 409, 409]);
}

async fn a_comment_is_deleted_once_and_keeps_its_answers(service: &Service) {
    let (alice, bob, place) = scene(service, "private").await;
    alice.put_member(place.community, &bob, "member").await;
    let discussion = expect(&alice.discuss(place, "T").await, 201)["id"]
        .as_i64()
        .unwrap();
    let path = format!("/api/discussions/{discussion}/comments/");
    for _ in 0..ROUNDS {
        let comment = bob.comment(discussion, "Said").await;
        let comment = expect(&comment, 201)["id"].as_i64().unwrap();
        let own = format!("/api/comments/{comment}/");
        let answer = json!({"content": "Answered", "parent_id": comment});
        let (first, second, updated, answered) = tokio::join!(
            bob.http.delete(&own),
            alice.http.delete(&own),
            bob.put(&own, json!({"content": "Said otherwise"})),
            alice.post(&path, answer),
        );
        assert_eq!(statuses(&[first, second]), [204, 404]);
        all_are(&[updated], &[200, 404]);
        all_are(std::slice::from_ref(&answered), &[201, 400]);
        let listed = alice.get(&path).await;
        let listed = expect(&listed, 200)["comments"].as_array().unwrap();
        let left = listed.iter().find(|listed| listed["id"] == comment);
        // Its place is kept if and only if somebody answered.
        assert_eq!(left.is_some(), answered.status == 201);
        if let Some(left) = left {
            assert_eq!(
                (&left["content"], &left["is_deleted"]),
                (&json!(""), &json!(true))
            );
        }
    }
}

async fn what_is_written_while_its_discussion_is_deleted_is_gone_or_refused(service: &Service) {
    let (alice, bob, place) = scene(service, "private").await;
    alice.put_member(place.community, &bob, "member").await;
    for _ in 0..ROUNDS {
        let discussion = expect(&alice.discuss(place, "T").await, 201)["id"]
            .as_i64()
            .unwrap();
        let first = bob.comment(discussion, "First").await;
        let first = expect(&first, 201)["id"].as_i64().unwrap();
        let own = format!("/api/discussions/{discussion}/");
        let answer = json!({"content": "Answered", "parent_id": first});
        let path = format!("/api/discussions/{discussion}/comments/");
        let (deleted, commented, answered) = tokio::join!(
            alice.http.delete(&own),
            bob.comment(discussion, "Second"),
            bob.post(&path, answer),
        );
        all_are(&[deleted], &[204]);
        all_are(&[commented, answered], &[201, 400, 404]);
        expect(&alice.get(&own).await, 404);
        expect(&alice.get(&format!("{own}comments/")).await, 404);
    }
}
