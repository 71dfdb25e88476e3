//! Following: by one's own wish, and by what happens.

use serde_json::{Value, json};

use crate::fixture::{Person, Place, Service, expect, id, names};

async fn scene(service: &Service) -> (Person, Person, Place) {
    let (alice, bob) = (service.person(1, "alice"), service.known(2, "bob").await);
    let community = alice.create_community("private").await;
    alice.put_member(community, &bob, "member").await;
    let place = alice.submit(community, "GPT-5 Architecture").await;
    alice.publish(place).await;
    (alice, bob, place)
}

#[tokio::test]
async fn subscribing_is_new_once_and_unsubscribing_as_often_as_one_likes() {
    let service = Service::start().await;
    let (alice, bob, place) = scene(&service).await;
    let first = bob.subscribe(place).await;
    let subscription = expect(&first, 201).clone();
    assert_eq!(
        names(&subscription),
        [
            "article_id",
            "community_article_id",
            "community_id",
            "id",
            "is_active",
            "subscribed_at"
        ]
    );
    let number = id(&first, 201);
    assert_eq!(*expect(&bob.subscribe(place).await, 200), subscription);

    let status = format!(
        "/api/discussions/subscription-status/?community_article_id={}&community_id={}",
        place.community_article, place.community
    );
    let answer = bob.get(&status).await;
    assert_eq!(
        *expect(&answer, 200),
        json!({"is_subscribed": true, "subscription": subscription})
    );
    let list = bob.get("/api/discussions/user-subscriptions/").await;
    assert_eq!(
        *expect(&list, 200),
        json!({"last_event_id": null, "communities": [{
            "community_id": place.community, "community_name": "AI Research Group", "is_admin": false,
            "articles": [{
                "article_id": place.article, "article_title": "GPT-5 Architecture",
                "article_slug": "gpt-5-architecture", "community_article_id": place.community_article
            }]
        }]})
    );

    let path = format!("/api/discussions/unsubscribe/{number}/");
    expect(&alice.http.delete(&path).await, 404);
    for _ in 0..2 {
        expect(&bob.http.delete(&path).await, 204);
    }
    let answer = bob.get(&status).await;
    assert_eq!(expect(&answer, 200)["is_subscribed"], false);
    assert_eq!(answer.json["subscription"]["id"], number);
    let path = format!("/api/discussions/subscription/{number}/");
    let again = bob.put(&path, json!({"is_active": true})).await;
    assert_eq!(expect(&again, 200)["is_active"], true);
    assert_eq!(id(&bob.subscribe(place).await, 200), number);
    service.end().await;
}

#[tokio::test]
async fn each_change_of_what_a_user_receives_adds_one_row_and_no_change_adds_none() {
    let service = Service::start().await;
    let (_, bob, place) = scene(&service).await;
    let store = service.store().await;
    let mut before = store.count_unsent().await.unwrap();
    let number = id(&bob.subscribe(place).await, 201);
    let path = format!("/api/discussions/subscription/{number}/");
    for (active, rows) in [(true, 1), (true, 0), (false, 1), (false, 0), (true, 1)] {
        expect(&bob.put(&path, json!({"is_active": active})).await, 200);
        let after = store.count_unsent().await.unwrap();
        // The first step's row is that of subscribing before the loop.
        assert_eq!(after - before, rows, "is_active: {active}");
        before = after;
    }
    service.end().await;
}

#[tokio::test]
async fn publishing_subscribes_admins_and_the_submitter() {
    let service = Service::start().await;
    let (alice, bob, place) = scene(&service).await;
    let (carol, dave) = (
        service.known(3, "carol").await,
        service.known(4, "dave").await,
    );
    alice.put_member(place.community, &carol, "member").await;
    alice.put_member(place.community, &dave, "admin").await;
    let bobs = bob.submit(place.community, "By bob").await;
    assert!(bob.follows().await.is_empty(), "not yet published");
    alice.publish(bobs).await;
    assert_eq!(bob.follows().await, [bobs.community_article]);
    assert_eq!(
        alice.follows().await,
        [place.community_article, bobs.community_article]
    );
    assert_eq!(
        dave.follows().await,
        [place.community_article, bobs.community_article]
    );
    assert!(carol.follows().await.is_empty());
    service.end().await;
}

