//! The parts that `crier up` makes for itself, so that nothing else is needed to run: a data directory with
//! its secrets, and a `nats-server` of its own.

pub(crate) mod data_dir;
pub(crate) mod nats_binary;
pub(crate) mod nats_server;
