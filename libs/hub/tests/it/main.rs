//! The hub from outside: every rule as a small script, and all of them at once against a model.

// clippy.toml allows these in test functions; here they stand in what those functions share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod log;
mod model;
mod oracle;
mod rules;
mod script;
mod sse;
