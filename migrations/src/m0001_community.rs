//! Users, communities, articles, subscriptions, discussions, comments.

use sea_orm_migration::prelude::*;

use crate::dialect::define;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        define(manager, PEOPLE).await?;
        define(manager, ARTICLES).await?;
        define(manager, SUBSCRIPTIONS).await?;
        define(manager, TALK).await
    }
}

const PEOPLE: &[&str] = &[
    // The id is the token's `sub`. Tokens issued before `not_before` are refused; 0 for none.
    "CREATE TABLE users (
        id {key},
        username TEXT NOT NULL,
        not_before BIGINT NOT NULL DEFAULT 0,
        created_at BIGINT NOT NULL
    )",
    "CREATE TABLE communities (
        id {identity},
        name TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('public', 'private', 'hidden'))
    )",
    // `fence` is the outbox id at which the membership became active.
    "CREATE TABLE memberships (
        community_id BIGINT NOT NULL REFERENCES communities (id),
        user_id BIGINT NOT NULL REFERENCES users (id),
        role TEXT NOT NULL CHECK (role IN ('member', 'reviewer', 'moderator', 'admin')),
        fence BIGINT NOT NULL,
        joined_at BIGINT NOT NULL,
        PRIMARY KEY (community_id, user_id)
    )",
    // A user's communities, and the snapshot's first half, from the index alone.
    "CREATE INDEX memberships_of_user ON memberships (user_id, community_id, fence)",
    "CREATE INDEX memberships_admins ON memberships (community_id, user_id) WHERE role = 'admin'",
];

const ARTICLES: &[&str] = &[
    "CREATE TABLE articles (
        id {identity},
        title TEXT NOT NULL,
        slug TEXT NOT NULL UNIQUE,
        abstract TEXT NOT NULL,
        submitter_id BIGINT NOT NULL REFERENCES users (id)
    )",
    "CREATE TABLE community_articles (
        id {identity},
        community_id BIGINT NOT NULL REFERENCES communities (id),
        article_id BIGINT NOT NULL REFERENCES articles (id),
        status TEXT NOT NULL CHECK (status IN ('submitted', 'approved', 'published', 'rejected')),
        submitter_id BIGINT NOT NULL REFERENCES users (id),
        created_at BIGINT NOT NULL,
        UNIQUE (community_id, article_id)
    )",
    "CREATE INDEX community_articles_of_article ON community_articles (article_id, community_id)",
];

const SUBSCRIPTIONS: &[&str] = &[
    // The community and the article stand here too, so that a snapshot needs no join for them.
    // `ended_by` keeps an automatic subscription from undoing what the user chose.
    "CREATE TABLE subscriptions (
        id {identity},
        user_id BIGINT NOT NULL REFERENCES users (id),
        community_article_id BIGINT NOT NULL REFERENCES community_articles (id),
        community_id BIGINT NOT NULL,
        article_id BIGINT NOT NULL,
        is_active BOOLEAN NOT NULL,
        ended_by TEXT CHECK (ended_by IN ('user', 'system')),
        fence BIGINT NOT NULL,
        subscribed_at BIGINT NOT NULL,
        UNIQUE (user_id, community_article_id),
        CHECK (is_active = (ended_by IS NULL))
    )",
    // A user's list, and the snapshot's second half, from the index alone.
    "CREATE INDEX subscriptions_of_user
        ON subscriptions (user_id, community_id, article_id, fence) WHERE is_active",
    // Who follows this article here?
    "CREATE INDEX subscriptions_of_article
        ON subscriptions (community_article_id, community_id, user_id) WHERE is_active",
    // For ending all of a community's.
    "CREATE INDEX subscriptions_of_community ON subscriptions (community_id) WHERE is_active",
];

const TALK: &[&str] = &[
    "CREATE TABLE discussions (
        id {identity},
        community_id BIGINT NOT NULL,
        article_id BIGINT NOT NULL,
        community_article_id BIGINT NOT NULL REFERENCES community_articles (id),
        author_id BIGINT NOT NULL REFERENCES users (id),
        topic TEXT NOT NULL,
        content TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL
    )",
    "CREATE INDEX discussions_of_article ON discussions (community_id, article_id, id)",
    "CREATE TABLE comments (
        id {identity},
        discussion_id BIGINT NOT NULL REFERENCES discussions (id) ON DELETE CASCADE,
        parent_id BIGINT REFERENCES comments (id),
        depth BIGINT NOT NULL CHECK (depth BETWEEN 1 AND 3),
        author_id BIGINT NOT NULL REFERENCES users (id),
        content TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        CHECK ((depth = 1) = (parent_id IS NULL))
    )",
    "CREATE INDEX comments_of_discussion ON comments (discussion_id, id)",
    "CREATE INDEX comments_of_parent ON comments (parent_id) WHERE parent_id IS NOT NULL",
];
