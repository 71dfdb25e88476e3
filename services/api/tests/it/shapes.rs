//! The answers, field by field, and what stands in the outbox for each.

use crier_domain::{Audience, Event};
use crier_store::OutboxChange;
use serde_json::{Value, json};

use crate::fixture::{Person, Place, Service, expect, id, names};

async fn scene(service: &Service, kind: &str) -> (Person, Person, Place) {
    let (alice, bob) = (service.person(1, "alice"), service.known(2, "bob").await);
    let community = alice.create_community(kind).await;
    alice.put_member(community, &bob, "member").await;
    let place = alice.submit(community, "GPT-5 Architecture").await;
    alice.publish(place).await;
    (alice, bob, place)
}

async fn events(service: &Service) -> Vec<(Event, Option<String>)> {
    let rows = service.store().await.unsent(1_000).await.unwrap();
    rows.into_iter()
        .filter_map(|row| match row.change {
            OutboxChange::Event(event) => Some((event, row.traceparent)),
            OutboxChange::User(..) => None,
        })
        .collect()
}

/// `2026-01-02T03:04:05.678Z`
fn is_moment(value: &Value) -> bool {
    let text = value.as_str().unwrap();
    text.len() == 24 && text.ends_with('Z') && text.as_bytes()[19] == b'.'
}

#[tokio::test]
async fn what_is_written_is_answered_listed_and_sent_alike() {
    let service = Service::start().await;
    let (alice, bob, place) = scene(&service, "private").await;
    let discussion = bob.discuss(place, "Scaling").await;
    let discussion = expect(&discussion, 201).clone();
    assert_eq!(
        names(&discussion),
        [
            "article_id",
            "author",
            "author_id",
            "comment_count",
            "community_article_id",
            "community_id",
            "content",
            "created_at",
            "id",
            "topic",
            "updated_at"
        ]
    );
    assert_eq!(discussion["author"], "bob");
    assert_eq!(discussion["comment_count"], 0);
    assert!(is_moment(&discussion["created_at"]), "{discussion}");
    let number = discussion["id"].as_i64().unwrap();
    let comment = alice.comment(number, "It \"works\"\n\u{2028}").await;
    let comment = expect(&comment, 201).clone();
    assert_eq!(
        names(&comment),
        [
            "author",
            "author_id",
            "content",
            "created_at",
            "depth",
            "discussion_id",
            "id",
            "is_deleted",
            "parent_id",
            "updated_at"
        ]
    );
    assert_eq!(comment["parent_id"], Value::Null);

    let list = bob.get(&place.discussions()).await;
    let list = expect(&list, 200);
    assert_eq!(names(list), ["discussions", "last_event_id"]);
    assert_eq!(list["last_event_id"], Value::Null, "there is no log yet");
    assert_eq!(list["discussions"][0]["comment_count"], 1);
    let path = format!("/api/discussions/{number}/comments/");
    let list = bob.get(&path).await;
    assert_eq!(names(expect(&list, 200)), ["comments", "last_event_id"]);
    assert_eq!(list.json["comments"], json!([comment]));

    let events = events(&service).await;
    let [(opened, _), (written, _)] = &events[..] else {
        panic!("{events:?}");
    };
    for (event, kind, name, data, author) in [
        (opened, "new_discussion", "discussion", &discussion, 2),
        (written, "new_comment", "comment", &comment, 1),
    ] {
        assert_eq!(event.audience, Audience::Subscribers);
        assert_eq!(event.exclude.unwrap().get(), author);
        assert!(!event.body.contains(&b'\n'));
        let body: Value = serde_json::from_slice(&event.body).unwrap();
        assert_eq!(body["type"], kind);
        assert_eq!(body["event_id"], event.id.to_string());
        assert_eq!(body["community_id"], place.community);
        assert_eq!(body["article_id"], place.article);
        assert_eq!(body["timestamp"], data["created_at"]);
        assert_eq!(body["data"], json!({ (name): data }));
    }
    service.end().await;
}

