//! Every route × every kind of caller → status. A route without a row here fails the test.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::Method;
use bytes::Bytes;
use crier_testkit::HttpClient;
use serde_json::{Value, json};

use crate::fixture::{Person, Place, Service, expect, id, signer};

/// What one route answers to whom. Without a valid token it is 401, always.
pub(crate) struct Row {
    pub(crate) method: Method,
    /// As it stands in the route table.
    pub(crate) route: &'static str,
    path: fn(&Stage) -> String,
    body: fn(&Stage) -> Option<Value>,
    answers: Answers,
}

/// The statuses for an outsider of a private community, of a hidden one, a member, the admin, and the application's
/// own backend.
struct Answers {
    outsider: u16,
    hidden_outsider: u16,
    member: u16,
    admin: u16,
    backend: u16,
}

const fn answers(outsider: u16, hidden_outsider: u16, member: u16, admin: u16) -> Answers {
    Answers {
        outsider,
        hidden_outsider,
        member,
        admin,
        backend: 403,
    }
}

/// For the backend alone.
const fn backend(status: u16) -> Answers {
    answers(403, 403, 403, 403).or_backend(status)
}

impl Answers {
    /// And for the backend.
    const fn or_backend(self, backend: u16) -> Self {
        Self { backend, ..self }
    }
}

/// A community made for one call, so that no call meets what another left.
pub(crate) struct Stage {
    /// Published; the member follows it.
    pub(crate) place: Place,
    /// Submitted by the member.
    waiting: Place,
    /// Made by the caller, submitted nowhere.
    fresh: i64,
    pub(crate) discussion: i64,
    /// The member's.
    comment: i64,
    /// The member's.
    subscription: i64,
    /// One more member.
    bystander: i64,
    /// Known to Crier, in no community.
    newcomer: i64,
}

impl Row {
    /// Whether people are refused, whoever they are.
    pub(crate) fn is_for_backend(&self) -> bool {
        self.answers.admin == 403 && self.answers.backend != 403
    }
}

pub(crate) struct People {
    pub(crate) admin: Person,
    pub(crate) member: Person,
    outsider: Person,
    bystander: Person,
    newcomer: Person,
}

impl People {
    pub(crate) async fn meet(service: &Service) -> Self {
        Self {
            admin: service.known(1, "alice").await,
            member: service.known(2, "bob").await,
            outsider: service.known(3, "carol").await,
            bystander: service.known(4, "dave").await,
            newcomer: service.known(5, "erin").await,
        }
    }
}

impl Stage {
    pub(crate) async fn set(people: &People, kind: &str, caller: &Person) -> Self {
        let People {
            admin,
            member,
            bystander,
            newcomer,
            ..
        } = people;
        let community = admin.create_community(kind).await;
        admin.put_member(community, member, "member").await;
        admin.put_member(community, bystander, "member").await;
        let place = admin.submit(community, "Published").await;
        admin.publish(place).await;
        let waiting = member.submit(community, "Waiting").await;
        let fresh = caller
            .post("/api/articles", json!({"title": "Fresh"}))
            .await;
        let discussion = id(&admin.discuss(place, "A topic").await, 201);
        Self {
            place,
            waiting,
            fresh: id(&fresh, 201),
            discussion,
            comment: id(&member.comment(discussion, "A comment").await, 201),
            subscription: id(&member.subscribe(place).await, 201),
            bystander: bystander.id,
            newcomer: newcomer.id,
        }
    }
}

fn no_body(_: &Stage) -> Option<Value> {
    None
}

fn row(
    method: Method,
    route: &'static str,
    path: fn(&Stage) -> String,
    body: fn(&Stage) -> Option<Value>,
    answers: Answers,
) -> Row {
    Row {
        method,
        route,
        path,
        body,
        answers,
    }
}

