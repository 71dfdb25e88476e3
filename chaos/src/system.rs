//! The system under test: real processes on fixed ports, each behind a way to NATS of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex as Lock, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use crier_domain::Keys;
use crier_testkit::{DedicatedPostgres, Ending, HttpClient, Postgres, Process, Proxy};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::nats::Nats;
use crate::plan::{Kind, Plan};

/// Signs the tokens of a run.
pub(crate) const SECRET: &str = "a secret of a campaign, which protects nothing";

/// How long a process may take to come up, on a machine on which everything else breaks too.
const UP_WITHIN: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);
const BETWEEN_STARTS: Duration = Duration::from_millis(300);

/// Where the data are.
pub(crate) enum Database {
    Sqlite(TempDir),
    Postgres(DedicatedPostgres),
}

/// Everything that runs. What a fault breaks it locks, so that no other breaks it further.
pub(crate) struct System {
    pub(crate) nats: Mutex<Nats>,
    pub(crate) database: Mutex<Database>,
    pub(crate) apis: Vec<Server>,
    pub(crate) gateways: Vec<Server>,
}

/// One process of Crier, through all its lives on the same port.
pub(crate) struct Server {
    pub(crate) name: String,
    command: &'static str,
    address: SocketAddr,
    settings: Vec<(&'static str, String)>,
    log: PathBuf,
    pub(crate) proxy: Proxy,
    process: Lock<Option<Process>>,
    /// Where a fault of the plan steps one. Dropped after the process.
    clock: Option<Clock>,
    /// Held by whoever breaks it.
    pub(crate) hold: Mutex<()>,
}

impl System {
    /// Starts everything. Logs go into `logs`.
    pub(crate) async fn start(
        plan: &Plan,
        sabotage: Option<&str>,
        logs: &Path,
    ) -> anyhow::Result<Self> {
        let nats = Nats::start(plan).await;
        let database = if plan.postgres {
            Database::Postgres(Postgres::dedicated().await)
        } else {
            Database::Sqlite(tempfile::tempdir()?)
        };
        let url = match &database {
            Database::Sqlite(dir) => format!("sqlite://{}", dir.path().join("crier.db").display()),
            Database::Postgres(postgres) => postgres.url(),
        };
        let mut settings = settings(url);
        let replicas = if plan.cluster { "3" } else { "1" };
        settings.push(("CRIER_RELAY__REPLICAS", replicas.to_owned()));
        settings.extend(sabotage.map(|name| ("SABOTAGE", name.to_owned())));
        migrate(&settings, &logs.join("migrate.log")).await?;
        let mut system = Self {
            apis: Vec::new(),
            gateways: Vec::new(),
            database: Mutex::new(database),
            nats: Mutex::new(nats),
        };
        for number in 0..plan.apis {
            let server = Server::new(
                "api",
                number,
                plan,
                &settings,
                logs,
                &*system.nats.lock().await,
            )
            .await?;
            server.start().await?;
            system.apis.push(server);
        }
        for number in 0..plan.gateways {
            let server = Server::new(
                "gateway",
                number,
                plan,
                &settings,
                logs,
                &*system.nats.lock().await,
            )
            .await?;
            server.start().await?;
            server.is_ready().await?;
            system.gateways.push(server);
        }
        Ok(system)
    }

    pub(crate) fn servers(&self) -> impl Iterator<Item = &Server> {
        self.apis.iter().chain(&self.gateways)
    }

