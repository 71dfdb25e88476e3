//! The database schema, as sea-orm migrations for SQLite and PostgreSQL.
