//! A whole system of the test's own: NATS, a database, the API service and gateways, each on a free port.
//!
//! A test that leaves unsent events behind, or in which a service ended by itself, fails in [`World::end`].

use std::net::SocketAddr;
use std::time::Duration;

use crier_api::config::{ApiConfig, Config, CursorConfig, DatabaseGroup, LimitsConfig, RelayGroup};
use crier_bus::NatsConfig;
use crier_domain::Keys;
use crier_gateway::config::{CorsConfig, GatewayConfig};
use crier_service_kit::auth::{AuthConfig, Signer};
use crier_service_kit::config::Secret;
use crier_store::{DatabaseConfig, Store};
use crier_testkit::{
    DedicatedPostgres, HttpClient, NatsCluster, NatsServer, Postgres, TestDatabase, wait_for,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::figures::Figures;
use crate::people::Person;

/// Signs the tokens of a test's people.
pub(crate) const SECRET: &str = "a secret that only the tests of this repository use";

/// The page that may open streams from another origin.
pub(crate) const PAGE: &str = "http://page.test";

/// How long the log keeps events.
pub(crate) const RETENTION: Duration = Duration::from_hours(72);

/// Where the data are.
pub(crate) enum Database {
    Sqlite(TempDir),
    Postgres(TestDatabase),
    /// One that may be killed.
    Dedicated(DedicatedPostgres),
}

impl Database {
    fn url(&self) -> String {
        match self {
            Self::Sqlite(dir) => format!("sqlite://{}", dir.path().join("crier.db").display()),
            Self::Postgres(database) => database.url(),
            Self::Dedicated(cluster) => cluster.url(),
        }
    }
}

/// How a system differs from the usual one.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) postgres: bool,
    /// A PostgreSQL of the test's own, which may be killed.
    pub(crate) dedicated: bool,
    /// How often the outbox is looked at though nobody called.
    pub(crate) sweep: Option<Duration>,
    /// How long the log keeps events, if not 72 hours.
    pub(crate) retention: Option<Duration>,
    /// Changes to the gateways' settings.
    pub(crate) gateway: Option<fn(&mut GatewayConfig)>,
    /// Three nats-servers that keep the log three times, instead of one.
    pub(crate) cluster: bool,
    /// With `cluster`: each in a network namespace, so that one can be cut off from the others.
    pub(crate) apart: bool,
    /// Another nats-server than a plain one, and who the services are there.
    pub(crate) nats: Option<NatsServer>,
    pub(crate) nats_as_api: Option<fn(&NatsServer) -> NatsConfig>,
    pub(crate) nats_as_gateway: Option<fn(&NatsServer) -> NatsConfig>,
    /// Where the gateways find NATS, if not where it is.
    pub(crate) nats_by_way_of: Option<String>,
}

/// A running service; the task gives what went wrong.
struct Service {
    url: String,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

/// Where the log is kept.
enum Nats {
    One(NatsServer),
    Cluster(NatsCluster),
}

impl Nats {
    async fn start(options: &mut Options) -> Self {
        match options.nats.take() {
            Some(nats) => Self::One(nats),
            None if options.apart => Self::Cluster(NatsCluster::start_apart().await),
            None if options.cluster => Self::Cluster(NatsCluster::start().await),
            None => Self::One(NatsServer::start().await),
        }
    }

    /// How a service connects, which may be somebody in particular to the one server.
    fn config(&self, particular: Option<fn(&NatsServer) -> NatsConfig>) -> NatsConfig {
        match (self, particular) {
            (Self::One(nats), Some(config)) => config(nats),
            (Self::One(nats), None) => NatsConfig::at(nats.url()),
            (Self::Cluster(cluster), _) => NatsConfig::at(cluster.url()),
        }
    }
}

/// The system. Its parts end when it is dropped; [`World::end`] also looks at what they left.
pub(crate) struct World {
    nats: Nats,
    pub(crate) keys: String,
    database: Database,
    options: Options,
    api: Service,
    gateways: Vec<Service>,
}

impl World {
    /// The usual system: SQLite and two gateways.
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(mut options: Options) -> Self {
        let database = if options.dedicated {
            Database::Dedicated(Postgres::dedicated().await)
        } else if options.postgres {
            Database::Postgres(Postgres::database().await)
        } else {
            Database::Sqlite(tempfile::tempdir().unwrap())
        };
        let nats = Nats::start(&mut options).await;
        let keys = Keys::random_base64();
        let api = start_api(&api_config(&database, &nats, &keys, &options)).await;
        let mut world = Self {
            nats,
            keys,
            database,
            options,
            api,
            gateways: Vec::new(),
        };
        world.add_gateway().await;
        world.add_gateway().await;
        world
    }

