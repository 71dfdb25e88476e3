//! Connecting: clear refusals at once, patience in the background, and the state in sight.

use std::time::{Duration, Instant};

use crier_bus::{Bus, ConnectError, NatsConfig};
use crier_testkit::{DEADLINE, NatsOptions, NatsServer, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{Fixture, connect};

#[tokio::test]
async fn an_unreachable_server_is_one_sentence_after_the_timeout() {
    let nats = NatsServer::start().await;
    nats.kill().await;
    let config = NatsConfig {
        connect_timeout: Duration::from_millis(600),
        token: Some("hush".to_owned()),
        ..NatsConfig::at(nats.url())
    };
    let started = Instant::now();
    let error = Bus::connect(&config, "test").await.err().unwrap();
    assert!(started.elapsed() < DEADLINE);
    let expected = format!(
        "NATS at {} can't be reached: no connection within 600 ms",
        nats.address()
    );
    assert_eq!(error.to_string(), expected);
    assert!(!format!("{error:?}").contains("hush"));
}

#[tokio::test]
async fn a_server_that_starts_late_is_waited_for() {
    let nats = NatsServer::start().await;
    nats.stop().await;
    let config = NatsConfig {
        connect_timeout: DEADLINE,
        ..NatsConfig::at(nats.url())
    };
    let (bus, ()) = tokio::join!(Bus::connect(&config, "test"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        nats.start_again().await;
    });
    assert!(bus.unwrap().is_connected());
}

#[tokio::test]
async fn wrong_credentials_are_refused_at_once_and_right_ones_taken_from_wherever_they_stand() {
    let config = "authorization { users: [ { user: api, password: \"p@ss%\" } ] }".to_owned();
    let nats = NatsServer::with(NatsOptions {
        config,
        ..NatsOptions::default()
    })
    .await;
    let wrong = NatsConfig {
        connect_timeout: DEADLINE * 2,
        ..NatsConfig::at(nats.url_as("api", "guess"))
    };
    let started = Instant::now();
    let error = Bus::connect(&wrong, "test").await.err().unwrap();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    assert!(started.elapsed() < DEADLINE);
    assert!(!format!("{error} {error:?}").contains("guess"));

    let in_url = NatsConfig::at(nats.url_as("api", "p%40ss%25"));
    Bus::connect(&in_url, "test").await.unwrap();
    let in_fields = NatsConfig {
        user: Some("api".to_owned()),
        password: Some("p@ss%".to_owned()),
        ..NatsConfig::at(nats.url())
    };
    Bus::connect(&in_fields, "test").await.unwrap();
}

#[tokio::test]
async fn a_token_is_taken_from_the_address() {
    let nats = NatsServer::with(NatsOptions {
        token: Some("s3cret".to_owned()),
        ..NatsOptions::default()
    })
    .await;
    let bus = Bus::connect(&NatsConfig::at(nats.url()), "gateway-7")
        .await
        .unwrap();
    assert!(bus.is_connected());
    let connections = nats.connz().await;
    assert_eq!(connections["connections"][0]["name"], "gateway-7");
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused_by_its_version() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let info =
                "INFO {\"server_id\":\"OLD\",\"version\":\"2.10.22\",\"max_payload\":1048576}\r\n";
            socket.write_all(info.as_bytes()).await.unwrap();
            let mut said = Vec::new();
            while !said.ends_with(b"PING\r\n") {
                socket.read_buf(&mut said).await.unwrap();
            }
            socket.write_all(b"PONG\r\n").await.unwrap();
        }
    });
    let error = Bus::connect(&NatsConfig::at(url), "test").await.err();
    assert_eq!(
        error.unwrap().to_string(),
        "the NATS server is version 2.10.22, and Crier needs 2.12 or newer"
    );
}

#[tokio::test]
async fn what_is_no_address_is_refused() {
    for url in [
        "",
        "nats://",
        "nats://127.0.0.1:4222,",
        "http://127.0.0.1:4222",
        "ws://127.0.0.1:4222",
        "nats://127.0.0.1:port",
    ] {
        let error = Bus::connect_lazily(&NatsConfig::at(url), "test").await;
        assert!(matches!(error, Err(ConnectError::Address(_))), "{url:?}");
    }
}

#[tokio::test]
async fn a_lazy_bus_is_there_at_once_and_connected_when_the_server_is() {
    let nats = NatsServer::start().await;
    nats.stop().await;
    let bus = Bus::connect_lazily(&NatsConfig::at(nats.url()), "test")
        .await
        .unwrap();
    assert!(!bus.is_connected());
    let mut state = bus.connection();
    nats.start_again().await;
    let connected = tokio::time::timeout(DEADLINE, state.wait_for(|state| state.connected));
    assert_eq!(connected.await.unwrap().unwrap().connects, 1);
}

#[tokio::test]
async fn a_lost_connection_is_seen_and_found_again() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.bus.stats().reconnects, 0);
    fixture.nats.kill().await;
    wait_for("the loss to be seen", async || {
        (!fixture.bus.is_connected()).then_some(())
    })
    .await;
    fixture.nats.start_again().await;
    wait_for("the connection to be back", async || {
        fixture.bus.is_connected().then_some(())
    })
    .await;
    assert_eq!(fixture.bus.stats().reconnects, 1);
    // A server that is back takes a moment until its stream is.
    wait_for("the log to be back", async || fixture.log.tail().await.ok()).await;
}

#[tokio::test]
async fn dropping_the_last_bus_ends_the_connection() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats).await;
    let log = bus.log();
    drop(bus);
    assert_eq!(nats.connz().await["num_connections"], 1);
    drop(log);
    wait_for("the connection to end", async || {
        (nats.connz().await["num_connections"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn closing_ends_the_connection_for_all() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats).await;
    bus.close().await;
    wait_for("the connection to end", async || {
        (nats.connz().await["num_connections"] == 0).then_some(())
    })
    .await;
    assert!(!bus.is_connected());
    assert!(bus.log().tail().await.is_err());
}
