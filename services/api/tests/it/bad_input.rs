//! Input that no honest client sends: a documented status, a problem, nothing stored, and the next call works.

use axum::http::Method;
use bytes::Bytes;
use crier_testkit::Answer;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::fixture::{Person, Place, SECRET, Service, expect, id};

/// A service with a private community, a public one, an article in each, and a discussion.
struct Scene {
    service: Service,
    alice: Person,
    place: Place,
    public: Place,
    discussion: i64,
}

impl Scene {
    async fn set() -> Self {
        let service = Service::start().await;
        let alice = service.person(1, "alice");
        let private = alice.create_community("private").await;
        let place = alice.submit(private, "GPT-5 Architecture").await;
        alice.publish(place).await;
        let public = alice.create_community("public").await;
        let public = alice.submit(public, "Open").await;
        alice.publish(public).await;
        let discussion = id(&alice.discuss(place, "A topic").await, 201);
        Self {
            service,
            alice,
            place,
            public,
            discussion,
        }
    }

    /// All that a refused call could have changed.
    async fn everything(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let community = self.place.community;
        for path in [
            "/api/communities/".to_owned(),
            format!("/api/communities/{community}/"),
            format!("/api/communities/{community}/members/"),
            format!("/api/communities/{}/", self.public.community),
            self.place.discussions(),
            self.public.discussions(),
            format!("/api/discussions/{}/comments/", self.discussion),
            "/api/discussions/user-subscriptions/".to_owned(),
        ] {
            all.push(expect(&self.alice.get(&path).await, 200).clone());
        }
        let unsent = self.service.store().await.count_unsent().await;
        all.push(json!(unsent.unwrap()));
        all
    }

    async fn call(&self, method: &Method, path: &str, body: &[u8]) -> Answer {
        let body = (!body.is_empty()).then(|| Bytes::copy_from_slice(body));
        let called = self.alice.http.call(method.clone(), path, body).await;
        called.unwrap()
    }
}

fn refused(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    assert_eq!(
        answer.header("content-type"),
        "application/problem+json",
        "{what}"
    );
    for member in ["type", "title", "detail", "request_id"] {
        let text = answer.json[member].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "{what}: no {member} in {}", answer.json);
    }
    assert_eq!(answer.json["status"], status, "{what}");
}

