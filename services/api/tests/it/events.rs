//! `POST /api/events`: what an application beside Crier publishes stands in the outbox as it was told, once.

use std::collections::BTreeSet;

use axum::http::Method;
use bytes::Bytes;
use crier_domain::{Audience, Event, EventId};
use crier_store::{CommunityKind, Locks, OutboxChange};
use crier_testkit::{Answer, HttpClient};
use serde_json::{Value, json};

use crate::fixture::{Place, Service, expect};

/// A service with a private community of alice's, a public one, and an article in each.
struct Scene {
    service: Service,
    backend: HttpClient,
    place: Place,
    public: Place,
}

impl Scene {
    async fn set() -> Self {
        let service = Service::start().await;
        let alice = service.person(1, "alice");
        let private = alice.create_community("private").await;
        let place = alice.submit(private, "GPT-5 Architecture").await;
        let public = alice.create_community("public").await;
        let public = alice.submit(public, "Open").await;
        Self {
            backend: service.backend(),
            service,
            place,
            public,
        }
    }

    async fn publish(&self, body: &Value) -> Answer {
        self.backend.post("/api/events", body).await
    }

    /// A body as it is written.
    async fn publish_text(&self, body: &str) -> Answer {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let called = self.backend.call(Method::POST, "/api/events", Some(body));
        called.await.unwrap()
    }

    /// For all members of the private community.
    fn event(&self) -> Value {
        json!({"type": "paper.updated", "community_id": self.place.community, "data": {"n": 1}})
    }

    fn event_with(&self, name: &str, value: Value) -> Value {
        let mut event = self.event();
        event[name] = value;
        event
    }

    /// The events in the outbox, in order.
    async fn events(&self) -> Vec<Event> {
        let rows = self.service.store().await.unsent(5_000).await.unwrap();
        let events = rows.into_iter().filter_map(|row| match row.change {
            OutboxChange::Event(event) => Some(event),
            OutboxChange::User(..) => None,
        });
        events.collect()
    }

    async fn last(&self) -> Event {
        self.events().await.pop().unwrap()
    }
}

fn body(event: &Event) -> &str {
    std::str::from_utf8(&event.body).unwrap()
}

#[tokio::test]
async fn the_audience_is_who_is_named_or_who_follows_the_article_or_all() {
    let scene = Scene::set().await;
    let article = scene.place.article;
    for (changes, audience) in [
        (json!({}), Audience::Members),
        (
            json!({"article_id": null, "subscriber_ids": null, "exclude_user_id": null, "id": null}),
            Audience::Members,
        ),
        (json!({"article_id": article}), Audience::Subscribers),
        (
            json!({"article_id": article, "subscriber_ids": [9, 3, 9, 404_404_404_404_i64], "exclude_user_id": 3}),
            Audience::Users(
                [3, 9, 404_404_404_404]
                    .map(|id| id.try_into().unwrap())
                    .into(),
            ),
        ),
    ] {
        let mut event = scene.event();
        for (name, value) in changes.as_object().unwrap() {
            event[name] = value.clone();
        }
        let answer = scene.publish(&event).await;
        let id = expect(&answer, 202)["id"].as_str().unwrap();
        let stored = scene.last().await;
        assert_eq!(stored.id.to_string(), id);
        assert_eq!(stored.audience, audience);
        assert_eq!(stored.community.get(), scene.place.community);
        assert_eq!(
            stored.article.map(i64::from),
            changes["article_id"].as_i64()
        );
        assert_eq!(
            stored.exclude.map(i64::from),
            changes["exclude_user_id"].as_i64()
        );
        let seen: Value = serde_json::from_str(body(&stored)).unwrap();
        let names: Vec<_> = seen.as_object().unwrap().keys().collect();
        assert_eq!(names.len(), 6, "{names:?}");
        assert!(
            !body(&stored).contains("404404404404"),
            "nobody learns who else gets it"
        );
        assert_eq!(seen["event_id"], id);
        assert_eq!(seen["type"], "paper.updated");
        assert_eq!(seen["article_id"], changes["article_id"]);
        assert_eq!(seen["data"], json!({"n": 1}));
    }
    scene.service.end().await;
}

