//! One line of a bulk change, as the application writes it.

use crier_domain::{ArticleId, CommunityArticleId, CommunityId, UserId};
use crier_store::mirror::{self as store};
use crier_store::{CommunityKind, Role, Status};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::app::article_ref::Slug;
use crate::app::mirror::check_ids;
use crate::app::text::{Abstract, Name};
use crate::app::users::shown;

/// The most characters of a reason: a line need not be sent back.
const LONGEST_REASON: usize = 300;

/// One change. What is left out stays as it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[schemars(rename = "SyncLine")]
pub(crate) enum Line {
    /// A person: the `sub` of their tokens, and their name.
    User { id: UserId, username: Name },
    /// A community.
    Community {
        id: CommunityId,
        name: Name,
        #[serde(rename = "type")]
        kind: CommunityKind,
    },
    /// An article. A new one without a slug has one made from its title.
    Article {
        id: ArticleId,
        title: Name,
        #[serde(default, rename = "abstract")]
        summary: Option<Abstract>,
        #[serde(default)]
        slug: Option<Slug>,
        submitter_id: UserId,
    },
    /// A membership; a role of null ends it. Makes the user known.
    Membership {
        community_id: CommunityId,
        user_id: UserId,
        #[serde(deserialize_with = "role")]
        #[schemars(required)]
        role: Option<Role>,
        #[serde(default)]
        username: Option<Name>,
    },
    /// An article in a community. A new one without a submitter has the article's.
    CommunityArticle {
        community_id: CommunityId,
        article_id: ArticleId,
        status: Status,
        #[serde(default)]
        submitter_id: Option<UserId>,
        #[serde(default)]
        id: Option<CommunityArticleId>,
    },
    /// A subscription, as the application had it. Members alone follow; what a user ended stays ended.
    Subscription {
        user_id: UserId,
        community_id: CommunityId,
        article_id: ArticleId,
        is_active: bool,
    },
}

/// A role or null. Unlike a plain option, it has to be there.
fn role<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Role>, D::Error> {
    Option::deserialize(deserializer)
}

/// Reads a line.
///
/// # Errors
/// What is wrong with it, for whoever wrote it.
pub(super) fn read(text: &[u8]) -> Result<store::Line, String> {
    // An array of the fields' values would do for serde.
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err("not a JSON object".to_owned());
    }
    let line: Line = serde_json::from_slice(text).map_err(|error| reason(&error))?;
    let line = line.into();
    check_ids(&line).map_err(|error| error.to_string())?;
    Ok(line)
}

/// Without the line that serde counts, which is always the first.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    let column = error.column();
    let mut reason: String = text.chars().take(LONGEST_REASON).collect();
    if !error.is_data() && column > 0 {
        reason = format!("{reason} at column {column}");
    }
    reason
}

impl From<Line> for store::Line {
    fn from(line: Line) -> Self {
        match line {
            Line::User { id, username } => Self::User(store::UserLine {
                id,
                username: shown(username.as_str(), id),
            }),
            Line::Community { id, name, kind } => Self::Community(store::CommunityLine {
                id,
                name: name.into(),
                kind,
            }),
            Line::Article {
                id,
                title,
                summary,
                slug,
                submitter_id,
            } => Self::Article(store::ArticleLine {
                id,
                title: title.into(),
                summary: summary.map(String::from),
                slug: slug.map(String::from),
                submitter: submitter_id,
            }),
            Line::Membership {
                community_id,
                user_id,
                role,
                username,
            } => Self::Member(store::MemberLine {
                community: community_id,
                user: user_id,
                role,
                username: username.map(|name| shown(name.as_str(), user_id)),
            }),
            Line::CommunityArticle {
                community_id,
                article_id,
                status,
                submitter_id,
                id,
            } => Self::CommunityArticle(store::CommunityArticleLine {
                community: community_id,
                article: article_id,
                status,
                submitter: submitter_id,
                id,
            }),
            Line::Subscription {
                user_id,
                community_id,
                article_id,
                is_active,
            } => Self::Subscription(store::SubscriptionLine {
                user: user_id,
                community: community_id,
                article: article_id,
                is_active,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_read() {
        for good in [
            r#"{"kind":"user","id":1,"username":"alice"}"#,
            r#"{"kind":"community","id":45,"name":"AI","type":"private"}"#,
            r#"{"kind":"article","id":123,"title":"T","submitter_id":1}"#,
            r#"{"kind":"article","id":123,"title":"T","abstract":"A","slug":"t","submitter_id":1}"#,
            r#" {"role":"admin","kind":"membership","community_id":45,"user_id":1}"#,
            r#"{"kind":"membership","community_id":45,"user_id":1,"role":null,"username":"b"}"#,
            r#"{"kind":"community_article","community_id":45,"article_id":123,"status":"published","id":9007199254740991}"#,
            r#"{"kind":"subscription","user_id":1,"community_id":45,"article_id":123,"is_active":true}"#,
        ] {
            read(good.as_bytes()).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        for (bad, why) in [
            (&b"hello"[..], "not a JSON object"),
            (br#"["user",1,"alice"]"#, "not a JSON object"),
            (
                br#"{"kind":"user""#,
                "EOF while parsing an object at column 14",
            ),
            (
                br#"{"kind":"user","id":1,"username":"a"} {}"#,
                "trailing characters at column 39",
            ),
            (br#"{"id":1,"username":"a"}"#, "missing field `kind`"),
            (br#"{"kind":"person","id":1}"#, "unknown variant `person`"),
            (br#"{"kind":"user","id":1}"#, "missing field `username`"),
            (
                br#"{"kind":"user","id":1,"username":"a","admin":true}"#,
                "unknown field `admin`",
            ),
            (
                br#"{"kind":"user","id":0,"username":"a"}"#,
                "an id is a whole number from 1",
            ),
            (
                br#"{"kind":"user","id":"1","username":"a"}"#,
                "invalid type: string",
            ),
            (
                br#"{"kind":"user","id":9007199254740992,"username":"a"}"#,
                "at most 9007199254740991",
            ),
            (
                br#"{"kind":"user","id":1,"username":" "}"#,
                "must not be empty",
            ),
            (br#"{"kind":"user","id":1,"username":"a\u0000"}"#, "U+0000"),
            (
                br#"{"kind":"user","id":1,"username":"\ud800"}"#,
                "hex escape",
            ),
            (
                b"{\"kind\":\"user\",\"id\":1,\"username\":\"\xff\"}",
                "invalid unicode",
            ),
            (
                br#"{"kind":"membership","community_id":1,"user_id":1}"#,
                "missing field `role`",
            ),
            (
                br#"{"kind":"membership","community_id":1,"user_id":1,"role":"owner"}"#,
                "unknown variant `owner`",
            ),
            (
                br#"{"kind":"article","id":1,"title":"T","slug":"12","submitter_id":1}"#,
                "a slug is made of",
            ),
        ] {
            let error = read(bad).unwrap_err();
            assert!(
                error.contains(why),
                "{}: {error}",
                String::from_utf8_lossy(bad)
            );
            assert!(!error.contains("line 1"), "{error}");
        }
        let long = format!(r#"{{"kind":"{}"}}"#, "x".repeat(10_000));
        assert!(read(long.as_bytes()).unwrap_err().len() <= LONGEST_REASON);
    }
}
