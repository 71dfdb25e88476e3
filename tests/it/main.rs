//! End to end: real nats-servers, real databases, real services, the real binary, a real browser.
//!
//! | module | shows |
//! |---|---|
//! | [`world`], [`people`], [`stream`] | the harness: a system of one's own, people in it, and what their browsers receive |
//! | [`scenarios`] | the three scenarios of the system that Crier replaces, over two gateways |

mod people;
mod scenarios;
mod stream;
mod world;
