//! The only place that constructs things: [`build`] binds and connects, [`Gateway::run`] serves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::Router;
use crier_bus::{Bus, ConnectError, Live, LiveCapacity, NatsConfig};
use crier_domain::Keys;
use crier_hub::{Hub, HubConfig};
use crier_service_kit::auth::{AuthConfig, AuthConfigError, Verifier};
use crier_service_kit::descriptors;
use crier_service_kit::health::{self, Readiness};
use crier_service_kit::http::{HttpLimits, HttpMetrics, layer};
use crier_service_kit::server::{BindError, Bound, SocketLimits};
use prometheus_client::registry::Registry;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{CorsConfig, GatewayConfig};
use crate::feed::{Feed, READY_SPINE, StreamLimits};
use crate::http;
use crate::metrics::Metrics;
use crate::state::State;

/// New streams that may wait for the feed.
const OPEN_QUEUE: usize = 1024;

/// For the last frames to leave their sockets once everything is closed.
const LAST_BYTES: Duration = Duration::from_secs(2);

/// What a gateway is made from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its own group.
    pub gateway: GatewayConfig,
    /// Which pages may read it.
    pub cors: CorsConfig,
    /// Which tokens count.
    pub auth: AuthConfig,
    /// The fleet's keys, the same on all gateways and the API service.
    pub keys: Keys,
    /// Where the log is.
    pub nats: NatsConfig,
}

/// Why a gateway could not be built.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Its address can't be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// There is no key for tokens, or a wrong one.
    #[error(transparent)]
    Auth(#[from] AuthConfigError),
    /// A page is listed that could never match.
    #[error(transparent)]
    Origin(#[from] http::OriginError),
    /// The settings for NATS can't be used.
    #[error(transparent)]
    Nats(#[from] ConnectError),
}

/// A gateway that listens and does not serve yet.
pub struct Gateway {
    bound: Bound,
    router: Router,
    feed: Feed,
    readiness: Readiness,
    drain_deadline: Duration,
}

/// Binds the address and starts connecting to NATS. The gateway is ready, and takes streams, once it follows
/// the log; NATS may come later than the gateway.
///
/// # Errors
/// One sentence for the operator.
pub async fn build(settings: Settings) -> Result<Gateway, GatewayError> {
    let Settings {
        gateway: mut config,
        cors,
        auth,
        keys,
        nats,
    } = settings;
    config.fit(descriptors::raise());
    let verifier = Verifier::new(&auth)?;
    let cors_layer = http::cors(&cors)?;
    let bound = Bound::bind(&config.listen.to_string()).await?;
    let bound = bound.with_limits(SocketLimits {
        connections: config.max_sockets,
        head_timeout: config.head_timeout.get(),
        stall_timeout: config.stall_timeout.get(),
    });
    let name = format!("crier-gateway {}", bound.local_addr());
    let bus = Bus::connect_lazily(&nats, &name).await?;
    let (live, live_copies) = Live::new(
        &bus,
        LiveCapacity {
            messages: config.live_messages,
            bytes: config.live_bytes,
        },
    );

    let mut registry = Registry::default();
    let http_metrics = HttpMetrics::register(&mut registry);
    let metrics = Metrics::register(&mut registry);
    let readiness = Readiness::new([READY_SPINE]);

    let (open, open_receiver) = mpsc::channel(OPEN_QUEUE);
    let (told, told_receiver) = mpsc::unbounded_channel();
    let feed = Feed {
        hub: Hub::new(hub_config(&config), keys.clone()),
        bus,
        live,
        live_copies,
        open: open_receiver,
        told: told_receiver,
        readiness: readiness.clone(),
        metrics,
        limits: StreamLimits {
            all: config.max_connections,
            per_user: config.streams_per_user,
        },
        sockets: bound.sockets(),
        spine_patience: config.spine_patience.get(),
        drain_window: config.drain_window.get(),
    };
    let drain_deadline = config.drain_deadline.get();
    let state = State {
        config,
        cors,
        verifier,
        keys,
        open,
        told,
        next_connection: AtomicU64::new(1),
    };
    // Whoever comes beyond what the gateway can take is told so in a stream, not by a status that would end
    // its EventSource for good.
    let limits = HttpLimits {
        concurrency: Semaphore::MAX_PERMITS,
        untimed: &["/events"],
        ..HttpLimits::default()
    };
    let health = health::routes(readiness.clone(), Arc::new(registry));
    let routes = http::routes(Arc::new(state)).merge(health);
    // CORS stands outside everything, so that a page can read an error as well.
    let router = layer(routes, limits, http_metrics).layer(cors_layer);
    Ok(Gateway {
        bound,
        router,
        feed,
        readiness,
        drain_deadline,
    })
}

fn hub_config(config: &GatewayConfig) -> HubConfig {
    HubConfig {
        heartbeat: config.heartbeat.get(),
        linger: config.interest_linger.get(),
        snapshot_wait: config.snapshot_wait.get(),
        ring_events: config.ring_events,
        ring_bytes: config.ring_bytes,
        rings_bytes: config.rings_bytes,
        pages_bytes: config.pages_bytes,
        resume_events: config.resume_events,
        resume_bytes: config.resume_bytes,
        // The rest of a client's queue is for what is live when it has caught up.
        replay_messages: (config.queue_messages / 2).max(1),
        replay_bytes: config.queue_bytes / 2,
        seed: rand::random(),
        ..HubConfig::default()
    }
}

impl Gateway {
    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.bound.local_addr()
    }

    /// Whether it takes streams; for whoever starts it and wants to wait.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Serves until `shutdown`, then closes the streams over the drain window and ends by the deadline.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self {
            bound,
            router,
            feed,
            drain_deadline,
            ..
        } = self;
        // Streams are opened, and told to come back elsewhere, until the last has been closed.
        let stop_serving = CancellationToken::new();
        let served = bound.serve(router, stop_serving.clone(), LAST_BYTES);
        let drained = async {
            // On a worker, which wakes the streams' tasks for less than the thread that waits for the whole program does.
            let feed = AbortOnDropHandle::new(tokio::spawn(feed.run(shutdown.clone())));
            let deadline = async {
                shutdown.cancelled().await;
                tokio::time::sleep(drain_deadline).await;
            };
            tokio::select! {
                ended = feed => {
                    if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
                        std::panic::resume_unwind(panic);
                    }
                }
                () = deadline => tracing::warn!("streams were left at the deadline"),
            }
            stop_serving.cancel();
        };
        tokio::join!(drained, served);
    }
}
