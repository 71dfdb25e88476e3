//! A stream that writes to the socket itself, behind the same layers and limits as everything else.

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use crier_service_kit::http::HttpLimits;
use crier_service_kit::server::{Handover, Stopped};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Service, soon};

/// Writes the head and a line, then whatever it is sent, until the client ends.
async fn echo() -> Response {
    let handover = Handover::new(|mut socket: TcpStream, head| async move {
        let _ = socket.write_all(&head).await;
        let _ = socket.write_all(b"begun\n").await;
        let (mut from, mut to) = socket.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    });
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(handover);
    response
}

fn router() -> Router {
    Router::new()
        .route("/stream", get(echo))
        .route("/", get(|| async { "answered" }))
}

async fn read_until(socket: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    soon(async {
        while !String::from_utf8_lossy(&read).contains(text) {
            assert_ne!(socket.read_buf(&mut read).await.unwrap(), 0, "it has ended");
        }
    })
    .await;
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn a_handed_over_socket_begins_with_the_head_that_the_layers_made() {
    let service = Service::layered(router(), HttpLimits::default()).await;
    let mut socket = TcpStream::connect(service.address).await.unwrap();
    // On a connection that has answered already.
    socket
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut socket, "answered").await;
    socket
        .write_all(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let begun = read_until(&mut socket, "begun\n").await;
    let (head, body) = begun.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "begun\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for header in ["x-request-id: ", "connection: close", "date: "] {
        assert!(head.contains(header), "{head}");
    }
    for header in ["content-length", "transfer-encoding"] {
        assert!(!head.contains(header), "{head}");
    }
    socket.write_all(b"echoed").await.unwrap();
    assert_eq!(read_until(&mut socket, "echoed").await, "echoed");
}

#[tokio::test]
async fn the_head_alone_may_be_asked_for() {
    let service = Service::layered(router(), HttpLimits::default()).await;
    let mut socket = TcpStream::connect(service.address).await.unwrap();
    let request = b"HEAD /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut answer = String::new();
    soon(socket.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!answer.contains("begun"), "{answer}");
}

#[tokio::test]
async fn a_handed_over_socket_is_cut_at_the_deadline() {
    let mut service = Service::bare(router(), std::time::Duration::ZERO).await;
    let mut socket = TcpStream::connect(service.address).await.unwrap();
    socket
        .write_all(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut socket, "begun\n").await;
    service.shutdown.cancel();
    let stopped = soon(service.stopped.take().unwrap()).await.unwrap();
    assert_eq!(stopped, Stopped { cut: 1 });
    let mut rest = Vec::new();
    let _ = soon(socket.read_to_end(&mut rest)).await;
    assert_eq!(rest, b"");
}
