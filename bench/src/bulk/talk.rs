//! Two people who talk in two communities while something else goes on: each comment is timed from its POST to the
//! frame at the reader's stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use crier_service_kit::auth::Signer;
use crier_testkit::{HttpClient, SseClient, wait_for};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::{AUTHOR, READER};

/// Between two comments in one community.
const PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(120);

type Read = Arc<Mutex<HashMap<i64, Instant>>>;

/// A talk that goes on.
pub(super) struct Talk {
    author: HttpClient,
    /// One discussion in each of the two communities.
    discussions: [i64; 2],
    /// When each comment was read.
    read: Read,
}

/// Milliseconds from the POST to the frame.
#[derive(Default)]
pub(super) struct Latency(Vec<f64>);

/// Of the two communities.
#[derive(Default)]
pub(super) struct Latencies {
    pub(super) quiet: Latency,
    pub(super) busy: Latency,
}

impl Talk {
    pub(super) async fn begin(
        api: &str,
        gateway: &str,
        signer: &Signer,
        communities: [i64; 2],
    ) -> anyhow::Result<Self> {
        let hour = Duration::from_secs(3600);
        let author = HttpClient::new(api).with_token(signer.sign_user(AUTHOR, "author", hour)?);
        let mut discussions = [0; 2];
        for (discussion, community) in discussions.iter_mut().zip(communities) {
            // The article has its community's number.
            let path = format!("/api/articles/{community}/discussions/?community_id={community}");
            let body = json!({"topic": "Measured", "content": "…"});
            let answer = author.post(&path, &body).await;
            ensure!(answer.status == 201, "discussion: {}", answer.text());
            *discussion = answer.json["id"].as_i64().context("an id")?;
        }
        let read = Read::default();
        listen(
            gateway,
            &signer.sign_user(READER, "reader", hour)?,
            communities,
            &read,
        )
        .await;
        Ok(Self {
            author,
            discussions,
            read,
        })
    }

    /// Talks until it is told to stop, and then waits for the last frame.
    pub(super) async fn until(
        &mut self,
        mut stopped: watch::Receiver<bool>,
    ) -> anyhow::Result<Latencies> {
        let mut clock = tokio::time::interval(PAUSE);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut posting = Vec::new();
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => break,
                _ = clock.tick() => {}
            }
            for (place, discussion) in self.discussions.into_iter().enumerate() {
                let author = self.author.clone();
                posting.push(tokio::spawn(async move {
                    let path = format!("/api/discussions/{discussion}/comments/");
                    let sent = Instant::now();
                    let answer = author
                        .post(&path, &json!({"content": "In the middle."}))
                        .await;
                    ensure!(answer.status == 201, "comment: {}", answer.text());
                    let id = answer.json["id"].as_i64().context("an id")?;
                    Ok((place, id, sent))
                }));
            }
        }
        let mut latencies = Latencies::default();
        for posted in posting {
            let (place, id, sent) = posted.await??;
            let read = tokio::time::timeout(PATIENCE, self.read_at(id))
                .await
                .context("a frame is missing")?;
            let millis = read.duration_since(sent).as_secs_f64() * 1e3;
            let latency = if place == 0 {
                &mut latencies.quiet
            } else {
                &mut latencies.busy
            };
            latency.0.push(millis);
        }
        Ok(latencies)
    }

    async fn read_at(&self, comment: i64) -> Instant {
        loop {
            let at = self
                .read
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&comment);
            if let Some(at) = at {
                return at;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Notes when each comment comes.
async fn listen(gateway: &str, token: &str, communities: [i64; 2], read: &Read) {
    let authorization = format!("Bearer {token}");
    let url = format!("{gateway}/events");
    let mut sse = wait_for("a stream with both communities", async || {
        let mut sse = SseClient::connect(&url, &[("authorization", &authorization)])
            .await
            .ok()?;
        let ready = sse.next_frame(PATIENCE).await?;
        let followed = ready.json()["communities"].as_array()?.clone();
        let all = communities.iter().all(|id| followed.contains(&json!(id)));
        all.then_some(sse)
    })
    .await;
    let read = Arc::clone(read);
    tokio::spawn(async move {
        while let Some(frame) = sse.next_frame(Duration::from_secs(600)).await {
            let at = Instant::now();
            let event: Value = frame.json();
            if let Some(comment) = event["data"]["comment"]["id"].as_i64() {
                let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
                read.insert(comment, at);
            }
        }
    });
}

impl Latencies {
    /// Both communities together.
    pub(super) fn print(mut self, what: &str) {
        self.quiet.0.append(&mut self.busy.0);
        self.quiet.print(what);
    }
}

impl Latency {
    pub(super) fn print(mut self, what: &str) {
        self.0.sort_by(f64::total_cmp);
        let at = |share: usize| self.0[(self.0.len() * share / 100).min(self.0.len() - 1)];
        println!(
            "| {what} | {} | {:.1} | {:.1} | {:.1} |",
            self.0.len(),
            at(50),
            at(99),
            at(100)
        );
    }
}
