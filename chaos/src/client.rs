//! A client as a browser's EventSource is one: comes back after the time it was told, with the last id it read, to
//! whichever gateway it is led to; ends for good on any answer but 200.

use std::time::Duration;

use crier_oracle::journal::Client;
use crier_testkit::{Ended, SseClient};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::sync::mpsc;

use crate::recorder::{ClientNumber, Recorder};

/// What whoever leads clients to gateways gives one to answer.
const HEAD_WITHIN: Duration = Duration::from_secs(5);

/// A stream without a heartbeat for so long is given up, as a client's author is advised.
const SILENT: Duration = Duration::from_secs(20);

const FIRST_RETRY: u64 = 500;

/// What a client is told to do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    /// Read nothing for a while.
    Stall(Duration),
    /// Go away, and come back after a while.
    Leave(Duration),
}

/// What a client is made of.
pub(crate) struct Reader {
    pub(crate) name: String,
    pub(crate) user: i64,
    pub(crate) token: String,
    pub(crate) gateways: Vec<String>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) recorder: Recorder,
    pub(crate) rng: StdRng,
}

/// A running client.
struct Running {
    reader: Reader,
    number: ClientNumber,
    last_event_id: Option<String>,
    retry: u64,
}

impl Reader {
    /// Runs until it is dropped, or told 401 or the like.
    pub(crate) async fn run(self) {
        let number = self.recorder.client(Client {
            name: self.name.clone(),
            user: self.user,
            ..Client::default()
        });
        let mut running = Running {
            reader: self,
            number,
            last_event_id: None,
            retry: FIRST_RETRY,
        };
        while let Some(pause) = running.connection().await {
            tokio::time::sleep(pause).await;
        }
    }
}

impl Running {
    /// One connection, and how long to wait before the next; none if there is to be none.
    async fn connection(&mut self) -> Option<Duration> {
        let retry = Duration::from_millis(self.retry.max(50));
        let reader = &mut self.reader;
        let which = reader.rng.random_range(0..reader.gateways.len());
        let gateway = reader.gateways.get(which)?;
        reader
            .recorder
            .connect(self.number, gateway, self.last_event_id.as_deref());
        let authorization = format!("Bearer {}", reader.token);
        let mut headers = vec![("authorization", authorization.as_str())];
        headers.extend(
            self.last_event_id
                .as_deref()
                .map(|id| ("last-event-id", id)),
        );
        let url = format!("{gateway}/events");
        let opened = tokio::time::timeout(HEAD_WITHIN, SseClient::connect(&url, &headers)).await;
        let Ok(Ok(stream)) = opened else {
            reader.recorder.end(self.number, "no answer");
            return Some(retry);
        };
        reader.recorder.status(self.number, stream.status());
        if stream.status() != 200 {
            reader.recorder.end(self.number, "ended for good");
            return None;
        }
        let (pause, why) = self.read(stream).await;
        self.reader.recorder.end(self.number, why);
        Some(pause.unwrap_or(Duration::from_millis(self.retry)))
    }

    /// Reads until the stream ends or the client is told to leave. Gives how long it stays away then.
    async fn read(&mut self, mut stream: SseClient) -> (Option<Duration>, &'static str) {
        loop {
            tokio::select! {
                order = self.reader.orders.recv() => match order {
                    Some(Order::Leave(away)) => return (Some(away), "left"),
                    Some(Order::Stall(length)) => tokio::time::sleep(length).await,
                    None => return (Some(Duration::MAX), "the run is over"),
                },
                frame = stream.frame(SILENT) => match frame {
                    Ok(block) => {
                        self.reader.recorder.frame(self.number, &block);
                        if let Some(id) = block.id {
                            self.last_event_id = Some(id).filter(|id| !id.is_empty());
                        }
                        self.retry = block.retry.unwrap_or(self.retry);
                    }
                    Err(Ended::Closed) => return (None, "closed"),
                    Err(Ended::TimedOut) => return (None, "silent"),
                },
            }
        }
    }
}
