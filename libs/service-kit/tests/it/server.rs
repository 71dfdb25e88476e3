//! Binding, serving, and stopping in time with requests, streams and slow clients about.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::routing::get;
use crier_service_kit::server::{Bound, SocketLimits, Stopped};
use futures::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::client::{LONG, Service, soon};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

async fn read_some(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4096];
    let read = soon(stream.read(&mut bytes)).await.unwrap();
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

/// Reads to the end, which must come.
async fn read_to_end(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = soon(stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_busy_address_is_named() {
    let first = Bound::bind("127.0.0.1:0").await.unwrap();
    let address = first.local_addr().to_string();
    let error = Bound::bind(&address).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the address {address} is already in use")
    );
}

#[tokio::test]
async fn an_address_that_is_none_is_named() {
    for address in ["", "8000", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:70000"] {
        let error = Bound::bind(address).await.unwrap_err().to_string();
        assert!(
            error.contains("HOST:PORT is expected"),
            "{address} → {error}"
        );
    }
    // An address of nobody's on this machine (TEST-NET-1).
    let error = Bound::bind("192.0.2.1:1").await.unwrap_err().to_string();
    assert!(
        error.starts_with("cannot listen on 192.0.2.1:1: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_name_and_a_free_port_will_do() {
    let bound = Bound::bind("localhost:0").await.unwrap();
    assert_ne!(bound.local_addr().port(), 0);
}

#[tokio::test]
async fn handlers_know_the_peer() {
    let peer = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() };
    let service = Service::bare(Router::new().route("/", get(peer)), LONG).await;
    assert_eq!(service.get("/").await.body, "127.0.0.1");
}

#[tokio::test]
async fn a_request_under_way_ends_and_a_new_one_is_refused() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (inside, wait) = (entered.clone(), release.clone());
    let slow = move || async move {
        inside.notify_one();
        wait.notified().await;
        "done"
    };
    let mut service = Service::bare(Router::new().route("/", get(slow)), LONG).await;
    let address = service.address;
    let mut under_way = TcpStream::connect(address).await.unwrap();
    under_way.write_all(GET).await.unwrap();
    soon(entered.notified()).await;

    service.shutdown.cancel();
    soon(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let stopped = service.stopped.take().unwrap();
    assert!(!stopped.is_finished());

    release.notify_one();
    let answer = read_to_end(under_way).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"),
        "{answer}"
    );
    assert_eq!(soon(stopped).await.unwrap(), Stopped { cut: 0 });
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let service = Service::bare(Router::new().route("/", get(|| async { "hi" })), LONG).await;
    let mut idle = TcpStream::connect(service.address).await.unwrap();
    idle.write_all(GET).await.unwrap();
    assert!(read_some(&mut idle).await.ends_with("hi"));
    let silent = TcpStream::connect(service.address).await.unwrap();
    let started = Instant::now();
    assert_eq!(service.stop().await, Stopped { cut: 0 });
    assert!(started.elapsed() < LONG / 2);
    assert_eq!(read_to_end(idle).await, "");
    assert_eq!(read_to_end(silent).await, "");
}

#[tokio::test]
async fn an_open_stream_is_cut_at_the_deadline() {
    let endless = || async {
        let first = stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from(
            "data: 1\n\n",
        ))]);
        Body::from_stream(first.chain(stream::pending()))
    };
    let router = Router::new().route("/", get(endless));
    let service = Service::bare(router, Duration::from_millis(200)).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut open = TcpStream::connect(service.address).await.unwrap();
        open.write_all(GET).await.unwrap();
        assert!(read_some(&mut open).await.contains("200 OK"));
        streams.push(open);
    }
    assert_eq!(service.stop().await, Stopped { cut: 3 });
    for open in streams {
        let rest = read_to_end(open).await;
        assert!(!rest.contains("\r\n0\r\n"), "the end looks whole: {rest}");
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let router = || Router::new().route("/", get(|| async { "hi" }));
    let bound = Bound::bind("127.0.0.1:0").await.unwrap();
    let bound = bound.with_limits(SocketLimits {
        head_timeout: Duration::from_millis(100),
        ..SocketLimits::default()
    });
    let service = Service::on(bound, router(), LONG);
    // Nothing at all, half a head, and a second head that doesn't come.
    for sent in [&b""[..], b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", GET] {
        let mut slow = TcpStream::connect(service.address).await.unwrap();
        slow.write_all(sent).await.unwrap();
        let answer = read_to_end(slow).await;
        assert_eq!(answer.contains("200 OK"), sent == GET, "{answer}");
    }
}

#[tokio::test]
async fn a_head_too_large_is_refused() {
    let service = Service::bare(Router::new().route("/", get(|| async { "hi" })), LONG).await;
    let long = format!("X-Long: {}", "a".repeat(200_000));
    assert_eq!(service.call("GET", "/", &[&long]).await.status, 431);
    let several: Vec<String> = (0..200).map(|number| format!("X-{number}: 1")).collect();
    let several: Vec<&str> = several.iter().map(String::as_str).collect();
    assert_eq!(service.call("GET", "/", &several).await.status, 431);
    assert_eq!(service.get("/").await.body, "hi");
}

#[tokio::test]
async fn several_servers_stop_apart() {
    let router = || Router::new().route("/", get(|| async { "hi" }));
    let first = Service::bare(router(), LONG).await;
    let second = Service::bare(router(), LONG).await;
    first.stop().await;
    assert_eq!(second.get("/").await.body, "hi");
}

#[tokio::test]
async fn one_connection_too_many_is_closed_as_it_comes() {
    let router = Router::new().route("/", get(|| async { "hi" }));
    let bound = Bound::bind("127.0.0.1:0").await.unwrap();
    let bound = bound.with_limits(SocketLimits {
        connections: 2,
        ..SocketLimits::default()
    });
    let sockets = bound.sockets();
    let service = Service::on(bound, router, LONG);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut open = TcpStream::connect(service.address).await.unwrap();
        open.write_all(GET).await.unwrap();
        assert!(read_some(&mut open).await.contains("200 OK"));
        held.push(open);
    }
    assert_eq!((sockets.open(), sockets.refused()), (2, 0));
    let third = TcpStream::connect(service.address).await.unwrap();
    assert_eq!(read_to_end(third).await, "");
    assert_eq!((sockets.open(), sockets.refused()), (2, 1));

    // Who goes makes room.
    held.pop();
    soon(async {
        while sockets.open() > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut next = TcpStream::connect(service.address).await.unwrap();
    next.write_all(GET).await.unwrap();
    assert!(read_some(&mut next).await.contains("200 OK"));
    drop((held, next));
    service.stop().await;
}
