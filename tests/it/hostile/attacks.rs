//! What hostile clients do.

use std::time::Duration;

use crier_testkit::DEADLINE;
use futures::future::join_all;

use super::client::{Client, events_head};
use crate::stream::Stream;

/// Readers that are too slow, and read on, so much at a time and so often.
pub(super) struct SlowReaders {
    clients: Vec<Client>,
    bytes: usize,
    pause: Duration,
}

impl SlowReaders {
    /// Opens this many streams.
    pub(super) async fn open(
        url: &str,
        token: &str,
        how_many: usize,
        bytes: usize,
        pause: Duration,
    ) -> Self {
        let open = |_| async move {
            let mut client = Client::small(url).await;
            client.get_events(token, None).await;
            client
        };
        let clients = join_all((0..how_many).map(open)).await;
        Self {
            clients,
            bytes,
            pause,
        }
    }

    /// Reads until the other side ends it.
    pub(super) async fn read(self) {
        let (bytes, pause) = (self.bytes, self.pause);
        let read = |mut client: Client| async move {
            while client.sip(bytes).await {
                tokio::time::sleep(pause).await;
            }
        };
        join_all(self.clients.into_iter().map(read)).await;
    }
}

/// Heads that come byte by byte; each is cut off.
pub(super) async fn slowloris(url: &str) {
    let drip = |_| async move {
        let mut client = Client::connect(url).await;
        let _ = client
            .send(b"GET /events HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            .await;
        let dripping = async {
            while !client.ends_within(Duration::from_millis(50)).await {
                if client.send(b"a").await.is_err() {
                    break;
                }
            }
        };
        let cut = tokio::time::timeout(DEADLINE, dripping).await;
        assert!(cut.is_ok(), "a head that never ends is still waited for");
    };
    join_all((0..100).map(drip)).await;
}

/// Connections that come and go, at all stages, this many at once so often.
pub(super) async fn churn(url: &str, token: &str, at_once: usize, times: usize) {
    let come_and_go = |first: usize| async move {
        for round in 0..times {
            let mut client = Client::connect(url).await;
            match (first + round) % 5 {
                0 => {}
                1 => {
                    let _ = client.send(b"GET /events HTTP/1.1\r\nHost:").await;
                }
                2 => client.get_events(token, None).await,
                3 => {
                    client.get_events(token, None).await;
                    client.reset();
                }
                _ => {
                    client.get_events(token, None).await;
                    client.read_until("\n\n").await;
                }
            }
        }
    };
    join_all((0..at_once).map(come_and_go)).await;
}

/// Clients that come back again and again from where the log began, and get these each time.
pub(super) async fn ancient(url: &str, token: &str, cursor: &str, first: &[String]) {
    let again = |_| async move {
        for _ in 0..5 {
            let mut stream = Stream::resume(url, token, Some(cursor)).await;
            for expected in first {
                let event = stream.event().await;
                assert_eq!(event["data"]["comment"]["content"], **expected);
            }
        }
    };
    join_all((0..10).map(again)).await;
}

/// Requests that are none: each is refused as the client's fault, or cut off.
pub(super) async fn malformed(url: &str) {
    let many: String = (0..200)
        .map(|number| format!("X-{number}: y\r\n"))
        .collect();
    let long = "a".repeat(70_000);
    let requests: Vec<Vec<u8>> = vec![
        format!("GET /events HTTP/1.1\r\nHost: x\r\nX-Long: {long}\r\n\r\n").into(),
        format!("GET /events?{long} HTTP/1.1\r\nHost: x\r\n\r\n").into(),
        format!("GET /events HTTP/1.1\r\nHost: x\r\n{many}\r\n").into(),
        format!("GET /events?{} HTTP/1.1\r\nHost: x\r\n\r\n", &long[..8000]).into(),
        (0..=255).collect(),
        vec![0; 4096],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0".to_vec(),
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(),
        b"GET /events HTTP/9.9\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET /events HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"
            .to_vec(),
        b"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n".to_vec(),
        b"GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n".to_vec(),
    ];
    for request in requests {
        let mut client = Client::connect(url).await;
        // It may be cut off in the middle.
        let _ = client.send(&request).await;
        let answer = client.rest().await;
        let shown = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{shown:?}: {answer}"
        );
    }
}

/// Requests that are odd and allowed: each is answered as if it were not.
pub(super) async fn odd(url: &str, token: &str) {
    let mut pipelined = Client::connect(url).await;
    let live = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50);
    pipelined.send(live.as_bytes()).await.unwrap();
    let answers = pipelined.rest().await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 50, "{answers}");

    // What comes behind the request for a stream is nobody's business.
    let again = events_head("GET", token, "");
    let body = "x".repeat(200_000);
    for (more, behind) in [
        ("", again.repeat(2)),
        ("", body.clone()),
        ("Content-Length: 200000\r\n", body.clone()),
        (
            "Transfer-Encoding: chunked\r\n",
            format!("30d40\r\n{body}\r\n0\r\n\r\n"),
        ),
        (
            "Expect: 100-continue\r\nContent-Length: 5\r\n",
            String::new(),
        ),
        ("Connection: close\r\n", String::new()),
        (
            "Upgrade: websocket\r\nConnection: upgrade\r\n",
            String::new(),
        ),
    ] {
        let mut client = Client::connect(url).await;
        client.get_events(token, Some(more)).await;
        // It need not be read.
        let _ =
            tokio::time::timeout(Duration::from_millis(200), client.send(behind.as_bytes())).await;
        let answer = client.read_until("\ndata: {\"event_id\"").await;
        assert!(answer.contains("event: ready"), "{more:?}: {answer}");
        assert!(
            answer.contains("\ndata: {\"event_id\""),
            "{more:?}: {answer}"
        );
    }
    let mut head = Client::connect(url).await;
    let request = events_head("HEAD", token, "Connection: close\r\n");
    head.send(request.as_bytes()).await.unwrap();
    let answer = head.rest().await;
    assert!(
        answer.starts_with("HTTP/1.1 ") && !answer.contains("ready"),
        "{answer}"
    );
}

/// Clients that lose their network in the middle of their streams. Gives them, for they are still there.
pub(super) async fn vanish(url: &str, token: &str, how_many: usize) -> Vec<Client> {
    let gone = |_| async move {
        let mut client = Client::connect(url).await;
        client.get_events(token, None).await;
        client.read_until("event: ready").await;
        client.vanish();
        client
    };
    join_all((0..how_many).map(gone)).await
}
