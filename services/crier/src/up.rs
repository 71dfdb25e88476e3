//! `crier up`: everything on one machine. What isn't configured it makes itself, in the data directory.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use crier_api::{Api, ApiError};
use crier_domain::Keys;
use crier_gateway::Gateway;
use crier_service_kit::config::Secret;
use crier_service_kit::{shutdown, telemetry};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::embedded::data_dir::{DataDir, secret};
use crate::embedded::nats_binary;
use crate::embedded::nats_server::NatsServer;

/// Where `crier up` keeps everything unless told otherwise.
pub(crate) const DEFAULT_DATA_DIR: &str = "data";

/// The file with the secret that signs and checks tokens.
pub(crate) const JWT_SECRET: &str = "jwt-secret";

/// NATS is up before the services are, so this is for a machine under heavy load.
const PATIENCE: Duration = Duration::from_secs(30);

/// For the last spans to reach the collector.
const TELEMETRY_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Args)]
pub(crate) struct Arguments {
    /// Adds a demo page, sample data, and a login for alice, bob and carol. Not for production.
    #[arg(long)]
    demo: bool,
    /// Where database, log and secrets are kept.
    #[arg(long, default_value = DEFAULT_DATA_DIR)]
    data_dir: PathBuf,
    /// Where the API listens [default: 127.0.0.1:8000].
    #[arg(long, value_name = "ADDR")]
    api: Option<SocketAddr>,
    /// Where a gateway listens; may be given several times [default: 127.0.0.1:8001 and 127.0.0.1:8002].
    #[arg(long, value_name = "ADDR")]
    gateway: Vec<SocketAddr>,
}

pub(crate) fn run(mut config: Config, arguments: &Arguments) -> anyhow::Result<()> {
    let data = DataDir::open(&arguments.data_dir)?;
    fill_in_secrets(&mut config, &data)?;
    if let Some(address) = arguments.api {
        config.api.listen = address.to_string();
    }
    config.api.demo |= arguments.demo;
    // Lives until everything that uses it has ended.
    let _nats = own_nats(&mut config, &data)?;
    let addresses = gateway_addresses(&config, arguments);
    if config.database.url.expose().is_empty() {
        let file = data.file("crier.db");
        config.database.url = Secret::new(format!("sqlite://{}", file.display()));
    }
    crate::services::runtime()?.block_on(serve(config, addresses))
}

/// Keys that an operator has set are left alone.
fn fill_in_secrets(config: &mut Config, data: &DataDir) -> anyhow::Result<()> {
    let auth = &config.auth;
    if auth.secret.is_none() && auth.public_keys.is_empty() && auth.jwks_file.is_none() {
        let made = secret(&data.file(JWT_SECRET), Keys::random_base64)?;
        config.auth.secret = Some(Secret::new(made));
    }
    if config.cursor.keys.is_empty() {
        let made = secret(&data.file("cursor-key"), Keys::random_base64)?;
        config.cursor.keys.push(Secret::new(made));
    }
    Ok(())
}

fn own_nats(config: &mut Config, data: &DataDir) -> anyhow::Result<Option<NatsServer>> {
    if !config.nats.url.is_empty() {
        return Ok(None);
    }
    let binary = nats_binary::find(config.up.nats_server.as_deref())?;
    let token = secret(&data.file("nats-token"), Keys::random_base64)?;
    let server = NatsServer::start(&binary, data, &token)?;
    server.url().clone_into(&mut config.nats.url);
    config.nats.token = Some(server.token().into());
    Ok(Some(server))
}

fn gateway_addresses(config: &Config, arguments: &Arguments) -> Vec<SocketAddr> {
    if !arguments.gateway.is_empty() {
        return arguments.gateway.clone();
    }
    let first = config.gateway.listen;
    let mut second = first;
    if first.port() != 0 {
        second.set_port(first.port().saturating_add(1));
    }
    vec![first, second]
}

