//! NATS: the only crate that names it. The log and its writing, the spine, live payloads, questions to the API.
//!
//! | module | is |
//! |---|---|
//! | [`config`] | how to reach NATS |
//! | [`connection`] | [`Bus`]: one connection that comes back for ever, and its state |
//! | [`error`] | [`Outage`]: why NATS didn't answer |
//! | [`log`] | the stream: made as it must be, read from its leader or any replica |
//! | [`log::history`] | its past: a community's events in pages, and how far back it reaches |
//! | [`log::publish`] | writing it: pipelined, each message at the one sequence it may have |
//! | [`spine`] | what exists and in what order: headers of the whole log, or a typed end |
//! | [`live`] | payloads of followed communities as they are stored, early and unreliable |
//! | [`rpc`] | a gateway asks the API for a snapshot |
//!
//! Every call has a timeout of its own, every queue a bound. Nothing here retries a publish: only the relay knows
//! whether that is right.

mod call;
pub mod config;
pub mod connection;
pub mod error;
mod headers;
pub mod live;
pub mod log;
pub mod rpc;
pub mod spine;

pub use config::NatsConfig;
pub use connection::{Bus, BusStats, ConnectError, ConnectionState, VersionError};
pub use error::{Outage, ServerError};
pub use live::{Live, LiveCapacity, LiveMessage, LiveReceiver};
pub use log::history::PageLimits;
pub use log::publish::{Ack, PublishError, Refusal, Rejection};
pub use log::stored::{LastMark, Stored, StoredSnapshot};
pub use log::stream::{Difference, EnsureError, LogConfig};
pub use log::{Log, ReadError};
pub use rpc::RpcError;
pub use spine::{Spine, SpineItem, SpineLost};
