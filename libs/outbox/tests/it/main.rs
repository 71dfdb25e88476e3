//! The relay over an outbox and a log in memory that behave, and fail, like the real ones. Time is
//! paused: an hour of waiting takes no time.
//!
//! | module | is |
//! |---|---|
//! | `db`, `log`, `connection` | the outbox, the log, and the way there, with what can go wrong in each |
//! | `world` | both with relays over them; `check` says what must hold whatever happened |
//! | `whole` | all of it with gateways' hubs and clients behind, and what each client had to get |
//! | the others | tests |

#[cfg(test)]
mod connection;
#[cfg(test)]
mod db;
#[cfg(test)]
mod epochs;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod leading;
#[cfg(test)]
mod log;
#[cfg(test)]
mod passes;
#[cfg(test)]
mod spans;
#[cfg(test)]
mod whole;
#[cfg(test)]
mod world;
