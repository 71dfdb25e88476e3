//! Three servers, and the stream's leader dies.

use std::net::TcpListener;
use std::time::Duration;

use crier_bus::{Bus, LogConfig, NatsConfig, PublishError, Spine};
use crier_domain::Seq;
use crier_testkit::{NatsOptions, NatsServer, wait_for};
use tokio::time::Instant;

use crate::support::event;

/// An election takes seconds; on a busy machine, more of them than one wait allows.
const PATIENCE: Duration = Duration::from_secs(90);

async fn cluster() -> Vec<NatsServer> {
    // Their ports must be known beforehand. Another may take one meanwhile, but hardly.
    let listeners: Vec<TcpListener> = (0..3)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let ports: Vec<u16> = listeners
        .iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect();
    drop(listeners);
    let routes: Vec<String> = ports
        .iter()
        .map(|port| format!("\"nats-route://127.0.0.1:{port}\""))
        .collect();
    let mut servers = Vec::new();
    for (at, port) in ports.iter().enumerate() {
        let config = format!(
            "server_name: n{at}\ncluster {{ name: c, listen: \"127.0.0.1:{port}\", routes: [{}] }}",
            routes.join(", ")
        );
        let options = NatsOptions {
            config,
            ..NatsOptions::default()
        };
        servers.push(NatsServer::with(options).await);
    }
    servers
}

/// Which server leads the stream.
async fn leader(servers: &[NatsServer]) -> usize {
    wait_for("the stream's leader", async || {
        let jsz = servers[0].monitor("/jsz?streams=true").await;
        let stream = &jsz["account_details"][0]["stream_detail"][0];
        let name = stream["cluster"]["leader"].as_str()?;
        name.strip_prefix('n')?.parse().ok()
    })
    .await
}

/// Stores `count` messages one after the other, as the relay would: after a failure it looks where the log ends.
async fn write(bus: &Bus, count: usize) {
    let log = bus.log();
    let deadline = Instant::now() + PATIENCE;
    let mut last = None;
    let mut stored = 0;
    while stored < count {
        assert!(Instant::now() < deadline, "{stored} of {count} stored");
        let Some(expected) = last.or(log.tail().await.ok()) else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let answer = match log.publish(&event(1, "x"), expected).await {
            Ok(ack) => ack.await,
            Err(error) => Err(error),
        };
        last = match answer {
            Ok(seq) => {
                stored += 1;
                Some(seq)
            }
            Err(PublishError::Unavailable(_) | PublishError::Refused(_)) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                None
            }
            Err(rejected) => panic!("{rejected:?}"),
        };
    }
}

/// Reads everything up to `end`, making the spine again as often as it is lost.
async fn read(bus: &Bus, mut position: Seq, end: Seq) {
    let deadline = Instant::now() + PATIENCE;
    while position < end {
        assert!(Instant::now() < deadline, "read to {position} of {end}");
        let Ok(mut spine) = Spine::start(bus, position).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        while position < end {
            match spine.next().await {
                Ok(item) => {
                    assert_eq!(item.seq, position.next());
                    assert!(item.head.is_ok());
                    position = item.seq;
                }
                Err(_) => break,
            }
        }
    }
}

#[tokio::test]
async fn the_leaders_death_costs_no_message() {
    let servers = cluster().await;
    let urls: Vec<String> = servers.iter().map(NatsServer::url).collect();
    let config = NatsConfig::at(urls.join(","));
    let writer = Bus::connect(&config, "writer").await.unwrap();
    let reader = Bus::connect(&config, "reader").await.unwrap();
    let three = LogConfig {
        replicas: 3,
        ..LogConfig::default()
    };
    wait_for("the stream", async || {
        writer.log().ensure(&three).await.ok()
    })
    .await;
    // Not scaled down by a configuration that knows no cluster.
    writer.log().ensure(&LogConfig::default()).await.unwrap();

    write(&writer, 200).await;
    let leader = leader(&servers).await;
    let before = writer.log().tail().await.unwrap();
    // One message was stored for each ack, or more: an ack may get lost, never a message.
    assert!(before >= Seq(200));
    let killing = async {
        servers[leader].kill().await;
        write(&writer, 200).await;
    };
    let until = Seq(before.0 + 200);
    tokio::join!(killing, read(&reader, Seq::ZERO, until));
    assert!(writer.log().tail().await.unwrap() >= until);
}
