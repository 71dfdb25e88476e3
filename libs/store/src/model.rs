//! What the questions are answered with. Moments are UTC, to the millisecond.

use crier_domain::{
    ArticleId, CommentId, CommunityArticleId, CommunityId, DiscussionId, SubscriptionId, UserId,
};
use time::OffsetDateTime;

use crate::relay::Position;
use crate::words::{CommunityKind, Role, Status};

/// A person known to Crier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The `sub` of their tokens.
    pub id: UserId,
    /// For display only.
    pub username: String,
    /// Tokens issued before this moment (Unix seconds) are refused; 0 for none.
    pub not_before: i64,
    /// When they were first seen.
    pub created_at: OffsetDateTime,
}

/// A community.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Community {
    /// Its id.
    pub id: CommunityId,
    /// Its name; need not be unique.
    pub name: String,
    /// Who sees it.
    pub kind: CommunityKind,
}

/// A community as one user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommunityView {
    /// The community.
    pub community: Community,
    /// What that user is in it; `None` for an outsider.
    pub role: Option<Role>,
    /// How many members it has.
    pub member_count: u64,
}

/// A member of a community.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user_id: UserId,
    /// For display only.
    pub username: String,
    /// What they may do there.
    pub role: Role,
    /// Since when.
    pub joined_at: OffsetDateTime,
}

/// A paper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Article {
    /// Its id.
    pub id: ArticleId,
    /// Its title.
    pub title: String,
    /// Unique, made from the title, never all digits.
    pub slug: String,
    /// Its summary; may be empty.
    pub summary: String,
    /// Who brought it.
    pub submitter_id: UserId,
}

/// A paper as submitted to one community.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommunityArticle {
    /// Its id, which is not the article's.
    pub id: CommunityArticleId,
    /// The community.
    pub community_id: CommunityId,
    /// The article.
    pub article_id: ArticleId,
    /// The article's slug.
    pub article_slug: String,
    /// The article's title.
    pub article_title: String,
    /// How far it has come.
    pub status: Status,
    /// Who submitted it here.
    pub submitter_id: UserId,
}

/// A community article as one user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommunityArticleView {
    /// The community article.
    pub article: CommunityArticle,
    /// That user's active subscription.
    pub subscription_id: Option<SubscriptionId>,
}

/// One user following one community article, or having done so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its id, the same through all endings and renewals.
    pub id: SubscriptionId,
    /// Who follows.
    pub user_id: UserId,
    /// What is followed.
    pub community_article_id: CommunityArticleId,
    /// Its community.
    pub community_id: CommunityId,
    /// Its article.
    pub article_id: ArticleId,
    /// Whether it counts.
    pub is_active: bool,
    /// When it last became active.
    pub subscribed_at: OffsetDateTime,
}

/// A community in which a user follows something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowedCommunity {
    /// The community.
    pub community_id: CommunityId,
    /// Its name.
    pub community_name: String,
    /// Whether the user is an admin there.
    pub is_admin: bool,
    /// What the user follows there, oldest article first; never empty.
    pub articles: Vec<FollowedArticle>,
}

/// An article that a user follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowedArticle {
    /// The article.
    pub article_id: ArticleId,
    /// Its title.
    pub article_title: String,
    /// Its slug.
    pub article_slug: String,
    /// Its place in the community.
    pub community_article_id: CommunityArticleId,
    /// The subscription.
    pub subscription_id: SubscriptionId,
}

/// A discussion under a community article.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discussion {
    /// Its id.
    pub id: DiscussionId,
    /// Where.
    pub community_id: CommunityId,
    /// About which article.
    pub article_id: ArticleId,
    /// About which article, as submitted there.
    pub community_article_id: CommunityArticleId,
    /// Who opened it.
    pub author_id: UserId,
    /// The author's name, for display only.
    pub author_username: String,
    /// What it is about.
    pub topic: String,
    /// What the author says.
    pub content: String,
    /// How many comments it has, those that were deleted apart.
    pub comment_count: u64,
    /// When it was opened.
    pub created_at: OffsetDateTime,
    /// When its text was last changed.
    pub updated_at: OffsetDateTime,
}

impl Discussion {
    /// Where it is.
    #[must_use]
    pub const fn place(&self) -> Place {
        Place {
            community_id: self.community_id,
            article_id: self.article_id,
        }
    }
}

/// A comment in a discussion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// Its id.
    pub id: CommentId,
    /// Where.
    pub discussion_id: DiscussionId,
    /// What it answers; `None` at the first level.
    pub parent_id: Option<CommentId>,
    /// Its level, from 1 to 3.
    pub depth: u8,
    /// Who wrote it.
    pub author_id: UserId,
    /// The author's name, for display only.
    pub author_username: String,
    /// What it says; nothing if it was deleted.
    pub content: String,
    /// Whether it was deleted, and is kept for the sake of its answers.
    pub is_deleted: bool,
    /// When it was written.
    pub created_at: OffsetDateTime,
    /// When its text was last changed.
    pub updated_at: OffsetDateTime,
}

/// Where something was written, which never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// In which community.
    pub community_id: CommunityId,
    /// About which article.
    pub article_id: ArticleId,
}

/// What became of changing a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edited<T> {
    /// It is another now.
    Changed(T),
    /// It was so before.
    Unchanged(T),
}

impl<T> Edited<T> {
    pub(crate) fn new(changed: bool, value: T) -> Self {
        if changed {
            Self::Changed(value)
        } else {
            Self::Unchanged(value)
        }
    }
}

/// A part of a list: at most `limit` items beyond the one with this id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<Id> {
    /// The last item of the previous page; `None` for the first page.
    pub after: Option<Id>,
    /// At most so many.
    pub limit: u32,
}

impl<Id> Page<Id> {
    /// The first page.
    #[must_use]
    pub const fn first(limit: u32) -> Self {
        Self { after: None, limit }
    }

    /// All there is, where something else bounds it.
    #[must_use]
    pub const fn all() -> Self {
        Self::first(u32::MAX)
    }
}

/// A list with the log's position before it was read: who streams from there misses nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The items.
    pub items: Vec<T>,
    /// The relay's stored position; `None` before the log's first life.
    pub position: Option<Position>,
}
