//! The relay: the log's only writer, as a loop over a [`Source`] of rows and a [`Sink`] of messages.
//!
//! | module | is |
//! |---|---|
//! | [`source`], [`sink`] | the two traits: where rows come from, where messages go |
//! | [`config`], [`stats`] | what the relay is told, and what it tells |
//! | [`relay`] | the life of one relay: stands by, leads, hands over |
//! | `lease` | the right to lead, by the relay's own clock |
//! | `leader` | the loop of a leader: wait, one pass, mark what was stored |
//! | `resync` | where the log ends, whenever that is in doubt; the beginning of an epoch; the fence behind both |
//! | `plan` | the messages that a pass's rows make, and their order |
//! | `flight` | messages on their way, each expecting the one before |
//! | `housekeeping` | old snapshots and old rows taken away |
//!
//! What holds throughout: nothing is published without knowing what the log ends with; nothing is marked
//! sent that was not acknowledged at its own sequence or found in the log; whatever went wrong, the next
//! step looks at the log before it publishes, and moves its end beyond the reach of whatever is still on its
//! way. All of a relay runs in one task: if that is stopped, so is everything the relay does.

mod backoff;
pub mod config;
mod flight;
mod housekeeping;
mod leader;
mod lease;
mod plan;
pub mod relay;
mod resync;
pub mod sink;
pub mod source;
pub mod stats;
mod trouble;

pub use config::{RelayConfig, TraceHook};
pub use relay::{Leadership, Relay};
pub use sink::Sink;
pub use source::Source;
pub use stats::Stats;
