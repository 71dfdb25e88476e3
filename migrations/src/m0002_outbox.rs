//! The outbox, the relay's lease and position, dead letters.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect::define;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        define(manager, OUTBOX).await?;
        define(manager, RELAY).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            define(manager, POSTGRES).await?;
        }
        Ok(())
    }
}

const OUTBOX: &[&str] = &[
    // A row is a user whose snapshot is due, or an event. No foreign keys: rows are messages, not data.
    // `named` is the JSON list of recipients of audience `users`.
    "CREATE TABLE outbox (
        id {identity},
        event_id {uuid},
        user_id BIGINT,
        community_id BIGINT,
        article_id BIGINT,
        audience TEXT CHECK (audience IN ('subscribers', 'members', 'users')),
        named TEXT,
        exclude_user BIGINT,
        body {bytes},
        traceparent TEXT,
        created_at BIGINT NOT NULL,
        sent_seq BIGINT,
        sent_at BIGINT,
        CHECK ((user_id IS NULL) <> (event_id IS NULL)),
        CHECK (event_id IS NULL OR (community_id IS NOT NULL AND audience IS NOT NULL AND body IS NOT NULL)),
        CHECK ((sent_seq IS NULL) = (sent_at IS NULL))
    )",
    // The backlog, users' rows apart since they go first.
    "CREATE INDEX outbox_unsent_events ON outbox (id) WHERE sent_seq IS NULL AND event_id IS NOT NULL",
    "CREATE INDEX outbox_unsent_users ON outbox (id) WHERE sent_seq IS NULL AND user_id IS NOT NULL",
    // Is a snapshot of this user on its way?
    "CREATE INDEX outbox_unsent_user ON outbox (user_id) WHERE sent_seq IS NULL AND user_id IS NOT NULL",
    // Rows of events that were found in the log.
    "CREATE INDEX outbox_unsent_event ON outbox (event_id) WHERE sent_seq IS NULL AND event_id IS NOT NULL",
    // What may be deleted.
    "CREATE INDEX outbox_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL",
];

const RELAY: &[&str] = &[
    // One row. The epoch's 64 bits and the sequence as signed numbers; `expires` by the database's clock.
    "CREATE TABLE relay (
        id {key} CHECK (id = 1),
        holder {uuid},
        term BIGINT NOT NULL,
        expires BIGINT NOT NULL,
        epoch BIGINT,
        seq BIGINT,
        CHECK ((epoch IS NULL) = (seq IS NULL))
    )",
    "INSERT INTO relay (id, term, expires) VALUES (1, 0, 0)",
    "CREATE TABLE dead_letters (
        outbox_id {key},
        event_id {uuid},
        user_id BIGINT,
        community_id BIGINT,
        article_id BIGINT,
        body {bytes},
        reason TEXT NOT NULL,
        created_at BIGINT NOT NULL
    )",
];

const POSTGRES: &[&str] = &[
    // Every row is inserted, updated once and deleted within minutes: vacuum by count, not by share.
    "ALTER TABLE outbox SET (
        autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000)",
];
