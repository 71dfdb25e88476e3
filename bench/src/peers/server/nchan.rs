//! nginx with nchan, as Debian has them.

use anyhow::ensure;
use crier_testkit::{HttpClient, wait_for};
use tokio::process::Command;

use super::{About, Parts, Publisher, Server, configure, free_port, launch, peers, why_missing};

/// The master, which has the port before it has anybody to serve it, and its one worker.
const PROCESSES: usize = 2;

pub(super) async fn start() -> anyhow::Result<Server> {
    let root = peers().join("nchan");
    let (nginx, module) = (
        root.join("usr/sbin/nginx"),
        root.join("usr/lib/nginx/modules/ngx_nchan_module.so"),
    );
    ensure!(
        nginx.exists() && module.exists(),
        "{}",
        why_missing("nchan")
    );
    let port = free_port()?;
    let (dir, config) = configure(
        "nchan.conf",
        &[
            ("MODULE", &module.display().to_string()),
            ("PORT", &port.to_string()),
        ],
    )?;
    let address = ([127, 0, 0, 1], port).into();
    let mut command = Command::new(nginx);
    command.arg("-p").arg(dir.path()).arg("-c").arg(config);
    let family = launch(command, address, dir).await?;
    wait_for("the worker", async || {
        (family.pids().len() >= PROCESSES).then_some(())
    })
    .await;
    let version = std::fs::read_to_string(root.join("version"))?;
    Ok(Server {
        about: About {
            version: version.trim().to_owned(),
            settings: "one worker, 256 events kept; nobody is asked for a token",
        },
        addresses: vec![address],
        heads: vec![
            "GET /sub HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".to_owned(),
        ],
        marker: "\r\n\r\n",
        pids: family.pids(),
        beside: Vec::new(),
        certificate: None,
        publisher: Publisher::Nchan(HttpClient::new(format!("http://{address}"))),
        parts: Parts::Family(family),
    })
}
