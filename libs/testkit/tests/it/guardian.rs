//! A test process that is killed leaves no process and no folder behind.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crier_testkit::{Browser, NatsServer, Postgres, wait_for};
use rustix::process::{Pid, test_kill_process};

const ROLE: &str = "CRIER_TESTKIT_VICTIM";

/// Run by the next test in a process of its own, which is killed in here; alone it has nothing to do.
#[tokio::test]
async fn victim() {
    let Some(report) = std::env::var_os(ROLE).map(PathBuf::from) else {
        return;
    };
    let tell = |line: String| {
        let file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(&report);
        file.expect("the report")
            .write_all(format!("{line}\n").as_bytes())
            .expect("tell");
    };
    let nats = NatsServer::start().await;
    tell(nats.store_dir().display().to_string());
    tell(nats.pid().to_string());
    let database = Postgres::database().await;
    tell(
        database
            .url()
            .split("host=")
            .nth(1)
            .expect("a folder")
            .to_owned(),
    );
    let browser = Browser::launch().await;
    tell(browser.pid().to_string());
    std::future::pending().await
}

/// The victim's process, which must not outlive a failure of the test either.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        self.0.kill().expect("kill the victim");
        self.0.wait().expect("reap the victim");
    }
}

#[tokio::test]
async fn nothing_outlives_a_killed_test_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("report");
    let victim = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "guardian::victim"])
        .env(ROLE, &report)
        .env("TMPDIR", folder.path())
        .stdout(Stdio::null())
        .spawn();
    let victim = Victim(victim.expect("start the victim"));
    // Line by line, so that each part has a deadline of its own.
    let line = async |number: usize| {
        wait_for(
            &format!("line {number} of the victim's report"),
            async || {
                let text = std::fs::read_to_string(&report).ok()?;
                let whole = text.rsplit_once('\n')?.0;
                whole.lines().nth(number).map(str::to_owned)
            },
        )
        .await
    };
    let (store, nats, cluster, browser) =
        (line(0).await, line(1).await, line(2).await, line(3).await);
    let postmaster = std::fs::read_to_string(Path::new(&cluster).join("data/postmaster.pid"));
    let postmaster = postmaster
        .expect("the cluster runs")
        .lines()
        .next()
        .map(str::to_owned);
    let pids = [nats, postmaster.expect("its process"), browser];
    for pid in &pids {
        assert!(alive(pid), "{pid}");
    }
    assert!(Path::new(&store).is_dir());

    drop(victim);
    for pid in &pids {
        wait_for("the end of a child", async || (!alive(pid)).then_some(())).await;
    }
    wait_for("the end of the folders", async || {
        let left = std::fs::read_dir(folder.path())
            .expect("the folder")
            .flatten();
        let left = left.filter(|entry| entry.file_name() != "report").count();
        (left == 0 && !Path::new(&cluster).exists()).then_some(())
    })
    .await;
}

/// Whether there is such a process. One that waits to be reaped by whoever adopted it is gone.
fn alive(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pid = Pid::from_raw(pid.parse().expect("a process id")).expect("a process id");
    test_kill_process(pid).is_ok() && !status.contains("State:\tZ")
}
