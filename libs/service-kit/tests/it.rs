//! The crate from outside, over real sockets and in real processes.

// clippy.toml allows these in test functions; here they stand in what those functions share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "it/auth_keys.rs"]
mod auth_keys;
#[path = "it/client.rs"]
mod client;
#[path = "it/extract.rs"]
mod extract;
#[path = "it/handover.rs"]
mod handover;
#[path = "it/health.rs"]
mod health;
#[path = "it/http.rs"]
mod http_layers;
#[path = "it/process.rs"]
mod process;
#[path = "it/server.rs"]
mod server;
#[path = "it/traces.rs"]
mod traces;