    /// Starts one more gateway and gives its number.
    pub(crate) async fn add_gateway(&mut self) -> usize {
        let gateway = self.start_gateway(([127, 0, 0, 1], 0).into()).await;
        self.gateways.push(gateway);
        self.gateways.len() - 1
    }

    /// Starts a gateway that was stopped again, where it was.
    pub(crate) async fn start_gateway_again(&mut self, number: usize) {
        let address = self.gateways[number].url.trim_start_matches("http://");
        self.gateways[number] = self.start_gateway(address.parse().unwrap()).await;
    }

    async fn start_gateway(&self, listen: SocketAddr) -> Service {
        let mut config = gateway_config();
        config.listen = listen;
        if let Some(change) = self.options.gateway {
            change(&mut config);
        }
        let settings = crier_gateway::Settings {
            gateway: config,
            cors: CorsConfig {
                allowed_origins: vec![PAGE.to_owned()],
            },
            auth: auth(),
            keys: Keys::from_base64(&[&self.keys]).unwrap(),
            nats: match &self.options.nats_by_way_of {
                Some(url) => NatsConfig::at(url.clone()),
                None => self.nats.config(self.options.nats_as_gateway),
            },
        };
        let gateway = crier_gateway::build(settings).await.unwrap();
        let readiness = gateway.readiness();
        let url = format!("http://{}", gateway.local_addr());
        let stop = CancellationToken::new();
        let running = gateway.run(stop.clone());
        let task = tokio::spawn(async {
            running.await;
            Ok(())
        });
        wait_for("a gateway to be ready", async || {
            readiness.ready().await;
            Some(())
        })
        .await;
        Service { url, stop, task }
    }

    /// Tells a gateway to stop and waits until it has.
    pub(crate) async fn stop_gateway(&mut self, number: usize) {
        let gateway = &mut self.gateways[number];
        gateway.stop.cancel();
        (&mut gateway.task).await.unwrap().unwrap();
    }

    /// Starts the API service again, with this retention. It has another address then.
    pub(crate) async fn restart_api(&mut self, retention: Duration) {
        self.api.stop.cancel();
        (&mut self.api.task).await.unwrap().unwrap();
        self.options.retention = Some(retention);
        let config = api_config(&self.database, &self.nats, &self.keys, &self.options);
        self.api = start_api(&config).await;
    }

    /// The PostgreSQL that may be killed.
    pub(crate) fn database(&self) -> &DedicatedPostgres {
        match &self.database {
            Database::Dedicated(cluster) => cluster,
            _ => panic!("the database is not the test's own"),
        }
    }

    /// The one nats-server.
    pub(crate) fn nats(&self) -> &NatsServer {
        match &self.nats {
            Nats::One(nats) => nats,
            Nats::Cluster(_) => panic!("there are three"),
        }
    }

    /// How a client of the log connects.
    pub(crate) fn nats_config(&self) -> NatsConfig {
        self.nats.config(None)
    }

    /// The three nats-servers.
    pub(crate) fn cluster(&self) -> &NatsCluster {
        match &self.nats {
            Nats::One(_) => panic!("there is one nats-server"),
            Nats::Cluster(cluster) => cluster,
        }
    }

    pub(crate) fn api(&self) -> HttpClient {
        HttpClient::new(&self.api.url)
    }

    pub(crate) fn api_url(&self) -> &str {
        &self.api.url
    }

    pub(crate) fn gateway_url(&self, number: usize) -> &str {
        &self.gateways[number].url
    }

    pub(crate) fn person(&self, id: i64, name: &str) -> Person {
        let gateways: Vec<String> = self
            .gateways
            .iter()
            .map(|gateway| gateway.url.clone())
            .collect();
        Person::at(&self.api.url, &gateways, id, name)
    }

