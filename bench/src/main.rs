//! Measurements, on this machine, of the optimised binary as its users run it: `make bench`.
//!
//! | module | measures |
//! |---|---|
//! | [`startup`] | from `crier up` to ready |
//! | [`latency`] | from the POST to the frame at the client, split by hop |
//! | [`calls`] | calls a second beside the bare database that does the same statements |
//! | [`bulk`] | a mirror of 100,000 memberships, an article with 10,000 followers, and comments in the middle of both |
//! | [`storm`] | all clients of a dead gateway come back to the other at once |
//! | [`effective`] | from a subscribe to its first event, and that nothing comes after an unsubscribe or a removal |
//! | [`hostile`] | what well-behaved streams feel of slow and hostile clients beside them |
//! | [`plot`] | delivery through the death of the log's leader and a restart of all gateways, as a picture |
//! | [`peers`] | what a connection and a delivery cost, beside other gateways and the kernel alone |
//! | [`growth`] | how a gateway's cost grows with connections, communities, audience, the events of others |
//! | [`http2`] | streams over HTTP/2 and TLS, with nginx before the gateway |
//! | [`platform`], [`fleet`], [`reader`] | what they start: services, processes of the real binary, EventSources |
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that went wrong ends at once, by name; only JSON and sorted samples are indexed"
)]

mod bulk;
mod calls;
mod effective;
mod fleet;
mod growth;
mod hostile;
mod http2;
mod latency;
mod peers;
mod platform;
mod plot;
mod reader;
mod startup;
mod storm;

use std::path::PathBuf;

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
    /// Calls a second, as a ratio to the bare database.
    Calls(calls::Arguments),
    /// Bulk changes, and what they do to the events behind them.
    Bulk(bulk::Arguments),
    /// Ten thousand clients of a dead gateway come back to the other at once.
    Storm(storm::Arguments),
    /// From a subscribe to its first event; and after an unsubscribe or a removal, none.
    Effective(effective::Arguments),
    /// What the others feel of slow and hostile clients.
    Hostile(hostile::Arguments),
    /// Delivery while parts die, as a picture.
    Plot(plot::Arguments),
    /// A gateway's connections and deliveries, beside its peers and the kernel alone.
    Peers(peers::Arguments),
    /// What a gateway's cost grows with.
    Growth(growth::Arguments),
    /// From `crier up` to ready.
    Startup,
    /// Streams over HTTP/2 and TLS, with nginx before the gateway.
    Http2(http2::Arguments),
    /// The readers of `peers`, a process of their own.
    #[command(hide = true)]
    Readers {
        /// Of a server that speaks HTTP/2 over TLS.
        certificate: Option<PathBuf>,
    },
    /// What `peers` measures as the kernel alone.
    #[command(hide = true)]
    Floor,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().what {
        Some(What::Latency(arguments)) => latency::measure(&arguments).await,
        Some(What::Calls(arguments)) => calls::measure(&arguments).await,
        Some(What::Bulk(arguments)) => bulk::measure(&arguments).await,
        Some(What::Storm(arguments)) => storm::measure(&arguments).await,
        Some(What::Effective(arguments)) => effective::measure(&arguments).await,
        Some(What::Hostile(arguments)) => hostile::measure(&arguments).await,
        Some(What::Plot(arguments)) => plot::measure(&arguments).await,
        Some(What::Peers(arguments)) => peers::measure(&arguments).await,
        Some(What::Growth(arguments)) => growth::measure(&arguments).await,
        Some(What::Startup) => startup::measure().await,
        Some(What::Http2(arguments)) => http2::measure(&arguments).await,
        Some(What::Readers { certificate: None }) => peers::readers(),
        Some(What::Readers {
            certificate: Some(certificate),
        }) => peers::readers_http2(&certificate).await,
        Some(What::Floor) => peers::floor(),
        None => {
            startup::measure().await?;
            latency::measure(&latency::Arguments::default()).await?;
            calls::measure(&calls::Arguments::default()).await?;
            bulk::measure(&bulk::Arguments::default()).await?;
            peers::measure(&peers::Arguments::default()).await
        }
    }
}
