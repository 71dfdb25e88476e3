//! The only place that constructs things: [`build`] binds and knows the address, [`Api::run`] serves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use crier_bus::{Bus, ConnectError};
use crier_domain::seal::KeysError;
use crier_outbox::Relay;
use crier_service_kit::auth::{AuthConfigError, Signer, Verifier};
use crier_service_kit::health::{self, Readiness};
use crier_service_kit::http::{HttpLimits, HttpMetrics, layer};
use crier_service_kit::server::{BindError, Bound};
use crier_store::{Store, StoreError};
use governor::clock::MonotonicClock;
use prometheus_client::registry::Registry;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::app::sync::Place;
use crate::app::{App, demo};
use crate::background::{Background, DATABASE};
use crate::config::Config;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::relay::{Outbox, Stream};
use crate::state::{Demo, State};
use crate::{causes, http};

/// The largest body of a call, in bytes.
const BODY_BYTES: usize = 1024 * 1024;
/// A mark is written once a minute; with none in the log, every leader would begin a new epoch.
const SHORTEST_RETENTION: Duration = Duration::from_mins(5);
/// How long the tasks beside the requests may take to end: the relay finishes its pass and gives up its lease.
const BACKGROUND_DEADLINE: Duration = Duration::from_secs(5);

/// Why there is no API service; each is one sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No tokens can be checked, or, for a demo, made.
    #[error(transparent)]
    Auth(#[from] AuthConfigError),
    /// The fleet keys can't be used.
    #[error("cursor.keys: {0}")]
    Keys(#[from] KeysError),
    /// The database can't be opened or brought up to date.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Events would be gone before a mark says how far back the log reaches.
    #[error("relay.retention is {} s; it must be 5 minutes or more", .0.as_secs())]
    Retention(Duration),
    /// The settings for NATS can't be used. That NATS is away is no error.
    #[error(transparent)]
    Nats(#[from] ConnectError),
    /// The address can't be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The demo's sample data can't be stored.
    #[error("the sample data can't be stored: {0}")]
    SampleData(String),
    /// A part of the service broke while it ran.
    #[error("a part of the service ended that should not: {0}")]
    Broken(String),
}

/// An API service that listens and does not serve yet.
pub struct Api {
    bound: Bound,
    state: State,
    limits: HttpLimits,
    http_metrics: HttpMetrics,
    registry: Registry,
    background: Background,
    shutdown_deadline: Duration,
}

/// Opens the database, brings its schema up to date if it is to, and binds the address. Does not wait for NATS.
///
/// # Errors
/// [`ApiError`], one sentence.
pub async fn build(config: Config) -> Result<Api, ApiError> {
    // What is quick to be wrong first; the database last, for it is changed.
    let verifier = Verifier::new(&config.auth)?;
    let signer = config
        .api
        .demo
        .then(|| Signer::new(&config.auth))
        .transpose()?;
    let keys = config.cursor.read()?;
    let retention = config.relay.retention.get();
    if retention < SHORTEST_RETENTION {
        return Err(ApiError::Retention(retention));
    }
    let bound = Bound::bind(&config.api.listen).await?;
    let bus = Bus::connect_lazily(&config.nats, "crier-api").await?;
    let store = Store::connect(&config.database.store()).await?;
    if config.database.migrates() {
        store.migrate().await?;
    }
    store.listen();

    let outbox = Outbox(store.clone());
    let relay = Relay::new(
        outbox,
        Stream(bus.log()),
        config.relay.relay(),
        store.wake(),
    );
    let mut registry = Registry::default();
    let app = App {
        store: store.clone(),
        keys,
        metrics: Metrics::register(&mut registry, relay.stats(), bus.clone(), store.clone()),
        communities_per_user: config.limits.communities_per_user,
        retention,
        syncs: Place::default(),
        stopping: CancellationToken::new(),
    };
    let limits = Limits::register(&config.limits, &MonotonicClock, &mut registry);
    let limits = Arc::new(limits);
    if signer.is_some() {
        let seeded = demo::seed(&app).await;
        seeded.map_err(|error| ApiError::SampleData(causes(&error)))?;
    }
    Ok(Api {
        bound,
        limits: HttpLimits {
            body_bytes: BODY_BYTES,
            request_timeout: config.api.request_timeout.get(),
            concurrency: config.api.concurrency,
            untimed: &[],
        },
        http_metrics: HttpMetrics::register(&mut registry),
        registry,
        state: State {
            app,
            verifier,
            limits: limits.clone(),
            demo: signer.map(|signer| Demo {
                signer,
                gateways: config.api.gateways,
            }),
        },
        background: Background {
            bus,
            store,
            relay,
            stream: config.relay.stream(),
            readiness: Readiness::new([DATABASE]),
            limits,
        },
        shutdown_deadline: config.api.shutdown_deadline.get(),
    })
}

impl Api {
    /// Where it listens, with the real port.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.bound.local_addr()
    }

    /// Has the demo page offer these gateways, as `http://127.0.0.1:8001`: where their ports are free ones, they are
    /// known only now. Does nothing without `demo`.
    #[must_use]
    pub fn with_gateways(mut self, gateways: Vec<String>) -> Self {
        if let Some(demo) = &mut self.state.demo {
            demo.gateways = gateways;
        }
        self
    }

    /// Serves until `shutdown`, then lets requests under way end, has the relay finish and give up its lease, and
    /// closes the connections. All of it is over by the deadlines.
    ///
    /// # Errors
    /// [`ApiError::Broken`] if a part of the service panicked; the others are stopped in order then too.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ApiError> {
        let Self {
            bound,
            mut state,
            limits,
            http_metrics,
            registry,
            background,
            shutdown_deadline,
        } = self;
        // The relay outlives the last request: what that wrote is still carried over.
        let stop_serving = shutdown.child_token();
        state.app.stopping = stop_serving.clone();
        let (bus, store) = (background.bus.clone(), background.store.clone());
        let health = health::routes(background.readiness.clone(), Arc::new(registry));
        let router: Router = http::router(Arc::new(state)).merge(health);
        let router = layer(router, limits, http_metrics);

        let stop_background = CancellationToken::new();
        let mut tasks = background.spawn(&stop_background);
        let serving = bound.serve(router, stop_serving.clone(), shutdown_deadline);
        tokio::pin!(serving);
        let broken = tokio::select! {
            _ = &mut serving => None,
            ended = tasks.join_next() => {
                stop_serving.cancel();
                serving.await;
                ended
            }
        };
        stop_background.cancel();
        let ended = finish(&mut tasks, broken).await;
        bus.close().await;
        store.close().await;
        ended
    }
}

/// Waits for the tasks to end. `broken` is what ended before it was asked to.
async fn finish(
    tasks: &mut JoinSet<()>,
    broken: Option<Result<(), JoinError>>,
) -> Result<(), ApiError> {
    let mut result = match broken {
        None => Ok(()),
        Some(Ok(())) => Err(ApiError::Broken("a task ended by itself".to_owned())),
        Some(Err(error)) => Err(ApiError::Broken(error.to_string())),
    };
    let ending = async {
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                result = Err(ApiError::Broken(error.to_string()));
            }
        }
    };
    if timeout(BACKGROUND_DEADLINE, ending).await.is_err() {
        tracing::warn!(tasks = tasks.len(), "tasks are cut at the deadline");
        tasks.shutdown().await;
    }
    result
}
