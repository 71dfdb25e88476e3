//! The people of a measurement: members who read, and one author who posts by the clock.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use crier_testkit::{HttpClient, SseClient, wait_for};
use futures::StreamExt as _;
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::Arguments;
use crate::platform::Platform;

/// Comments before this are not counted: caches are cold and connections new.
const WARM_UP: Duration = Duration::from_secs(5);
/// For the last frames to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// Calls at once while everything is set up.
const PARALLEL: usize = 16;

/// One comment, as its author saw it.
#[derive(Clone, Copy)]
pub(super) struct Post {
    pub(super) sent: SystemTime,
    pub(super) answered: SystemTime,
}

/// One frame of a comment, as one reader saw it.
pub(super) struct Read {
    pub(super) comment: i64,
    pub(super) event: String,
    pub(super) at: SystemTime,
}

/// What was seen.
pub(super) struct Samples {
    pub(super) posts: HashMap<i64, Post>,
    pub(super) reads: Vec<Read>,
}

/// Everything set up, and nothing posted yet.
pub(super) struct Load {
    author: HttpClient,
    discussions: Vec<i64>,
    readers_each: usize,
    reads: mpsc::UnboundedReceiver<Read>,
}

impl Load {
    /// Makes communities with a published article and a discussion each, members who follow it, and their streams.
    pub(super) async fn prepare(
        arguments: &Arguments,
        platform: &Platform,
    ) -> anyhow::Result<Self> {
        let author = platform.person(1)?;
        let readers_each = arguments.connections / arguments.communities;
        let mut discussions = Vec::new();
        let mut readers = Vec::new();
        for number in 0..arguments.communities {
            let place = place(&author, number).await?;
            discussions.push(place.discussion);
            for _ in 0..readers_each {
                let id = i64::try_from(readers.len())? + 2;
                readers.push((id, place, platform.person(id)?));
            }
        }
        let joined: Vec<anyhow::Result<()>> = stream::iter(&readers)
            .map(|(id, place, http)| follow(&author, http, *id, *place))
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        joined.into_iter().collect::<anyhow::Result<()>>()?;

        let (report, reads) = mpsc::unbounded_channel();
        for (at, (id, place, _)) in readers.iter().enumerate() {
            let gateway = &platform.gateways[at % platform.gateways.len()];
            open(&gateway.url, &platform.token(*id)?, *place, report.clone()).await?;
        }
        Ok(Self {
            author,
            discussions,
            readers_each,
            reads,
        })
    }

    /// Posts by the clock and collects what was read of it.
    pub(super) async fn run(mut self, arguments: &Arguments) -> anyhow::Result<Samples> {
        let total = arguments.rate * (arguments.seconds + WARM_UP.as_secs());
        let uncounted = arguments.rate * WARM_UP.as_secs();
        let mut clock =
            tokio::time::interval(Duration::from_secs(1) / u32::try_from(arguments.rate)?);
        clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut posting = Vec::new();
        for number in 0..total {
            clock.tick().await;
            let author = self.author.clone();
            let discussion = self.discussions[usize::try_from(number)? % self.discussions.len()];
            posting.push(tokio::spawn(post(author, discussion)));
        }
        let mut posts = HashMap::new();
        for (number, posted) in (0..).zip(posting) {
            let (comment, post) = posted.await??;
            if number >= uncounted {
                posts.insert(comment, post);
            }
        }
        let expected = usize::try_from(total)? * self.readers_each;
        let mut reads = Vec::with_capacity(expected);
        let all = async {
            while reads.len() < expected {
                reads.push(self.reads.recv().await.context("all streams ended")?);
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, all)
            .await
            .context("frames are missing")??;
        reads.retain(|read| posts.contains_key(&read.comment));
        ensure!(
            reads.len() == posts.len() * self.readers_each,
            "a frame came twice or not at all"
        );
        Ok(Samples { posts, reads })
    }
}

#[derive(Clone, Copy)]
struct Place {
    community: i64,
    community_article: i64,
    discussion: i64,
}

async fn place(author: &HttpClient, number: usize) -> anyhow::Result<Place> {
    let name = json!({"name": format!("Group {number}"), "type": "private"});
    let community = id(&author.post("/api/communities/", &name).await.json)?;
    let article = id(&author
        .post("/api/articles/", &json!({"title": "A paper"}))
        .await
        .json)?;
    let path = format!("/api/communities/{community}/articles/{article}");
    let community_article = id(&author
        .post(&format!("{path}/submit/"), &json!({}))
        .await
        .json)?;
    for action in ["approve", "publish"] {
        author
            .post(&format!("{path}/manage/{action}"), &json!({}))
            .await;
    }
    let path = format!("/api/articles/{article}/discussions/?community_id={community}");
    let discussion = author
        .post(&path, &json!({"topic": "Measured", "content": "…"}))
        .await;
    Ok(Place {
        community,
        community_article,
        discussion: id(&discussion.json)?,
    })
}

async fn follow(
    author: &HttpClient,
    reader: &HttpClient,
    user: i64,
    place: Place,
) -> anyhow::Result<()> {
    // The first call makes the user known.
    reader.get("/api/discussions/user-subscriptions/").await;
    let path = format!("/api/communities/{}/members/{user}/", place.community);
    author.put(&path, &json!({"role": "member"})).await;
    let body =
        json!({"community_article_id": place.community_article, "community_id": place.community});
    let answer = reader.post("/api/discussions/subscribe/", &body).await;
    ensure!(
        answer.status == 201,
        "subscribe: {} {}",
        answer.status,
        answer.text()
    );
    Ok(())
}

/// Opens a stream that reports its comments; returns once it has everything that was to be followed.
async fn open(
    gateway: &str,
    token: &str,
    place: Place,
    report: mpsc::UnboundedSender<Read>,
) -> anyhow::Result<()> {
    let authorization = format!("Bearer {token}");
    let url = format!("{gateway}/events");
    // Gateways take streams once they follow the log, and the last subscriptions are still on their way.
    let mut sse = wait_for("a stream", async || {
        let mut sse = SseClient::connect(&url, &[("authorization", &authorization)])
            .await
            .ok()?;
        let ready = sse.next_frame(PATIENCE).await?;
        let communities = ready.json()["communities"].as_array()?.clone();
        communities.contains(&json!(place.community)).then_some(sse)
    })
    .await;
    tokio::spawn(async move {
        while let Some(frame) = sse.next_frame(Duration::from_secs(600)).await {
            let at = SystemTime::now();
            let event = frame.json();
            if event["type"] == "new_comment"
                && let Some(comment) = event["data"]["comment"]["id"].as_i64()
            {
                let event = event["event_id"].as_str().unwrap_or_default().to_owned();
                let _ = report.send(Read { comment, event, at });
            }
        }
    });
    Ok(())
}

async fn post(author: HttpClient, discussion: i64) -> anyhow::Result<(i64, Post)> {
    let path = format!("/api/discussions/{discussion}/comments/");
    let body = json!({"content": "A comment of about the length that people write when they agree with each other."});
    let sent = SystemTime::now();
    let answer = author.post(&path, &body).await;
    let answered = SystemTime::now();
    ensure!(
        answer.status == 201,
        "comment: {} {}",
        answer.status,
        answer.text()
    );
    Ok((id(&answer.json)?, Post { sent, answered }))
}

fn id(answer: &Value) -> anyhow::Result<i64> {
    answer["id"]
        .as_i64()
        .with_context(|| format!("an id in {answer}"))
}