#[tokio::test]
async fn data_reach_the_log_as_they_were_written_on_one_line() {
    let scene = Scene::set().await;
    let community = scene.place.community;
    for (written, kept) in [
        ("1e999999", "1e999999"),
        (
            "123456789012345678901234567890.10",
            "123456789012345678901234567890.10",
        ),
        ("-0.0E+0", "-0.0E+0"),
        ("null", "null"),
        (r#""\u0041\/\ud800\u0000""#, r#""\u0041\/\ud800\u0000""#),
        (
            "\"\u{2028}\u{2029}\u{85}\u{7f}\"",
            "\"\u{2028}\u{2029}\u{85}\u{7f}\"",
        ),
        (
            "{\"a\" : 1,\n\"a\":\t2 ,\r\n\" \" : [ ] }",
            r#"{"a":1,"a":2," ":[]}"#,
        ),
        (r#"{"data":"\"} , {"}"#, r#"{"data":"\"} , {"}"#),
    ] {
        let one =
            format!("{{\"data\":\n {written} ,\"type\":\"t\",\n\"community_id\":{community}}}");
        expect(&scene.publish_text(&one).await, 202);
        assert!(
            body(&scene.last().await).ends_with(&format!("\"data\":{kept}}}")),
            "{written}"
        );
        let several = format!("[ {one} ]");
        expect(&scene.publish_text(&several).await, 202);
        assert!(
            body(&scene.last().await).ends_with(&format!("\"data\":{kept}}}")),
            "{written}"
        );
        assert!(!body(&scene.last().await).contains(['\n', '\r']));
    }
    let deep = format!(
        r#"{{"type":"t","community_id":{community},"data":{}{}}}"#,
        "[".repeat(1_000),
        "]".repeat(1_000)
    );
    expect(&scene.publish_text(&deep).await, 202);
    scene.service.end().await;
}

#[tokio::test]
async fn an_id_is_one_event_however_often_it_is_told() {
    let scene = Scene::set().await;
    let id = "0198c6a5-52a6-7b1e-8f5e-0123456789ab";
    let mut event = scene.event_with("id", json!(id));
    event["subscriber_ids"] = json!([2, 1]);
    assert_eq!(expect(&scene.publish(&event).await, 202)["id"], id);
    // In other words.
    event["subscriber_ids"] = json!([1, 2, 1]);
    event["id"] = json!(id.to_uppercase());
    assert_eq!(expect(&scene.publish(&event).await, 202)["id"], id);
    let again = expect(
        &scene.publish(&json!([event, event, scene.event()])).await,
        202,
    )
    .clone();
    assert_eq!(
        (again.as_array().unwrap().len(), &again[0], &again[1]),
        (3, &json!({"id": id}), &json!({"id": id}))
    );
    assert_eq!(scene.events().await.len(), 2);
    for (name, value) in [
        ("type", json!("other")),
        ("data", json!({"n": 2})),
        ("data", json!({"n": 1.0})),
        ("article_id", json!(scene.place.article)),
        ("subscriber_ids", json!([1])),
        ("subscriber_ids", json!(null)),
        ("exclude_user_id", json!(1)),
        ("community_id", json!(scene.public.community)),
    ] {
        let mut other = event.clone();
        other[name] = value;
        expect(&scene.publish(&other).await, 409);
        let answer = scene.publish(&json!([scene.event(), other])).await;
        let detail = expect(&answer, 409)["detail"].as_str().unwrap();
        assert!(detail.starts_with("[1]: "), "{detail}");
    }
    // Two bodies for one new id, in one array.
    let fresh = json!("0198c6a5-52a6-7b1e-8f5e-0123456789ac");
    let (one, mut other) = (
        scene.event_with("id", fresh.clone()),
        scene.event_with("id", fresh),
    );
    other["data"] = json!(null);
    expect(&scene.publish(&json!([one, other])).await, 409);
    assert_eq!(scene.events().await.len(), 2);
    // And what is told twice in one array for the first time is one event.
    expect(&scene.publish(&json!([one, one])).await, 202);
    assert_eq!(scene.events().await.len(), 3);
    // One that was kept stays so, whatever became of the place.
    let store = scene.service.store().await;
    let community = scene.place.community.try_into().unwrap();
    let tx = store.begin(Locks::new().exclusive(community), None).await;
    let tx = tx.unwrap();
    tx.set_community_kind(community, CommunityKind::Public)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    expect(&scene.publish(&event).await, 202);
    event["id"] = json!(null);
    expect(&scene.publish(&event).await, 400);
    scene.service.end().await;
}

#[tokio::test]
async fn thirty_two_at_once_are_one_event() {
    let scene = Scene::set().await;
    let id = json!("0198c6a5-52a6-7b1e-8f5e-0123456789ab");
    let event = scene.event_with("id", id);
    let calls = (0..32).map(|number| {
        let backend = scene.backend.clone();
        let body = if number % 2 == 0 {
            event.clone()
        } else {
            json!([event])
        };
        tokio::spawn(async move { backend.post("/api/events", &body).await })
    });
    for call in calls.collect::<Vec<_>>() {
        expect(&call.await.unwrap(), 202);
    }
    assert_eq!(scene.events().await.len(), 1);
    scene.service.end().await;
}

#[tokio::test]
async fn an_array_is_kept_in_its_order_or_not_at_all() {
    let scene = Scene::set().await;
    let event = |n: usize| scene.event_with("data", json!(n));
    let thousand: Vec<Value> = (0..1_000).map(event).collect();
    let answer = scene.publish(&json!(thousand)).await;
    let ids: Vec<&str> = expect(&answer, 202)
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 1_000);
    let events = scene.events().await;
    assert_eq!(
        events
            .iter()
            .map(|event| event.id.to_string())
            .collect::<Vec<_>>(),
        ids
    );
    for (n, event) in events.iter().enumerate() {
        assert!(body(event).ends_with(&format!("\"data\":{n}}}")));
    }
    for (bad, status, detail) in [
        (
            json!({"community_id": 999}),
            404,
            "[2]: There is no such community.",
        ),
        (
            json!({"community_id": scene.public.community}),
            400,
            "[2]: Only private",
        ),
        (
            json!({"article_id": scene.public.article}),
            400,
            "[2]: The article does not belong",
        ),
        (
            json!({"article_id": 999}),
            400,
            "[2]: The article does not belong",
        ),
        (
            json!({"data": "x".repeat(800_000)}),
            413,
            "[2]: This is too large",
        ),
        (json!({"colour": "red"}), 422, "[2].colour: unknown field"),
        (
            json!({"type": "New Comment"}),
            422,
            "[2].type: an event type is",
        ),
    ] {
        let mut third = scene.event();
        for (name, value) in bad.as_object().unwrap() {
            third[name] = value.clone();
        }
        let answer = scene
            .publish(&json!([event(1), event(2), third, event(3)]))
            .await;
        let found = expect(&answer, status)["detail"].as_str().unwrap();
        assert!(found.contains(detail), "{found}");
        let answer = scene.publish(&third).await;
        let found = expect(&answer, status)["detail"].as_str().unwrap();
        assert!(!found.contains("[2]"), "{found}");
    }
    assert_eq!(
        scene.events().await.len(),
        1_000,
        "nothing of what was refused"
    );
    scene.service.end().await;
}

#[tokio::test]
async fn what_is_no_event_is_refused() {
    let scene = Scene::set().await;
    let (event, many) = (scene.event(), vec![scene.event(); 1_001]);
    let users = |n: i64| (1..=n).collect::<Vec<_>>();
    let cases = [
        (json!(many), 422),
        (json!([]), 422),
        (json!([[event]]), 422),
        (json!([1]), 422),
        (json!(null), 422),
        (json!("event"), 422),
        (json!(7), 422),
        (json!({}), 422),
        (json!(["t", 1, null]), 422),
        (scene.event_with("id", json!("7")), 422),
        (scene.event_with("id", json!(7)), 422),
        (scene.event_with("id", json!(EventId::new())), 422),
        (scene.event_with("community_id", json!(0)), 422),
        (scene.event_with("community_id", json!("1")), 422),
        (scene.event_with("article_id", json!(-1)), 422),
        (scene.event_with("type", json!("")), 422),
        (scene.event_with("type", json!("x".repeat(65))), 422),
        (scene.event_with("type", json!(null)), 422),
        (scene.event_with("subscriber_ids", json!([])), 422),
        (scene.event_with("subscriber_ids", json!([0])), 422),
        (scene.event_with("subscriber_ids", json!(["1"])), 422),
        (scene.event_with("subscriber_ids", json!(users(1_001))), 422),
        (scene.event_with("exclude_user_id", json!(0)), 422),
        (
            scene.event_with("timestamp", json!("2026-01-01T00:00:00Z")),
            422,
        ),
        (scene.event_with("community_id", json!(i64::MAX)), 404),
    ];
    for (body, status) in cases {
        let answer = scene.publish(&body).await;
        assert_eq!(answer.status, status, "{body:.200}: {}", answer.text());
    }
    let community = scene.place.community;
    for (text, status) in [
        (format!(r#"{{"type":"t","community_id":{community}}}"#), 422),
        (
            format!(r#"{{"type":"t","community_id":{community},"data":1,"data":2}}"#),
            422,
        ),
        (
            format!(r#"{{"type":"t","community_id":{community},"data":01}}"#),
            400,
        ),
        (
            format!(r#"{{"type":"t","community_id":{community},"data":[}}"#),
            400,
        ),
        (
            format!("{{\"type\":\"t\",\"community_id\":{community},\"data\":\"\n\"}}"),
            400,
        ),
        (
            r#"{"type":"t","community_id":99999999999999999999,"data":1}"#.to_owned(),
            422,
        ),
        ("[".repeat(100_000), 422),
        (String::new(), 400),
    ] {
        let answer = scene.publish_text(&text).await;
        assert_eq!(answer.status, status, "{text:.200}: {}", answer.text());
    }
    expect(
        &scene
            .publish(&scene.event_with("subscriber_ids", json!(users(1_000))))
            .await,
        202,
    );
    assert_eq!(scene.events().await.len(), 1);
    scene.service.end().await;
}

#[tokio::test]
async fn the_list_of_recipients_counts_to_the_size() {
    let scene = Scene::set().await;
    let envelope = {
        expect(
            &scene.publish(&scene.event_with("data", json!(""))).await,
            202,
        );
        scene.last().await.body.len()
    };
    let far: Vec<i64> = (0..1_000).map(|n| i64::MAX - n).collect();
    let list = serde_json::to_vec(&far).unwrap().len();
    let room = 768 * 1024 - envelope;
    for (letters, named, status) in [
        (room, false, 202),
        (room + 1, false, 413),
        (room - list, true, 202),
        (room - list + 1, true, 413),
    ] {
        let mut event = scene.event_with("data", json!("x".repeat(letters)));
        if named {
            event["subscriber_ids"] = json!(far);
        }
        expect(&scene.publish(&event).await, status);
    }
    scene.service.end().await;
}
