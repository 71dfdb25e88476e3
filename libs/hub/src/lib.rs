//! The hub: walks the spine, matches events to connections and gives frames, without I/O.
//!
//! The gateway calls [`Hub`] with what happened and carries out the [`Action`]s it asks for. Nothing
//! here reads a clock, rolls dice of its own or waits, so the model test drives the very code that runs.
//!
//! What holds at all times:
//!
//! - **One position.** Entries of the log are passed strictly in its order. Whatever is needed to pass
//!   one and isn't there yet holds back everything behind it.
//! - **A snapshot counts from its place.** A user's snapshot at position R decides about every event
//!   from R + 1 on, and about none before.
//! - **One rule.** Who gets an event is decided by [`crier_domain::receives`] alone; the index only
//!   says whom to ask about.
//! - **Cursors rise.** The ids on one connection increase, and say what that client has seen. Only a `reset` for events
//!   that are gone repeats one: after it, nothing more has been seen.
//!
//! | module | is |
//! |---|---|
//! | [`Hub`] | the calls; `hub/walk` passes entries, `hub/lookup` finds snapshots of users who connect, `hub/people` takes snapshots in, welcomes and closes |
//! | `queue` | entries of the log with the payloads they need, and what must be fetched |
//! | `roster`, `index`, `audience` | who is connected, and whom an event of a community may concern |
//! | `changes` | what came and went between two snapshots |
//! | `interest` | the communities whose live copies are wanted, with their lingering |
//! | `resume` | where a connection begins |
//! | `past` | the communities' recent events, and how older ones are read back and proved complete |
//! | `replay` | how far a connection is that catches up; [`Hub`]'s `hub/replay` and `hub/recall` carry it on |
//! | [`frame`] | Server-Sent-Events text |
//! | `timers`, `chance` | deadlines, and the seeded dice for jitter |

mod action;
mod audience;
mod chance;
mod changes;
mod config;
pub mod frame;
mod hub;
mod index;
mod interest;
mod past;
mod queue;
mod replay;
mod resume;
mod roster;
mod stats;
mod timers;
mod users;

pub use action::{Action, ConnectionId, PastAnswer, PastEvent, PastQuestion, ReadId, SnapshotRead};
pub use config::{Backoff, HubConfig};
pub use frame::ByeReason;
pub use hub::Hub;
pub use resume::Resume;
pub use stats::Stats;
