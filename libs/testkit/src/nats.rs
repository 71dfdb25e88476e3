//! A nats-server of the test's own: free ports, own store, and a life that the test decides.

mod apart;
mod cluster;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::Method;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::process::{Ending, Process, describe, log_tail};
use crate::{DEADLINE, HttpClient, guardian, tools};

use apart::Place;
pub use apart::refused as apart_refused;
pub use cluster::NatsCluster;

/// How long an answer of JetStream is waited for, far longer than one takes.
const ASK_AGAIN: Duration = Duration::from_secs(4);

/// What a nats-server is started with beyond the defaults.
#[derive(Clone, Debug, Default)]
pub struct NatsOptions {
    /// Text for the end of its configuration file: users and permissions, limits, …
    pub config: String,
    /// A token that clients must show; it is part of [`NatsServer::url`] then.
    pub token: Option<String>,
}

/// A nats-server with JetStream, on ports and in a folder of its own. Dropping it kills it.
///
/// It takes `&self` everywhere: a test may hand it to tasks that kill it while others use it.
pub struct NatsServer {
    options: NatsOptions,
    place: Option<Place>,
    dir: TempDir,
    client: SocketAddr,
    monitor: SocketAddr,
    process: Mutex<Option<Process>>,
}

impl NatsServer {
    /// Starts one with the defaults and waits until it takes connections.
    ///
    /// # Panics
    /// When there is no nats-server, or it is not ready within [`DEADLINE`].
    pub async fn start() -> Self {
        Self::with(NatsOptions::default()).await
    }

    /// Starts one with options of the test's own, as [`start`](Self::start).
    pub async fn with(options: NatsOptions) -> Self {
        Self::placed(options, None).await
    }

