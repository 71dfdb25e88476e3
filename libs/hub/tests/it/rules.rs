//! Every rule of the hub as a script.

mod events;
mod snapshots;
mod streams;
