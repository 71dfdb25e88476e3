//! Processes of the real binary, beside this one: `crier` of the same build.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use crier_store::Store;
use crier_testkit::tools;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const PATIENCE: Duration = Duration::from_secs(60);

/// A process, killed when dropped.
pub(crate) struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// What the benchmark's own environment may say of the processes it starts, to compare.
const HANDED_ON: [&str; 2] = ["_RJEM_MALLOC_CONF", "TOKIO_WORKER_THREADS"];

fn binary() -> anyhow::Result<PathBuf> {
    let binary = std::env::current_exe()?.with_file_name("crier");
    ensure!(
        binary.exists(),
        "{} is missing; run `make bench`",
        binary.display()
    );
    Ok(binary)
}

impl Process {
    /// Starts the binary with these settings and nobody else's, but for what is [`HANDED_ON`].
    pub(crate) fn start(arguments: &[&str], settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut child = Command::new(binary()?)
            .args(arguments)
            .env_clear()
            .env("CRIER_UP__NATS_SERVER", tools::nats_server())
            .env("CRIER_TELEMETRY__LOG", "warn")
            // What is measured is what the service does, not what it refuses.
            .env("CRIER_LIMITS__USER_CALLS_PER_SECOND", "0")
            .env("CRIER_LIMITS__USER_CHANGES_PER_SECOND", "0")
            .env("CRIER_LIMITS__SERVICE_CALLS_PER_SECOND", "0")
            .env("CRIER_LIMITS__COMMUNITIES_PER_USER", "0")
            .envs(settings.iter().copied())
            .envs(
                HANDED_ON
                    .iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("a pipe was asked for")?;
        Ok(Self {
            child,
            lines: BufReader::new(stdout).lines(),
        })
    }

    /// The URL on the next line with this text.
    pub(crate) async fn url(&mut self, text: &str) -> anyhow::Result<String> {
        let found = async {
            while let Some(line) = self.lines.next_line().await? {
                if let (true, Some(from)) = (line.contains(text), line.find("http://")) {
                    return Ok(line[from..].trim_end_matches("/events").to_owned());
                }
            }
            anyhow::bail!("the process ended before it said {text:?}")
        };
        tokio::time::timeout(PATIENCE, found)
            .await
            .context("the process said nothing")?
    }

    /// The process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Memory that is resident, in bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let pid = self.child.id().context("it runs")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.context("VmRSS")?.trim().trim_end_matches(" kB");
        Ok(kilobytes.parse::<u64>()? * 1024)
    }

    /// Time of processors that it has used, of the system's calls too.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let pid = self.child.id().context("it runs")?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // Behind the name, which is in parentheses, the 12th and 13th field, in hundredths of a second.
        let (_, fields) = stat.rsplit_once(')').context("a name")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks = ticks.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Ends it as a crash would, and waits.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Ends it as Ctrl-C would, and waits.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().context("it runs")?;
        Command::new("kill")
            .args(["-INT", &pid.to_string()])
            .status()
            .await?;
        tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .context("it does not end")??;
        Ok(())
    }
}

/// Has the API service take these lines by `crier sync`; all of them have to fit.
pub(crate) async fn mirror(api: &str, token: &str, lines: String) -> anyhow::Result<()> {
    let mut sync = Command::new(binary()?)
        .args(["sync", "-", "--api", api])
        .env_clear()
        .env("CRIER_TOKEN", token)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = sync.stdin.take().context("a pipe was asked for")?;
    stdin.write_all(lines.as_bytes()).await?;
    drop(stdin);
    let done = sync.wait_with_output().await?;
    ensure!(done.status.success(), "crier sync failed");
    Ok(())
}

/// Until the relay has published everything.
pub(crate) async fn settled(store: &Store) -> anyhow::Result<()> {
    let settled = async {
        while store.count_unsent().await? > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    let settled = tokio::time::timeout(10 * PATIENCE, settled).await;
    settled.context("the relay does not come to an end")?
}
