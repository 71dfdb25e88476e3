//! A test process that is killed leaves no process and no folder behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crier_testkit::{Browser, NatsServer, Postgres, wait_for};
use rustix::process::{Pid, test_kill_process};

const ROLE: &str = "CRIER_TESTKIT_VICTIM";

/// Run by the next test in a process of its own, which is killed in here; alone it has nothing to do.
#[tokio::test]
async fn victim() {
    let Some(report) = std::env::var_os(ROLE).map(PathBuf::from) else {
        return;
    };
    let (nats, database, browser) =
        tokio::join!(NatsServer::start(), Postgres::database(), Browser::launch());
    let url = database.url();
    let shared = url.split("host=").nth(1).expect("a folder");
    let (store, nats, browser) = (nats.store_dir(), nats.pid(), browser.pid());
    let text = format!("{nats}\n{browser}\n{shared}\n{}\n", store.display());
    let whole = report.with_extension("part");
    std::fs::write(&whole, text).expect("write the report");
    std::fs::rename(whole, report).expect("publish the report");
    std::future::pending().await
}

#[tokio::test]
async fn nothing_outlives_a_killed_test_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("report");
    let mut victim = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "guardian::victim"])
        .env(ROLE, &report)
        .env("TMPDIR", folder.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("start the victim");
    let report = wait_for("the victim's report", async || {
        std::fs::read_to_string(&report).ok()
    });
    let report = report.await;
    let lines: Vec<_> = report.lines().collect();
    let [nats, browser, shared, store] = lines[..] else {
        panic!("{report}")
    };
    let postmaster = std::fs::read_to_string(Path::new(shared).join("data/postmaster.pid"));
    let postmaster = postmaster.expect("the shared cluster runs");
    let pids = [
        nats,
        browser,
        postmaster.lines().next().expect("its process"),
    ];
    for pid in pids {
        assert!(alive(pid), "{pid}");
    }
    assert!(Path::new(store).is_dir());

    victim.kill().expect("kill the victim");
    victim.wait().expect("reap the victim");
    for pid in pids {
        wait_for("the end of a child", async || (!alive(pid)).then_some(())).await;
    }
    wait_for("the end of the folders", async || {
        let left = std::fs::read_dir(folder.path())
            .expect("the folder")
            .flatten();
        let left = left.filter(|entry| entry.file_name() != "report").count();
        (left == 0 && !Path::new(shared).exists()).then_some(())
    })
    .await;
}

/// Whether there is such a process. (A zombie counts: whoever adopted it has to reap it.)
fn alive(pid: &str) -> bool {
    let pid = Pid::from_raw(pid.parse().expect("a process id")).expect("a process id");
    test_kill_process(pid).is_ok()
}