#[tokio::test]
async fn a_public_community_has_no_events() {
    let service = Service::start().await;
    let (_, bob, place) = scene(&service, "public").await;
    let discussion = id(&bob.discuss(place, "Scaling").await, 201);
    expect(&bob.comment(discussion, "Yes").await, 201);
    assert!(events(&service).await.is_empty());
    service.end().await;
}

#[tokio::test]
async fn comments_answer_each_other_three_levels_deep() {
    let service = Service::start().await;
    let (alice, _, place) = scene(&service, "private").await;
    let discussion = id(&alice.discuss(place, "Scaling").await, 201);
    let path = format!("/api/discussions/{discussion}/comments/");
    let mut parent = Value::Null;
    for depth in 1..=3 {
        let body = json!({"content": "c", "parent_id": parent});
        let comment = alice.post(&path, body).await;
        assert_eq!(expect(&comment, 201)["depth"], depth);
        parent = comment.json["id"].clone();
    }
    let body = json!({"content": "c", "parent_id": parent});
    expect(&alice.post(&path, body.clone()).await, 400);
    let other = id(&alice.discuss(place, "Other").await, 201);
    let other = format!("/api/discussions/{other}/comments/");
    expect(&alice.post(&other, body).await, 400);
    service.end().await;
}

#[tokio::test]
async fn pages_follow_each_other() {
    let service = Service::start().await;
    let (alice, _, place) = scene(&service, "private").await;
    let discussion = id(&alice.discuss(place, "Scaling").await, 201);
    let mut written = Vec::new();
    for number in 0..5 {
        written.push(id(
            &alice.comment(discussion, &number.to_string()).await,
            201,
        ));
    }
    let mut read = Vec::new();
    let mut after = String::new();
    for _ in 0..3 {
        let path = format!("/api/discussions/{discussion}/comments?limit=2{after}");
        let page = alice.get(&path).await;
        let page = expect(&page, 200)["comments"].as_array().unwrap().clone();
        read.extend(page.iter().map(|comment| comment["id"].as_i64().unwrap()));
        after = format!("&after={}", read.last().unwrap());
    }
    assert_eq!(read, written);
    service.end().await;
}

#[tokio::test]
async fn every_list_comes_in_pages_and_ends_with_an_empty_one() {
    let service = Service::start().await;
    let (alice, bob, place) = scene(&service, "private").await;
    for number in 0..2 {
        let community = alice.create_community("hidden").await;
        let place = alice.submit(community, &format!("Paper {number}")).await;
        alice.publish(place).await;
        expect(
            &alice
                .comment(id(&alice.discuss(place, "T").await, 201), "C")
                .await,
            201,
        );
    }
    let second = alice.submit(place.community, "Second").await;
    alice.publish(second).await;
    let discussion = id(&alice.discuss(place, "T").await, 201);
    id(&bob.discuss(place, "U").await, 201);
    for _ in 0..2 {
        expect(&bob.comment(discussion, "C").await, 201);
    }
    let community = format!("/api/communities/{}", place.community);
    for (path, list, key, expected) in [
        ("/api/communities".to_owned(), "communities", "id", 3),
        (format!("{community}/members"), "members", "user_id", 2),
        (community, "articles", "community_article_id", 2),
        (place.discussions(), "discussions", "id", 2),
        (
            format!("/api/discussions/{discussion}/comments"),
            "comments",
            "id",
            2,
        ),
        (
            "/api/discussions/user-subscriptions".to_owned(),
            "communities",
            "community_id",
            3,
        ),
    ] {
        let whole = alice.get(&path).await;
        let whole = expect(&whole, 200)[list].as_array().unwrap().clone();
        assert_eq!(whole.len(), expected, "{path}");
        let sign = if path.contains('?') { '&' } else { '?' };
        let mut read: Vec<Value> = Vec::new();
        loop {
            let after = read.last().map(|last| format!("&after={}", last[key]));
            let page = format!("{path}{sign}limit=1{}", after.unwrap_or_default());
            let page = alice.get(&page).await;
            assert_eq!(
                expect(&page, 200)["last_event_id"],
                Value::Null,
                "there is no log yet"
            );
            let Some(item) = page.json[list].as_array().unwrap().first() else {
                break;
            };
            read.push(item.clone());
        }
        assert_eq!(read, whole, "{path}");
        for (after, status) in [
            ("9223372036854775807", 200),
            ("1", 200),
            ("0", 422),
            ("9223372036854775808", 422),
        ] {
            let page = format!("{path}{sign}after={after}");
            expect(&alice.get(&page).await, status);
        }
        for limit in ["0", "201", "-1", "x"] {
            expect(&alice.get(&format!("{path}{sign}limit={limit}")).await, 422);
        }
    }
    service.end().await;
}

