//! What is measured: an API service and gateways as processes of the real binary, over a NATS and a database, and
//! the tokens of whoever calls them.

use std::time::Duration;

use anyhow::Context as _;
use crier_domain::Keys;
use crier_service_kit::auth::{AuthConfig, Signer};
use crier_service_kit::config::Secret;
use crier_testkit::HttpClient;

use crate::fleet::Process;

const SECRET: &str = "a secret that measures and protects nothing";
const ANY: &str = "127.0.0.1:0";
const HOUR: Duration = Duration::from_secs(3600);

/// What all processes of a fleet are told.
#[derive(Clone)]
pub(crate) struct Settings(Vec<(&'static str, String)>);

impl Settings {
    pub(crate) fn new(nats: &str, database: &str) -> Self {
        let keys = format!("[\"{}\"]", Keys::random_base64());
        Self(vec![
            ("CRIER_AUTH__SECRET", SECRET.to_owned()),
            ("CRIER_CURSOR__KEYS", keys),
            ("CRIER_NATS__URL", nats.to_owned()),
            ("CRIER_DATABASE__URL", database.to_owned()),
            ("CRIER_DATABASE__MIGRATE_ON_START", "true".to_owned()),
            ("CRIER_API__LISTEN", ANY.to_owned()),
            ("CRIER_GATEWAY__LISTEN", ANY.to_owned()),
        ])
    }

    /// The same, and this; it counts over what stands there already.
    pub(crate) fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.push((key, value.into()));
        self
    }

    pub(crate) async fn start_api(&self) -> anyhow::Result<Service> {
        self.start("api").await
    }

    pub(crate) async fn start_gateway(&self) -> anyhow::Result<Service> {
        self.start("gateway").await
    }

    async fn start(&self, service: &str) -> anyhow::Result<Service> {
        let settings = self.0.iter().map(|(key, value)| (*key, value.as_str()));
        let mut process = Process::start(&[service], &settings.collect::<Vec<_>>())?;
        let url = process.url(&format!("crier {service} on")).await?;
        Ok(Service { process, url })
    }
}

/// A service that runs, and where it is.
pub(crate) struct Service {
    pub(crate) process: Process,
    pub(crate) url: String,
}

impl Service {
    /// A number that it tells under `/metrics`.
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let metrics = HttpClient::new(&self.url).get("/metrics").await.text();
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        let value = line.with_context(|| format!("{name} is told"))?.trim();
        Ok(value.parse()?)
    }
}

/// An API service and gateways.
pub(crate) struct Platform {
    pub(crate) api: Service,
    pub(crate) gateways: Vec<Service>,
    pub(crate) signer: Signer,
    settings: Settings,
}

impl Platform {
    pub(crate) async fn start(settings: Settings, gateways: usize) -> anyhow::Result<Self> {
        let api = settings.start_api().await?;
        let mut started = Vec::new();
        for _ in 0..gateways {
            started.push(settings.start_gateway().await?);
        }
        Ok(Self {
            api,
            gateways: started,
            signer: signer()?,
            settings,
        })
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        let urls = self.gateways.iter().map(|gateway| gateway.url.clone());
        urls.collect()
    }

    pub(crate) fn token(&self, user: i64) -> anyhow::Result<String> {
        let name = format!("user {user}");
        Ok(self.signer.sign_user(user, &name, HOUR)?)
    }

    /// The calls of one person.
    pub(crate) fn person(&self, user: i64) -> anyhow::Result<HttpClient> {
        Ok(HttpClient::new(&self.api.url).with_token(self.token(user)?))
    }

    /// The calls of the application that the platform belongs to.
    pub(crate) fn backend(&self) -> anyhow::Result<HttpClient> {
        Ok(HttpClient::new(&self.api.url).with_token(self.service_token()?))
    }

    pub(crate) fn service_token(&self) -> anyhow::Result<String> {
        Ok(self.signer.sign_service(HOUR)?)
    }

    /// Ends a gateway in order and starts it again at its address.
    pub(crate) async fn restart_gateway(&mut self, number: usize) -> anyhow::Result<()> {
        let url = self.gateways[number].url.clone();
        let address = url.trim_start_matches("http://").to_owned();
        let settings = self.settings.clone().with("CRIER_GATEWAY__LISTEN", address);
        self.gateways.remove(number).process.stop().await?;
        let again = settings.start_gateway().await?;
        self.gateways.insert(number, again);
        Ok(())
    }

    pub(crate) async fn end(self) -> anyhow::Result<()> {
        for service in self.gateways.into_iter().chain([self.api]) {
            service.process.stop().await?;
        }
        Ok(())
    }
}

/// Signs what such services take.
pub(crate) fn signer() -> anyhow::Result<Signer> {
    let auth = AuthConfig {
        secret: Some(Secret::new(SECRET)),
        ..AuthConfig::default()
    };
    Ok(Signer::new(&auth)?)
}
