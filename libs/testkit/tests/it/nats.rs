//! A nats-server through all of its lives.

use crier_testkit::{NatsOptions, NatsServer, wait_for};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// The server's greeting and its answers, as a client by hand reads them.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(server: &NatsServer, connect: &str) -> Self {
        let socket = TcpStream::connect(server.address()).await.expect("connect");
        let mut client = Self(BufReader::new(socket));
        assert!(client.line().await.starts_with("INFO "));
        client.send(&format!("CONNECT {connect}\r\nPING\r\n")).await;
        client
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("send");
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        tokio::time::timeout(crier_testkit::DEADLINE, read)
            .await
            .expect("in time")
            .expect("read");
        line.trim_end().to_owned()
    }

    /// What follows a request for JetStream's own interface: the payload of its answer.
    async fn request(&mut self, subject: &str, payload: &str) -> serde_json::Value {
        let bytes = payload.len();
        self.send(&format!(
            "SUB answer 1\r\nPUB {subject} answer {bytes}\r\n{payload}\r\n"
        ))
        .await;
        while !self.line().await.starts_with("MSG ") {}
        serde_json::from_str(&self.line().await).expect("JSON")
    }
}

const STREAM: &str = r#"{"name":"KEPT","subjects":["kept"],"storage":"file"}"#;

#[tokio::test]
async fn it_comes_back_on_the_same_port_with_what_it_had() {
    let server = NatsServer::start().await;
    let mut client = Client::connect(&server, "{}").await;
    let created = client.request("$JS.API.STREAM.CREATE.KEPT", STREAM).await;
    assert_eq!(created["config"]["name"], "KEPT", "{created}");
    let (url, monitor, pid) = (server.url(), server.monitor_url(), server.pid());
    assert!(server.store_dir().join("jetstream").is_dir());

    for crash in [true, false] {
        if crash {
            server.kill().await;
        } else {
            server.stop().await;
        }
        assert!(TcpStream::connect(server.address()).await.is_err());
        server.start_again().await;
        assert_eq!(
            (server.url(), server.monitor_url()),
            (url.clone(), monitor.clone())
        );
        assert_ne!(server.pid(), pid);
        let mut client = Client::connect(&server, "{}").await;
        let found = client.request("$JS.API.STREAM.INFO.KEPT", "").await;
        assert_eq!(found["config"]["name"], "KEPT", "{found}");
    }
}

#[tokio::test]
async fn the_monitor_shows_subscriptions() {
    let server = NatsServer::start().await;
    assert!(server.varz().await["jetstream"]["config"].is_object());
    let mut client = Client::connect(&server, r#"{"name":"watched"}"#).await;
    client.send("SUB some.subject 1\r\n").await;
    wait_for("the subscription in /subsz", async || {
        let subsz = server.subsz().await;
        let list = subsz["subscriptions_list"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        list.iter()
            .any(|of| of["subject"] == "some.subject")
            .then_some(())
    })
    .await;
    let connz = server.connz().await;
    assert_eq!(connz["connections"][0]["name"], "watched");
    assert_eq!(
        connz["connections"][0]["subscriptions_list"][0],
        "some.subject"
    );
}

#[tokio::test]
async fn paused_it_is_silent_and_resumed_it_goes_on() {
    let server = NatsServer::start().await;
    let mut client = Client::connect(&server, r#"{"verbose":false}"#).await;
    assert_eq!(client.line().await, "PONG");
    server.pause();
    let status = format!("/proc/{}/status", server.pid());
    wait_for("the process to be stopped", async || {
        std::fs::read_to_string(&status)
            .ok()?
            .contains("State:\tT")
            .then_some(())
    })
    .await;
    client.send("PING\r\n").await;
    server.resume();
    assert_eq!(client.line().await, "PONG");
    server.pause();
    server.kill().await;
}

#[tokio::test]
async fn a_token_and_users_are_asked_for() {
    let token = Some("s3cret".to_owned());
    let server = NatsServer::with(NatsOptions {
        token,
        ..NatsOptions::default()
    })
    .await;
    assert!(server.url().starts_with("nats://s3cret@127.0.0.1:"));
    let mut stranger = Client::connect(&server, "{}").await;
    assert_eq!(stranger.line().await, "-ERR 'Authorization Violation'");
    let mut client = Client::connect(&server, r#"{"auth_token":"s3cret","verbose":false}"#).await;
    assert_eq!(client.line().await, "PONG");

    let config = r#"authorization { users: [
        { user: "reader", password: "pw", permissions: { publish: { deny: ">" } } }
    ] }"#;
    let config = config.to_owned();
    let server = NatsServer::with(NatsOptions {
        config,
        ..NatsOptions::default()
    })
    .await;
    assert!(
        server
            .url_as("reader", "pw")
            .starts_with("nats://reader:pw@127.0.0.1:")
    );
    let login = r#"{"user":"reader","pass":"pw","verbose":false,"pedantic":false}"#;
    let mut reader = Client::connect(&server, login).await;
    assert_eq!(reader.line().await, "PONG");
    reader.send("PUB live.x 0\r\n\r\n").await;
    assert!(
        reader
            .line()
            .await
            .starts_with("-ERR 'Permissions Violation for Publish")
    );
}

#[tokio::test]
#[should_panic(expected = "the nats-server did not start (exit code 1)")]
async fn a_configuration_that_is_none_says_so() {
    let config = "listen { nonsense".to_owned();
    NatsServer::with(NatsOptions {
        config,
        ..NatsOptions::default()
    })
    .await;
}
