//! Texts that are changed and deleted: who may, what is left, and what the subscribers are told.

use crier_store::OutboxChange;
use serde_json::{Value, json};

use crate::fixture::{Person, Place, Service, expect, id};

/// alice is the admin, bob a member who follows, carol a moderator.
struct Scene {
    service: Service,
    alice: Person,
    bob: Person,
    carol: Person,
    place: Place,
}

impl Scene {
    async fn set(kind: &str) -> Self {
        let service = Service::start().await;
        let alice = service.person(1, "alice");
        let (bob, carol) = (
            service.known(2, "bob").await,
            service.known(3, "carol").await,
        );
        let community = alice.create_community(kind).await;
        alice.put_member(community, &bob, "member").await;
        alice.put_member(community, &carol, "moderator").await;
        let place = alice.submit(community, "GPT-5 Architecture").await;
        alice.publish(place).await;
        Self {
            service,
            alice,
            bob,
            carol,
            place,
        }
    }

    /// Type, data and excluded user of the events in the outbox, oldest first.
    async fn events(&self) -> Vec<(String, Value, i64)> {
        let rows = self.service.store().await.unsent(1_000).await.unwrap();
        let events = rows.into_iter().filter_map(|row| match row.change {
            OutboxChange::Event(event) => Some(event),
            OutboxChange::User(..) => None,
        });
        events
            .map(|event| {
                let body: Value = serde_json::from_slice(&event.body).unwrap();
                let kind = body["type"].as_str().unwrap().to_owned();
                (kind, body["data"].clone(), event.exclude.unwrap().get())
            })
            .collect()
    }
}

#[tokio::test]
async fn what_is_changed_and_deleted_is_told_to_the_others() {
    let scene = Scene::set("private").await;
    let discussion = id(&scene.bob.discuss(scene.place, "Scaling").await, 201);
    let comment = id(&scene.bob.comment(discussion, "Yes").await, 201);
    let (own_discussion, own_comment) = (
        format!("/api/discussions/{discussion}/"),
        format!("/api/comments/{comment}/"),
    );
    let changed = scene
        .bob
        .put(&own_discussion, json!({"topic": "Scaling laws"}))
        .await;
    let changed = expect(&changed, 200).clone();
    assert_eq!(changed["topic"], "Scaling laws");
    assert_eq!(changed["content"], "What do you think?");
    let edited = scene.bob.put(&own_comment, json!({"content": "No"})).await;
    let edited = expect(&edited, 200).clone();
    // The same once more is no news.
    let again = scene.bob.put(&own_comment, json!({"content": "No"})).await;
    assert_eq!(*expect(&again, 200), edited);
    expect(&scene.carol.http.delete(&own_comment).await, 204);
    expect(&scene.carol.http.delete(&own_comment).await, 404);
    expect(&scene.bob.http.delete(&own_discussion).await, 204);
    expect(&scene.bob.get(&own_discussion).await, 404);

    let events = scene.events().await;
    let place = json!({
        "id": discussion, "community_id": scene.place.community, "article_id": scene.place.article,
    });
    let gone = json!({"id": comment, "discussion_id": discussion, "parent_id": null});
    assert_eq!(
        events[2..],
        [
            (
                "updated_discussion".to_owned(),
                json!({"discussion": changed}),
                2
            ),
            ("updated_comment".to_owned(), json!({"comment": edited}), 2),
            ("deleted_comment".to_owned(), json!({"comment": gone}), 3),
            (
                "deleted_discussion".to_owned(),
                json!({"discussion": place}),
                2
            ),
        ]
    );
    scene.service.end().await;
}

