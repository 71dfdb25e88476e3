//! One service each, for a fleet: everything they need is configured.

use std::time::Duration;

use anyhow::Context as _;
use crier_service_kit::{shutdown, telemetry};
use crier_store::Store;
use tokio::runtime::Runtime;

use crate::config::Config;

/// For the last spans to reach the collector.
const TELEMETRY_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    Runtime::new().context("the async runtime can't be started")
}

pub(crate) fn api(config: Config) -> anyhow::Result<()> {
    config.require_fleet_settings()?;
    config.require_database()?;
    runtime()?.block_on(async {
        let telemetry = telemetry::init(&config.telemetry, "crier-api")?;
        let stop = shutdown::signals().context("signals can't be waited for")?;
        let api = crier_api::build(config.api_settings()).await?;
        println!("crier api on http://{}", api.local_addr());
        let ended = api.run(stop).await;
        telemetry.shutdown(TELEMETRY_TIMEOUT).await;
        Ok(ended?)
    })
}

pub(crate) fn gateway(config: Config) -> anyhow::Result<()> {
    config.require_fleet_settings()?;
    runtime()?.block_on(async {
        let telemetry = telemetry::init(&config.telemetry, "crier-gateway")?;
        let stop = shutdown::signals().context("signals can't be waited for")?;
        let gateway = crier_gateway::build(config.gateway_settings()?).await?;
        println!("crier gateway on http://{}/events", gateway.local_addr());
        gateway.run(stop).await;
        telemetry.shutdown(TELEMETRY_TIMEOUT).await;
        Ok(())
    })
}

pub(crate) fn migrate(config: &Config) -> anyhow::Result<()> {
    config.require_database()?;
    runtime()?.block_on(async {
        let store = Store::connect(&config.database.store()).await?;
        store.migrate().await?;
        println!("the database's schema is up to date");
        Ok(())
    })
}
