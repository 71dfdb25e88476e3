//! A service on a free port and a client that writes its requests byte by byte.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use crier_service_kit::http::{HttpLimits, HttpMetrics, layer};
use crier_service_kit::server::{Bound, Stopped};
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Generous: the machine may be busy with other things.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Fails the test if `future` hangs.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LONG, future)
        .await
        .expect("something hangs")
}

/// A service that stops when it is dropped.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) stopped: Option<JoinHandle<Stopped>>,
}

impl Service {
    /// Serves `router` as it is.
    pub(crate) async fn bare(router: Router, deadline: Duration) -> Self {
        let bound = Bound::bind("127.0.0.1:0").await.unwrap();
        Self::on(bound, router, deadline)
    }

    pub(crate) fn on(bound: Bound, router: Router, deadline: Duration) -> Self {
        let shutdown = CancellationToken::new();
        Self {
            address: bound.local_addr(),
            stopped: Some(tokio::spawn(bound.serve(
                router,
                shutdown.clone(),
                deadline,
            ))),
            shutdown,
        }
    }

    /// Serves `router` inside all layers.
    pub(crate) async fn layered(router: Router, limits: HttpLimits) -> Self {
        let metrics = HttpMetrics::register(&mut Registry::default());
        Self::bare(layer(router, limits, metrics), LONG).await
    }

    /// Sends a request without a body.
    pub(crate) async fn call(&self, method: &str, path: &str, headers: &[&str]) -> Answer {
        self.send(method, path, headers, "").await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[]).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        for header in headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        if !body.is_empty() {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body);
        self.raw(request.as_bytes()).await
    }

    /// Sends bytes and reads until the service closes the connection.
    pub(crate) async fn raw(&self, request: &[u8]) -> Answer {
        soon(async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            // The service may answer and close before it has read everything, as with 413.
            let _ = stream.write_all(request).await;
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes).await;
            Answer::parse(&bytes)
        })
        .await
    }

    pub(crate) async fn stop(mut self) -> Stopped {
        self.shutdown.cancel();
        let stopped = self.stopped.take().unwrap();
        soon(stopped).await.unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer but {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        Self {
            status: status.parse().unwrap(),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(have, _)| have == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} came twice");
        value
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The problem, after checking everything that holds for all of them.
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let problem = self.json();
        assert_eq!(problem["status"], status);
        for member in ["type", "title", "detail"] {
            let text = problem[member].as_str().unwrap();
            assert!(
                !text.is_empty() && text.chars().count() < 400,
                "{member}: {text}"
            );
        }
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"));
        problem
    }

    /// The detail of the problem.
    pub(crate) fn detail(&self, status: u16) -> String {
        self.problem(status)["detail"].as_str().unwrap().to_owned()
    }
}
