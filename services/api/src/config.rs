//! What an operator may set for the API service. Defaults and their reasons stand in the embedded
//! `config.default.toml`.

use crier_bus::{LogConfig, NatsConfig};
use crier_domain::Keys;
use crier_domain::seal::KeysError;
use crier_outbox::RelayConfig;
use crier_service_kit::auth::AuthConfig;
use crier_service_kit::config::{HumanDuration, Secret};
use crier_store::DatabaseConfig;
use serde::Deserialize;

/// The groups that the API service uses.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[api]`
    pub api: ApiConfig,
    /// `[database]`
    pub database: DatabaseGroup,
    /// `[nats]`
    pub nats: NatsConfig,
    /// `[auth]`
    pub auth: AuthConfig,
    /// `[cursor]`
    pub cursor: CursorConfig,
    /// `[relay]`
    pub relay: RelayGroup,
    /// `[limits]`
    pub limits: LimitsConfig,
}

/// The group `[api]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// Where it listens, `HOST:PORT`; port 0 takes a free one.
    pub listen: String,
    /// After this a request is given up and answered 503.
    pub request_timeout: HumanDuration,
    /// Requests answered at once; one more is answered 503.
    pub concurrency: usize,
    /// How long requests under way may take to end when the service is told to stop.
    pub shutdown_deadline: HumanDuration,
    /// Whether there are the demo's page, its login without a password, and sample data.
    pub demo: bool,
    /// The URLs of the gateways that the demo page offers, as `http://127.0.0.1:8001`.
    pub gateways: Vec<String>,
}

/// The group `[database]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseGroup {
    /// `sqlite://path/to/file.db` or `postgres://user:password@host:port/database`; may hold a password.
    pub url: Secret,
    /// The most connections to PostgreSQL at a time.
    pub max_connections: u32,
    /// How long a call waits for a free connection.
    pub acquire_timeout: HumanDuration,
    /// How long a statement may take, and a transaction wait for a lock.
    pub statement_timeout: HumanDuration,
    /// Whether the schema is brought up to date at the start. `None`: on SQLite alone, where nobody else is there
    /// to do it.
    #[serde(default)]
    pub migrate_on_start: Option<bool>,
}

impl DatabaseGroup {
    /// The store's own settings.
    #[must_use]
    pub fn store(&self) -> DatabaseConfig {
        DatabaseConfig {
            url: self.url.expose().to_owned(),
            max_connections: self.max_connections,
            acquire_timeout: self.acquire_timeout.get(),
            statement_timeout: self.statement_timeout.get(),
        }
    }

    /// Whether the schema is brought up to date at the start.
    #[must_use]
    pub fn migrates(&self) -> bool {
        self.migrate_on_start
            .unwrap_or_else(|| self.url.expose().starts_with("sqlite:"))
    }
}

/// The group `[relay]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayGroup {
    /// How long events are kept in the log, and so how far back a client may resume.
    pub retention: HumanDuration,
    /// How often the outbox is looked at though nobody called: behind the wake-ups, not instead of them.
    pub sweep: HumanDuration,
    /// Copies of the log: 1 on one machine, 3 in a cluster.
    #[serde(default = "one_replica")]
    pub replicas: usize,
}

const fn one_replica() -> usize {
    1
}

impl RelayGroup {
    /// The stream as it is to be.
    #[must_use]
    pub fn stream(&self) -> LogConfig {
        LogConfig {
            replicas: self.replicas,
            ..LogConfig::default()
        }
    }

    /// The relay's own settings.
    #[must_use]
    pub fn relay(&self) -> RelayConfig {
        RelayConfig {
            retention: self.retention.get(),
            sweep: self.sweep.get(),
            trace: crate::relay::join_trace,
            ..RelayConfig::default()
        }
    }
}

/// The group `[limits]`. 0 is no limit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// Calls of one person: a second, and at once.
    pub user_calls_per_second: u32,
    /// See above.
    pub user_calls_burst: u32,
    /// Of these, calls that change something.
    pub user_changes_per_second: u32,
    /// See above.
    pub user_changes_burst: u32,
    /// Calls of one backend.
    pub service_calls_per_second: u32,
    /// See above.
    pub service_calls_burst: u32,
    /// Who is admin of this many communities makes no more.
    pub communities_per_user: u32,
}

/// How often something may happen: so often a second, and so often at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

impl LimitsConfig {
    /// No limits at all.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            user_calls_per_second: 0,
            user_calls_burst: 0,
            user_changes_per_second: 0,
            user_changes_burst: 0,
            service_calls_per_second: 0,
            service_calls_burst: 0,
            communities_per_user: 0,
        }
    }

    pub(crate) fn user_calls(&self) -> Rate {
        Rate {
            per_second: self.user_calls_per_second,
            burst: self.user_calls_burst,
        }
    }

    pub(crate) fn user_changes(&self) -> Rate {
        Rate {
            per_second: self.user_changes_per_second,
            burst: self.user_changes_burst,
        }
    }

    pub(crate) fn service_calls(&self) -> Rate {
        Rate {
            per_second: self.service_calls_per_second,
            burst: self.service_calls_burst,
        }
    }
}

/// The group `[cursor]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CursorConfig {
    /// The fleet keys, 32 bytes each in base64: the first seals, all open.
    pub keys: Vec<Secret>,
}

impl CursorConfig {
    /// The keys, ready to seal and open.
    ///
    /// # Errors
    /// [`KeysError`] if there is none, or one is no key.
    pub fn read(&self) -> Result<Keys, KeysError> {
        let keys: Vec<&str> = self.keys.iter().map(Secret::expose).collect();
        Keys::from_base64(&keys)
    }
}
