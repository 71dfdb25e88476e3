//! The DevTools protocol: calls with answers over one WebSocket, and the errors that pages report.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::DEADLINE;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The connection to one browser; each page is a session on it.
pub(super) struct Connection {
    sink: tokio::sync::Mutex<SplitSink<Socket, Message>>,
    next_id: AtomicU64,
    shared: Arc<Mutex<Shared>>,
    reader: JoinHandle<()>,
}

/// What the reader hands over: answers to who waits for them, and errors to who may ask.
#[derive(Default)]
struct Shared {
    /// `None` once the connection is over, so that nobody waits for what can't come.
    waiting: Option<HashMap<u64, oneshot::Sender<Value>>>,
    errors: Vec<(String, String)>,
}

impl Connection {
    pub(super) async fn open(url: &str) -> Self {
        let connecting = tokio::time::timeout(DEADLINE, tokio_tungstenite::connect_async(url));
        let connected = connecting.await.expect("the browser answers in time");
        let (sink, stream) = connected.expect("a connection to the browser").0.split();
        let waiting = Some(HashMap::new());
        let shared = Arc::new(Mutex::new(Shared {
            waiting,
            ..Shared::default()
        }));
        let reader = tokio::spawn(read(stream, Arc::clone(&shared)));
        Self {
            sink: tokio::sync::Mutex::new(sink),
            next_id: AtomicU64::new(1),
            shared,
            reader,
        }
    }

    /// A call that must succeed.
    pub(super) async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Value {
        let answer = self.try_call(session, method, params).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub(super) async fn try_call(
        &self,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Value, String> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut call = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            call["sessionId"] = session.into();
        }
        let (sender, receiver) = oneshot::channel();
        let closed = "the browser closed the connection";
        lock(&self.shared)
            .waiting
            .as_mut()
            .ok_or(closed)?
            .insert(id, sender);
        let answering = async {
            let sent = self
                .sink
                .lock()
                .await
                .send(Message::text(call.to_string()))
                .await;
            sent.map_err(|error| error.to_string())?;
            receiver.await.map_err(|_| closed.to_owned())
        };
        let mut answer = tokio::time::timeout(DEADLINE, answering)
            .await
            .map_err(|_| "no answer in time".to_owned())??;
        match answer.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(answer["result"].take()),
        }
    }

    pub(super) fn errors(&self, session: &str) -> Vec<String> {
        let shared = lock(&self.shared);
        let of_session = shared.errors.iter().filter(|(of, _)| of == session);
        of_session.map(|(_, text)| text.clone()).collect()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The words of an `exceptionDetails`.
pub(super) fn thrown(details: &Value) -> String {
    let text = details["exception"]["description"]
        .as_str()
        .or_else(|| details["text"].as_str());
    text.unwrap_or("an exception").to_owned()
}

async fn read(mut stream: SplitStream<Socket>, shared: Arc<Mutex<Shared>>) {
    while let Some(Ok(message)) = stream.next().await {
        let Ok(text) = message.to_text() else {
            continue;
        };
        let Ok(message) = serde_json::from_str::<Value>(text) else {
            continue;
        };
        let mut shared = lock(&shared);
        if let Some(id) = message["id"].as_u64() {
            let waiting = shared
                .waiting
                .as_mut()
                .and_then(|waiting| waiting.remove(&id));
            if let Some(sender) = waiting {
                // Whoever asked may have given up.
                let _ = sender.send(message);
            }
        } else if message["method"] == "Runtime.exceptionThrown" {
            let session = message["sessionId"].as_str().unwrap_or_default().to_owned();
            shared
                .errors
                .push((session, thrown(&message["params"]["exceptionDetails"])));
        }
    }
    lock(&shared).waiting = None;
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
