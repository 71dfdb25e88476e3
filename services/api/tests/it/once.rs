//! `Idempotency-Key`: a call that comes again makes nothing new and gets the same answer, after a restart as well.

use std::collections::BTreeSet;

use crier_testkit::Answer;
use serde_json::{Value, json};

use crate::fixture::{Person, Place, Service, expect, id};

const KEY: &str = "idempotency-key";

impl Person {
    async fn post_with(&self, key: &str, path: &str, body: &Value) -> Answer {
        self.http.with_header(KEY, key).post(path, body).await
    }
}

/// A private community of alice's, with bob as a member, an article, a discussion, and a paper of bob's own.
struct Scene {
    service: Service,
    alice: Person,
    bob: Person,
    place: Place,
    discussion: i64,
    paper: i64,
}

impl Scene {
    async fn set() -> Self {
        let service = Service::start().await;
        let (alice, bob) = (service.person(1, "alice"), service.known(2, "bob").await);
        let community = alice.create_community("private").await;
        alice.put_member(community, &bob, "member").await;
        let place = alice.submit(community, "GPT-5 Architecture").await;
        alice.publish(place).await;
        let discussion = id(&alice.discuss(place, "A topic").await, 201);
        let paper = bob.post("/api/articles", json!({"title": "Paper"})).await;
        Self {
            paper: id(&paper, 201),
            service,
            alice,
            bob,
            place,
            discussion,
        }
    }

    /// Each call that makes something, with its body.
    fn calls(&self) -> Vec<(String, Value)> {
        vec![
            (
                "/api/communities".to_owned(),
                json!({"name": "N", "type": "hidden"}),
            ),
            (
                "/api/articles".to_owned(),
                json!({"title": "Title", "abstract": "ä\u{2028}"}),
            ),
            (
                format!(
                    "/api/communities/{}/articles/{}/submit",
                    self.place.community, self.paper
                ),
                json!({}),
            ),
            (
                self.place.discussions(),
                json!({"topic": "T", "content": "C"}),
            ),
            (self.comments(), json!({"content": "C"})),
        ]
    }

    fn comments(&self) -> String {
        format!("/api/discussions/{}/comments", self.discussion)
    }

    async fn unsent(&self) -> u64 {
        let store = self.service.store().await;
        store.count_unsent().await.unwrap()
    }
}

#[tokio::test]
async fn what_comes_again_is_answered_again_and_makes_nothing() {
    let mut scene = Scene::set().await;
    for (number, (path, body)) in scene.calls().into_iter().enumerate() {
        let key = format!("\"key {number}\"");
        let first = scene.bob.post_with(&key, &path, &body).await;
        expect(&first, 201);
        let unsent = scene.unsent().await;
        // The answer may have been lost with the process.
        scene.service = scene.service.restart().await;
        scene.bob = scene.service.person(2, "bob");
        let with_slash = match path.split_once("/?") {
            Some((path, query)) => format!("{path}?{query}"),
            None => format!("{path}/"),
        };
        for path in [&path, &with_slash] {
            let again = scene.bob.post_with(&key, path, &body).await;
            expect(&again, 201);
            assert_eq!(again.body, first.body, "{path}");
        }
        assert_eq!(scene.unsent().await, unsent, "{path}");
        if path.ends_with("/submit") {
            continue;
        }
        // Another key, or another's: another thing.
        let fresh = scene
            .bob
            .post_with(&format!("another {number}"), &path, &body)
            .await;
        assert_ne!(expect(&fresh, 201)["id"], first.json["id"], "{path}");
        let alice = scene.service.person(1, "alice");
        let hers = alice.post_with(&key, &path, &body).await;
        assert_ne!(expect(&hers, 201)["id"], first.json["id"], "{path}");
    }
    scene.service.end().await;
}

#[tokio::test]
async fn many_at_once_make_one_thing() {
    let scene = Scene::set().await;
    for (number, (path, body)) in scene.calls().into_iter().enumerate() {
        let before = scene.unsent().await;
        let calls = (0..32).map(|_| {
            let (bob, path, body) = (scene.bob.clone(), path.clone(), body.clone());
            let key = format!("at once {number}");
            tokio::spawn(async move { bob.post_with(&key, &path, &body).await })
        });
        let mut answers = BTreeSet::new();
        for call in calls.collect::<Vec<_>>() {
            let answer = call.await.unwrap();
            expect(&answer, 201);
            answers.insert(answer.body);
        }
        assert_eq!(answers.len(), 1, "{path}");
        let rows = scene.unsent().await - before;
        assert!(rows <= 1, "{path} left {rows} rows");
    }
    scene.service.end().await;
}

#[tokio::test]
async fn a_key_is_for_one_request_and_well_formed() {
    let scene = Scene::set().await;
    let (comments, body) = (scene.comments(), json!({"content": "C"}));
    expect(&scene.bob.post_with("k", &comments, &body).await, 201);
    let others = [
        (comments.clone(), json!({"content": "D"})),
        (comments.clone(), json!({"content": "C", "parent_id": null})),
        (format!("{comments}?x=1"), body.clone()),
        ("/api/articles".to_owned(), json!({"title": "T"})),
    ];
    for (path, other) in others {
        let answer = scene.bob.post_with("k", &path, &other).await;
        let detail = expect(&answer, 422)["detail"].as_str().unwrap();
        assert!(detail.contains("Idempotency-Key"), "{path}: {detail}");
    }
    for bad in ["", "a\tb", "ä", &"k".repeat(256)] {
        let answer = scene.bob.post_with(bad, &comments, &body).await;
        expect(&answer, 400);
    }
    let twice = scene.bob.http.with_header(KEY, "a").with_header(KEY, "b");
    expect(&twice.post(&comments, &body).await, 400);
    expect(
        &scene
            .bob
            .post_with(&"k".repeat(255), &comments, &body)
            .await,
        201,
    );
    // A body that is too large to be looked at is refused as without a key.
    let large = json!({"content": "x".repeat(1_100_000)});
    expect(&scene.bob.post_with("large", &comments, &large).await, 413);
    scene.service.end().await;
}

#[tokio::test]
async fn a_call_that_failed_leaves_its_key_free() {
    let scene = Scene::set().await;
    let comments = scene.comments();
    let wrong = json!({"content": "C", "parent_id": 999});
    expect(&scene.bob.post_with("k", &comments, &wrong).await, 400);
    let blank = json!({"content": " "});
    expect(&scene.bob.post_with("k", &comments, &blank).await, 422);
    let right = json!({"content": "C"});
    expect(&scene.bob.post_with("k", &comments, &right).await, 201);
    scene.service.end().await;
}

#[tokio::test]
async fn who_lost_access_gets_no_answer_of_before() {
    let scene = Scene::set().await;
    for (path, body) in scene.calls().into_iter().skip(2) {
        expect(&scene.bob.post_with(&path, &path, &body).await, 201);
    }
    let removed = scene
        .alice
        .manage_member(scene.place.community, 2, "remove")
        .await;
    expect(&removed, 204);
    for (path, body) in scene.calls().into_iter().skip(2) {
        expect(&scene.bob.post_with(&path, &path, &body).await, 403);
    }
    scene.service.end().await;
}
