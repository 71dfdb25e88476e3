//! Subscribe → effective: an event published right after a subscription was answered is read by who subscribed; and
//! none that was published right after an unsubscription or a removal was answered ever is. On a system that is busy
//! with other communities' events.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use crier_testkit::{HttpClient, NatsServer, Postgres};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::fleet::mirror;
use crate::platform::{Platform, Settings};
use crate::reader::Reader;

/// The load.
#[derive(Args, Clone)]
pub(crate) struct Arguments {
    /// Subscriptions, each ended again.
    #[arg(long, default_value_t = 10_000)]
    rounds: u64,
    /// People who subscribe at the same time, each in a community of their own.
    #[arg(long, default_value_t = 16)]
    people: u64,
    /// Events a second in other communities.
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// Streams that read those, half on each gateway.
    #[arg(long, default_value_t = 500)]
    streams: u64,
}

/// An event after a subscription is given up after this.
const PATIENCE: Duration = Duration::from_secs(10);
/// For what must not come, once everything is over.
const AFTERWARDS: Duration = Duration::from_secs(5);
/// Every so often membership ends, instead of the subscription alone.
const REMOVED_EVERY: u64 = 10;
/// Communities in which others are busy, from this id on; members of theirs too.
const BUSY: u64 = 1_000;
const BUSY_COMMUNITIES: u64 = 20;
const SUBMITTER: u64 = 900_000;

/// What was seen.
#[derive(Default)]
struct Seen {
    took: Vec<Duration>,
    missed: u64,
    ended: u64,
    removed: u64,
}

pub(crate) async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    println!(
        "## Subscribe → effective: {} times by {} people, while {} events a second go to {} streams\n",
        arguments.rounds, arguments.people, arguments.rate, arguments.streams
    );
    println!(
        "| database | events right after a subscribe | missed | p50 ms | p99 ms | max ms | events right after an unsubscribe | after a removal | read all the same |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let data = tempfile::tempdir()?;
    let sqlite = format!("sqlite://{}", data.path().join("crier.db").display());
    on(arguments, "SQLite", &sqlite).await?;
    let postgres = Postgres::durable().await;
    on(arguments, "PostgreSQL", &postgres.url()).await?;
    println!();
    Ok(())
}

async fn on(arguments: &Arguments, name: &str, database: &str) -> anyhow::Result<()> {
    let nats = NatsServer::start().await;
    let platform = Platform::start(Settings::new(&nats.url(), database), 2).await?;
    let lines = file(arguments)?;
    mirror(&platform.api.url, &platform.service_token()?, lines).await?;
    let crowd = crowd(&platform, arguments).await?;
    let busy = tokio::spawn(busy(platform.backend()?, arguments.rate));

    let leaked = Arc::new(AtomicU64::new(0));
    let mut people = JoinSet::new();
    let mut readers = Vec::new();
    for number in 1..=arguments.people {
        let (reader, person) = Person::new(&platform, number, &leaked).await?;
        readers.push(reader);
        people.spawn(person.rounds(arguments.rounds / arguments.people));
    }
    let mut all = Seen::default();
    while let Some(seen) = people.join_next().await {
        let seen = seen??;
        all.took.extend(seen.took);
        all.missed += seen.missed;
        all.ended += seen.ended;
        all.removed += seen.removed;
    }
    tokio::time::sleep(AFTERWARDS).await;
    ensure!(!busy.is_finished(), "the others fell silent");
    busy.abort();
    report(name, all, leaked.load(Ordering::Relaxed));
    drop((readers, crowd));
    platform.end().await
}

/// Each person's community and article have the person's number.
fn file(arguments: &Arguments) -> anyhow::Result<String> {
    let mut lines = String::new();
    writeln!(
        lines,
        r#"{{"kind":"user","id":{SUBMITTER},"username":"submitter"}}"#
    )?;
    let busy = BUSY..BUSY + BUSY_COMMUNITIES;
    for id in (1..=arguments.people).chain(busy) {
        writeln!(
            lines,
            r#"{{"kind":"community","id":{id},"name":"Group {id}","type":"private"}}"#
        )?;
    }
    for id in 1..=arguments.people {
        writeln!(
            lines,
            r#"{{"kind":"membership","community_id":{id},"user_id":{id},"role":"member","username":"user {id}"}}"#
        )?;
        writeln!(
            lines,
            r#"{{"kind":"article","id":{id},"title":"Paper {id}","submitter_id":{SUBMITTER}}}"#
        )?;
        writeln!(
            lines,
            r#"{{"kind":"community_article","id":{id},"community_id":{id},"article_id":{id},"status":"published"}}"#
        )?;
    }
    for number in 0..arguments.streams {
        let (user, community) = (BUSY + number, BUSY + number % BUSY_COMMUNITIES);
        writeln!(
            lines,
            r#"{{"kind":"membership","community_id":{community},"user_id":{user},"role":"member","username":"user {user}"}}"#
        )?;
    }
    Ok(lines)
}

