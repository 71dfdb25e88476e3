//! Every rule of the hub as a script.

mod events;
mod past;
mod resume;
mod snapshots;
mod streams;
