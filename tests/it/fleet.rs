//! The real binary as processes: a fleet of one service each, or `crier up`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crier_testkit::{DEADLINE, tools};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::world::{SECRET, World};

/// A process of the real binary, killed when dropped.
pub(crate) struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// How a process ended.
pub(crate) struct Outcome {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The binary that `cargo build` made beside this test.
pub(crate) fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(Path::parent).unwrap().join("crier");
    assert!(
        built.exists(),
        "{} is missing: run `cargo build --workspace` first",
        built.display()
    );
    built
}

/// A command of the binary in an environment without anybody's settings, with the tests' own nats-server.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .env_clear()
        .env("CRIER_UP__NATS_SERVER", tools::nats_server())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A gateway of this system as a process, with these settings of its own.
pub(crate) fn gateway_of(world: &World, settings: &[(&str, &str)]) -> Command {
    let mut command = command(&["gateway"]);
    command
        .env("CRIER_NATS__URL", world.nats().url())
        .env("CRIER_AUTH__SECRET", SECRET)
        .env("CRIER_CURSOR__KEYS", format!("[{:?}]", world.keys))
        .env("CRIER_GATEWAY__LISTEN", "127.0.0.1:0")
        .env("CRIER_TELEMETRY__LOG", "warn");
    for (key, value) in settings {
        command.env(format!("CRIER_GATEWAY__{key}"), value);
    }
    command
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        Self {
            child,
            lines: BufReader::new(stdout).lines(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    /// The next line that it prints with this text in it.
    pub(crate) async fn line(&mut self, text: &str) -> String {
        let found = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line.contains(text) {
                    return line;
                }
            }
            panic!("the process ended without a line with {text:?}");
        };
        tokio::time::timeout(DEADLINE, found)
            .await
            .unwrap_or_else(|_| panic!("no line with {text:?} in time"))
    }

    /// The next URL that it prints on a line with this text, without a path.
    pub(crate) async fn url(&mut self, text: &str) -> String {
        let line = self.line(text).await;
        let from = line
            .find("http://")
            .unwrap_or_else(|| panic!("no URL in {line:?}"));
        line[from..].trim_end_matches("/events").to_owned()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = std::process::Command::new("kill")
            .args([format!("-{signal}"), self.pid().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> bool {
        let ended = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        ended.expect("the process ends in time").unwrap().success()
    }
}

/// Runs a command that is expected to end by itself.
pub(crate) async fn outcome(command: &mut Command) -> Outcome {
    whole(command.stderr(Stdio::piped()).spawn().unwrap()).await
}

/// Waits for the end of a process whose two outputs are pipes.
pub(crate) async fn whole(child: Child) -> Outcome {
    let ended = tokio::time::timeout(DEADLINE, child.wait_with_output()).await;
    let output = ended.expect("the process ends in time").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome {
        success: output.status.success(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// The processes whose command line holds this text.
pub(crate) fn running_with(text: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(text))
        .collect()
}
