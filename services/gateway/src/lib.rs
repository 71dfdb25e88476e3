//! The gateway: holds the browsers' event streams. It keeps no state that another gateway couldn't rebuild,
//! and never touches the database.
//!
//! | module | is |
//! |---|---|
//! | [`config`] | what an operator may set |
//! | [`startup`] | the only place that constructs things: [`build`], then [`Gateway::run`] |
//! | `http` | the routes; `http/events` opens a stream, `http/identity` says whose |
//! | `feed` | the one task that joins NATS and the hub: spine and payloads in, frames out |
//! | `outlet` | the bounded queue between the hub and one socket |
//! | `drain` | how streams are closed when the gateway stops |

pub mod config;
pub mod startup;

mod drain;
mod feed;
mod http;
mod metrics;
mod outlet;
mod state;

pub use startup::{Gateway, GatewayError, Settings, build};
