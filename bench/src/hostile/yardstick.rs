//! The streams that behave, and what they feel: each event carries when it was sent, and each reader says when it came.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use crier_testkit::{Frame, HttpClient};
use serde_json::json;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::platform::Platform;
use crate::reader::Reader;

/// For the last frames to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A frame, as one reader saw it.
struct Read {
    reader: usize,
    number: u64,
    took: Duration,
}

pub(super) struct Yardstick {
    readers: Vec<Reader>,
    backend: HttpClient,
    communities: usize,
    reads: Mutex<mpsc::UnboundedReceiver<Read>>,
    /// Streams that have begun, over all readers.
    begun: Arc<AtomicU64>,
    /// The number of the next event.
    next: AtomicU64,
    since: Instant,
}

/// The events of one row.
pub(super) struct Sent {
    numbers: std::ops::Range<u64>,
    /// Streams that had begun before.
    begun: u64,
}

/// What the readers felt of one row.
pub(super) struct Felt {
    /// Of each frame, from the call to the reader; ascending.
    took: Vec<Duration>,
    pub(super) lost: u64,
    pub(super) twice: u64,
    /// Streams that ended and were opened again.
    pub(super) broken: u64,
}

pub(super) fn user(at: usize) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX).saturating_add(1)
}

pub(super) fn community(at: usize, communities: usize) -> usize {
    at % communities + 1
}

impl Yardstick {
    pub(super) async fn start(
        platform: &Platform,
        streams: usize,
        communities: usize,
    ) -> anyhow::Result<Self> {
        let (tell, reads) = mpsc::unbounded_channel();
        let begun = Arc::new(AtomicU64::new(0));
        let since = Instant::now();
        let urls = platform.urls();
        let mut readers = Vec::new();
        for reader in 0..streams {
            let (tell, begun) = (tell.clone(), Arc::clone(&begun));
            let read = move |frame: &Frame| {
                if frame.event.as_deref() == Some("ready") {
                    begun.fetch_add(1, Ordering::Relaxed);
                }
                let data = &frame.json()["data"];
                if let (Some(number), Some(sent)) = (data["n"].as_u64(), data["t"].as_u64()) {
                    let took = since.elapsed().saturating_sub(Duration::from_micros(sent));
                    let _ = tell.send(Read {
                        reader,
                        number,
                        took,
                    });
                }
            };
            let token = platform.token(user(reader))?;
            readers.push(Reader::start(&urls, 0, &token, read));
        }
        for reader in &readers {
            reader.ready().await;
        }
        Ok(Self {
            readers,
            backend: platform.backend()?,
            communities,
            reads: Mutex::new(reads),
            begun,
            next: AtomicU64::new(0),
            since,
        })
    }

    /// Publishes by the clock for so long.
    pub(super) async fn publish(&self, rate: u32, length: Duration) -> anyhow::Result<Sent> {
        let begun = self.begun.load(Ordering::Relaxed);
        let count = (length.as_secs_f64() * f64::from(rate)).round() as u64;
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        let numbers = first..first + count;
        let mut clock = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
        clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut calls = JoinSet::new();
        let padding = "x".repeat(super::PADDING);
        for number in numbers.clone() {
            clock.tick().await;
            let sent = u64::try_from(self.since.elapsed().as_micros())?;
            let event = json!({
                "type": "measured", "community_id": self.community_of(number),
                "data": {"n": number, "t": sent, "padding": padding},
            });
            let backend = self.backend.clone();
            calls.spawn(async move { backend.post("/api/events/", &event).await });
        }
        while let Some(answer) = calls.join_next().await {
            let answer = answer?;
            ensure!(answer.status == 202, "an event: {}", answer.text());
        }
        Ok(Sent { numbers, begun })
    }

    fn community_of(&self, number: u64) -> usize {
        community(
            usize::try_from(number).unwrap_or_default(),
            self.communities,
        )
    }

    /// Waits until all has come that is due, or for long enough.
    pub(super) async fn felt(&self, sent: &Sent) -> Felt {
        let mut due: HashSet<(usize, u64)> = HashSet::new();
        for number in sent.numbers.clone() {
            let community = self.community_of(number);
            let readers = (0..self.readers.len())
                .filter(|at| self::community(*at, self.communities) == community);
            due.extend(readers.map(|reader| (reader, number)));
        }
        let mut felt = Felt {
            took: Vec::with_capacity(due.len()),
            lost: 0,
            twice: 0,
            broken: 0,
        };
        let mut reads = self.reads.lock().await;
        let until = tokio::time::Instant::now() + PATIENCE;
        while !due.is_empty() {
            let Ok(Some(read)) = tokio::time::timeout_at(until, reads.recv()).await else {
                break;
            };
            felt.note(read, &mut due);
        }
        while let Ok(read) = reads.try_recv() {
            felt.note(read, &mut due);
        }
        felt.took.sort_unstable();
        felt.lost = due.len() as u64;
        felt.broken = self.begun.load(Ordering::Relaxed) - sent.begun;
        felt
    }
}

impl Felt {
    fn note(&mut self, read: Read, due: &mut HashSet<(usize, u64)>) {
        if due.remove(&(read.reader, read.number)) {
            self.took.push(read.took);
        } else {
            self.twice += 1;
        }
    }

    pub(super) fn frames(&self) -> usize {
        self.took.len()
    }

    /// In milliseconds: no more than so many in a hundred took less.
    pub(super) fn at(&self, share: usize) -> f64 {
        let last = self.took.len().saturating_sub(1);
        let at = (self.took.len() * share / 100).min(last);
        let took = self.took.get(at);
        took.map_or(f64::NAN, |took| took.as_secs_f64() * 1_000.0)
    }
}