#[tokio::test]
async fn what_was_answered_keeps_its_place_without_its_text() {
    let scene = Scene::set("private").await;
    let discussion = id(&scene.bob.discuss(scene.place, "Scaling").await, 201);
    let comment = id(&scene.bob.comment(discussion, "Regretted").await, 201);
    let list = format!("/api/discussions/{discussion}/comments/");
    let answer = json!({"content": "Answered", "parent_id": comment});
    let answered = id(&scene.alice.post(&list, answer.clone()).await, 201);
    let own = format!("/api/comments/{comment}/");
    expect(&scene.bob.http.delete(&own).await, 204);

    let listed = scene.alice.get(&list).await;
    let listed = expect(&listed, 200)["comments"].clone();
    assert_eq!(
        (&listed[0]["content"], &listed[0]["is_deleted"]),
        (&json!(""), &json!(true))
    );
    assert_eq!(
        (&listed[1]["id"], &listed[1]["is_deleted"]),
        (&json!(answered), &json!(false))
    );
    let shown = scene
        .alice
        .get(&format!("/api/discussions/{discussion}/"))
        .await;
    assert_eq!(expect(&shown, 200)["comment_count"], 1);
    expect(&scene.bob.put(&own, json!({"content": "Back"})).await, 404);
    expect(&scene.bob.http.delete(&own).await, 404);
    expect(&scene.alice.post(&list, answer).await, 400);
    scene.service.end().await;
}

#[tokio::test]
async fn a_text_is_its_authors_to_change_while_they_are_a_member() {
    let scene = Scene::set("private").await;
    let discussion = id(&scene.bob.discuss(scene.place, "Scaling").await, 201);
    let comment = id(&scene.bob.comment(discussion, "Yes").await, 201);
    let (own_discussion, own_comment) = (
        format!("/api/discussions/{discussion}/"),
        format!("/api/comments/{comment}/"),
    );
    for other in [&scene.alice, &scene.carol] {
        expect(
            &other.put(&own_discussion, json!({"topic": "T"})).await,
            403,
        );
        expect(&other.put(&own_comment, json!({"content": "C"})).await, 403);
    }
    for body in [
        json!({}),
        json!({"topic": ""}),
        json!({"topic": null, "x": 1}),
    ] {
        expect(&scene.bob.put(&own_discussion, body).await, 422);
    }
    expect(
        &scene.bob.put(&own_comment, json!({"content": " "})).await,
        422,
    );
    let removed = scene
        .alice
        .manage_member(scene.place.community, 2, "remove")
        .await;
    expect(&removed, 204);
    for path in [&own_discussion, &own_comment] {
        expect(&scene.bob.http.delete(path).await, 403);
        expect(&scene.bob.put(path, json!({"content": "C"})).await, 403);
    }
    expect(&scene.carol.http.delete(&own_discussion).await, 204);
    expect(&scene.carol.http.delete(&own_comment).await, 404);
    scene.service.end().await;
}

#[tokio::test]
async fn a_public_community_tells_nobody_and_a_type_has_its_effects() {
    let scene = Scene::set("public").await;
    let discussion = id(&scene.bob.discuss(scene.place, "Scaling").await, 201);
    let own = format!("/api/discussions/{discussion}/");
    expect(&scene.bob.put(&own, json!({"topic": "T"})).await, 200);
    expect(&scene.bob.http.delete(&own).await, 204);
    assert!(scene.events().await.is_empty());

    let path = format!("/api/communities/{}/", scene.place.community);
    expect(&scene.alice.put(&path, json!({})).await, 422);
    expect(
        &scene.alice.put(&path, json!({"type": "secret"})).await,
        422,
    );
    expect(&scene.carol.put(&path, json!({"name": "Mine"})).await, 403);
    let renamed = scene
        .alice
        .put(&path, json!({"name": "Ours", "type": "hidden"}))
        .await;
    let renamed = expect(&renamed, 200);
    assert_eq!(
        (&renamed["name"], &renamed["type"]),
        (&json!("Ours"), &json!("hidden"))
    );
    let follows = [scene.place.community_article];
    assert_eq!(
        scene.alice.follows().await,
        follows,
        "admins follow what was published"
    );
    assert!(scene.bob.follows().await.is_empty());
    expect(&scene.bob.subscribe(scene.place).await, 201);
    expect(
        &scene.alice.put(&path, json!({"type": "public"})).await,
        200,
    );
    assert!(scene.alice.follows().await.is_empty());
    assert!(scene.bob.follows().await.is_empty());
    scene.service.end().await;
}
