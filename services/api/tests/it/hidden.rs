//! A hidden community can't be told from one that does not exist, by any call, whatever ids are put together: every
//! route is called with what is in a hidden community and with ids of nothing, and the answers have to be the same.

use axum::http::Method;
use bytes::Bytes;
use serde_json::Value;

use crate::fixture::{Person, Place, Service, expect, id};

/// What ids stand in a request for: names that are replaced in its template.
const NAMES: [&str; 6] = [
    "{community}",
    "{article}",
    "{community_article}",
    "{discussion}",
    "{comment}",
    "{subscription}",
];

/// The ids of one community's things, in the order of [`NAMES`].
#[derive(Clone)]
struct Ids([String; 6]);

/// Where the request's ids come from.
struct Stage {
    service: Service,
    /// Knows nothing of the hidden community.
    caller: Person,
    hidden: Ids,
    /// The same with the article by its slug.
    hidden_slug: Ids,
    own: Ids,
}

/// What a request has besides its path: a query, and a body. Both may name ids.
type Template = (&'static str, Option<&'static str>);

/// Every route that takes a body or a query needs a line; without one the test fails.
#[rustfmt::skip]
fn templates(method: &Method, route: &str) -> Vec<Template> {
    let bare = vec![("", None)];
    match (method.as_str(), route) {
        ("POST", "/api/discussions/subscribe") =>
            vec![("", Some(r#"{"community_article_id":{community_article},"community_id":{community}}"#))],
        ("PUT", "/api/discussions/subscription/{subscription}") =>
            vec![("", Some(r#"{"is_active":true}"#)), ("", Some(r#"{"is_active":false}"#))],
        ("GET", "/api/discussions/subscription-status") =>
            vec![("?community_article_id={community_article}&community_id={community}", None)],
        ("POST", "/api/articles/{article}/discussions") =>
            vec![("?community_id={community}", Some(r#"{"topic":"T","content":"C"}"#))],
        ("GET", "/api/articles/{article}/discussions") => vec![("?community_id={community}", None)],
        ("PUT", "/api/discussions/{discussion}") => vec![("", Some(r#"{"topic":"T","content":"C"}"#))],
        ("POST", "/api/discussions/{discussion}/comments") =>
            vec![("", Some(r#"{"content":"C"}"#)), ("", Some(r#"{"content":"C","parent_id":{comment}}"#))],
        ("PUT", "/api/comments/{comment}") => vec![("", Some(r#"{"content":"C"}"#))],
        ("PUT", "/api/communities/{community}") => vec![("", Some(r#"{"name":"N","type":"public"}"#))],
        ("PUT", "/api/communities/{community}/members/{user}") => vec![("", Some(r#"{"role":"member"}"#))],
        ("PUT", "/api/articles/{article}") => vec![("", Some(r#"{"title":"T","submitter_id":1}"#))],
        ("PUT", "/api/communities/{community}/articles/{article}") => vec![("", Some(r#"{"status":"published"}"#))],
        ("POST", "/api/communities/{community}/join" | "/api/communities/{community}/leave"
            | "/api/communities/{community}/manage-member/{user}/{action}"
            | "/api/communities/{community}/articles/{article}/submit"
            | "/api/communities/{community}/articles/{article}/manage/{action}") => bare,
        ("GET" | "DELETE", _) => bare,
        // Nothing in them names a community's things, or the backend alone may call.
        ("POST", "/api/communities" | "/api/articles" | "/api/realtime/ticket" | "/api/events" | "/api/sync"
            | "/api/users/{user}/disconnect") => Vec::new(),
        other => panic!("{other:?} has no template here"),
    }
}

async fn place(owner: &Person, kind: &str) -> (Place, Ids) {
    let community = owner.create_community(kind).await;
    let place = owner.submit(community, "A paper").await;
    owner.publish(place).await;
    let discussion = id(&owner.discuss(place, "T").await, 201);
    let comment = id(&owner.comment(discussion, "C").await, 201);
    // The admin follows what was published.
    let path = format!(
        "/api/discussions/subscription-status/?community_article_id={}&community_id={community}",
        place.community_article
    );
    let status = owner.get(&path).await;
    let subscription = expect(&status, 200)["subscription"]["id"].as_i64().unwrap();
    let ids = [
        community,
        place.article,
        place.community_article,
        discussion,
        comment,
        subscription,
    ];
    (place, Ids(ids.map(|id| id.to_string())))
}

impl Stage {
    async fn set() -> Self {
        let service = Service::start().await;
        let (alice, carol) = (service.person(1, "alice"), service.person(3, "carol"));
        let (place_hidden, hidden) = place(&alice, "hidden").await;
        let (_, own) = place(&carol, "private").await;
        let article = alice
            .get(&format!("/api/articles/{}/", place_hidden.article))
            .await;
        let slug = expect(&article, 200)["slug"].as_str().unwrap().to_owned();
        let mut hidden_slug = hidden.clone();
        hidden_slug.0[1] = slug;
        Self {
            service,
            caller: carol,
            hidden,
            hidden_slug,
            own,
        }
    }

    /// The answer without what differs between any two calls.
    async fn answer(&self, method: &Method, path: &str, body: Option<&str>) -> (u16, Value) {
        let body = body.map(|body| Bytes::from(body.to_owned()));
        let answer = self.caller.http.call(method.clone(), path, body).await;
        let mut answer = answer.unwrap();
        if let Some(problem) = answer.json.as_object_mut() {
            problem.remove("request_id");
        }
        (answer.status, answer.json)
    }

    /// Compares the answers to one request, with every choice of which of its ids are the caller's own.
    async fn compare(&self, method: &Method, template: &str, body: Option<&str>) -> usize {
        let all = format!("{template} {}", body.unwrap_or_default());
        let used: Vec<usize> = (0..NAMES.len())
            .filter(|name| all.contains(NAMES[*name]))
            .collect();
        let mut compared = 0;
        for choice in 1..1_u32 << used.len() {
            let is_secret = |name: usize| {
                let place = used.iter().position(|used| *used == name);
                place.is_some_and(|place| choice & (1 << place) != 0)
            };
            let fill = |text: &str, secret: &Ids| {
                let mut text = text.to_owned();
                for (at, name) in NAMES.iter().enumerate() {
                    let ids = if is_secret(at) { secret } else { &self.own };
                    text = text.replace(name, &ids.0[at]);
                }
                text
            };
            for hidden in [&self.hidden, &self.hidden_slug] {
                let unknown = Ids(hidden.0.clone().map(|id| unlike(&id)));
                let path = fill(template, hidden);
                let found = self
                    .answer(
                        method,
                        &path,
                        body.map(|body| fill(body, hidden)).as_deref(),
                    )
                    .await;
                let nothing = self
                    .answer(
                        method,
                        &fill(template, &unknown),
                        body.map(|body| fill(body, &unknown)).as_deref(),
                    )
                    .await;
                assert_eq!(found, nothing, "{method} {path} {body:?}");
                assert!(found.0 >= 400, "{method} {path}: {found:?}");
                compared += 1;
            }
        }
        compared
    }
}

/// An id or slug of nothing, of the same kind.
fn unlike(id: &str) -> String {
    id.parse::<i64>().map_or_else(
        |_| "no-such-paper".to_owned(),
        |id| (id + 1_000_000).to_string(),
    )
}

#[tokio::test]
async fn a_hidden_community_is_answered_as_one_that_does_not_exist() {
    let stage = Stage::set().await;
    let mut compared = 0;
    for (method, route) in crier_api::http::routes() {
        let action = if route.contains("manage-member") {
            "promote_admin"
        } else {
            "publish"
        };
        // The hidden community's admin: no secret of its own.
        let route_filled = route.replace("{user}", "1").replace("{action}", action);
        for (query, body) in templates(&method, route) {
            let template = format!("{route_filled}{query}");
            compared += stage.compare(&method, &template, body).await;
        }
    }
    assert!(compared > 60, "the check compares: {compared}");
    let mine = stage.caller.get("/api/communities/").await;
    let mine = expect(&mine, 200)["communities"].as_array().unwrap();
    assert_eq!(mine.len(), 1, "{mine:?}");
    let followed = stage
        .caller
        .get("/api/discussions/user-subscriptions")
        .await;
    let followed = expect(&followed, 200)["communities"].as_array().unwrap();
    assert_eq!(followed.len(), 1, "{followed:?}");
    stage.service.end().await;
}
