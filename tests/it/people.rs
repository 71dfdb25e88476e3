//! People, what they do through the API, and the places they do it in.

use std::time::Duration;

use crier_testkit::{Answer, HttpClient};
use serde_json::{Value, json};

use crate::stream::Stream;
use crate::world::{World, signer};

/// Someone with a token.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) id: i64,
    pub(crate) token: String,
    pub(crate) http: HttpClient,
    pub(crate) gateways: Vec<String>,
}

/// An article in a community, published, with its ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) community: i64,
    pub(crate) article: i64,
    pub(crate) community_article: i64,
}

impl Person {
    /// Someone with a valid token of an hour.
    pub(crate) fn at(api: &str, gateways: &[String], id: i64, name: &str) -> Self {
        let token = signer()
            .sign_user(id, name, Duration::from_secs(3600))
            .unwrap();
        let http = HttpClient::new(api).with_token(&token);
        Self {
            id,
            token,
            http,
            gateways: gateways.to_vec(),
        }
    }

    /// Opens a stream on the gateway of this number and waits until it is ready.
    pub(crate) async fn stream(&self, gateway: usize) -> Stream {
        Stream::open(&self.gateways[gateway], &self.token).await
    }

    pub(crate) async fn create_community(&self, name: &str, kind: &str) -> i64 {
        let answer = self
            .http
            .post("/api/communities/", &json!({"name": name, "type": kind}))
            .await;
        expect(&answer, 201)["id"].as_i64().unwrap()
    }

    /// Makes `other` a member; the other must have called the API before, to be known.
    pub(crate) async fn add_member(&self, community: i64, other: &Person) {
        expect(&other.http.get("/api/communities/").await, 200);
        let path = format!("/api/communities/{community}/members/{}/", other.id);
        let answer = self.http.put(&path, &json!({"role": "member"})).await;
        assert!(
            [200, 201].contains(&answer.status),
            "{} {}",
            answer.status,
            answer.text()
        );
    }

    pub(crate) async fn manage_member(&self, community: i64, other: &Person, action: &str) {
        let path = format!(
            "/api/communities/{community}/manage-member/{}/{action}",
            other.id
        );
        let answer = self.http.post(&path, &json!({})).await;
        assert!(
            answer.status < 300,
            "{action}: {} {}",
            answer.status,
            answer.text()
        );
    }

    /// Submits a new article to the community; its admins have yet to approve and publish it.
    pub(crate) async fn submit(&self, community: i64, title: &str) -> Place {
        let article = self
            .http
            .post("/api/articles/", &json!({"title": title}))
            .await;
        let article = expect(&article, 201)["id"].as_i64().unwrap();
        let path = format!("/api/communities/{community}/articles/{article}/submit/");
        let submitted = self.http.post(&path, &json!({})).await;
        let community_article = expect(&submitted, 201)["id"].as_i64().unwrap();
        Place {
            community,
            article,
            community_article,
        }
    }

    pub(crate) async fn publish(&self, place: Place) {
        for action in ["approve", "publish"] {
            let (community, article) = (place.community, place.article);
            let path = format!("/api/communities/{community}/articles/{article}/manage/{action}");
            expect(&self.http.post(&path, &json!({})).await, 200);
        }
    }

    /// Subscribes and gives the subscription's id.
    pub(crate) async fn subscribe(&self, place: Place) -> i64 {
        let answer = self.try_subscribe(place).await;
        assert!(
            [200, 201].contains(&answer.status),
            "{} {}",
            answer.status,
            answer.text()
        );
        answer.json["id"].as_i64().unwrap()
    }

    pub(crate) async fn try_subscribe(&self, place: Place) -> Answer {
        let body = json!({
            "community_article_id": place.community_article,
            "community_id": place.community,
        });
        self.http.post("/api/discussions/subscribe/", &body).await
    }

    pub(crate) async fn unsubscribe(&self, subscription: i64) {
        let path = format!("/api/discussions/unsubscribe/{subscription}/");
        expect(&self.http.delete(&path).await, 204);
    }

    /// Opens a discussion and gives its id.
    pub(crate) async fn discuss(&self, place: Place, topic: &str) -> i64 {
        let path = format!(
            "/api/articles/{}/discussions/?community_id={}",
            place.article, place.community
        );
        let body = json!({"topic": topic, "content": "What do you think?"});
        expect(&self.http.post(&path, &body).await, 201)["id"]
            .as_i64()
            .unwrap()
    }

    /// Comments and gives the comment as the API answered it.
    pub(crate) async fn comment(&self, discussion: i64, content: &str) -> Value {
        let path = format!("/api/discussions/{discussion}/comments/");
        let answer = self.http.post(&path, &json!({"content": content})).await;
        expect(&answer, 201).clone()
    }
}

/// alice, an admin of a private community with a published article, and bob and carol, its members. alice
/// follows the article, since admins do; nobody else does.
pub(crate) async fn group(world: &World) -> (Person, Person, Person, Place) {
    let [alice, bob, carol] =
        [(1, "alice"), (2, "bob"), (3, "carol")].map(|(id, name)| world.person(id, name));
    let place = group_of(&alice, &[&bob, &carol]).await;
    // A stream opened from here on begins with these permissions, not with changes to them.
    world.settled().await;
    (alice, bob, carol, place)
}

/// alice, who writes in a discussion, and bob, who follows its article; everything published.
pub(crate) async fn talk(world: &World) -> (Person, Person, i64) {
    let (alice, bob, _, place) = group(world).await;
    bob.subscribe(place).await;
    let discussion = alice.discuss(place, "Storm").await;
    world.settled().await;
    (alice, bob, discussion)
}

/// A private community of these people with a published article.
pub(crate) async fn group_of(admin: &Person, members: &[&Person]) -> Place {
    let community = admin.create_community("AI Research Group", "private").await;
    for member in members {
        admin.add_member(community, member).await;
    }
    let place = admin.submit(community, "GPT-5 Architecture").await;
    admin.publish(place).await;
    place
}

/// The body of an answer that must have this status.
pub(crate) fn expect(answer: &Answer, status: u16) -> &Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    &answer.json
}
