//! What a call means, by its method, path and body, and what its answer says about ids.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::journal::{Call, Caller};

/// For whom an event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Who follows this article.
    Subscribers(i64),
    /// Who is in the community.
    Members,
    /// These, as far as they are in the community.
    Named(BTreeSet<i64>),
}

/// What a call would cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Something that others are told.
    Event {
        /// What a frame of it can be known by: [`key`].
        key: String,
        community: i64,
        audience: Audience,
        excluded: Option<i64>,
    },
    /// A change of who may receive what in this community.
    Change { community: i64, change: Change },
}

/// A change of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The user made the community.
    Founded(i64),
    /// The user is a member with this role, and was perhaps one before.
    Role { user: i64, admin: bool },
    /// A member's role is another; who is none stays none.
    Promoted { user: i64, admin: bool },
    /// The user is no member.
    Gone(i64),
    /// The article was submitted by this user.
    Submitted { article: i64, by: i64 },
    /// The article is published, or not.
    Published { article: i64, is: bool },
    /// The user follows the article by their own wish, or not.
    Follows { user: i64, article: i64, is: bool },
}

/// Where the things are that later calls name by id alone. Read off the answers.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Community article → community, article.
    submitted: BTreeMap<i64, (i64, i64)>,
    /// Subscription → user, community, article.
    subscriptions: BTreeMap<i64, (i64, i64, i64)>,
    discussions: BTreeMap<i64, (i64, i64)>,
    comments: BTreeMap<i64, (i64, i64)>,
}

