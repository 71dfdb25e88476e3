//! What an application that keeps its own data needs: ids that it chose, calls that it repeats, and bulk changes that
//! hold nothing up.

use sea_orm_migration::prelude::*;

use crate::dialect::define;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        define(manager, BULK).await?;
        define(manager, REPEATED_CALLS).await?;
        define(manager, TALK).await
    }
}

const BULK: &[&str] = &[
    // What waits in one community: changed memberships and subscriptions, and the events behind them.
    "CREATE INDEX outbox_unsent_users_of_community ON outbox (community_id, id)
        WHERE sent_seq IS NULL AND user_id IS NOT NULL",
    "CREATE INDEX outbox_unsent_events_of_community ON outbox (community_id, id)
        WHERE sent_seq IS NULL AND event_id IS NOT NULL",
];

const REPEATED_CALLS: &[&str] = &[
    // Ids that outside publishers gave their events, for as long as the log may hold them.
    "CREATE TABLE event_ids (
        event_id {uuid} NOT NULL PRIMARY KEY,
        body_hash {bytes} NOT NULL,
        expires_at BIGINT NOT NULL
    )",
    "CREATE INDEX event_ids_expired ON event_ids (expires_at)",
    // Answers to calls with an Idempotency-Key. `caller` is the user's id.
    "CREATE TABLE idempotency_keys (
        caller BIGINT NOT NULL,
        idempotency_key TEXT NOT NULL,
        request_hash {bytes} NOT NULL,
        answer {bytes} NOT NULL,
        expires_at BIGINT NOT NULL,
        PRIMARY KEY (caller, idempotency_key)
    )",
    "CREATE INDEX idempotency_keys_expired ON idempotency_keys (expires_at)",
];

const TALK: &[&str] = &[
    // A comment that was answered keeps its place when it is deleted, without its text.
    "ALTER TABLE comments ADD COLUMN deleted_at BIGINT",
    // How many are there to be read?
    "CREATE INDEX comments_undeleted ON comments (discussion_id) WHERE deleted_at IS NULL",
];
