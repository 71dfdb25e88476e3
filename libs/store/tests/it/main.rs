//! The store's tests, in one binary. Each that goes through `on_both!` runs on SQLite and on PostgreSQL; when all have
//! run, a last line counts them by database.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod articles;
mod auto_subscriptions;
mod backlog;
mod communities;
mod connecting;
mod edits;
mod harness;
mod mirror;
mod order;
mod outage;
mod relay;
mod repeats;
mod schema;
mod snapshots;
mod subscriptions;
mod talk;
mod transactions;
mod wake;

/// How many tests there are on each database.
const ON_BOTH: usize = articles::COUNT
    + auto_subscriptions::COUNT
    + backlog::COUNT
    + communities::COUNT
    + edits::COUNT
    + mirror::COUNT
    + mirror::equal::COUNT
    + order::COUNT
    + relay::COUNT
    + repeats::COUNT
    + schema::COUNT
    + snapshots::COUNT
    + subscriptions::COUNT
    + talk::COUNT
    + transactions::COUNT
    + wake::COUNT;
