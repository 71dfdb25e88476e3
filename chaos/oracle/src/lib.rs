//! The judge of the fault campaign: reads what was asked of Crier and what every client read, and says for each
//! client what it had to get, could get and must not get.
//!
//! It shares no line with Crier: it knows the calls of the API and the frames of a stream as a client's author
//! knows them, from the documentation. Cursors are opaque to it, and of what happens between a call and a frame it
//! knows nothing.
//!
//! | module | is |
//! |---|---|
//! | [`journal`] | what is judged: calls, streams, frames and faults, by one clock |
//! | `calls` | what a call means: an event, or a change of who may receive what |
//! | `permissions` | who may receive what, from each change to the next |
//! | `past` | the journal of calls, understood as a whole |
//! | `reading` | what one client read, and which resets a fault explains |
//! | `order` | whether all that was read fits into one order |
//! | `judge` | the verdicts |
//! | `timeline` | what led to a verdict, for people |
#![allow(
    clippy::indexing_slicing,
    reason = "only JSON is indexed, where what is missing is null"
)]

mod calls;
pub mod journal;
mod judge;
mod order;
mod past;
mod permissions;
mod reading;
mod timeline;

pub use judge::{Judgement, Verdict, Wrong, judge, overdue};
pub use timeline::timeline;
