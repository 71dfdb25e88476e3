//! Whoever is measured, as a running process: how to connect to it, how to publish, and what it uses.

mod centrifugo;
mod crier;
mod floor;
mod nchan;
mod proxied;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use crier_testkit::HttpClient;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

pub(crate) use crier::{Crier, HEARTBEAT, MORE, World};

use super::usage::family;
use super::wire::stamp;

/// Who can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Floor,
    Nchan,
    Mercure,
    Centrifugo,
    Crier,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Floor,
        Self::Nchan,
        Self::Mercure,
        Self::Centrifugo,
        Self::Crier,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "kernel floor",
            Self::Nchan => "nchan",
            Self::Mercure => "Mercure",
            Self::Centrifugo => "Centrifugo",
            Self::Crier => "Crier",
        }
    }

    pub(crate) async fn start(self, connections: usize) -> anyhow::Result<Server> {
        match self {
            Self::Floor => floor::start().await,
            Self::Nchan => nchan::start().await,
            Self::Mercure => anyhow::bail!("{}", why_missing("mercure")),
            Self::Centrifugo => centrifugo::start(connections).await,
            Self::Crier => crier::start(connections).await,
        }
    }
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) about: About,
    /// Where its streams are.
    pub(crate) addresses: Vec<SocketAddr>,
    /// One for each connection, or one for all.
    pub(crate) heads: Vec<String>,
    /// Has come once a stream is open.
    pub(crate) marker: &'static str,
    /// Whose processor time and memory are counted.
    pub(crate) pids: Vec<u32>,
    /// Whose are stated separately.
    pub(crate) beside: Vec<(&'static str, Vec<u32>)>,
    /// It speaks HTTP/2 over TLS, with this certificate.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) publisher: Publisher,
    /// What lives as long as it does.
    pub(crate) parts: Parts,
}

/// For the report.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) version: String,
    pub(crate) settings: &'static str,
}

/// What runs while a server does.
pub(crate) enum Parts {
    Family(Family),
    Floor(Child),
    Crier(Box<Crier>),
    Proxied(Box<Crier>, Family),
}

/// A child and whatever it has started, in a process group of their own that is killed when dropped.
pub(crate) struct Family {
    child: Child,
    _dir: tempfile::TempDir,
}

impl Family {
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.child.id().map(family).unwrap_or_default()
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        if let Some(group) = self.child.id() {
            let kill = std::process::Command::new("kill")
                .args(["-KILL", "--", &format!("-{group}")])
                .status();
            // There is nobody to tell who would do better.
            drop(kill);
        }
    }
}

/// How an event comes to all connections.
pub(crate) enum Publisher {
    Floor(std::fs::File),
    Nchan(HttpClient),
    Centrifugo(HttpClient),
    Crier(HttpClient),
}

impl Publisher {
    /// Publishes events at once, numbered from `first`, each with padding of so many bytes.
    pub(crate) async fn publish(
        &mut self,
        first: u32,
        count: u32,
        padding: usize,
    ) -> anyhow::Result<()> {
        let padding = "x".repeat(padding);
        let data = |number: u32| json!({"s": stamp(number), "p": padding});
        let numbers = first..first + count;
        match self {
            Self::Floor(pipe) => {
                let bytes = padding.len();
                for number in numbers {
                    writeln!(pipe, "{number} {bytes}")?;
                }
                Ok(())
            }
            Self::Nchan(http) => {
                // Side by side: an answer waits until the event has been handed out.
                let calls = numbers.map(|number| {
                    let (http, data) = (http.clone(), data(number));
                    async move { http.post("/pub", &data).await }
                });
                for answer in futures::future::join_all(calls).await {
                    answered(&answer)?;
                }
                Ok(())
            }
            Self::Centrifugo(http) => {
                let one = |number| json!({"publish": {"channel": "all", "data": data(number)}});
                let commands: Vec<Value> = numbers.map(one).collect();
                let body = json!({"commands": commands});
                answered(&http.post("/api/batch", &body).await)
            }
            Self::Crier(http) => {
                let one = |number| json!({"type": "measured", "community_id": 1, "article_id": 1, "data": data(number)});
                let events: Vec<Value> = numbers.map(one).collect();
                answered(&http.post("/api/events/", &json!(events)).await)
            }
        }
    }
}

fn answered(answer: &crier_testkit::Answer) -> anyhow::Result<()> {
    let (status, text) = (answer.status, answer.text());
    ensure!((200..300).contains(&status), "publish: {status} {text}");
    Ok(())
}

impl Server {
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        match self.parts {
            Parts::Family(family) => {
                drop(family);
                Ok(())
            }
            Parts::Floor(mut child) => Ok(child.kill().await?),
            Parts::Crier(crier) => crier.stop().await,
            Parts::Proxied(crier, proxy) => {
                drop(proxy);
                crier.stop().await
            }
        }
    }

    /// The requests' heads as a file for the client.
    pub(crate) fn write_heads(&self, dir: &Path) -> anyhow::Result<PathBuf> {
        let path = dir.join("heads");
        std::fs::write(&path, self.heads.concat())?;
        Ok(path)
    }
}

/// Where `bench/peers/fetch.py` puts what it fetches.
fn peers() -> PathBuf {
    root().join(".tools/peers")
}

fn root() -> PathBuf {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    bench.parent().unwrap_or(bench).to_owned()
}

/// Why the fetching script has not got it.
fn why_missing(name: &str) -> String {
    let note = std::fs::read_to_string(peers().join(format!("{name}.missing")));
    note.map_or_else(
        |_| "not fetched: bench/peers/fetch.py".to_owned(),
        |note| note.trim().to_owned(),
    )
}

/// A file of `bench/peers/` with what stands between `@` filled in, in a folder of its own.
fn configure(name: &str, values: &[(&str, &str)]) -> anyhow::Result<(tempfile::TempDir, PathBuf)> {
    let dir = tempfile::tempdir()?;
    let mut text = std::fs::read_to_string(root().join("bench/peers").join(name))?;
    let folder = dir.path().display().to_string();
    for (key, value) in values.iter().chain([&("DIR", folder.as_str())]) {
        text = text.replace(&format!("@{key}@"), value);
    }
    let path = dir.path().join(name);
    std::fs::write(&path, text)?;
    Ok((dir, path))
}

/// Free a moment ago.
fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}

/// Starts a server, and waits until it takes connections.
async fn launch(
    mut command: Command,
    address: SocketAddr,
    dir: tempfile::TempDir,
) -> anyhow::Result<Family> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0);
    let child = command.spawn().with_context(|| format!("{command:?}"))?;
    let family = Family { child, _dir: dir };
    let up = async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let up = tokio::time::timeout(Duration::from_secs(20), up).await;
    up.context("it takes no connections")?;
    Ok(family)
}
