//! The demo: its login, its page, its sample data.

use serde_json::{Value, json};

use crate::fixture::{Person, Service, expect};

const GATEWAY: &str = "http://127.0.0.1:8001";

async fn demo() -> Service {
    Service::with(|config| {
        config.api.demo = true;
        config.api.gateways = vec![GATEWAY.to_owned()];
    })
    .await
}

async fn login(service: &Service, user: &str) -> Person {
    let answer = service
        .http
        .post("/demo/login", &json!({ "user": user }))
        .await;
    let body = expect(&answer, 200);
    let cookie = answer.header("set-cookie");
    let token = body["token"].as_str().unwrap();
    assert!(
        cookie.starts_with(&format!("crier_token={token};")),
        "{cookie}"
    );
    for part in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_eq!(body["username"], user);
    assert_eq!(body["gateways"], json!([GATEWAY]));
    assert_eq!(body["expires_in"], 3600);
    Person {
        id: body["user_id"].as_i64().unwrap(),
        http: service.http.with_token(token),
    }
}

/// What the three see.
async fn everything(service: &Service) -> Vec<Value> {
    let mut all = Vec::new();
    for name in ["alice", "bob", "carol"] {
        let person = login(service, name).await;
        for path in [
            "/api/communities/",
            "/api/communities/1/",
            "/api/communities/1/members/",
            "/api/articles/gpt-5-architecture/discussions/?community_id=1",
            "/api/discussions/user-subscriptions/",
        ] {
            all.push(expect(&person.get(path).await, 200).clone());
        }
    }
    all
}

#[tokio::test]
async fn a_second_start_changes_nothing() {
    let service = demo().await;
    let (alice, bob) = (login(&service, "alice").await, login(&service, "bob").await);
    let carol = login(&service, "carol").await;
    let page = alice.get("/api/communities/1/").await;
    assert_eq!(expect(&page, 200)["name"], "AI Research Group");
    assert_eq!(
        (&page.json["type"], &page.json["role"]),
        (&json!("private"), &json!("admin"))
    );
    let titles: Vec<&Value> = page.json["articles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|article| &article["article_title"])
        .collect();
    assert_eq!(titles, ["GPT-5 Architecture", "Transformer Improvements"]);
    let gpt = page.json["articles"][0]["community_article_id"]
        .as_i64()
        .unwrap();
    assert!(alice.follows().await.contains(&gpt));
    assert_eq!(bob.follows().await, [gpt]);
    assert!(carol.follows().await.is_empty());

    // What people changed is theirs.
    let mine = bob.get("/api/communities/1/").await.json["articles"][0]["subscription_id"].clone();
    expect(
        &bob.http
            .delete(&format!("/api/discussions/unsubscribe/{mine}/"))
            .await,
        204,
    );
    expect(&alice.manage_member(1, 3, "remove").await, 204);
    expect(&alice.manage_member(1, 2, "promote_moderator").await, 200);
    alice.put_member(1, &carol, "reviewer").await;
    let before = everything(&service).await;
    let rows = service.store().await.count_unsent().await.unwrap();
    let service = service.restart().await;
    assert_eq!(everything(&service).await, before);
    assert_eq!(service.store().await.count_unsent().await.unwrap(), rows);
    service.end().await;
}

#[tokio::test]
async fn nobody_else_logs_in() {
    let service = demo().await;
    for body in [json!({"user": "mallory"}), json!({"user": 1}), json!({})] {
        expect(&service.http.post("/demo/login", &body).await, 422);
    }
    service.end().await;
}

#[tokio::test]
async fn the_page_comes_with_all_its_modules_and_may_reach_the_gateways_only() {
    let service = demo().await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/crier.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
    ] {
        let answer = service.http.get(path).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, kind),
            "{path}"
        );
        assert_eq!(answer.header("cache-control"), "no-cache");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(
            policy.contains(&format!("connect-src 'self' {GATEWAY}")),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
    }
    service.end().await;
}

#[tokio::test]
async fn without_demo_there_is_neither_page_nor_login() {
    let service = Service::start().await;
    expect(&service.http.get("/").await, 404);
    expect(&service.http.get("/app.js").await, 404);
    expect(
        &service
            .http
            .post("/demo/login", &json!({"user": "alice"}))
            .await,
        404,
    );
    let list = service.person(1, "alice").get("/api/communities/").await;
    assert_eq!(
        *expect(&list, 200),
        json!({"communities": [], "last_event_id": null})
    );
    service.end().await;
}
