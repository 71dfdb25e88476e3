//! The database schema, as sea-orm migrations for SQLite and PostgreSQL.
//!
//! | module | is |
//! |---|---|
//! | `dialect` | the few words in which the two databases' definitions differ |
//! | `m0001_community` | users, communities, articles, subscriptions, discussions, comments |
//! | `m0002_outbox` | the outbox, the relay's lease and position, dead letters |
//! | `m0003_integration` | ids and keys that callers chose, bulk changes, deleted comments |
//!
//! Everywhere: ids are 64-bit and may be chosen by the caller; times are Unix milliseconds in UTC; a kind, role
//! or status is its lower-case name. Migrations go up only.

use sea_orm_migration::prelude::*;

pub use sea_orm_migration::MigratorTrait;

mod dialect;
mod m0001_community;
mod m0002_outbox;
mod m0003_integration;

/// All migrations, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_community::Migration),
            Box::new(m0002_outbox::Migration),
            Box::new(m0003_integration::Migration),
        ]
    }
}