/// Those who read what the others are busy with.
async fn crowd(platform: &Platform, arguments: &Arguments) -> anyhow::Result<Vec<Reader>> {
    let urls = platform.urls();
    let mut crowd = Vec::new();
    for number in 0..arguments.streams {
        let token = platform.token(i64::try_from(BUSY + number)?)?;
        crowd.push(Reader::start(
            &urls,
            usize::try_from(number)?,
            &token,
            |_| {},
        ));
    }
    for reader in &crowd {
        reader.ready().await;
    }
    Ok(crowd)
}

/// Events by the clock, until it is stopped.
async fn busy(backend: HttpClient, rate: u32) -> anyhow::Result<()> {
    let mut clock = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0.. {
        clock.tick().await;
        let community = BUSY + number % BUSY_COMMUNITIES;
        let event = json!({"type": "busy", "community_id": community, "data": {}});
        let backend = backend.clone();
        tokio::spawn(async move { backend.post("/api/events/", &event).await });
    }
    Ok(())
}

/// Somebody who subscribes and unsubscribes, with an open stream.
struct Person {
    number: u64,
    http: HttpClient,
    backend: HttpClient,
    read: mpsc::UnboundedReceiver<(u64, Instant)>,
}

impl Person {
    async fn new(
        platform: &Platform,
        number: u64,
        leaked: &Arc<AtomicU64>,
    ) -> anyhow::Result<(Reader, Self)> {
        let user = i64::try_from(number)?;
        let (tell, read) = mpsc::unbounded_channel();
        let leaked = Arc::clone(leaked);
        // An odd number: published after the end of a subscription.
        let read_one = move |frame: &crier_testkit::Frame| {
            if let Some(number) = frame.json()["data"]["n"].as_u64() {
                leaked.fetch_add(number % 2, Ordering::Relaxed);
                let _ = tell.send((number, Instant::now()));
            }
        };
        let gateway = usize::try_from(number)?;
        let reader = Reader::start(&platform.urls(), gateway, &platform.token(user)?, read_one);
        reader.ready().await;
        let person = Self {
            number,
            http: platform.person(user)?,
            backend: platform.backend()?,
            read,
        };
        Ok((reader, person))
    }

    async fn rounds(mut self, rounds: u64) -> anyhow::Result<Seen> {
        let mut seen = Seen::default();
        for round in 0..rounds {
            let body = json!({"community_article_id": self.number, "community_id": self.number});
            let answer = self.http.post("/api/discussions/subscribe/", &body).await;
            ensure!([200, 201].contains(&answer.status), "{}", answer.text());
            let answered = Instant::now();
            self.publish(2 * round).await?;
            match tokio::time::timeout(PATIENCE, self.reads(2 * round)).await {
                Ok(read) => seen.took.push(read?.duration_since(answered)),
                Err(_) => seen.missed += 1,
            }
            let subscription = answer.json["id"].as_i64().context("an id")?;
            if round % REMOVED_EVERY == REMOVED_EVERY - 1 {
                self.leave_and_return(2 * round + 1).await?;
                seen.removed += 1;
            } else {
                let path = format!("/api/discussions/unsubscribe/{subscription}/");
                let answer = self.http.delete(&path).await;
                ensure!(answer.status == 204, "{}", answer.text());
                self.publish(2 * round + 1).await?;
                seen.ended += 1;
            }
        }
        Ok(seen)
    }

    /// Is removed from the community, something is published there, and is added again.
    async fn leave_and_return(&self, number: u64) -> anyhow::Result<()> {
        let id = self.number;
        let path = format!("/api/communities/{id}/manage-member/{id}/remove");
        let answer = self.backend.post(&path, &json!({})).await;
        ensure!((200..300).contains(&answer.status), "{}", answer.text());
        self.publish(number).await?;
        let path = format!("/api/communities/{id}/members/{id}/");
        let answer = self.backend.put(&path, &json!({"role": "member"})).await;
        ensure!((200..300).contains(&answer.status), "{}", answer.text());
        Ok(())
    }

    async fn publish(&self, number: u64) -> anyhow::Result<()> {
        let id = self.number;
        let event = json!({
            "type": "measured", "community_id": id, "article_id": id, "data": {"n": number},
        });
        let answer = self.backend.post("/api/events/", &event).await;
        ensure!(answer.status == 202, "{}", answer.text());
        Ok(())
    }

    async fn reads(&mut self, number: u64) -> anyhow::Result<Instant> {
        loop {
            let (read, at) = self.read.recv().await.context("the stream is read")?;
            if read == number {
                return Ok(at);
            }
        }
    }
}

fn report(database: &str, mut seen: Seen, leaked: u64) {
    seen.took.sort_unstable();
    let count = seen.took.len();
    let at = |share: usize| {
        let took = seen
            .took
            .get((count * share / 100).min(count.saturating_sub(1)));
        took.map_or(f64::NAN, |took| took.as_secs_f64() * 1_000.0)
    };
    println!(
        "| {database} | {} | **{}** | {:.2} | {:.2} | {:.2} | {} | {} | **{leaked}** |",
        count as u64 + seen.missed,
        seen.missed,
        at(50),
        at(99),
        at(100),
        seen.ended,
        seen.removed,
    );
}
