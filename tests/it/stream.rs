//! What one browser receives, with the promises that hold for every stream checked on every frame.

use crier_domain::{Cursor, Keys};
use crier_testkit::{DEADLINE, Frame, SseClient};
use serde_json::Value;

/// An open stream that has said `ready`.
pub(crate) struct Stream {
    sse: SseClient,
    pub(crate) ready: Value,
    /// All ids so far: no two are the same.
    ids: Vec<String>,
}

impl Stream {
    pub(crate) async fn open(gateway: &str, token: &str) -> Self {
        Self::resume(gateway, token, None).await
    }

    pub(crate) async fn resume(gateway: &str, token: &str, last_event_id: Option<&str>) -> Self {
        let authorization = format!("Bearer {token}");
        let mut headers = vec![("authorization", authorization.as_str())];
        headers.extend(last_event_id.map(|id| ("last-event-id", id)));
        let url = format!("{gateway}/events");
        let sse = SseClient::connect(&url, &headers).await.unwrap();
        assert_eq!(sse.status(), 200);
        assert_eq!(sse.header("content-type"), "text/event-stream");
        assert_eq!(sse.header("cache-control"), "no-store, no-transform");
        assert_eq!(sse.header("x-accel-buffering"), "no");
        let mut stream = Self {
            sse,
            ready: Value::Null,
            ids: Vec::new(),
        };
        let ready = stream.frame().await;
        assert_eq!(ready.event.as_deref(), Some("ready"), "{ready:?}");
        assert!(ready.id.is_some() && ready.retry.is_some(), "{ready:?}");
        stream.ready = ready.json();
        stream
    }

    /// The next frame that isn't a sign of life.
    pub(crate) async fn frame(&mut self) -> Frame {
        let next = self.try_frame().await;
        next.unwrap_or_else(|| panic!("the stream gave no frame in time, after {:?}", self.ready))
    }

    /// As [`Stream::frame`]; `None` when the stream has ended.
    pub(crate) async fn try_frame(&mut self) -> Option<Frame> {
        // Signs of life are no reason to wait longer.
        let last = tokio::time::Instant::now() + DEADLINE;
        loop {
            let left = last.saturating_duration_since(tokio::time::Instant::now());
            let frame = self.sse.next_frame(left).await?;
            // A reset for what is gone may have the id that was told before it.
            let is_reset = frame.event.as_deref() == Some("reset");
            let new = frame.id.as_ref();
            let new = new.filter(|id| !is_reset || self.ids.last() != Some(*id));
            if let Some(id) = new {
                assert!(!self.ids.contains(id), "an id came twice: {frame:?}");
                self.ids.push(id.clone());
            }
            if frame.data.is_some() {
                return Some(frame);
            }
        }
    }

    /// The next event. Changes of the subscriptions before it are passed over; a `reset` or `bye` fails.
    pub(crate) async fn event(&mut self) -> Value {
        loop {
            let frame = self.frame().await;
            match frame.event.as_deref() {
                None => {
                    let event = frame.json();
                    for field in ["event_id", "type", "community_id", "timestamp"] {
                        assert!(!event[field].is_null(), "{field} in {event}");
                    }
                    // What an outside publisher says may be null.
                    assert!(event.get("data").is_some(), "data in {event}");
                    return event;
                }
                Some("subscribed" | "unsubscribed") => {}
                Some(other) => panic!("{other} instead of an event: {frame:?}"),
            }
        }
    }

    /// The next frame of this kind; events before it are passed over.
    pub(crate) async fn named(&mut self, name: &str) -> Value {
        loop {
            let frame = self.frame().await;
            if frame.event.as_deref() == Some(name) {
                return frame.json();
            }
        }
    }

    /// The contents of the comments up to and without the sentinel: what came, and so what didn't.
    pub(crate) async fn comments_until(&mut self, sentinel: &str) -> Vec<String> {
        let mut contents = Vec::new();
        loop {
            let event = self.event().await;
            let content = event["data"]["comment"]["content"]
                .as_str()
                .unwrap_or("")
                .to_owned();
            if content == sentinel {
                return contents;
            }
            contents.push(content);
        }
    }

    /// Waits for the discussion with this topic; other events before it are passed over.
    pub(crate) async fn discussion(&mut self, topic: &str) {
        while self.event().await["data"]["discussion"]["topic"] != topic {}
    }

    pub(crate) fn last_event_id(&self) -> &str {
        self.sse.last_event_id()
    }

    /// The positions of the ids so far, which must rise strictly.
    pub(crate) fn assert_rising(&self, keys: &Keys) {
        let positions: Vec<u64> = self
            .ids
            .iter()
            .map(|id| Cursor::open(id, keys).unwrap().seq.0)
            .collect();
        assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
    }
}
