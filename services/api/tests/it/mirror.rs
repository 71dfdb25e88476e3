//! Upserts by an application that keeps its own data: by its own ids, as often as it likes, in any order.

use crier_testkit::{Answer, HttpClient};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::fixture::{Person, Service, expect};

/// The application's backend.
struct Backend(HttpClient);

impl Backend {
    async fn community(&self, id: i64, name: &str, kind: &str) -> Answer {
        let body = json!({"name": name, "type": kind});
        self.0.put(&format!("/api/communities/{id}/"), &body).await
    }

    async fn member(&self, community: i64, user: i64, body: Value) -> Answer {
        let path = format!("/api/communities/{community}/members/{user}/");
        self.0.put(&path, &body).await
    }

    async fn article(&self, id: i64, body: Value) -> Answer {
        self.0.put(&format!("/api/articles/{id}/"), &body).await
    }

    async fn placed(&self, community: i64, article: i64, body: Value) -> Answer {
        let path = format!("/api/communities/{community}/articles/{article}/");
        self.0.put(&path, &body).await
    }

    async fn manage_member(&self, community: i64, user: i64, action: &str) -> Answer {
        let path = format!("/api/communities/{community}/manage-member/{user}/{action}/");
        self.0.post(&path, &json!({})).await
    }
}

/// What a platform has, in the order in which its parts refer to each other, with the answers.
async fn platform(backend: &Backend) -> Vec<Answer> {
    vec![
        backend.community(45, "AI Research Group", "private").await,
        backend
            .member(45, 1, json!({"role": "admin", "username": "alice"}))
            .await,
        backend.member(45, 2, json!({"role": "member"})).await,
        backend
            .article(
                123,
                json!({"title": "GPT-5 Architecture", "submitter_id": 2, "slug": "gpt-5", "abstract": "What is new."}),
            )
            .await,
        backend
            .placed(45, 123, json!({"status": "published", "id": 900}))
            .await,
    ]
}