#[tokio::test]
async fn communities_members_and_articles_as_the_page_reads_them() {
    let service = Service::start().await;
    let (alice, bob, place) = scene(&service, "private").await;
    let list = bob.get("/api/communities/").await;
    let community = &expect(&list, 200)["communities"][0];
    assert_eq!(
        *community,
        json!({
            "id": place.community, "name": "AI Research Group", "type": "private", "role": "member",
            "member_count": 2
        })
    );
    let page = alice
        .get(&format!("/api/communities/{}/", place.community))
        .await;
    let article = &expect(&page, 200)["articles"][0];
    assert_eq!(
        names(article),
        [
            "article_id",
            "article_slug",
            "article_title",
            "community_article_id",
            "is_subscribed",
            "status",
            "subscription_id"
        ]
    );
    assert_eq!(article["is_subscribed"], true);
    assert_eq!(article["article_slug"], "gpt-5-architecture");
    assert_eq!(page.json["role"], "admin");
    let members = bob
        .get(&format!("/api/communities/{}/members/", place.community))
        .await;
    assert_eq!(
        expect(&members, 200)["members"],
        json!([
            {"user_id": 1, "username": "alice", "role": "admin"},
            {"user_id": 2, "username": "bob", "role": "member"},
        ])
    );
    let article = bob.get("/api/articles/gpt-5-architecture/").await;
    assert_eq!(
        *expect(&article, 200),
        json!({
            "id": place.article, "title": "GPT-5 Architecture", "slug": "gpt-5-architecture", "abstract": "",
            "submitter_id": 1
        })
    );
    let same_title = bob.submit(place.community, "GPT-5 Architecture").await;
    let managed = alice.manage(same_title, "approve").await;
    let slug = expect(&managed, 200)["article_slug"].as_str().unwrap();
    assert!(slug.starts_with("gpt-5-architecture-"), "{slug}");
    assert_eq!(
        managed.json,
        json!({
            "id": same_title.community_article, "community_id": place.community,
            "article_id": same_title.article, "article_slug": slug, "status": "approved"
        })
    );
    let path = format!(
        "/api/communities/{}/articles/{}/submit",
        place.community, place.article
    );
    expect(&bob.post(&path, json!({})).await, 409);
    service.end().await;
}

#[tokio::test]
async fn the_trace_of_a_call_goes_with_its_event() {
    let service = Service::start().await;
    let (_, bob, place) = scene(&service, "private").await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let token = crate::fixture::signer().sign_user(2, "bob", std::time::Duration::from_secs(60));
    let body = json!({"topic": "T", "content": "C"}).to_string();
    let request = http::Request::post(format!("{}{}", service.http.base(), place.discussions()))
        .header("authorization", format!("Bearer {}", token.unwrap()))
        .header("content-type", "application/json")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .body(http_body_util::Full::new(bytes::Bytes::from(body)));
    expect(&bob.http.send(request.unwrap()).await.unwrap(), 201);
    let events = events(&service).await;
    let [(_, Some(traceparent))] = &events[..] else {
        panic!("{events:?}");
    };
    assert!(
        traceparent.starts_with(&format!("00-{trace}-")),
        "{traceparent}"
    );
    assert!(
        !traceparent.contains("00f067aa0ba902b7"),
        "the span is the request's own"
    );
    service.end().await;
}
