//! What callers get, field by field: the JSON of answers and of events.

use std::borrow::Cow;

use crier_domain::{
    ArticleId, CommentId, CommunityArticleId, CommunityId, DiscussionId, SubscriptionId, UserId,
};
use crier_store as store;
use crier_store::{CommunityKind, Role, Status};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use time::OffsetDateTime;

/// A moment as RFC 3339 in UTC, to the millisecond: `2026-01-02T03:04:05.678Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) OffsetDateTime);

impl Moment {
    pub(crate) fn now() -> Self {
        Self(OffsetDateTime::now_utc())
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = self.0.to_utc();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.millisecond()
        )
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

/// One subscription.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SubscriptionView {
    id: SubscriptionId,
    community_article_id: CommunityArticleId,
    community_id: CommunityId,
    article_id: ArticleId,
    subscribed_at: Moment,
    is_active: bool,
}

impl From<store::Subscription> for SubscriptionView {
    fn from(row: store::Subscription) -> Self {
        Self {
            id: row.id,
            community_article_id: row.community_article_id,
            community_id: row.community_id,
            article_id: row.article_id,
            subscribed_at: Moment(row.subscribed_at),
            is_active: row.is_active,
        }
    }
}

/// A discussion, in answers and in `new_discussion` and `updated_discussion`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DiscussionView {
    id: DiscussionId,
    community_id: CommunityId,
    article_id: ArticleId,
    community_article_id: CommunityArticleId,
    author_id: UserId,
    author: String,
    topic: String,
    content: String,
    created_at: Moment,
    updated_at: Moment,
    comment_count: u64,
}

impl From<store::Discussion> for DiscussionView {
    fn from(row: store::Discussion) -> Self {
        Self {
            id: row.id,
            community_id: row.community_id,
            article_id: row.article_id,
            community_article_id: row.community_article_id,
            author_id: row.author_id,
            author: row.author_username,
            topic: row.topic,
            content: row.content,
            created_at: Moment(row.created_at),
            updated_at: Moment(row.updated_at),
            comment_count: row.comment_count,
        }
    }
}

/// A comment, in answers and in `new_comment` and `updated_comment`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CommentView {
    id: CommentId,
    discussion_id: DiscussionId,
    parent_id: Option<CommentId>,
    author_id: UserId,
    author: String,
    /// Empty if it was deleted.
    content: String,
    /// It was deleted, and keeps its place for the sake of its answers.
    is_deleted: bool,
    depth: u8,
    created_at: Moment,
    updated_at: Moment,
}

impl From<store::Comment> for CommentView {
    fn from(row: store::Comment) -> Self {
        Self {
            id: row.id,
            discussion_id: row.discussion_id,
            parent_id: row.parent_id,
            author_id: row.author_id,
            author: row.author_username,
            content: row.content,
            is_deleted: row.is_deleted,
            depth: row.depth,
            created_at: Moment(row.created_at),
            updated_at: Moment(row.updated_at),
        }
    }
}

/// A community as the caller sees it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CommunityView {
    pub(super) id: CommunityId,
    name: String,
    #[serde(rename = "type")]
    kind: CommunityKind,
    role: Option<Role>,
    member_count: u64,
}

impl From<store::CommunityView> for CommunityView {
    fn from(row: store::CommunityView) -> Self {
        Self {
            id: row.community.id,
            name: row.community.name,
            kind: row.community.kind,
            role: row.role,
            member_count: row.member_count,
        }
    }
}

/// An article in a community's list, with the caller's subscription.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ListedArticleView {
    community_article_id: CommunityArticleId,
    article_id: ArticleId,
    article_title: String,
    article_slug: String,
    status: Status,
    is_subscribed: bool,
    subscription_id: Option<SubscriptionId>,
}

impl From<store::CommunityArticleView> for ListedArticleView {
    fn from(row: store::CommunityArticleView) -> Self {
        Self {
            community_article_id: row.article.id,
            article_id: row.article.article_id,
            article_title: row.article.article_title,
            article_slug: row.article.article_slug,
            status: row.article.status,
            is_subscribed: row.subscription_id.is_some(),
            subscription_id: row.subscription_id,
        }
    }
}

/// An article as submitted to one community.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CommunityArticleView {
    id: CommunityArticleId,
    community_id: CommunityId,
    article_id: ArticleId,
    article_slug: String,
    status: Status,
}

impl From<store::CommunityArticle> for CommunityArticleView {
    fn from(row: store::CommunityArticle) -> Self {
        Self {
            id: row.id,
            community_id: row.community_id,
            article_id: row.article_id,
            article_slug: row.article_slug,
            status: row.status,
        }
    }
}

/// An article.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ArticleView {
    pub(super) id: ArticleId,
    title: String,
    slug: String,
    #[serde(rename = "abstract")]
    summary: String,
    submitter_id: UserId,
}

impl From<store::Article> for ArticleView {
    fn from(row: store::Article) -> Self {
        Self {
            id: row.id,
            title: row.title,
            slug: row.slug,
            summary: row.summary,
            submitter_id: row.submitter_id,
        }
    }
}

/// A member of a community.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct MemberView {
    user_id: UserId,
    username: String,
    role: Role,
}

impl From<store::Member> for MemberView {
    fn from(row: store::Member) -> Self {
        Self {
            user_id: row.user_id,
            username: row.username,
            role: row.role,
        }
    }
}

/// The views of `rows`.
pub(crate) fn all<Row, View: From<Row>>(rows: Vec<Row>) -> Vec<View> {
    rows.into_iter().map(View::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_three_digits_and_a_z() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_767_322_999_007, "2026-01-02T03:03:19.007Z"),
        ] {
            let at = OffsetDateTime::from_unix_timestamp_nanos(ms * 1_000_000).unwrap();
            assert_eq!(Moment(at).to_string(), text);
        }
    }
}