async fn scene() -> (Service, Backend, Person, Person) {
    let service = Service::start().await;
    let backend = Backend(service.backend());
    let (alice, bob) = (service.person(1, "alice"), service.person(2, "bob"));
    for answer in platform(&backend).await {
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    (service, backend, alice, bob)
}

#[tokio::test]
async fn a_platform_is_mirrored_and_a_second_time_nothing_is_new() {
    let (service, backend, alice, bob) = scene().await;
    let unsent = service.store().await.count_unsent().await.unwrap();
    let answers = platform(&backend).await;
    let expected = [
        json!({"id": 45, "name": "AI Research Group", "type": "private", "role": null, "member_count": 2}),
        json!({"user_id": 1, "username": "alice", "role": "admin"}),
        json!({"user_id": 2, "username": "user 2", "role": "member"}),
        json!({"id": 123, "title": "GPT-5 Architecture", "slug": "gpt-5", "abstract": "What is new.", "submitter_id": 2}),
        json!({"id": 900, "community_id": 45, "article_id": 123, "article_slug": "gpt-5", "status": "published"}),
    ];
    for (answer, expected) in answers.iter().zip(&expected) {
        assert_eq!(expect(answer, 200), expected);
    }
    let again = service.store().await.count_unsent().await.unwrap();
    assert_eq!(again, unsent, "nobody is told");
    // The admin follows what is published, and so does its submitter, who is a member.
    assert_eq!(alice.follows().await, [900]);
    assert_eq!(bob.follows().await, [900]);
    service.end().await;
}

#[tokio::test]
async fn what_changes_is_told_and_what_is_left_out_stays() {
    let (service, backend, _, bob) = scene().await;
    let article = backend
        .article(123, json!({"title": "GPT-6", "submitter_id": 1}))
        .await;
    assert_eq!(
        *expect(&article, 200),
        json!({"id": 123, "title": "GPT-6", "slug": "gpt-5", "abstract": "What is new.", "submitter_id": 1})
    );
    let member = backend
        .member(
            45,
            2,
            json!({"role": "moderator", "username": " Bob\u{7} "}),
        )
        .await;
    assert_eq!(expect(&member, 200)["username"], "Bob", "as tokens' names");
    expect(
        &backend.placed(45, 123, json!({"status": "approved"})).await,
        200,
    );
    assert_eq!(bob.follows().await, [900], "as in the calls of people");
    expect(&backend.community(45, "AI", "public").await, 200);
    assert_eq!(bob.follows().await, [0_i64; 0]);
    let path = "/api/communities/45/articles/123/manage/publish";
    expect(&backend.0.post(path, &json!({})).await, 200);
    expect(&backend.community(45, "AI", "hidden").await, 200);
    assert_eq!(bob.follows().await, [0_i64; 0], "admins alone come back");
    expect(&backend.member(45, 2, json!({"role": "admin"})).await, 200);
    assert_eq!(bob.follows().await, [900]);
    service.end().await;
}

#[tokio::test]
async fn the_order_of_a_mirrors_calls_does_not_matter_to_the_last_admin() {
    let (service, backend, alice, bob) = scene().await;
    expect(&backend.manage_member(45, 1, "remove").await, 204);
    expect(&backend.manage_member(45, 1, "remove").await, 404);
    expect(&backend.manage_member(45, 2, "promote_admin").await, 200);
    expect(&backend.manage_member(45, 2, "demote_admin").await, 200);
    expect(&backend.manage_member(99, 2, "remove").await, 404);
    expect(&alice.get("/api/communities/45").await, 403);
    expect(&bob.get("/api/communities/45").await, 200);
    service.end().await;
}

#[tokio::test]
async fn a_users_own_unsubscribe_is_undone_by_no_upsert() {
    let (service, backend, alice, _) = scene().await;
    let status = alice
        .get("/api/discussions/subscription-status/?community_article_id=900&community_id=45")
        .await;
    let id = expect(&status, 200)["subscription"]["id"].clone();
    let path = format!("/api/discussions/unsubscribe/{id}/");
    expect(&alice.http.delete(&path).await, 204);
    platform(&backend).await;
    expect(&backend.member(45, 1, json!({"role": "member"})).await, 200);
    expect(&backend.member(45, 1, json!({"role": "admin"})).await, 200);
    expect(
        &backend.placed(45, 123, json!({"status": "rejected"})).await,
        200,
    );
    expect(
        &backend
            .placed(45, 123, json!({"status": "published"}))
            .await,
        200,
    );
    assert_eq!(alice.follows().await, [0_i64; 0]);
    service.end().await;
}

#[tokio::test]
async fn bad_upserts_are_refused_and_leave_nothing() {
    let (service, backend, alice, _) = scene().await;
    let store = service.store().await;
    let before = store.count_unsent().await.unwrap();
    let far = (1_i64 << 53) - 1;
    let title = |more: Value| {
        let mut body = json!({"title": "T", "submitter_id": 1});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let cases = [
        (backend.community(far + 1, "N", "private").await, 422),
        (backend.community(46, "a\0b", "private").await, 422),
        (backend.community(46, " ", "private").await, 422),
        (
            backend
                .0
                .put("/api/communities/46", &json!({"name": "N"}))
                .await,
            422,
        ),
        (
            backend.member(45, far + 1, json!({"role": "member"})).await,
            422,
        ),
        (backend.member(45, 3, json!({"role": null})).await, 422),
        (
            backend
                .member(45, 3, json!({"role": "member", "username": "a\0"}))
                .await,
            422,
        ),
        (backend.member(46, 3, json!({"role": "member"})).await, 404),
        (backend.article(far + 1, title(json!({}))).await, 422),
        (
            backend
                .article(124, title(json!({"submitter_id": far + 1})))
                .await,
            422,
        ),
        (
            backend
                .article(124, title(json!({"submitter_id": 99})))
                .await,
            404,
        ),
        (
            backend.article(124, title(json!({"slug": "gpt-5"}))).await,
            409,
        ),
        (
            backend.article(124, title(json!({"slug": "124"}))).await,
            422,
        ),
        (backend.article(124, title(json!({"slug": "A"}))).await, 422),
        (
            backend
                .article(124, title(json!({"abstract": "a\0"})))
                .await,
            422,
        ),
        (
            backend
                .0
                .put("/api/articles/gpt-5", &title(json!({})))
                .await,
            404,
        ),
        (
            backend.placed(45, 99, json!({"status": "published"})).await,
            404,
        ),
        (
            backend
                .placed(46, 123, json!({"status": "published"}))
                .await,
            404,
        ),
        (
            backend
                .placed(45, 123, json!({"status": "published", "id": 901}))
                .await,
            409,
        ),
        (
            backend
                .placed(45, 123, json!({"status": "published", "id": far + 1}))
                .await,
            422,
        ),
        (
            backend
                .placed(45, 123, json!({"status": "published", "submitter_id": 99}))
                .await,
            404,
        ),
        (backend.placed(45, 123, json!({"status": "new"})).await, 422),
        (
            alice
                .put(
                    "/api/communities/45/members/3",
                    json!({"role": "member", "username": "x"}),
                )
                .await,
            422,
        ),
    ];
    for (n, (answer, status)) in cases.iter().enumerate() {
        assert_eq!(answer.status, *status, "{n}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    expect(&alice.get("/api/articles/124").await, 404);
    assert_eq!(store.count_unsent().await.unwrap(), before);
    service.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upserts_of_the_same_at_once_make_it_once() {
    let (postgres, _database) = Service::on_postgres().await;
    for service in [Service::start().await, postgres] {
        let backend = Backend(service.backend());
        let backend = &backend;
        expect(&backend.community(45, "N", "private").await, 201);
        expect(&backend.member(45, 1, json!({"role": "admin"})).await, 201);
        let articles = join_all((0..16).map(|n| async move {
            // Two different ids want one slug, too.
            let id = 123 + n % 2;
            let body = json!({"title": "T", "submitter_id": 1, "slug": "one"});
            backend.article(id, body).await
        }));
        let statuses: Vec<u16> = articles.await.iter().map(|answer| answer.status).collect();
        assert_eq!(
            statuses.iter().filter(|status| **status == 201).count(),
            1,
            "{statuses:?}"
        );
        assert_eq!(
            statuses.iter().filter(|status| **status == 409).count(),
            8,
            "{statuses:?}"
        );
        let members = join_all((0..16).map(|_| backend.member(45, 7, json!({"role": "admin"}))));
        let made = members
            .await
            .iter()
            .filter(|answer| answer.status == 201)
            .count();
        assert_eq!(made, 1);
        service.end().await;
    }
}
