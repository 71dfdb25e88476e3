//! The bus over real nats-servers, each test with its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

#[path = "it/cluster.rs"]
mod cluster;
#[path = "it/connection.rs"]
mod connection;
#[path = "it/ensure.rs"]
mod ensure;
#[path = "it/fence.rs"]
mod fence;
#[path = "it/history.rs"]
mod history;
#[path = "it/live.rs"]
mod live;
#[path = "it/permissions.rs"]
mod permissions;
#[path = "it/publish.rs"]
mod publish;
#[path = "it/read.rs"]
mod read;
#[path = "it/rpc.rs"]
mod rpc;
#[path = "it/spine.rs"]
mod spine;
#[path = "it/support.rs"]
mod support;
