//! Crier as browsers reach it: nginx before the gateway, with HTTP/2 over TLS.

use anyhow::{Context as _, ensure};
use crier_testkit::wait_for;
use tokio::process::Command;

use super::{
    About, Crier, Parts, Publisher, Server, World, configure, free_port, launch, peers, why_missing,
};

/// The master and its two workers.
const PROCESSES: usize = 3;

impl Server {
    /// What is counted is nginx; the gateway is stated separately.
    pub(crate) async fn proxied(world: World) -> anyhow::Result<Self> {
        let root = peers().join("nchan");
        let nginx = root.join("usr/sbin/nginx");
        ensure!(nginx.exists(), "{}", why_missing("nchan"));
        let crier = Crier::start(world).await?;
        let gateway = crier.addresses.first().context("a gateway")?;
        let port = free_port()?;
        let (dir, config) = configure(
            "tls.conf",
            &[
                ("PORT", &port.to_string()),
                ("GATEWAY", &gateway.to_string()),
            ],
        )?;
        let certificate = dir.path().join("certificate.pem");
        let made = Command::new("openssl")
            .args(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
                    .split(' '),
            )
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
            ])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .arg(dir.path().join("key.pem"))
            .arg("-out")
            .arg(&certificate)
            .output()
            .await
            .context("openssl makes the certificate: install it")?;
        ensure!(
            made.status.success(),
            "openssl: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let address = ([127, 0, 0, 1], port).into();
        let mut command = Command::new(nginx);
        command.arg("-p").arg(dir.path()).arg("-c").arg(config);
        let family = launch(command, address, dir).await?;
        wait_for("the workers", async || {
            (family.pids().len() >= PROCESSES).then_some(())
        })
        .await;
        let version = std::fs::read_to_string(root.join("version"))?;
        Ok(Self {
            about: About {
                version: version.trim().to_owned(),
                settings: "two workers, HTTP/2 over TLS 1.3 (ECDSA), one stream for each connection; HTTP/1.1 to the gateway",
            },
            addresses: vec![address],
            heads: crier.heads.clone(),
            marker: "event: ready",
            pids: family.pids(),
            beside: vec![
                ("gateway", crier.gateway_pids()),
                ("API and relay", crier.api.pid().into_iter().collect()),
                ("NATS", vec![crier.nats.pid()]),
            ],
            certificate: Some(certificate),
            publisher: Publisher::Crier(crier.http.clone()),
            parts: Parts::Proxied(Box::new(crier), family),
        })
    }
}