/// What is known of a frame: the key of its event and its community.
pub(crate) fn key(data: &str) -> Option<(String, i64)> {
    let event: Value = serde_json::from_str(data).ok()?;
    let kind = event["type"].as_str()?;
    let community = event["community_id"].as_i64()?;
    let (discussion, comment) = (&event["data"]["discussion"], &event["data"]["comment"]);
    let mark = match kind {
        "new_discussion" => text(&discussion["topic"]),
        "updated_discussion" => text(&discussion["content"]),
        "deleted_discussion" => text(&discussion["id"]),
        "new_comment" | "updated_comment" => text(&comment["content"]),
        "deleted_comment" => text(&comment["id"]),
        _ => text(&event["data"]["mark"]),
    };
    Some((format!("{kind} {mark}"), community))
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

impl Places {
    /// Learns from an answer.
    pub(crate) fn learn(&mut self, call: &Call) {
        if call.status.is_none_or(|status| status >= 300) {
            return;
        }
        let answer = &call.answer;
        let id = answer["id"].as_i64();
        let parts: Vec<&str> = parts(&call.path);
        match (call.method.as_str(), parts.as_slice()) {
            ("POST", ["communities", community, "articles", article, "submit"]) => {
                if let (Some(id), Some(community), Some(article)) =
                    (id, number(community), number(article))
                {
                    self.submitted.insert(id, (community, article));
                }
            }
            ("POST", ["discussions", "subscribe"]) => self.learn_subscription(call.who, answer),
            ("GET", ["discussions", "subscription-status"]) => {
                self.learn_subscription(call.who, &answer["subscription"]);
            }
            ("POST", ["articles", article, "discussions"]) => {
                let community = query(&call.path, "community_id");
                if let (Some(id), Some(community), Some(article)) = (id, community, number(article))
                {
                    self.discussions.insert(id, (community, article));
                }
            }
            ("POST", ["discussions", discussion, "comments"]) => {
                let place = number(discussion).and_then(|id| self.discussions.get(&id));
                if let (Some(id), Some(place)) = (id, place) {
                    self.comments.insert(id, *place);
                }
            }
            _ => {}
        }
    }

    fn learn_subscription(&mut self, who: Caller, subscription: &Value) {
        let field = |name: &str| subscription[name].as_i64();
        if let (Caller::User(user), Some(id), Some(community), Some(article)) =
            (who, field("id"), field("community_id"), field("article_id"))
        {
            self.subscriptions.insert(id, (user, community, article));
        }
    }

    /// What a call would cause if it is carried out; none if nobody is told and nobody's permissions change.
    pub(crate) fn meaning(&self, call: &Call) -> Option<Meaning> {
        let parts: Vec<&str> = parts(&call.path);
        match (call.method.as_str(), parts.as_slice()) {
            ("POST", ["events"]) => outside_event(&call.body),
            ("POST", ["articles", article, "discussions"]) => {
                let place = (query(&call.path, "community_id")?, number(article)?);
                Some(written(call, "new_discussion", &call.body["topic"], place))
            }
            ("PUT", ["discussions", id]) => {
                let place = self.discussions.get(&number(id)?)?;
                Some(written(
                    call,
                    "updated_discussion",
                    &call.body["content"],
                    *place,
                ))
            }
            ("DELETE", ["discussions", id]) => {
                let place = self.discussions.get(&number(id)?)?;
                Some(written(
                    call,
                    "deleted_discussion",
                    &number(id)?.into(),
                    *place,
                ))
            }
            ("POST", ["discussions", id, "comments"]) => {
                let place = self.discussions.get(&number(id)?)?;
                Some(written(call, "new_comment", &call.body["content"], *place))
            }
            ("PUT", ["comments", id]) => {
                let place = self.comments.get(&number(id)?)?;
                Some(written(
                    call,
                    "updated_comment",
                    &call.body["content"],
                    *place,
                ))
            }
            ("DELETE", ["comments", id]) => {
                let place = self.comments.get(&number(id)?)?;
                Some(written(
                    call,
                    "deleted_comment",
                    &number(id)?.into(),
                    *place,
                ))
            }
            _ => {
                let (community, change) = self.change(call, &parts)?;
                Some(Meaning::Change { community, change })
            }
        }
    }

    fn change(&self, call: &Call, parts: &[&str]) -> Option<(i64, Change)> {
        let caller = match call.who {
            Caller::User(user) => Some(user),
            Caller::Service => None,
        };
        match (call.method.as_str(), parts) {
            ("POST", ["communities"]) => {
                Some((call.answer["id"].as_i64()?, Change::Founded(caller?)))
            }
            ("PUT", ["communities", community, "members", user]) => {
                let (user, admin) = (number(user)?, call.body["role"] == "admin");
                Some((number(community)?, Change::Role { user, admin }))
            }
            ("POST", ["communities", community, "leave"]) => {
                Some((number(community)?, Change::Gone(caller?)))
            }
            ("POST", ["communities", community, "manage-member", user, action]) => {
                let user = number(user)?;
                let change = match *action {
                    "remove" => Change::Gone(user),
                    action => Change::Promoted {
                        user,
                        admin: action == "promote_admin",
                    },
                };
                Some((number(community)?, change))
            }
            ("POST", ["communities", community, "articles", article, "submit"]) => {
                let change = Change::Submitted {
                    article: number(article)?,
                    by: caller?,
                };
                Some((number(community)?, change))
            }
            (
                "POST",
                [
                    "communities",
                    community,
                    "articles",
                    article,
                    "manage",
                    action,
                ],
            ) => {
                let change = Change::Published {
                    article: number(article)?,
                    is: *action == "publish",
                };
                Some((number(community)?, change))
            }
            ("POST", ["discussions", "subscribe"]) => {
                let (community, article) = self
                    .submitted
                    .get(&call.body["community_article_id"].as_i64()?)?;
                Some((
                    *community,
                    Change::Follows {
                        user: caller?,
                        article: *article,
                        is: true,
                    },
                ))
            }
            ("DELETE", ["discussions", "unsubscribe", id]) => self.follows(id, false),
            ("PUT", ["discussions", "subscription", id]) => {
                self.follows(id, call.body["is_active"] == true)
            }
            _ => None,
        }
    }

    fn follows(&self, id: &str, is: bool) -> Option<(i64, Change)> {
        let (user, community, article) = *self.subscriptions.get(&number(id)?)?;
        Some((community, Change::Follows { user, article, is }))
    }
}

fn outside_event(body: &Value) -> Option<Meaning> {
    let named = body["subscriber_ids"].as_array();
    let audience = match (named, body["article_id"].as_i64()) {
        (Some(ids), _) => Audience::Named(ids.iter().filter_map(Value::as_i64).collect()),
        (None, Some(article)) => Audience::Subscribers(article),
        (None, None) => Audience::Members,
    };
    Some(Meaning::Event {
        key: format!("{} {}", body["type"].as_str()?, text(&body["data"]["mark"])),
        community: body["community_id"].as_i64()?,
        audience,
        excluded: body["exclude_user_id"].as_i64(),
    })
}

/// What a user wrote under an article: its subscribers are told, the user apart.
fn written(call: &Call, kind: &str, mark: &Value, place: (i64, i64)) -> Meaning {
    let excluded = match call.who {
        Caller::User(user) => Some(user),
        Caller::Service => None,
    };
    Meaning::Event {
        key: format!("{kind} {}", text(mark)),
        community: place.0,
        audience: Audience::Subscribers(place.1),
        excluded,
    }
}

/// The parts of a path behind `/api/`, without its query.
fn parts(path: &str) -> Vec<&str> {
    let path = path.split('?').next().unwrap_or_default();
    let path = path.strip_prefix("/api/").unwrap_or_default();
    path.split('/').filter(|part| !part.is_empty()).collect()
}

fn query(path: &str, name: &str) -> Option<i64> {
    let pairs = path.split_once('?')?.1;
    let value = pairs
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    number(value?)
}

fn number(text: &str) -> Option<i64> {
    text.parse().ok()
}
