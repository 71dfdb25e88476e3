//! From the POST to the frame at the client: a fleet of API and two gateways as processes, a real NATS, a database
//! whose commits reach the disk, and every client reading. Split by hop from the traces that the services export.
//!
//! The load is open-loop: comments are posted by the clock, whether or not earlier ones were answered, so that a
//! slow answer doesn't hide the ones behind it.

mod load;
mod report;

use clap::Args;
use crier_testkit::{NatsServer, Postgres, TraceCollector};

use crate::platform::{Platform, Settings};
use load::Load;

/// The load.
#[derive(Args, Clone)]
pub(crate) struct Arguments {
    /// Streams, half on each gateway.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) connections: usize,
    /// Comments a second.
    #[arg(long, default_value_t = 50)]
    pub(crate) rate: u64,
    /// Seconds measured, after a warm-up of five.
    #[arg(long, default_value_t = 30)]
    pub(crate) seconds: u64,
    /// Communities among which the streams are divided; a comment goes to one of them.
    #[arg(long, default_value_t = 20)]
    pub(crate) communities: usize,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            connections: 1_000,
            rate: 50,
            seconds: 30,
            communities: 20,
        }
    }
}

pub(crate) async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    println!(
        "## POST to frame: {} streams on two gateways, {} comments a second to {} communities in turn, {} s\n",
        arguments.connections, arguments.rate, arguments.communities, arguments.seconds
    );
    let data = tempfile::tempdir()?;
    let sqlite = format!("sqlite://{}", data.path().join("crier.db").display());
    on(arguments, "SQLite", &sqlite).await?;
    let postgres = Postgres::durable().await;
    on(arguments, "PostgreSQL", &postgres.url()).await
}

async fn on(arguments: &Arguments, name: &str, database: &str) -> anyhow::Result<()> {
    let nats = NatsServer::start().await;
    let collector = TraceCollector::start().await;
    let settings = Settings::new(&nats.url(), database)
        .with("CRIER_TELEMETRY__OTLP_ENDPOINT", collector.endpoint());
    let platform = Platform::start(settings, 2).await?;
    let load = Load::prepare(arguments, &platform).await?;
    let samples = load.run(arguments).await?;
    // Batches of spans leave every second.
    let spans = report::settled_spans(&collector).await;
    report::print(name, &samples, &spans);
    platform.end().await
}