#[rustfmt::skip]
pub(crate) fn rows() -> Vec<Row> {
    use Method as M;
    vec![
        row(M::POST, "/api/discussions/subscribe", |_| "/api/discussions/subscribe".into(),
            |s| Some(s.place.target()), answers(403, 404, 200, 200)),
        row(M::DELETE, "/api/discussions/unsubscribe/{subscription}", |s| format!("/api/discussions/unsubscribe/{}", s.subscription),
            no_body, answers(404, 404, 204, 404)),
        row(M::PUT, "/api/discussions/subscription/{subscription}", |s| format!("/api/discussions/subscription/{}", s.subscription),
            |_| Some(json!({"is_active": false})), answers(404, 404, 200, 404)),
        row(M::GET, "/api/discussions/subscription-status", |s| format!("/api/discussions/subscription-status?community_article_id={}&community_id={}", s.place.community_article, s.place.community),
            no_body, answers(403, 404, 200, 200)),
        row(M::GET, "/api/discussions/user-subscriptions", |_| "/api/discussions/user-subscriptions".into(),
            no_body, answers(200, 200, 200, 200)),

        row(M::POST, "/api/articles/{article}/discussions", |s| s.place.discussions(),
            |_| Some(json!({"topic": "T", "content": "C"})), answers(403, 404, 201, 201)),
        row(M::GET, "/api/articles/{article}/discussions", |s| s.place.discussions(),
            no_body, answers(403, 404, 200, 200)),
        row(M::GET, "/api/discussions/{discussion}", |s| format!("/api/discussions/{}", s.discussion),
            no_body, answers(403, 404, 200, 200)),
        row(M::PUT, "/api/discussions/{discussion}", |s| format!("/api/discussions/{}", s.discussion),
            |_| Some(json!({"topic": "Another"})), answers(403, 404, 403, 200)),
        row(M::DELETE, "/api/discussions/{discussion}", |s| format!("/api/discussions/{}", s.discussion),
            no_body, answers(403, 404, 403, 204)),
        row(M::PUT, "/api/comments/{comment}", |s| format!("/api/comments/{}", s.comment),
            |_| Some(json!({"content": "Another"})), answers(403, 404, 200, 403)),
        row(M::DELETE, "/api/comments/{comment}", |s| format!("/api/comments/{}", s.comment),
            no_body, answers(403, 404, 204, 204)),
        row(M::POST, "/api/discussions/{discussion}/comments", |s| format!("/api/discussions/{}/comments", s.discussion),
            |_| Some(json!({"content": "C"})), answers(403, 404, 201, 201)),
        row(M::GET, "/api/discussions/{discussion}/comments", |s| format!("/api/discussions/{}/comments", s.discussion),
            no_body, answers(403, 404, 200, 200)),

        row(M::POST, "/api/communities", |_| "/api/communities".into(),
            |_| Some(json!({"name": "N", "type": "hidden"})), answers(201, 201, 201, 201)),
        row(M::GET, "/api/communities", |_| "/api/communities".into(),
            no_body, answers(200, 200, 200, 200)),
        row(M::GET, "/api/communities/{community}", |s| format!("/api/communities/{}", s.place.community),
            no_body, answers(403, 404, 200, 200)),
        row(M::PUT, "/api/communities/{community}", |s| format!("/api/communities/{}", s.place.community),
            |_| Some(json!({"name": "Another", "type": "public"})), answers(403, 404, 403, 200).or_backend(200)),
        row(M::GET, "/api/communities/{community}/members", |s| format!("/api/communities/{}/members", s.place.community),
            no_body, answers(403, 404, 200, 200)),
        row(M::POST, "/api/communities/{community}/join", |s| format!("/api/communities/{}/join", s.place.community),
            no_body, answers(403, 404, 200, 200)),
        row(M::POST, "/api/communities/{community}/leave", |s| format!("/api/communities/{}/leave", s.place.community),
            no_body, answers(403, 404, 204, 409)),
        row(M::PUT, "/api/communities/{community}/members/{user}", |s| format!("/api/communities/{}/members/{}", s.place.community, s.newcomer),
            |_| Some(json!({"role": "member"})), answers(403, 404, 403, 200).or_backend(201)),
        row(M::POST, "/api/communities/{community}/manage-member/{user}/{action}", |s| format!("/api/communities/{}/manage-member/{}/remove", s.place.community, s.bystander),
            no_body, answers(403, 404, 403, 204).or_backend(204)),

        row(M::POST, "/api/articles", |_| "/api/articles".into(),
            |s| Some(json!({"title": format!("Paper {}", s.fresh)})), answers(201, 201, 201, 201)),
        row(M::GET, "/api/articles/{article}", |s| format!("/api/articles/{}", s.place.article),
            no_body, answers(404, 404, 200, 200)),
        row(M::PUT, "/api/articles/{article}", |s| format!("/api/articles/{}", s.place.article),
            |_| Some(json!({"title": "Renamed", "submitter_id": 1})), backend(200)),
        row(M::PUT, "/api/communities/{community}/articles/{article}", |s| format!("/api/communities/{}/articles/{}", s.place.community, s.waiting.article),
            |_| Some(json!({"status": "published"})), backend(200)),
        row(M::POST, "/api/communities/{community}/articles/{article}/submit", |s| format!("/api/communities/{}/articles/{}/submit", s.place.community, s.fresh),
            no_body, answers(403, 404, 201, 201)),
        row(M::POST, "/api/communities/{community}/articles/{article}/manage/{action}", |s| format!("/api/communities/{}/articles/{}/manage/publish", s.place.community, s.waiting.article),
            no_body, answers(403, 404, 403, 200).or_backend(200)),

        row(M::POST, "/api/sync", |_| "/api/sync".into(),
            |s| Some(json!({"kind": "membership", "community_id": s.place.community, "user_id": s.newcomer, "role": "member"})), backend(200)),
        row(M::POST, "/api/events", |_| "/api/events".into(),
            |s| Some(json!({"type": "t", "community_id": s.place.community, "data": null})), backend(202)),

        row(M::POST, "/api/realtime/ticket", |_| "/api/realtime/ticket".into(),
            no_body, answers(200, 200, 200, 200)),
        row(M::POST, "/api/users/{user}/disconnect", |_| "/api/users/1000000/disconnect".into(),
            no_body, backend(202)),
    ]
}

