//! The kernel floor as a process.

use std::process::Stdio;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::{About, Parts, Publisher, Server};

pub(super) async fn start() -> anyhow::Result<Server> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("floor")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = child.stdout.take().context("a pipe was asked for")?;
    let line = BufReader::new(stdout).lines().next_line().await?;
    let line = line.context("it says its address")?;
    let address = line.rsplit('/').next().unwrap_or_default().parse()?;
    let stdin = child.stdin.take().context("a pipe was asked for")?;
    Ok(Server {
        about: About {
            version: std::fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            settings: "one thread, one `write` for each event and socket",
        },
        addresses: vec![address],
        heads: vec!["GET / HTTP/1.1\r\nHost: floor\r\n\r\n".to_owned()],
        marker: ": open",
        pids: child.id().into_iter().collect(),
        beside: Vec::new(),
        certificate: None,
        publisher: Publisher::Floor(stdin.into_owned_fd()?.into()),
        parts: Parts::Floor(child),
    })
}
