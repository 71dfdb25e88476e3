//! The relay: the log's only writer, as a loop over a [`Source`] of rows and a [`Sink`] of messages.

pub mod sink;
pub mod source;

pub use sink::Sink;
pub use source::Source;
