//! All SQL: the community's data, subscriptions, the outbox and the relay's lease, on SQLite and PostgreSQL.
