//! Measurements, on this machine, of the optimised binary as its users run it: `make bench`.
//!
//! | module | measures |
//! |---|---|
//! | [`startup`] | from `crier up` to ready |
//! | [`latency`] | from the POST to the frame at the client, split by hop |
//! | [`fleet`] | what both start: processes of the real binary |
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that went wrong ends at once, by name; only JSON and sorted samples are indexed"
)]

mod fleet;
mod latency;
mod startup;

use clap::{Parser, Subcommand};

/// Measures Crier. Build with --release.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// From the POST to the frame, on SQLite and PostgreSQL.
    Latency(latency::Arguments),
    /// From `crier up` to ready.
    Startup,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().what {
        Some(What::Latency(arguments)) => latency::measure(&arguments).await,
        Some(What::Startup) => startup::measure().await,
        None => {
            startup::measure().await?;
            latency::measure(&latency::Arguments::default()).await
        }
    }
}