#[test]
fn every_route_has_a_row() {
    let told = |method: &Method, route: &str| format!("{method} {route}");
    let rows: BTreeSet<String> = rows()
        .iter()
        .map(|row| told(&row.method, row.route))
        .collect();
    let routes = crier_api::http::routes();
    let routes: BTreeSet<String> = routes.iter().map(|(m, route)| told(m, route)).collect();
    assert_eq!(routes, rows);
}

pub(crate) async fn status(http: &HttpClient, row: &Row, stage: &Stage) -> (u16, Value) {
    let body = (row.body)(stage).map(|body| Bytes::from(body.to_string()));
    let lines = http.with_header("content-type", "application/x-ndjson");
    // The one call whose body is not one value.
    let http = if row.route == "/api/sync" {
        &lines
    } else {
        http
    };
    let answer = http
        .call(row.method.clone(), &(row.path)(stage), body)
        .await;
    let answer = answer.unwrap();
    if answer.status >= 400 {
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json["status"], answer.status);
        assert!(!answer.json["request_id"].as_str().unwrap().is_empty());
    }
    (answer.status, answer.json)
}

#[tokio::test]
async fn everyone_gets_what_the_table_says() {
    let service = Service::start().await;
    let people = People::meet(&service).await;
    for row in rows() {
        let (method, route) = (&row.method, row.route);
        let callers = [
            (
                "an outsider",
                "private",
                &people.outsider,
                row.answers.outsider,
            ),
            (
                "an outsider of a hidden one",
                "hidden",
                &people.outsider,
                row.answers.hidden_outsider,
            ),
            ("a member", "private", &people.member, row.answers.member),
            ("the admin", "private", &people.admin, row.answers.admin),
            (
                "a hidden one's member",
                "hidden",
                &people.member,
                row.answers.member,
            ),
        ];
        for (who, kind, caller, expected) in callers {
            let stage = Stage::set(&people, kind, caller).await;
            let (found, body) = status(&caller.http, &row, &stage).await;
            assert_eq!(found, expected, "{method} {route} as {who}: {body}");
        }
        let stage = Stage::set(&people, "private", &people.admin).await;
        for (who, http) in strangers(&service.http) {
            let (found, body) = status(&http, &row, &stage).await;
            assert_eq!(found, 401, "{method} {route} {who}: {body}");
        }
        let (found, body) = status(&service.backend(), &row, &stage).await;
        let expected = row.answers.backend;
        assert_eq!(found, expected, "{method} {route} as the backend: {body}");
    }
    service.end().await;
}

