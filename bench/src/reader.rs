//! An EventSource: it reads, and when its stream ends it comes back by the last id, to the next gateway.

use std::time::Duration;

use crier_testkit::{Frame, SseClient, wait_for};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Longer than between two heartbeats.
const SILENCE: Duration = Duration::from_secs(60);
/// Until a gateway has said otherwise.
const RETRY: Duration = Duration::from_secs(2);

/// Reads until it is dropped.
pub(crate) struct Reader {
    reading: JoinHandle<()>,
    ready: watch::Receiver<bool>,
}

impl Reader {
    /// Begins at the gateway with this number; `read` gets every block.
    pub(crate) fn start(
        gateways: &[String],
        first: usize,
        token: &str,
        read: impl FnMut(&Frame) + Send + 'static,
    ) -> Self {
        let (tell, ready) = watch::channel(false);
        let (gateways, token) = (gateways.to_vec(), format!("Bearer {token}"));
        Self {
            reading: tokio::spawn(follow(gateways, first, token, tell, read)),
            ready,
        }
    }

    /// Until a stream of its has begun.
    pub(crate) async fn ready(&self) {
        wait_for("a stream", async || self.ready.borrow().then_some(())).await;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn follow(
    gateways: Vec<String>,
    first: usize,
    authorization: String,
    ready: watch::Sender<bool>,
    mut read: impl FnMut(&Frame),
) {
    let mut last = String::new();
    let mut retry = RETRY;
    for gateway in gateways.iter().cycle().skip(first) {
        let mut headers = vec![("authorization", authorization.as_str())];
        if !last.is_empty() {
            headers.push(("last-event-id", last.as_str()));
        }
        let stream = SseClient::connect(&format!("{gateway}/events"), &headers).await;
        let came = last.clone();
        if let Ok(mut stream) = stream {
            while let Some(frame) = stream.next_frame(SILENCE).await {
                if frame.event.as_deref() == Some("ready") {
                    ready.send_replace(true);
                }
                if let Some(millis) = frame.retry {
                    retry = Duration::from_millis(millis);
                }
                read(&frame);
            }
            stream.last_event_id().clone_into(&mut last);
        }
        if last.is_empty() {
            last = came;
        }
        tokio::time::sleep(retry).await;
    }
}