/// What is wrong, the call, its body, and the status it must be answered with.
type Case = (&'static str, Method, String, String, u16);

#[rustfmt::skip]
fn bad_comments(scene: &Scene) -> Vec<Case> {
    let path = format!("/api/discussions/{}/comments/", scene.discussion);
    let long = |letters: usize| json!({"content": "ä".repeat(letters)}).to_string();
    let bodies = [
        ("no JSON", "{".to_owned(), 400),
        ("no JSON at all", "hello".into(), 400),
        ("two values", r#"{"content":"c"} {}"#.into(), 400),
        ("deep nesting", "[".repeat(100_000), 422),
        ("deep nesting inside", r#"{"content":"#.to_owned() + &"[".repeat(100_000), 422),
        ("an array", "[1]".into(), 422),
        ("the values in an array", r#"["c",null]"#.into(), 422),
        ("null", "null".into(), 422),
        ("a number for a text", r#"{"content":1}"#.into(), 422),
        ("a text for an id", r#"{"content":"c","parent_id":"1"}"#.into(), 422),
        ("a missing field", "{}".into(), 422),
        ("an unknown field", r#"{"content":"c","admin":true}"#.into(), 422),
        ("a field twice", r#"{"content":"c","content":"d"}"#.into(), 422),
        ("an empty text", r#"{"content":""}"#.into(), 422),
        ("a blank text", r#"{"content":" \n\t "}"#.into(), 422),
        ("a text that nobody can see", r#"{"content":"\u200b\u202e\ufeff"}"#.into(), 422),
        ("a NUL", r#"{"content":"a\u0000b"}"#.into(), 422),
        ("half a surrogate", r#"{"content":"\ud800"}"#.into(), 400),
        ("an unknown parent", r#"{"content":"c","parent_id":999}"#.into(), 400),
        ("a parent below one", r#"{"content":"c","parent_id":0}"#.into(), 422),
        ("a content too long", long(50_001), 422),
        ("a body over 1 MiB", long(600_000), 413),
    ];
    bodies.map(|(what, body, status)| (what, Method::POST, path.clone(), body, status)).into()
}

#[rustfmt::skip]
fn bad_calls(scene: &Scene) -> Vec<Case> {
    let (post, put, get) = (Method::POST, Method::PUT, Method::GET);
    let (place, public) = (scene.place, scene.public);
    let subscribe = || "/api/discussions/subscribe/".to_owned();
    let target = |article: i64, community: i64| {
        json!({"community_article_id": article, "community_id": community}).to_string()
    };
    let topic = |letters: usize| json!({"topic": "x".repeat(letters), "content": "c"}).to_string();
    let member = |user: i64| format!("/api/communities/{}/members/{user}", place.community);
    let comments = |query: &str| format!("/api/discussions/{}/comments{query}", scene.discussion);
    let elsewhere = format!("/api/articles/{}/discussions/?community_id={}", public.article, place.community);
    let manage = format!("/api/communities/{}/manage-member/1/crown", place.community);
    let nowhere = format!("/api/articles/{}/discussions", place.article);
    let none = String::new;
    let change = || format!("/api/discussions/{}", scene.discussion);
    let community = || format!("/api/communities/{}", place.community);
    vec![
        ("a topic of 501", post.clone(), place.discussions(), topic(501), 422),
        ("a topic of 100,000", post.clone(), place.discussions(), topic(100_000), 422),
        ("a discussion elsewhere", post.clone(), elsewhere, topic(1), 400),
        ("no community", get.clone(), nowhere, none(), 422),
        ("a name too long", post.clone(), "/api/communities".into(), json!({"name": "x".repeat(201), "type": "private"}).to_string(), 422),
        ("a name that nobody can see", post.clone(), "/api/communities".into(), json!({"name": "\u{2060}\u{e0020}", "type": "private"}).to_string(), 422),
        ("a title that nobody can see", post.clone(), "/api/articles".into(), json!({"title": "\u{3164}"}).to_string(), 422),
        ("a change of nothing", put.clone(), change(), "{}".into(), 422),
        ("a change to null", put.clone(), change(), r#"{"topic":null,"content":"c"}"#.into(), 422),
        ("a change to blank", put.clone(), change(), r#"{"topic":" "}"#.into(), 422),
        ("a NUL in a change", put.clone(), change(), r#"{"topic":"a\u0000b"}"#.into(), 422),
        ("a change of what can't be changed", put.clone(), change(), r#"{"topic":"t","author_id":2}"#.into(), 422),
        ("an unknown discussion to change", put.clone(), "/api/discussions/999".into(), r#"{"topic":"t"}"#.into(), 404),
        ("an unknown comment to change", put.clone(), "/api/comments/999".into(), r#"{"content":"c"}"#.into(), 404),
        ("an unknown comment to delete", Method::DELETE, "/api/comments/9223372036854775807".into(), none(), 404),
        ("an unknown discussion to delete", Method::DELETE, "/api/discussions/999".into(), none(), 404),
        ("a community's change of nothing", put.clone(), community(), "{}".into(), 422),
        ("a community's change to null", put.clone(), community(), r#"{"name":null,"type":"hidden"}"#.into(), 422),
        ("a number for a kind", put.clone(), community(), r#"{"type":1}"#.into(), 422),
        ("an unknown community to change", put.clone(), "/api/communities/999".into(), r#"{"name":"n"}"#.into(), 404),
        ("an unknown kind", post.clone(), "/api/communities".into(), r#"{"name":"n","type":"secret"}"#.into(), 422),
        ("an abstract too long", post.clone(), "/api/articles".into(), json!({"title": "t", "abstract": "ä".repeat(10_001)}).to_string(), 422),
        ("a title too long", post.clone(), "/api/articles".into(), json!({"title": "x".repeat(201)}).to_string(), 422),
        ("a number for a role", put.clone(), member(1), r#"{"role":1}"#.into(), 422),
        ("an unknown role", put.clone(), member(1), r#"{"role":"owner"}"#.into(), 422),
        ("an unknown user", put.clone(), member(999), r#"{"role":"member"}"#.into(), 404),
        ("no such action", post.clone(), manage, none(), 404),
        ("an article elsewhere", post.clone(), subscribe(), target(public.community_article, place.community), 400),
        ("a public community", post.clone(), subscribe(), public.target().to_string(), 400),
        ("an unknown article", post.clone(), subscribe(), target(999, place.community), 404),
        ("an unknown community", post.clone(), subscribe(), target(1, 999), 404),
        ("an id beyond 64 bits", post.clone(), subscribe(), r#"{"community_article_id":99999999999999999999,"community_id":1}"#.into(), 422),
        ("an unknown subscription", put.clone(), "/api/discussions/subscription/999".into(), r#"{"is_active":true}"#.into(), 404),
        ("a word for a truth", put, "/api/discussions/subscription/1".into(), r#"{"is_active":"yes"}"#.into(), 422),
        ("an unknown discussion", post, "/api/discussions/999/comments".into(), r#"{"content":"c"}"#.into(), 404),
        ("an id that is none", get.clone(), "/api/discussions/x".into(), none(), 404),
        ("an id of zero", get.clone(), "/api/communities/0".into(), none(), 404),
        ("a path with a NUL", get.clone(), "/api/articles/a%00b".into(), none(), 404),
        ("a path that is no UTF-8", get.clone(), "/api/articles/%ff".into(), none(), 404),
        ("no such path", get.clone(), "/api/nothing".into(), none(), 404),
        ("no such method", Method::PATCH, "/api/communities".into(), "{}".into(), 405),
        ("a page of none", get.clone(), comments("?limit=0"), none(), 422),
        ("a page too large", get.clone(), comments("?limit=201"), none(), 422),
        ("an unknown parameter", get, comments("?before=1"), none(), 422),
    ]
}

#[tokio::test]
async fn bad_bodies_and_ids_are_refused_and_leave_nothing() {
    let scene = Scene::set().await;
    let before = scene.everything().await;
    for (what, method, path, body, status) in [bad_comments(&scene), bad_calls(&scene)].concat() {
        let answer = scene.call(&method, &path, body.as_bytes()).await;
        refused(&answer, status, what);
        let next = scene
            .alice
            .get("/api/discussions/user-subscriptions/")
            .await;
        expect(&next, 200);
    }
    assert_eq!(scene.everything().await, before);
    let longest = json!({"content": "ä".repeat(50_000)});
    let path = format!("/api/discussions/{}/comments/", scene.discussion);
    expect(&scene.alice.post(&path, longest).await, 201);
    scene.service.end().await;
}

#[tokio::test]
async fn a_body_that_is_not_called_json_is_refused() {
    let scene = Scene::set().await;
    let path = format!(
        "{}/api/discussions/{}/comments/",
        scene.service.http.base(),
        scene.discussion
    );
    let token = crate::fixture::signer().sign_user(1, "alice", std::time::Duration::from_secs(60));
    let request = http::Request::post(path)
        .header("authorization", format!("Bearer {}", token.unwrap()))
        .header("content-type", "text/plain")
        .body(Full::new(Bytes::from_static(br#"{"content":"c"}"#)));
    let answer = scene.alice.http.send(request.unwrap()).await.unwrap();
    refused(&answer, 415, "text/plain");
    scene.service.end().await;
}

#[tokio::test]
async fn forged_tokens_are_all_the_same() {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    let service = Service::start().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = i64::try_from(now.unwrap().as_secs()).unwrap();
    let claims = |change: Value| {
        let mut claims = json!({"sub": "1", "aud": "crier", "iat": now, "exp": now + 600});
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let sign = |algorithm, claims: Value, secret: &str| {
        let key = EncodingKey::from_secret(secret.as_bytes());
        encode(&Header::new(algorithm), &claims, &key).unwrap()
    };
    let good = sign(Algorithm::HS256, claims(json!({})), SECRET);
    expect(
        &service.http.with_token(&good).get("/api/communities").await,
        200,
    );
    let forged = [
        sign(
            Algorithm::HS256,
            claims(json!({})),
            "another secret, which is just as long",
        ),
        sign(Algorithm::HS384, claims(json!({})), SECRET),
        sign(Algorithm::HS256, claims(json!({"exp": now - 1})), SECRET),
        sign(Algorithm::HS256, claims(json!({"iat": now + 600})), SECRET),
        sign(Algorithm::HS256, claims(json!({"aud": "others"})), SECRET),
        sign(Algorithm::HS256, claims(json!({"sub": "alice"})), SECRET),
        sign(Algorithm::HS256, claims(json!({"sub": -1})), SECRET),
        "x".repeat(20_000),
        "a.b.c".to_owned(),
    ];
    let details: Vec<Value> = {
        let mut details = Vec::new();
        for token in &forged {
            let answer = service.http.with_token(token).get("/api/communities").await;
            refused(&answer, 401, token);
            assert_eq!(answer.header("www-authenticate"), "Bearer");
            details.push(answer.json["detail"].clone());
        }
        details
    };
    assert!(
        details.iter().all(|detail| *detail == details[0]),
        "{details:?}"
    );
    // The cookie of the streams opens no call.
    let request = http::Request::get(format!("{}/api/communities", service.http.base()))
        .header("cookie", format!("crier_token={good}"))
        .body(Full::default());
    refused(
        &service.http.send(request.unwrap()).await.unwrap(),
        401,
        "cookie",
    );
    service.end().await;
}
