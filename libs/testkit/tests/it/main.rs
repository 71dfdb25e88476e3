//! The parts, run for real, in one test binary.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail the test"
)]

mod browser;
mod guardian;
mod nats;
mod postgres;
mod streams;
mod trace;
