//! Roles, and the admin who stays.

use serde_json::json;

use crate::fixture::{Service, expect};

#[tokio::test]
async fn each_action_sets_its_role() {
    let service = Service::start().await;
    let (alice, _) = (service.person(1, "alice"), service.known(2, "bob").await);
    let bob = service.person(2, "bob");
    let community = alice.create_community("hidden").await;
    alice.put_member(community, &bob, "member").await;
    for (action, role) in [
        ("promote_reviewer", "reviewer"),
        ("demote_reviewer", "member"),
        ("promote_moderator", "moderator"),
        ("demote_moderator", "member"),
        ("promote_admin", "admin"),
        ("promote_admin", "admin"),
        ("demote_admin", "member"),
    ] {
        let managed = alice.manage_member(community, 2, action).await;
        assert_eq!(
            *expect(&managed, 200),
            json!({"user_id": 2, "username": "bob", "role": role}),
            "{action}"
        );
    }
    expect(
        &alice.manage_member(community, 99, "promote_admin").await,
        404,
    );
    service.end().await;
}

#[tokio::test]
async fn the_last_admin_stays() {
    let service = Service::start().await;
    let (alice, bob) = (service.person(1, "alice"), service.known(2, "bob").await);
    let community = alice.create_community("private").await;
    alice.put_member(community, &bob, "member").await;
    let leave = format!("/api/communities/{community}/leave/");
    expect(&alice.post(&leave, json!({})).await, 409);
    for action in ["remove", "demote_admin", "promote_moderator"] {
        expect(&alice.manage_member(community, 1, action).await, 409);
    }
    let own = format!("/api/communities/{community}/members/1/");
    expect(&alice.put(&own, json!({"role": "member"})).await, 409);
    alice.put_member(community, &bob, "admin").await;
    expect(&alice.post(&leave, json!({})).await, 204);
    expect(&bob.manage_member(community, 2, "remove").await, 409);
    service.end().await;
}

#[tokio::test]
async fn two_admins_who_remove_each_other_at_once_leave_one() {
    let service = Service::start().await;
    let (alice, bob) = (service.person(1, "alice"), service.known(2, "bob").await);
    for _ in 0..10 {
        let community = alice.create_community("private").await;
        alice.put_member(community, &bob, "admin").await;
        let (one, other) = tokio::join!(
            alice.manage_member(community, 2, "remove"),
            bob.manage_member(community, 1, "remove"),
        );
        let statuses = [one.status, other.status];
        // Who comes second is no member any more.
        assert!(
            statuses.contains(&204) && statuses.contains(&403),
            "{statuses:?}"
        );
    }
    service.end().await;
}

#[tokio::test]
async fn members_see_articles_once_they_are_published() {
    let service = Service::start().await;
    let (alice, bob) = (service.person(1, "alice"), service.known(2, "bob").await);
    let community = alice.create_community("private").await;
    alice.put_member(community, &bob, "member").await;
    let place = alice.submit(community, "Slow").await;
    let path = format!("/api/communities/{community}/");
    let articles = async || {
        expect(&bob.get(&path).await, 200)["articles"]
            .as_array()
            .unwrap()
            .len()
    };
    for (action, status, seen) in [
        ("unpublish", 409, 0),
        ("reject", 200, 0),
        ("publish", 409, 0),
        ("approve", 200, 0),
        ("publish", 200, 1),
        ("publish", 200, 1),
        ("reject", 409, 1),
        ("unpublish", 200, 0),
    ] {
        expect(&alice.manage(place, action).await, status);
        assert_eq!(articles().await, seen, "after {action}");
    }
    service.end().await;
}
