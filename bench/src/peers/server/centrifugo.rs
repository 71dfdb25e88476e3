//! Centrifugo with its unidirectional SSE.

use std::time::Duration;

use anyhow::ensure;
use crier_service_kit::auth::{AuthConfig, Signer};
use crier_service_kit::config::Secret;
use crier_testkit::HttpClient;
use serde_json::json;
use tokio::process::Command;

use super::crier::SECRET;
use super::{About, Parts, Publisher, Server, configure, free_port, launch, peers, why_missing};

pub(super) async fn start(connections: usize) -> anyhow::Result<Server> {
    let program = peers().join("bin/centrifugo");
    ensure!(program.exists(), "{}", why_missing("centrifugo"));
    let port = free_port()?;
    let values = [("PORT", &*port.to_string()), ("SECRET", SECRET)];
    let (dir, config) = configure("centrifugo.json", &values)?;
    let address = ([127, 0, 0, 1], port).into();
    let mut command = Command::new(program);
    command.arg("-c").arg(config);
    let family = launch(command, address, dir).await?;
    let version = std::fs::read_to_string(peers().join("centrifugo.version"))?;
    let base = format!("http://{address}");
    Ok(Server {
        about: About {
            version: version.trim().to_owned(),
            settings: "in memory, 256 events kept; each connection is a user of its own with a token (HS256)",
        },
        addresses: vec![address],
        heads: heads(connections)?,
        marker: "\"connect\":",
        pids: family.pids(),
        beside: Vec::new(),
        certificate: None,
        publisher: Publisher::Centrifugo(
            HttpClient::new(base).with_header("x-api-key", "measured"),
        ),
        parts: Parts::Family(family),
    })
}

fn heads(connections: usize) -> anyhow::Result<Vec<String>> {
    let auth = AuthConfig {
        secret: Some(Secret::new(SECRET)),
        ..AuthConfig::default()
    };
    let signer = Signer::new(&auth)?;
    let mut heads = Vec::with_capacity(connections);
    for user in 1..=connections {
        let token = signer.sign_user(i64::try_from(user)?, "reader", Duration::from_secs(7200))?;
        let connect = json!({"token": token, "subs": {"all": {}}}).to_string();
        let connect = connect
            .replace('"', "%22")
            .replace('{', "%7B")
            .replace('}', "%7D");
        heads.push(format!(
            "GET /connection/uni_sse?cf_connect={connect} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
        ));
    }
    Ok(heads)
}
