//! The API service as a whole: a real one on a free port, on SQLite in a folder of its own, mostly without NATS.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests may stop at the first surprise, as the tests themselves do"
)]

mod authorisation;
mod bad_input;
mod changes;
mod demo;
mod events;
mod fixture;
mod hidden;
mod limits;
mod log;
mod membership;
mod mirror;
mod once;
mod openapi;
mod operation;
mod races;
mod shapes;
mod statements;
mod subscriptions;
mod sync;
