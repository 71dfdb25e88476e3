//! A plain EventSource as browsers have it: it comes back by itself with its last id, after the time it was told,
//! and only a status other than 200 ends it for good.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crier_testkit::{DEADLINE, Frame, SseClient, wait_for};
use serde_json::Value;
use tokio::task::JoinHandle;

/// Before a server has said otherwise.
const RETRY: Duration = Duration::from_secs(2);

/// A connection that it opened, or could not.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// None if there was no answer.
    pub(crate) status: Option<u16>,
    /// Why the stream ended, if the gateway said so, and after how long to come back.
    pub(crate) bye: Option<(String, Duration)>,
    /// When it said so.
    pub(crate) bye_at: Option<Instant>,
}

/// Everything that it has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) attempts: Vec<Attempt>,
    /// The events, in the order they came over all connections.
    pub(crate) events: Vec<Value>,
    /// After how many of them it was told each `reset`.
    pub(crate) resets: Vec<usize>,
    /// The connection that is open has said `ready`.
    pub(crate) is_ready: bool,
    /// The status that ended it for good.
    pub(crate) ended: Option<u16>,
}

impl Seen {
    /// Whether a comment with this text has come.
    pub(crate) fn has(&self, text: &str) -> bool {
        let mut events = self.events.iter();
        events.any(|event| event["data"]["comment"]["content"] == text)
    }

    /// No event came twice without a `reset` between.
    pub(crate) fn assert_once(&self) {
        let mut ids = HashSet::new();
        for (number, event) in self.events.iter().enumerate() {
            if self.resets.contains(&number) {
                ids.clear();
            }
            assert!(ids.insert(event["event_id"].as_str()), "twice: {event}");
        }
    }

    /// Why its streams have ended.
    pub(crate) fn byes(&self) -> Vec<&str> {
        let byes = self.attempts.iter();
        byes.filter_map(|attempt| attempt.bye.as_ref())
            .map(|(reason, _)| reason.as_str())
            .collect()
    }
}

/// It runs until dropped.
pub(crate) struct Source {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Source {
    /// Opens one of these addresses after the other, as a load balancer hands them out, beginning with `first`.
    pub(crate) fn open(urls: &[String], headers: &[(&str, &str)], first: usize) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        let run = Run {
            urls: urls.to_vec(),
            headers: headers.iter().map(owned).collect(),
            seen: Arc::clone(&seen),
            last_event_id: String::new(),
            retry: RETRY,
        };
        let task = tokio::spawn(run.run(first));
        Self { seen, task }
    }

    /// With a token in the cookie, where a plain EventSource has it.
    pub(crate) fn of(gateways: &[String], token: &str, first: usize) -> Self {
        let urls: Vec<String> = gateways.iter().map(|url| format!("{url}/events")).collect();
        Self::open(&urls, &[("cookie", &format!("crier_token={token}"))], first)
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Waits until what it has seen is so.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Seen) -> bool) {
        wait_for(what, async || is_so(&self.seen()).then_some(())).await;
    }

    pub(crate) async fn ready(&self) {
        self.until("an EventSource to be ready", |seen| seen.is_ready)
            .await;
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Run {
    urls: Vec<String>,
    headers: Vec<(String, String)>,
    seen: Arc<Mutex<Seen>>,
    last_event_id: String,
    retry: Duration,
}

impl Run {
    async fn run(mut self, first: usize) {
        for gateway in (0..self.urls.len()).cycle().skip(first % self.urls.len()) {
            let status = self.attempt(gateway).await;
            if let Some(status) = status.filter(|status| *status != 200) {
                self.seen().ended = Some(status);
                return;
            }
            tokio::time::sleep(self.retry).await;
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    async fn attempt(&mut self, gateway: usize) -> Option<u16> {
        let mut headers = self.headers.clone();
        if !self.last_event_id.is_empty() {
            headers.push(("last-event-id".to_owned(), self.last_event_id.clone()));
        }
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let answer = SseClient::connect(&self.urls[gateway], &headers).await.ok();
        let status = answer.as_ref().map(SseClient::status);
        self.seen().attempts.push(Attempt {
            status,
            bye: None,
            bye_at: None,
        });
        if let Some(mut stream) = answer.filter(|answer| answer.status() == 200) {
            // A stream that says nothing for so long is dead, and TCP would say so.
            while let Some(frame) = stream.next_frame(2 * DEADLINE).await {
                self.take(&frame);
                // By the letter of the standard: a block of a new stream without an id clears it. Browsers keep it.
                self.last_event_id = stream.last_event_id().to_owned();
            }
            self.seen().is_ready = false;
        }
        status
    }

    fn take(&mut self, frame: &Frame) {
        if let Some(retry) = frame.retry {
            self.retry = Duration::from_millis(retry);
        }
        let retry = self.retry;
        let mut seen = self.seen();
        match frame.event.as_deref() {
            None if frame.data.is_some() => seen.events.push(frame.json()),
            Some("ready") => seen.is_ready = true,
            Some("reset") => {
                let events = seen.events.len();
                seen.resets.push(events);
            }
            Some("bye") => {
                let reason = frame.json()["reason"].as_str().unwrap().to_owned();
                let attempt = seen.attempts.last_mut().unwrap();
                attempt.bye = Some((reason, retry));
                attempt.bye_at = Some(Instant::now());
            }
            _ => {}
        }
    }
}
