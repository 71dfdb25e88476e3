//! What both services need and neither is about. It knows no events and none of Crier's other crates.
//!
//! | module | what is there |
//! |---|---|
//! | [`config`] | defaults, file and environment into one struct; secrets and durations as types |
//! | [`auth`] | who calls: bearer tokens checked and, for demos and tools, made |
//! | [`problem`] | errors as `application/problem+json`, and extractors that answer with them |
//! | [`http`] | the layers around a service's routes: request id, span, metrics, limits, trailing slash |
//! | [`server`] | a bound socket that serves until told to stop, then stops in time |
//! | [`health`] | `/health/live`, `/health/ready`, `/metrics` |
//! | [`telemetry`] | logs, traces and the `traceparent` that carries a trace on |
//! | [`descriptors`] | how many sockets there may be |
//! | [`shutdown`] | SIGINT and SIGTERM as a cancellation token |

pub mod auth;
pub mod config;
pub mod descriptors;
pub mod health;
pub mod http;
pub mod problem;
pub mod server;
pub mod shutdown;
pub mod telemetry;