    /// Starts one in a network namespace, or on this machine's loopback.
    async fn placed(options: NatsOptions, place: Option<Place>) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("crier-nats-")
            .tempdir()
            .expect("a folder");
        guardian::watch_dir(dir.path());
        let (process, client, monitor) = launch(dir.path(), &options, place.as_ref(), None).await;
        Self {
            options,
            place,
            dir,
            client,
            monitor,
            process: Mutex::new(Some(process)),
        }
    }

    /// Where clients connect, with the token if there is one: `nats://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        match &self.options.token {
            Some(token) => format!("nats://{token}@{}", self.client),
            None => format!("nats://{}", self.client),
        }
    }

    /// [`url`](Self::url) with a user of the configuration.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("nats://{user}:{password}@{}", self.client)
    }

    /// The clients' address, the same through all lives of the server.
    pub fn address(&self) -> SocketAddr {
        self.client
    }

    /// The monitoring interface: `http://127.0.0.1:40124`.
    pub fn monitor_url(&self) -> String {
        format!("http://{}", self.monitor)
    }

    /// What the monitoring interface answers at a path with query, as `/subsz?subs=1`.
    ///
    /// # Panics
    /// When the server does not answer with JSON.
    pub async fn monitor(&self, path: &str) -> Value {
        let answer = HttpClient::new(self.monitor_url()).get(path).await;
        assert_eq!(
            answer.status,
            200,
            "{path} of the nats-server: {}",
            answer.text()
        );
        answer.json
    }

    /// As [`monitor`](Self::monitor), of a server that may be down, stopped or not well, which it says with a status.
    pub async fn try_monitor(&self, path: &str) -> Option<Value> {
        let http = HttpClient::new(self.monitor_url());
        let asked = http.call(Method::GET, path, None);
        let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
        Some(answer.ok()?.ok()?.json)
    }

    /// `/varz`: the server as a whole.
    pub async fn varz(&self) -> Value {
        self.monitor("/varz").await
    }

    /// `/connz?subs=1`: the connections, each with its subscriptions.
    pub async fn connz(&self) -> Value {
        self.monitor("/connz?subs=1").await
    }

    /// `/subsz?subs=1`: up to 100,000 subscriptions of clients.
    pub async fn subsz(&self) -> Value {
        self.monitor("/subsz?subs=1&limit=100000").await
    }

    /// The process id.
    ///
    /// # Panics
    /// When the server is not running.
    pub fn pid(&self) -> u32 {
        self.process()
            .as_ref()
            .expect("a running nats-server")
            .pid()
    }

    /// Where JetStream keeps its files.
    pub fn store_dir(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Ends it by SIGKILL, as a crash would, and waits until it is gone. Does nothing when it is not running.
    pub async fn kill(&self) {
        self.end(Signal::KILL).await;
    }

    /// Ends it in order by SIGTERM, and waits until it is gone. Does nothing when it is not running.
    pub async fn stop(&self) {
        self.end(Signal::TERM).await;
    }

    /// Starts it again on the same ports and the same store, and waits until it takes connections.
    ///
    /// # Panics
    /// When it is running, or not ready within [`DEADLINE`].
    pub async fn start_again(&self) {
        assert!(self.process().is_none(), "the nats-server is running");
        let ports = Some((self.client, self.monitor));
        let (process, ..) =
            launch(self.dir.path(), &self.options, self.place.as_ref(), ports).await;
        *self.process() = Some(process);
    }

    /// Stops it in its tracks (SIGSTOP): its connections stay open and nobody answers.
    pub fn pause(&self) {
        self.process()
            .as_ref()
            .expect("a running nats-server")
            .signal(Signal::STOP);
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.process()
            .as_ref()
            .expect("a running nats-server")
            .signal(Signal::CONT);
    }

    /// Takes everything on these subjects out of a JetStream stream.
    ///
    /// # Panics
    /// When the server does not say that it has.
    pub async fn purge(&self, stream: &str, subjects: &str) {
        let filter = serde_json::json!({ "filter": subjects });
        let purged = self
            .jetstream(&format!("STREAM.PURGE.{stream}"), &filter)
            .await;
        assert_eq!(purged["success"], true, "{purged}");
    }

    /// Takes all consumers of a JetStream stream away, and gives how many there were.
    ///
    /// # Panics
    /// When the server does not say that it has.
    pub async fn delete_consumers(&self, stream: &str) -> usize {
        let names = self
            .jetstream(&format!("CONSUMER.NAMES.{stream}"), &Value::Null)
            .await;
        let names = names["consumers"].as_array().expect("a list").clone();
        for name in names.iter().filter_map(Value::as_str) {
            let deleted = self
                .jetstream(&format!("CONSUMER.DELETE.{stream}.{name}"), &Value::Null)
                .await;
            assert_eq!(deleted["success"], true, "{deleted}");
        }
        names.len()
    }

    /// What JetStream answers. In a cluster nobody may: a question that comes while another server comes to lead the stream
    /// is dropped, and what asks like this may be asked again.
    async fn jetstream(&self, call: &str, body: &Value) -> Value {
        let asked = async {
            loop {
                let answer = jetstream(self.client, call, body);
                if let Ok(answered) = tokio::time::timeout(ASK_AGAIN, answer).await {
                    return answered.expect("an answer of the server");
                }
            }
        };
        let answered = tokio::time::timeout(DEADLINE, asked).await;
        answered.expect("an answer in time")
    }

    async fn end(&self, signal: Signal) {
        let process = self.process().take();
        if let Some(process) = process {
            process.end("the nats-server", signal).await;
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a server and gives it with the addresses of clients and monitoring, once it takes connections.
///
/// A given port may be in another's hands for a moment, so a server that ends at once is started again until the
/// deadline.
async fn launch(
    dir: &Path,
    options: &NatsOptions,
    place: Option<&Place>,
    ports: Option<(SocketAddr, SocketAddr)>,
) -> (Process, SocketAddr, SocketAddr) {
    let log = dir.join("log");
    let config = dir.join("nats.conf");
    std::fs::write(&config, configuration(dir, options, place, ports))
        .expect("write the configuration");
    let started = Instant::now();
    loop {
        let server = tools::nats_server();
        let mut command = place.map_or_else(|| Command::new(server), |place| place.command(server));
        command.arg("--config").arg(&config).current_dir(dir);
        let mut process = Process::spawn(&mut command, &log, Ending::Kill);
        let ports_file = dir.join(format!("nats-server_{}.ports", process.pid()));
        let ended = loop {
            if let Some((client, monitor)) = read_ports(&ports_file) {
                return (process, client, monitor);
            }
            if let Some(status) = process.ended() {
                break describe(status);
            }
            if started.elapsed() > DEADLINE {
                break "not ready in time".to_owned();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert!(
            ports.is_some() && started.elapsed() < DEADLINE,
            "the nats-server did not start ({ended}):\n{}",
            log_tail(&log)
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// One call, in the few words of NATS's protocol that this takes.
async fn jetstream(server: SocketAddr, call: &str, body: &Value) -> anyhow::Result<Value> {
    let mut socket = BufReader::new(TcpStream::connect(server).await?);
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let ask = format!(
        "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB $JS.API.{call} answer {}\r\n{body}\r\n",
        body.len()
    );
    socket.write_all(ask.as_bytes()).await?;
    loop {
        let mut line = String::new();
        anyhow::ensure!(socket.read_line(&mut line).await? > 0, "it hung up");
        anyhow::ensure!(!line.starts_with("-ERR"), "{line}");
        if let Some(length) = line.trim_end().strip_prefix("MSG answer 1 ") {
            let mut answer = vec![0; length.parse()?];
            socket.read_exact(&mut answer).await?;
            return Ok(serde_json::from_slice(&answer)?);
        }
    }
}

fn configuration(
    dir: &Path,
    options: &NatsOptions,
    place: Option<&Place>,
    ports: Option<(SocketAddr, SocketAddr)>,
) -> String {
    let host = place.map_or(Ipv4Addr::LOCALHOST, |place| place.address);
    // In its configuration -1, not 0, asks for a free port.
    let port = |address: Option<SocketAddr>| address.map_or(-1, |found| i32::from(found.port()));
    let token = options
        .token
        .as_ref()
        .map(|token| format!("authorization {{ token: {token:?} }}"));
    format!(
        "listen: \"{host}:{client}\"\nhttp: \"{host}:{monitor}\"\nports_file_dir: {dir:?}\n\
         jetstream {{ store_dir: {store:?} }}\n{token}\n{config}\n",
        client = port(ports.map(|ports| ports.0)),
        monitor = port(ports.map(|ports| ports.1)),
        store = dir.join("store"),
        token = token.unwrap_or_default(),
        config = options.config,
    )
}

/// The addresses in a ports file, which the server writes when it listens: `{"nats":["nats://…"],"monitoring":[…]}`.
fn read_ports(file: &Path) -> Option<(SocketAddr, SocketAddr)> {
    let ports: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    let address = |kind: &str| {
        let url = ports.get(kind)?.get(0)?.as_str()?;
        url.rsplit('/').next()?.parse().ok()
    };
    Some((address("nats")?, address("monitoring")?))
}
