//! The API service: subscriptions, discussions and the relay.
//!
//! A request goes `http` → `app` → store: a handler parses, calls and maps; a use case knows no HTTP; all SQL is the
//! store's. What it changes stands in the outbox when it is answered, and the relay takes it from there to the log.
//!
//! | module | is |
//! |---|---|
//! | [`config`] | what an operator may set |
//! | [`startup`] | the only place that constructs things: [`build`], then [`Api::run`] |
//! | [`http`] | the whole route table; below it one file of thin handlers per resource, and `http/problems`, the one place where errors become statuses |
//! | `app` | the use cases, one file per resource |
//! | `relay` | joins the store and NATS to the relay |
//! | `limits` | how often one caller may call |
//! | `background` | what runs beside the requests: stream, relay, snapshot requests |
//! | `metrics` | what is counted besides requests |

pub mod config;
pub mod http;
pub mod startup;

mod app;
mod background;
mod limits;
mod metrics;
mod relay;
mod state;

pub use config::Config;
pub use startup::{Api, ApiError, build};

/// An error with everything that led to it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some errors repeat their cause in their own words.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
