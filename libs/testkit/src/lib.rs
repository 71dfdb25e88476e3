//! Real parts for tests: nats-server, PostgreSQL, a trace collector, an SSE client and a browser.
//!
//! Every part is the test's own (own process, own port, own folder) and is gone when its value is dropped; what a
//! killed test process could not drop, the guardian removes ([`guardian`]). Nothing here knows a service of Crier.
//!
//! | part | is |
//! |---|---|
//! | [`wait_for`] | polls for a state with a deadline, in place of sleeping |
//! | [`NatsCluster`] | three of them that keep one JetStream; each in a network namespace, where that is allowed |
//! | [`NatsServer`] | a nats-server with JetStream that can be killed, paused and started again |
//! | [`Proxy`] | a way to a nats-server that can be cut, frozen, slowed down |
//! | [`Postgres`] | one cluster per test process with a database per call, or a dedicated one to kill |
//! | [`Process`] | any other child process, signalled and never left behind |
//! | [`HttpClient`] | JSON over HTTP with a bearer token |
//! | [`SseClient`] | an EventSource with everything in sight; [`SseParser`] is its pure half |
//! | [`TraceCollector`] | an OTLP receiver that gives back the spans it was sent |
//! | [`Browser`] | headless Chromium, driven over its DevTools protocol |
//! | [`tools`] | where the binaries are that all this runs |
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a part that can't be had fails its test, at once and by name"
)]
#![allow(
    clippy::indexing_slicing,
    reason = "only JSON is indexed, where what is missing is null"
)]

mod browser;
mod guardian;
mod http;
mod nats;
mod postgres;
mod process;
mod proxy;
mod sse;
pub mod tools;
mod trace;
mod wait;

pub use browser::{Browser, Page};
pub use http::{Answer, HttpClient};
pub use nats::{NatsCluster, NatsOptions, NatsServer, apart_refused};
pub use postgres::{DedicatedPostgres, Postgres, TestDatabase};
pub use process::{Ending, Process};
pub use proxy::{Proxy, Way};
pub use sse::{Ended, Frame, SseClient, SseParser};
pub use trace::{Span, TraceCollector};
pub use wait::{DEADLINE, wait_for};
