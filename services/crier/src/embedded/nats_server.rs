//! The `nats-server` child of `crier up`: started on a port of its own behind a generated token, started
//! again if it dies, and never left behind, not even by a `kill -9`.
//!
//! The child is this very binary for a moment ([`become_server`]): it asks the kernel to be killed with its
//! parent and then turns into `nats-server`. That request is tied to the parent *thread*, so one thread
//! lives as long as the process to start it and wait for it.

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use tracing::{info, warn};

use super::data_dir::DataDir;

/// The hidden command under which this binary becomes the server.
pub(crate) const COMMAND: &str = "become-nats-server";

/// This program as it runs, also after the file it was started from has been replaced.
const OWN_BINARY: &str = "/proc/self/exe";

/// JetStream replays its store before the server is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the watching thread looks whether the child still lives.
const WATCH_EVERY: Duration = Duration::from_millis(100);

/// A running server and the thread that watches it.
pub(crate) struct NatsServer {
    url: String,
    token: String,
    stop: Option<mpsc::Sender<()>>,
    watcher: Option<JoinHandle<()>>,
}

impl NatsServer {
    /// Starts the server on the data directory and waits until it serves.
    ///
    /// # Errors
    /// When it can't be started or is not ready in a minute; its last words are in `<data-dir>/nats.log`.
    pub(crate) fn start(binary: &Path, data: &DataDir, token: &str) -> anyhow::Result<Self> {
        let files = Files::of(data);
        let (ready, started) = mpsc::channel();
        let (stop, stopped) = mpsc::channel();
        let mut server = Launch {
            binary: binary.to_owned(),
            token: token.to_owned(),
            files,
            port: None,
        };
        let watcher = std::thread::Builder::new()
            .name("nats-server".to_owned())
            .spawn(move || match server.launch() {
                Ok(child) => {
                    let _ = ready.send(Ok(server.port.unwrap_or_default()));
                    server.watch(child, &stopped);
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            })
            .context("the thread for nats-server can't be started")?;
        let port = started
            .recv()
            .context("the thread for nats-server ended")??;
        Ok(Self {
            url: format!("nats://127.0.0.1:{port}"),
            token: token.to_owned(),
            stop: Some(stop),
            watcher: Some(watcher),
        })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What it asks of those who connect.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }
}

impl Drop for NatsServer {
    /// Lets it write its state and end; after ten seconds it is killed.
    fn drop(&mut self) {
        self.stop.take();
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

struct Files {
    config: PathBuf,
    store: PathBuf,
    log: PathBuf,
    ports: PathBuf,
}

impl Files {
    fn of(data: &DataDir) -> Self {
        Self {
            config: data.file("nats.conf"),
            store: data.file("nats"),
            log: data.file("nats.log"),
            ports: data.file("nats-ports"),
        }
    }
}

struct Launch {
    binary: PathBuf,
    token: String,
    files: Files,
    /// Chosen by the first start and kept, so that clients find the server again.
    port: Option<u16>,
}

impl Launch {
    /// Starts a child and waits for its ports file, which it writes when it serves.
    fn launch(&mut self) -> anyhow::Result<Child> {
        self.write_config()?;
        let _ = std::fs::remove_dir_all(&self.files.ports);
        std::fs::create_dir_all(&self.files.ports)?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.files.log)?;
        let mut child = Command::new(OWN_BINARY)
            .args([COMMAND, &std::process::id().to_string()])
            .args([&self.binary, &self.files.config])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C in a terminal goes to the whole group; the server must outlive those who use it.
            .process_group(0)
            .spawn()
            .context("nats-server can't be started")?;
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            if let Some(port) = self.read_port(child.id()) {
                self.port = Some(port);
                return Ok(child);
            }
            if let Some(status) = child.try_wait()? {
                bail!(
                    "nats-server ended at once ({status}); see {}",
                    self.files.log.display()
                );
            }
            if Instant::now() > deadline {
                stop(&mut child);
                bail!(
                    "nats-server was not ready in a minute; see {}",
                    self.files.log.display()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn write_config(&self) -> anyhow::Result<()> {
        // JSON is valid in nats-server's configuration and quotes whatever a path may hold.
        let config = serde_json::json!({
            "server_name": "crier-up",
            "host": "127.0.0.1",
            "port": self.port.map_or(-1, i32::from),
            "ports_file_dir": self.files.ports,
            "authorization": { "token": self.token },
            "jetstream": { "store_dir": self.files.store },
        });
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.files.config)
            .with_context(|| format!("{} can't be written", self.files.config.display()))?;
        file.write_all(config.to_string().as_bytes())?;
        Ok(())
    }

    fn read_port(&self, pid: u32) -> Option<u16> {
        let file = self.files.ports.join(format!("nats-server_{pid}.ports"));
        let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
        let address = ports.get("nats")?.get(0)?.as_str()?;
        address.rsplit(':').next()?.parse().ok()
    }

    /// Until told to stop: a child that ends is started again, a little later each time.
    fn watch(&mut self, mut child: Child, stopped: &mpsc::Receiver<()>) {
        let mut pause = WATCH_EVERY;
        loop {
            match stopped.recv_timeout(WATCH_EVERY) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return stop(&mut child),
            }
            let Ok(Some(status)) = child.try_wait() else {
                continue;
            };
            warn!(%status, "nats-server ended; starting it again");
            loop {
                match stopped.recv_timeout(pause) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
                match self.launch() {
                    Ok(next) => {
                        info!("nats-server is back");
                        child = next;
                        pause = WATCH_EVERY;
                        break;
                    }
                    Err(error) => {
                        pause = (pause * 2).min(STOP_TIMEOUT);
                        warn!("{error:#}; trying again in {pause:?}");
                    }
                }
            }
        }
    }
}

/// SIGTERM, and SIGKILL for one that doesn't end.
fn stop(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
    let deadline = Instant::now() + STOP_TIMEOUT;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > deadline {
            warn!("nats-server did not end by itself; it is killed");
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Turns this process into `nats-server`, to be killed by the kernel when `crier up` is gone.
///
/// # Errors
/// Only when it didn't become the server.
pub(crate) fn become_server(
    parent: i32,
    binary: &Path,
    config: &Path,
) -> anyhow::Result<Infallible> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("PR_SET_PDEATHSIG")?;
    // The parent may have died before the request was made; then somebody else has us.
    if rustix::process::getppid() != Pid::from_raw(parent) {
        bail!("crier is gone");
    }
    let error = Command::new(binary).arg("--config").arg(config).exec();
    Err(error).with_context(|| format!("{} can't be run", binary.display()))
}