    /// The database, for what no call of the API writes fast enough.
    pub(crate) async fn store(&self) -> Store {
        let config = DatabaseConfig::new(self.database.url());
        Store::connect(&config).await.unwrap()
    }

    /// Waits until everything written has been published, and every gateway that runs has come that far.
    pub(crate) async fn settled(&self) {
        let store = self.store().await;
        wait_for("the outbox to be empty", async || {
            store.unsent(1).await.unwrap().is_empty().then_some(())
        })
        .await;
        let published = store.relay_position().await.unwrap().unwrap().seq.0;
        let running = self.gateways.iter();
        for gateway in running.filter(|gateway| !gateway.stop.is_cancelled()) {
            wait_for("a gateway to have walked all of it", async || {
                let figures = Figures::of(&gateway.url).await;
                (figures.get("gateway_position") >= published as f64).then_some(())
            })
            .await;
        }
    }

    /// Ends everything in order. Whatever ended before, or panicked, fails the test.
    pub(crate) async fn end(self) {
        // One that the test stopped has been waited for.
        let running = self.gateways.into_iter();
        for gateway in running.filter(|gateway| !gateway.stop.is_cancelled()) {
            gateway.stop.cancel();
            gateway.task.await.unwrap().unwrap();
        }
        assert!(
            !self.api.task.is_finished(),
            "the API service ended by itself"
        );
        self.api.stop.cancel();
        self.api.task.await.unwrap().unwrap();
        drop(self.database);
    }
}

async fn start_api(config: &Config) -> Service {
    let api = crier_api::build(config.clone()).await.unwrap();
    let url = format!("http://{}", api.local_addr());
    let stop = CancellationToken::new();
    let running = api.run(stop.clone());
    let task = tokio::spawn(async { Ok(running.await?) });
    Service { url, stop, task }
}

/// Makes tokens that the services take.
pub(crate) fn signer() -> Signer {
    Signer::new(&auth()).unwrap()
}

fn auth() -> AuthConfig {
    AuthConfig {
        secret: Some(Secret::new(SECRET)),
        ..AuthConfig::default()
    }
}

fn api_config(database: &Database, nats: &Nats, keys: &str, options: &Options) -> Config {
    Config {
        api: ApiConfig {
            listen: "127.0.0.1:0".to_owned(),
            request_timeout: Duration::from_secs(30).into(),
            concurrency: 1024,
            shutdown_deadline: Duration::from_secs(10).into(),
            demo: false,
            gateways: Vec::new(),
        },
        database: DatabaseGroup {
            url: Secret::new(database.url()),
            max_connections: 8,
            acquire_timeout: Duration::from_secs(10).into(),
            statement_timeout: Duration::from_secs(20).into(),
            migrate_on_start: Some(true),
        },
        nats: nats.config(options.nats_as_api),
        auth: auth(),
        cursor: CursorConfig {
            keys: vec![Secret::new(keys)],
        },
        relay: RelayGroup {
            replicas: if options.cluster { 3 } else { 1 },
            retention: options.retention.unwrap_or(RETENTION).into(),
            sweep: options.sweep.unwrap_or(Duration::from_secs(1)).into(),
        },
        limits: LimitsConfig::none(),
    }
}

fn gateway_config() -> GatewayConfig {
    GatewayConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        max_connections: 10_000,
        streams_per_user: 64,
        max_sockets: 12_000,
        head_timeout: Duration::from_secs(30).into(),
        stall_timeout: Duration::from_secs(30).into(),
        queue_messages: 1024,
        queue_bytes: 8 << 20,
        heartbeat: Duration::from_secs(25).into(),
        interest_linger: Duration::from_millis(200).into(),
        snapshot_wait: Duration::from_secs(20).into(),
        ring_events: 256,
        ring_bytes: 256 << 10,
        rings_bytes: 64 << 20,
        pages_bytes: 32 << 20,
        resume_events: 10_000,
        resume_bytes: 8 << 20,
        live_messages: 8_192,
        live_bytes: 64 << 20,
        spine_patience: Duration::from_secs(300).into(),
        drain_window: Duration::from_millis(100).into(),
        drain_deadline: Duration::from_secs(10).into(),
    }
}