    /// Which API service's relay leads, as far as they say.
    pub(crate) async fn leader(&self) -> &Server {
        for api in &self.apis {
            if api.metric("relay_leader").await == Some(1) {
                return api;
            }
        }
        self.apis
            .first()
            .unwrap_or_else(|| unreachable!("there is always one"))
    }
}

fn settings(database: String) -> Vec<(&'static str, String)> {
    let text = |name, value: &str| (name, value.to_owned());
    vec![
        text("CRIER_AUTH__SECRET", SECRET),
        (
            "CRIER_CURSOR__KEYS",
            format!("[\"{}\"]", Keys::random_base64()),
        ),
        ("CRIER_DATABASE__URL", database),
        text("CRIER_DATABASE__MIGRATE_ON_START", "false"),
        // What is tested is what the service does, not what it refuses.
        text("CRIER_LIMITS__USER_CALLS_PER_SECOND", "0"),
        text("CRIER_LIMITS__USER_CHANGES_PER_SECOND", "0"),
        text("CRIER_LIMITS__SERVICE_CALLS_PER_SECOND", "0"),
        text("CRIER_LIMITS__COMMUNITIES_PER_USER", "0"),
        // Small, so that bounds are met within a short run.
        text("CRIER_GATEWAY__RING_EVENTS", "24"),
        text("CRIER_GATEWAY__QUEUE_MESSAGES", "64"),
        text("CRIER_GATEWAY__QUEUE_BYTES", "262144"),
        text("CRIER_GATEWAY__HEARTBEAT", "2s"),
        text("CRIER_GATEWAY__INTEREST_LINGER", "1s"),
        text("CRIER_GATEWAY__DRAIN_WINDOW", "500ms"),
        text(
            "CRIER_TELEMETRY__LOG",
            "info,async_nats=warn,crier_gateway=debug,crier_outbox=debug",
        ),
    ]
}

async fn migrate(settings: &[(&'static str, String)], log: &Path) -> anyhow::Result<()> {
    let mut command = command("migrate", settings)?;
    let mut process = Process::spawn(&mut command, log, Ending::Kill);
    let begun = Instant::now();
    loop {
        if let Some(status) = process.ended() {
            ensure!(status.success(), "crier migrate: see {}", log.display());
            return Ok(());
        }
        ensure!(begun.elapsed() < UP_WITHIN, "crier migrate does not end");
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// The binary of the same build, in an environment of these settings alone.
fn command(name: &str, settings: &[(&'static str, String)]) -> anyhow::Result<Command> {
    let binary = std::env::current_exe()?.with_file_name("crier");
    ensure!(
        binary.exists(),
        "{} is missing; run `make chaos`",
        binary.display()
    );
    let mut command = Command::new(binary);
    command
        .arg(name)
        .env_clear()
        .envs(settings.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

impl Server {
    async fn new(
        command: &'static str,
        number: usize,
        plan: &Plan,
        settings: &[(&'static str, String)],
        logs: &Path,
        nats: &Nats,
    ) -> anyhow::Result<Self> {
        let proxy = Proxy::start(nats.address(number)).await;
        // Free now, and nobody else's by the time it is taken but for bad luck.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let listen = match command {
            "api" => "CRIER_API__LISTEN",
            _ => "CRIER_GATEWAY__LISTEN",
        };
        let mut settings = settings.to_vec();
        settings.push((listen, address.to_string()));
        settings.push(("CRIER_NATS__URL", proxy.url()));
        let name = format!("{command}-{number}");
        let clock = plan
            .has(Kind::ClockStepped)
            .then(|| Clock::new(logs, &name));
        let clock = clock.transpose()?;
        settings.extend(clock.iter().flat_map(Clock::settings));
        Ok(Self {
            name,
            command,
            address,
            settings,
            log: logs.join(format!("{command}-{number}.log")),
            proxy,
            clock,
            process: Lock::new(None),
            hold: Mutex::new(()),
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Starts it, as its supervisor would: again and again until it is up.
    pub(crate) async fn start(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let mut command = command(self.command, &self.settings)?;
            let mut process = Process::spawn(&mut command, &self.log, Ending::Kill);
            if let Some(clock) = &self.clock {
                clock.runs_in(process.pid());
            }
            while process.ended().is_none() {
                if self.answers("/health/live").await {
                    *self.process() = Some(process);
                    return Ok(());
                }
                ensure!(
                    begun.elapsed() < UP_WITHIN,
                    "{} does not come up",
                    self.name
                );
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            ensure!(
                begun.elapsed() < UP_WITHIN,
                "{} ends at once: see {}",
                self.name,
                self.log.display()
            );
            tokio::time::sleep(BETWEEN_STARTS).await;
        }
    }

    /// Its clock is so many seconds ahead of the machine's from now on: `+90`.
    pub(crate) fn set_clock(&self, ahead: &str) -> anyhow::Result<()> {
        self.clock.as_ref().context("a clock to step")?.set(ahead)
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn is_ready(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !self.answers("/health/ready").await {
            ensure!(
                begun.elapsed() < UP_WITHIN,
                "{} does not become ready",
                self.name
            );
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Ok(())
    }

    async fn answers(&self, path: &str) -> bool {
        self.get(path)
            .await
            .is_some_and(|(status, _)| status == 200)
    }

    async fn get(&self, path: &str) -> Option<(u16, String)> {
        let http = HttpClient::new(self.url());
        let call = http.call(http::Method::GET, path, None);
        let answer = tokio::time::timeout(Duration::from_secs(1), call)
            .await
            .ok()?
            .ok()?;
        Some((answer.status, answer.text()))
    }

    /// What its metrics say now.
    pub(crate) async fn metrics(&self) -> Option<String> {
        self.get("/metrics").await.map(|(_, text)| text)
    }

    /// One figure of its metrics.
    pub(crate) async fn metric(&self, name: &str) -> Option<u64> {
        figure(&self.metrics().await?, name)
    }

    /// Ends it and waits until it is gone.
    pub(crate) async fn end(&self, signal: Signal) {
        let process = self.process().take();
        if let Some(process) = process {
            process.end(&self.name, signal).await;
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(process) = &*self.process() {
            process.signal(signal);
        }
    }

    /// # Errors
    /// When it ended though nobody ended it.
    pub(crate) fn runs(&self) -> anyhow::Result<()> {
        match self.process().as_mut().map(Process::ended) {
            Some(None) => Ok(()),
            Some(Some(status)) => bail!(
                "{} ended by itself ({status}): see {}",
                self.name,
                self.log.display()
            ),
            None => bail!("{} was not started again", self.name),
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A figure on a line of its own in the text that Prometheus reads.
pub(crate) fn figure(metrics: &str, name: &str) -> Option<u64> {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.context("no such figure").ok()?.parse().ok()
}
