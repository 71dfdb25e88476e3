//! With the users of `deploy/nats.conf` the whole way works, and nobody but the relay writes the log.

use crier_bus::NatsConfig;
use crier_testkit::{NatsOptions, NatsServer, wait_for};

use crate::people::group;
use crate::world::{Options, World};

const CONFIG: &str = include_str!("../../deploy/nats.conf");

/// The users of the fleet, with passwords for this test.
fn users() -> String {
    let from = CONFIG.find("authorization {").unwrap();
    CONFIG[from..]
        .replace("$CRIER_NATS_API_PASSWORD", "\"for-the-api\"")
        .replace("$CRIER_NATS_GATEWAY_PASSWORD", "\"for-gateways\"")
}

fn as_user(nats: &NatsServer, user: &str, password: &str) -> NatsConfig {
    NatsConfig::at(nats.url_as(user, password))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fleets_users_suffice_and_gateways_cannot_write() {
    let nats = NatsServer::with(NatsOptions {
        config: users(),
        ..NatsOptions::default()
    })
    .await;
    let world = World::with(Options {
        nats: Some(nats),
        nats_as_api: Some(|nats| as_user(nats, "api", "for-the-api")),
        nats_as_gateway: Some(|nats| as_user(nats, "gateway", "for-gateways")),
        ..Options::default()
    })
    .await;
    let (alice, bob, _, place) = group(&world).await;
    bob.subscribe(place).await;
    // Without a snapshot in the log the gateway has to ask the API: dave was never heard of.
    let dave = world.person(9, "dave");
    let at_dave = dave.stream(1).await;
    assert_eq!(at_dave.ready["communities"], serde_json::json!([]));
    let mut at_bob = bob.stream(0).await;
    alice.discuss(place, "Under permissions").await;
    assert_eq!(
        at_bob.event().await["data"]["discussion"]["topic"],
        "Under permissions"
    );
    world.settled().await;

    let before = log_end(&world).await;
    let forged = format!("community.{}.all", place.community);
    let live = format!("live.community.{}.all", place.community);
    for subject in [
        forged.as_str(),
        live.as_str(),
        "mark",
        "user.1.subscriptions",
    ] {
        let denied = raw_publish(world.nats(), "gateway", "for-gateways", subject).await;
        assert!(
            denied.contains("Permissions Violation"),
            "{subject}: {denied}"
        );
    }
    let denied = raw_publish(world.nats(), "api", "for-the-api", &live).await;
    assert!(
        denied.contains("Permissions Violation"),
        "nobody writes live copies: {denied}"
    );
    assert_eq!(log_end(&world).await, before);
    world.end().await;
}

async fn log_end(world: &World) -> u64 {
    let server = world.nats().monitor("/jsz?streams=1").await;
    let stream = &server["account_details"][0]["stream_detail"][0];
    stream["state"]["last_seq"]
        .as_u64()
        .unwrap_or_else(|| panic!("no stream in {server}"))
}

/// Publishes over a bare socket and gives what the server says to it.
async fn raw_publish(nats: &NatsServer, user: &str, password: &str, subject: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut socket = tokio::net::TcpStream::connect(nats.address())
        .await
        .unwrap();
    let hello =
        serde_json::json!({"user": user, "pass": password, "verbose": false, "pedantic": false});
    let text = format!("CONNECT {hello}\r\nPUB {subject} 2\r\n{{}}\r\nPING\r\n");
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    wait_for("the server's word", async || {
        socket.read_buf(&mut said).await.unwrap();
        said.windows(6)
            .any(|part| part == b"PONG\r\n")
            .then_some(())
    })
    .await;
    String::from_utf8_lossy(&said).into_owned()
}
