//! One PostgreSQL cluster: its folder, its process, and the unix user that runs it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use super::wire::{self, Rows};
use crate::process::{Ending, Process, describe, log_tail};
use crate::{guardian, tools, wait_for};

pub(super) struct Cluster {
    dir: TempDir,
    programs: Programs,
    process: Mutex<Option<Process>>,
    safety: Safety,
}

/// What a cluster's data survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Safety {
    /// The death of every process, which is what tests cause; not that of the machine.
    OfProcesses,
    /// The death of the machine too, as in production: for measurements, where a commit must cost what it costs.
    OfTheMachine,
}

impl Cluster {
    /// Makes a cluster and starts it.
    pub(super) async fn start(safety: Safety) -> Self {
        let (dir, programs) = tokio::task::spawn_blocking(initialize)
            .await
            .expect("initdb runs");
        let cluster = Self {
            dir,
            programs,
            process: Mutex::new(None),
            safety,
        };
        cluster.start_again().await;
        cluster
    }

    /// Starts the processes of a cluster that has none, and waits until it takes connections.
    pub(super) async fn start_again(&self) {
        assert!(self.process().is_none(), "this PostgreSQL is running");
        *self.process() = Some(self.launch());
        wait_for("PostgreSQL to take connections", async || {
            let ended = self.process().as_mut().and_then(Process::ended);
            if let Some(status) = ended {
                panic!(
                    "PostgreSQL ended ({}):\n{}",
                    describe(status),
                    log_tail(&self.log())
                );
            }
            self.try_query("postgres", "SELECT 1").await.ok()
        })
        .await;
    }

    fn launch(&self) -> Process {
        let mut command = self.programs.command("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.dir.path());
        let mut settings = vec!["listen_addresses=", "max_connections=300"];
        if self.safety == Safety::OfProcesses {
            settings.extend(["fsync=off", "full_page_writes=off"]);
        }
        for setting in settings {
            command.arg("-c").arg(setting);
        }
        command.current_dir(self.dir.path());
        Process::spawn(&mut command, &self.log(), Ending::Quit)
    }

    pub(super) async fn kill(&self) {
        let process = self.process().take();
        if let Some(process) = process {
            process.end("PostgreSQL", Signal::QUIT).await;
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.process().as_ref().expect("a running PostgreSQL").pid()
    }

    pub(super) fn url(&self, database: &str) -> String {
        format!(
            "postgres://{}@localhost/{database}?host={}",
            wire::USER,
            self.dir.path().display()
        )
    }

    /// The socket that it listens on.
    pub(super) fn socket(&self) -> PathBuf {
        self.dir.path().join(".s.PGSQL.5432")
    }

    pub(super) async fn query(&self, database: &str, sql: &str) -> Rows {
        let answer = self.try_query(database, sql).await;
        answer.unwrap_or_else(|error| panic!("{sql}: {error:#}"))
    }

    async fn try_query(&self, database: &str, sql: &str) -> anyhow::Result<Rows> {
        let (socket, database, sql) = (self.socket(), database.to_owned(), sql.to_owned());
        tokio::task::spawn_blocking(move || wire::query(&socket, &database, &sql)).await?
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The folder of a new cluster, and the programs it was made with.
fn initialize() -> (TempDir, Programs) {
    // Not the folder for temporary files of the environment: the path of a socket may have 100 bytes at most, and
    // another user has to get there.
    let dir = tempfile::Builder::new()
        .prefix("crier-pg-")
        .tempdir_in("/tmp")
        .expect("a folder");
    guardian::watch_dir(dir.path());
    let programs = Programs::find(dir.path());
    let output = programs
        .command("initdb")
        .arg("-D")
        .arg(dir.path().join("data"))
        .args(["--username", wire::USER, "--auth", "trust"])
        .args(["--encoding", "UTF8", "--no-locale", "--no-sync"])
        .current_dir(dir.path())
        .output()
        .unwrap_or_else(|error| panic!("start initdb: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "initdb: {said}");
    (dir, programs)
}

/// PostgreSQL's programs, and who runs them if not we.
struct Programs {
    bin: PathBuf,
    owner: Option<Owner>,
}

impl Programs {
    /// As root, the folder becomes that of the user who runs them; and where that user can't reach what was
    /// fetched into the repository (in root's home folder, say), it gets a copy.
    fn find(dir: &Path) -> Self {
        let owner = geteuid().is_root().then(Owner::find);
        let bin = tools::postgres_bin();
        let mut programs = Self {
            bin: bin.to_path_buf(),
            owner,
        };
        if let Some(Owner { uid, gid }) = owner {
            std::os::unix::fs::chown(dir, Some(uid), Some(gid)).expect("root may");
        }
        if let Some(fetched) = tools::fetched_postgres(bin)
            && !programs.can_run(dir)
        {
            let mut copy = Command::new("cp");
            copy.arg("-R").arg(fetched).arg(dir.join("programs"));
            assert!(copy.status().is_ok_and(|status| status.success()));
            let inside = bin.strip_prefix(fetched).expect("it is of it");
            programs.bin = dir.join("programs").join(inside);
        }
        programs
    }

    fn can_run(&self, dir: &Path) -> bool {
        let mut version = self.command("postgres");
        version
            .arg("--version")
            .current_dir(dir)
            .stdout(Stdio::null());
        version.status().is_ok_and(|status| status.success())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        if let Some(Owner { uid, gid }) = self.owner {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// The user that runs PostgreSQL where we are root, as whom it refuses to run.
#[derive(Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    fn find() -> Self {
        let users = std::fs::read_to_string(Path::new("/etc/passwd")).unwrap_or_default();
        let named = |name: &str| users.lines().find_map(|line| Self::parse(line, name));
        named("postgres")
            .or_else(|| named("nobody"))
            .expect("a user postgres or nobody")
    }

    /// A line of `/etc/passwd`: `name:x:uid:gid:…`.
    fn parse(line: &str, name: &str) -> Option<Self> {
        let mut fields = line
            .strip_prefix(name)?
            .strip_prefix(':')?
            .split(':')
            .skip(1);
        Some(Self {
            uid: fields.next()?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    }
}