async fn serve(mut config: Config, addresses: Vec<SocketAddr>) -> anyhow::Result<()> {
    let telemetry = telemetry::init(&config.telemetry, "crier")?;
    let stop = shutdown::signals().context("signals can't be waited for")?;
    // Each must know the other's address, and port 0 is known only once it is bound.
    let api = crier_api::build(config.api_settings()).await?;
    config.allow_own_pages(api.local_addr());
    let mut gateways = Vec::new();
    for address in addresses {
        config.gateway.listen = address;
        gateways.push(crier_gateway::build(config.gateway_settings()?).await?);
    }
    let urls = gateways
        .iter()
        .map(|gateway| format!("http://{}", gateway.local_addr()));
    let api = api.with_gateways(urls.collect());
    let ended = supervise(api, gateways, stop, config.api.demo).await;
    telemetry.shutdown(TELEMETRY_TIMEOUT).await;
    ended
}

/// Runs all services, says when they are ready, and ends them in order: gateways, then the API.
async fn supervise(
    api: Api,
    gateways: Vec<Gateway>,
    stop: CancellationToken,
    demo: bool,
) -> anyhow::Result<()> {
    let summary = Summary::of(&api, &gateways, demo);
    // A gateway is ready once it follows the log, which the API's relay has begun by then.
    let ready: Vec<_> = gateways.iter().map(Gateway::readiness).collect();
    let (stop_gateways, stop_api) = (CancellationToken::new(), CancellationToken::new());
    let mut streams = JoinSet::new();
    for gateway in gateways {
        streams.spawn(gateway.run(stop_gateways.clone()));
    }
    let mut service = tokio::spawn(api.run(stop_api.clone()));

    let mut all_ready = std::pin::pin!(async {
        for readiness in &ready {
            readiness.ready().await;
        }
    });
    let mut waiting = std::pin::pin!(async {
        if tokio::time::timeout(PATIENCE, all_ready.as_mut())
            .await
            .is_err()
        {
            tracing::warn!("not ready after {PATIENCE:?}; see /health/ready of each service");
            all_ready.await;
        }
        summary.print();
        std::future::pending::<()>().await;
    });
    let outcome = tokio::select! {
        ended = failed(&mut streams, &mut service) => Err(ended),
        () = stop.cancelled() => Ok(()),
        () = waiting.as_mut() => Ok(()),
    };
    stop_gateways.cancel();
    while streams.join_next().await.is_some() {}
    stop_api.cancel();
    if !service.is_finished() {
        service.await.context("the API service failed")??;
    }
    outcome
}

/// A service that ends before it is told to.
async fn failed(
    streams: &mut JoinSet<()>,
    service: &mut JoinHandle<Result<(), ApiError>>,
) -> anyhow::Error {
    tokio::select! {
        Some(ended) = streams.join_next() => match ended {
            Ok(()) => anyhow!("a gateway ended by itself"),
            Err(error) => anyhow!("a gateway failed: {error}"),
        },
        ended = service => match ended {
            Ok(Ok(())) => anyhow!("the API service ended by itself"),
            Ok(Err(error)) => anyhow!(error),
            Err(error) => anyhow!("the API service failed: {error}"),
        },
    }
}

/// What a person who started it wants to know.
struct Summary {
    api: SocketAddr,
    gateways: Vec<SocketAddr>,
    demo: bool,
}

impl Summary {
    fn of(api: &Api, gateways: &[Gateway], demo: bool) -> Self {
        Self {
            api: api.local_addr(),
            gateways: gateways.iter().map(Gateway::local_addr).collect(),
            demo,
        }
    }

    fn print(&self) {
        println!("Crier is running. Ctrl-C ends it.");
        println!("  API       http://{}", self.api);
        for gateway in &self.gateways {
            println!("  gateway   http://{gateway}/events");
        }
        if self.demo {
            println!(
                "\nOpen http://{}/ in two windows: alice in one, bob in the other.",
                self.api
            );
        }
    }
}
