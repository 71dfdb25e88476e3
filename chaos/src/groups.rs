//! The communities of a run: who and what is in them, as far as the driver knows. What is true the judge finds out
//! by itself.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crier_oracle::journal::Caller;
use http::Method;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::api::{Api, Request};

/// Communities of a run.
pub(crate) const COMMUNITIES: i64 = 4;
/// Users of a run: 1 and up. The first are founders, one of each community.
pub(crate) const USERS: i64 = 12;
/// Members who stay, beside the founder.
const STEADY: i64 = 2;

/// An article of a community.
#[derive(Clone, Copy)]
pub(crate) struct Article {
    pub(crate) id: i64,
    pub(crate) in_community: i64,
}

/// One community.
pub(crate) struct Group {
    pub(crate) id: i64,
    /// Its admin, who stays.
    pub(crate) founder: i64,
    /// Members who follow the first article and stay.
    pub(crate) steady: Vec<i64>,
    /// Those who come and go.
    pub(crate) fickle: Vec<i64>,
    state: Mutex<State>,
}

/// What changes.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) members: Vec<i64>,
    pub(crate) articles: Vec<Article>,
    pub(crate) discussions: Vec<(i64, i64)>,
    /// Comments and their authors.
    pub(crate) comments: Vec<(i64, i64)>,
}

pub(crate) fn user_call(
    user: i64,
    method: Method,
    path: impl Into<String>,
    body: Value,
) -> Request {
    Request::new(Caller::User(user), method, path, body)
}

/// Something of a list, or nothing of an empty one.
pub(crate) fn any<T: Copy>(list: &[T], rng: &mut StdRng) -> Option<T> {
    if list.is_empty() {
        return None;
    }
    list.get(rng.random_range(0..list.len())).copied()
}

impl Group {
    /// Makes a community: its founder, its steady members, some of the fickle ones, one article. One user is never in.
    pub(crate) async fn found(api: &Api, number: i64, rng: &mut StdRng) -> anyhow::Result<Self> {
        let founder = number + 1;
        let kind = if number % 2 == 0 { "private" } else { "hidden" };
        let body = json!({"name": format!("Group {number}"), "type": kind});
        let made = api
            .granted(
                &user_call(founder, Method::POST, "/api/communities/", body),
                rng,
            )
            .await?;
        let others = (1..USERS).map(|step| (number + step) % USERS + 1);
        let mut others: Vec<i64> = others.collect();
        // Whoever is left over stays outside for good.
        others.pop();
        let fickle = others.split_off(usize::try_from(STEADY)?);
        let group = Self {
            id: made["id"].as_i64().unwrap_or_default(),
            founder,
            steady: others,
            fickle,
            state: Mutex::default(),
        };
        group.state().members.push(founder);
        let early: Vec<i64> = group
            .fickle
            .iter()
            .copied()
            .filter(|_| rng.random_bool(0.5))
            .collect();
        for user in group.steady.iter().chain(&early) {
            group.add(api, *user, "member", rng).await?;
        }
        let article = group.publish_new(api, rng).await?;
        for user in &group.steady {
            api.granted(&group.follow(*user, article), rng).await?;
        }
        for user in early.iter().step_by(2) {
            api.granted(&group.follow(*user, article), rng).await?;
        }
        Ok(group)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn add(
        &self,
        api: &Api,
        user: i64,
        role: &str,
        rng: &mut StdRng,
    ) -> anyhow::Result<()> {
        let path = format!("/api/communities/{}/members/{user}/", self.id);
        let request = user_call(self.founder, Method::PUT, path, json!({ "role": role }));
        api.granted(&request, rng).await?;
        let mut state = self.state();
        if !state.members.contains(&user) {
            state.members.push(user);
        }
        Ok(())
    }

    /// A member's role, or the end of the membership.
    pub(crate) async fn manage(
        &self,
        api: &Api,
        user: i64,
        action: &str,
        rng: &mut StdRng,
    ) -> anyhow::Result<()> {
        let path = format!("/api/communities/{}/manage-member/{user}/{action}", self.id);
        let request = user_call(self.founder, Method::POST, path, json!({}));
        api.until_answered(&request, rng).await?;
        if action == "remove" {
            self.state().members.retain(|member| *member != user);
        }
        Ok(())
    }

    pub(crate) async fn leave(&self, api: &Api, user: i64, rng: &mut StdRng) -> anyhow::Result<()> {
        let path = format!("/api/communities/{}/leave/", self.id);
        api.until_answered(&user_call(user, Method::POST, path, json!({})), rng)
            .await?;
        self.state().members.retain(|member| *member != user);
        Ok(())
    }

    pub(crate) fn follow(&self, user: i64, article: Article) -> Request {
        let body = json!({"community_article_id": article.in_community, "community_id": self.id});
        user_call(user, Method::POST, "/api/discussions/subscribe/", body)
    }

    /// Ends a subscription if there is one, also one that was not asked for.
    pub(crate) async fn unfollow(
        &self,
        api: &Api,
        user: i64,
        article: Article,
        rng: &mut StdRng,
    ) -> anyhow::Result<()> {
        let path = format!(
            "/api/discussions/subscription-status/?community_article_id={}&community_id={}",
            article.in_community, self.id
        );
        let status = api
            .until_answered(&user_call(user, Method::GET, path, Value::Null), rng)
            .await?;
        if status.json["is_subscribed"] == true
            && let Some(id) = status.json["subscription"]["id"].as_i64()
        {
            let path = format!("/api/discussions/unsubscribe/{id}/");
            api.until_answered(&user_call(user, Method::DELETE, path, Value::Null), rng)
                .await?;
        }
        Ok(())
    }

    /// Submits a new article by a member, and publishes it.
    pub(crate) async fn publish_new(&self, api: &Api, rng: &mut StdRng) -> anyhow::Result<Article> {
        let members = self.state().members.clone();
        let by = any(&members, rng).unwrap_or(self.founder);
        let title = json!({"title": "On finding out"});
        let article = api
            .granted(&user_call(by, Method::POST, "/api/articles/", title), rng)
            .await?;
        let id = article["id"].as_i64().unwrap_or_default();
        let path = format!("/api/communities/{}/articles/{id}", self.id);
        let mut submitted = user_call(by, Method::POST, format!("{path}/submit/"), json!({}));
        submitted.key = Some(format!("submit {id}"));
        let submitted = api.until_answered(&submitted, rng).await?;
        for action in ["approve", "publish"] {
            let request = user_call(
                self.founder,
                Method::POST,
                format!("{path}/manage/{action}"),
                json!({}),
            );
            api.until_answered(&request, rng).await?;
        }
        let article = Article {
            id,
            in_community: submitted.json["id"].as_i64().unwrap_or_default(),
        };
        // A submission whose answer was lost can't be named later.
        if article.in_community != 0 {
            self.state().articles.push(article);
        }
        Ok(article)
    }
}