/// Callers whom nobody knows.
fn strangers(http: &HttpClient) -> Vec<(&'static str, HttpClient)> {
    let minute = Duration::from_secs(60);
    let good = signer().sign_user(1, "alice", minute).unwrap();
    let expired = signer().sign_user(1, "alice", Duration::ZERO).unwrap();
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    let none = format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap());
    vec![
        ("without a token", http.clone()),
        ("with an expired token", http.with_token(expired)),
        ("with a token cut short", http.with_token(unsigned)),
        ("with alg none", http.with_token(none)),
    ]
}

#[tokio::test]
async fn a_public_community_is_read_by_all_and_written_by_members() {
    let service = Service::start().await;
    let (alice, carol) = (service.person(1, "alice"), service.known(3, "carol").await);
    let public = alice.create_community("public").await;
    let place = alice.submit(public, "Open").await;
    let waiting = alice.submit(public, "Not yet").await;
    alice.publish(place).await;
    let discussion = id(&alice.discuss(place, "T").await, 201);

    let page = carol.get(&format!("/api/communities/{public}")).await;
    let articles = expect(&page, 200)["articles"].as_array().unwrap();
    assert_eq!(articles.len(), 1, "outsiders see what is published");
    assert_eq!(articles[0]["community_article_id"], place.community_article);
    expect(&carol.get(&place.discussions()).await, 200);
    expect(
        &carol.get(&format!("/api/discussions/{discussion}")).await,
        200,
    );
    expect(
        &carol.get(&format!("/api/articles/{}", place.article)).await,
        200,
    );
    expect(
        &carol
            .get(&format!("/api/articles/{}", waiting.article))
            .await,
        404,
    );
    expect(&carol.discuss(place, "T").await, 403);
    expect(&carol.comment(discussion, "C").await, 403);
    let joined = carol
        .post(&format!("/api/communities/{public}/join/"), json!({}))
        .await;
    assert_eq!(expect(&joined, 200)["role"], "member");
    expect(&carol.comment(discussion, "C").await, 201);
    service.end().await;
}

/// Where the table is for people; `UPDATE_ROUTES=1 cargo test -p crier-api authorisation` writes it anew.
const FOR_PEOPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/ROUTES.md");

#[test]
fn the_table_for_people_is_this_one() {
    let mut table = "# Who may call what\n\n\
        What each call answers to whom, in a private community unless it says hidden. Without a valid token it is 401.\n\
        `services/api/tests/it/authorisation.rs` makes every one of these calls; this page is written by it.\n\n\
        | call | outsider | outsider of a hidden one | member | admin | backend |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows() {
        let Answers {
            outsider,
            hidden_outsider,
            member,
            admin,
            backend,
        } = row.answers;
        let (method, route) = (row.method, row.route);
        table += &format!(
            "| `{method} {route}` | {outsider} | {hidden_outsider} | {member} | {admin} | {backend} |\n"
        );
    }
    if std::env::var_os("UPDATE_ROUTES").is_some() {
        std::fs::write(FOR_PEOPLE, &table).unwrap();
    }
    let written = std::fs::read_to_string(FOR_PEOPLE).unwrap();
    assert!(
        table == written,
        "docs/ROUTES.md is not the test's table: run `UPDATE_ROUTES=1 cargo test -p crier-api authorisation`"
    );
}