#[tokio::test]
async fn a_new_admin_follows_all_that_is_published_but_not_what_they_unsubscribed() {
    let service = Service::start().await;
    let (alice, bob, place) = scene(&service).await;
    let second = alice.submit(place.community, "Second").await;
    alice.publish(second).await;
    let number = id(&bob.subscribe(place).await, 201);
    let path = format!("/api/discussions/unsubscribe/{number}/");
    expect(&bob.http.delete(&path).await, 204);
    let promoted = alice
        .manage_member(place.community, 2, "promote_admin")
        .await;
    assert_eq!(expect(&promoted, 200)["role"], "admin");
    assert_eq!(bob.follows().await, [second.community_article]);
    service.end().await;
}

#[tokio::test]
async fn removal_and_leaving_end_subscriptions_and_coming_back_does_not_renew_them() {
    let service = Service::start().await;
    let (alice, bob, place) = scene(&service).await;
    for by_admin in [true, false] {
        expect(
            &bob.subscribe(place).await,
            if by_admin { 201 } else { 200 },
        );
        if by_admin {
            let removed = alice.manage_member(place.community, 2, "remove").await;
            expect(&removed, 204);
            let again = alice.manage_member(place.community, 2, "remove").await;
            expect(&again, 404);
        } else {
            let path = format!("/api/communities/{}/leave/", place.community);
            expect(&bob.post(&path, json!({})).await, 204);
        }
        assert!(bob.follows().await.is_empty());
        expect(&bob.subscribe(place).await, 403);
        alice.put_member(place.community, &bob, "member").await;
        assert_eq!(bob.follows().await, Vec::<i64>::new());
    }
    let list = bob
        .get(&format!("/api/communities/{}/", place.community))
        .await;
    assert_eq!(
        expect(&list, 200)["articles"][0]["subscription_id"],
        Value::Null
    );
    service.end().await;
}

#[tokio::test]
async fn a_communitys_type_decides_who_follows_what() {
    let service = Service::start().await;
    let (alice, bob, place) = scene(&service).await;
    let carol = service.known(3, "carol").await;
    alice.put_member(place.community, &carol, "admin").await;
    assert_eq!(carol.follows().await, [place.community_article]);
    bob.subscribe(place).await;
    let status = format!(
        "/api/discussions/subscription-status/?community_article_id={}&community_id={}",
        place.community_article, place.community
    );
    let carols = carol.get(&status).await.json["subscription"]["id"].clone();
    let path = format!("/api/discussions/unsubscribe/{carols}/");
    expect(&carol.http.delete(&path).await, 204);

    let path = format!("/api/communities/{}/", place.community);
    let turn = async |kind: &str| {
        let turned = alice.put(&path, json!({ "type": kind })).await;
        assert_eq!(
            *expect(&turned, 200),
            json!({
                "id": place.community, "name": "AI Research Group", "type": kind, "role": "admin",
                "member_count": 3
            })
        );
    };
    turn("public").await;
    for person in [&alice, &bob, &carol] {
        assert!(person.follows().await.is_empty());
        expect(&person.subscribe(place).await, 400);
    }
    turn("hidden").await;
    assert_eq!(alice.follows().await, [place.community_article]);
    assert!(bob.follows().await.is_empty(), "not an admin");
    assert!(carol.follows().await.is_empty(), "by her own wish");
    turn("private").await;
    assert_eq!(alice.follows().await, [place.community_article]);
    let renamed = alice
        .put(&path, json!({"name": "קהילה", "type": "private"}))
        .await;
    assert_eq!(expect(&renamed, 200)["name"], "קהילה");
    expect(&bob.put(&path, json!({"type": "public"})).await, 403);
    service.end().await;
}
