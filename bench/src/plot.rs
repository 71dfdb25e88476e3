//! Delivery while parts die: events by the clock, each timed from its call to the slowest of its readers, through the
//! death of the log's leader in a NATS cluster of three and a restart of all gateways, one after the other. Drawn as a
//! picture; a frame that is missing or comes twice fails the run.

mod svg;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use crier_domain::subject::STREAM;
use crier_testkit::{Frame, HttpClient, NatsCluster};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::fleet::mirror;
use crate::platform::{Platform, Settings};
use crate::reader::Reader;
use svg::{Dot, Happened};

/// The load and the picture.
#[derive(Args, Clone)]
pub(crate) struct Arguments {
    /// Events a second.
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// Streams that read all of them, half on each gateway.
    #[arg(long, default_value_t = 20)]
    streams: usize,
    /// Seconds before, between and after what happens.
    #[arg(long, default_value_t = 15)]
    calm: u64,
    /// Where the picture goes.
    #[arg(long, default_value = "docs/failures.svg")]
    out: PathBuf,
}

const COMMUNITY: i64 = 1;
/// For the last frames to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// When each event was called for, and when it was read by each of its readers.
#[derive(Default)]
struct Seen {
    called: HashMap<u64, Instant>,
    read: HashMap<u64, Vec<Instant>>,
}

type Shared = Arc<Mutex<Seen>>;

pub(crate) async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let cluster = NatsCluster::start().await;
    let data = tempfile::tempdir()?;
    let database = format!("sqlite://{}", data.path().join("crier.db").display());
    let settings = Settings::new(&cluster.url(), &database).with("CRIER_RELAY__REPLICAS", "3");
    let mut platform = Platform::start(settings, 2).await?;
    fill(&platform, arguments).await?;
    let seen = Shared::default();
    let readers = readers(&platform, arguments, &seen).await?;

    let begun = Instant::now();
    let (stop, stopped) = watch::channel(false);
    let calls = tokio::spawn(call(
        platform.backend()?,
        arguments.rate,
        Arc::clone(&seen),
        stopped,
    ));
    let happened = happen(arguments, begun, &cluster, &mut platform).await?;
    stop.send_replace(true);
    calls.await??;
    all_read(&seen, arguments.streams).await?;
    drop(readers);
    let dots = dots(&seen, begun, arguments.streams)?;
    std::fs::write(
        &arguments.out,
        svg::draw(&dots, &happened, arguments.streams),
    )
    .with_context(|| format!("write {}", arguments.out.display()))?;
    report(arguments, &dots, &happened);
    platform.end().await
}

async fn fill(platform: &Platform, arguments: &Arguments) -> anyhow::Result<()> {
    let mut lines = format!(
        "{{\"kind\":\"community\",\"id\":{COMMUNITY},\"name\":\"Group\",\"type\":\"private\"}}\n"
    );
    for user in 1..=arguments.streams {
        writeln!(
            lines,
            r#"{{"kind":"membership","community_id":{COMMUNITY},"user_id":{user},"role":"member","username":"user {user}"}}"#
        )?;
    }
    mirror(&platform.api.url, &platform.service_token()?, lines).await
}

async fn readers(
    platform: &Platform,
    arguments: &Arguments,
    seen: &Shared,
) -> anyhow::Result<Vec<Reader>> {
    let mut readers = Vec::new();
    for user in 1..=arguments.streams {
        let seen = Arc::clone(seen);
        let read = move |frame: &Frame| {
            if let Some(number) = frame.json()["data"]["n"].as_u64() {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.read.entry(number).or_default().push(Instant::now());
            }
        };
        let token = platform.token(i64::try_from(user)?)?;
        readers.push(Reader::start(&platform.urls(), user, &token, read));
    }
    for reader in &readers {
        reader.ready().await;
    }
    Ok(readers)
}

/// Events by the clock, until it is told to stop; all were answered then.
async fn call(
    backend: HttpClient,
    rate: u32,
    seen: Shared,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut clock = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut calls = JoinSet::new();
    for number in 0u64.. {
        clock.tick().await;
        if *stopped.borrow() {
            break;
        }
        let event = json!({"type": "measured", "community_id": COMMUNITY, "data": {"n": number}});
        let (backend, now) = (backend.clone(), Instant::now());
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.called.insert(number, now);
        calls.spawn(async move { backend.post("/api/events/", &event).await });
    }
    while let Some(answer) = calls.join_next().await {
        let answer = answer?;
        ensure!(answer.status == 202, "{}", answer.text());
    }
    Ok(())
}

/// What is done to the system, and when.
async fn happen(
    arguments: &Arguments,
    begun: Instant,
    cluster: &NatsCluster,
    platform: &mut Platform,
) -> anyhow::Result<Vec<Happened>> {
    let calm = Duration::from_secs(arguments.calm);
    let mut happened = Vec::new();
    let mut note = |what: &str| {
        happened.push(Happened {
            at: begun.elapsed(),
            what: what.to_owned(),
        });
    };
    tokio::time::sleep(calm).await;
    let leader = cluster.leader(STREAM, None).await;
    note("leader killed");
    cluster.node(leader).kill().await;
    cluster.leader(STREAM, Some(leader)).await;
    tokio::time::sleep(calm).await;
    note("node back");
    cluster.node(leader).start_again().await;
    cluster.healthy().await;
    tokio::time::sleep(calm).await;
    for gateway in 0..platform.gateways.len() {
        note(&format!("gateway {} restarts", gateway + 1));
        platform.restart_gateway(gateway).await?;
        tokio::time::sleep(calm / 2).await;
    }
    Ok(happened)
}

async fn all_read(seen: &Shared, streams: usize) -> anyhow::Result<()> {
    let all = async {
        loop {
            {
                let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                let mut called = seen.called.keys();
                let read = |number| seen.read.get(number).map_or(0, Vec::len);
                if called.all(|number| read(number) >= streams) {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let all = tokio::time::timeout(PATIENCE, all).await;
    all.context("frames are missing")
}

/// One dot for each event, in the order of the calls.
fn dots(seen: &Shared, begun: Instant, streams: usize) -> anyhow::Result<Vec<Dot>> {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let mut dots = Vec::new();
    for (number, called) in &seen.called {
        let read = seen.read.get(number).context("it was read")?;
        ensure!(read.len() == streams, "event {number} came twice");
        let last = read.iter().max().context("somebody reads")?;
        dots.push(Dot {
            called: called.duration_since(begun),
            took: last.duration_since(*called),
        });
    }
    dots.sort_by_key(|dot| dot.called);
    Ok(dots)
}

fn report(arguments: &Arguments, dots: &[Dot], happened: &[Happened]) {
    println!(
        "## Delivery while parts die: {} events a second to {} streams on two gateways, NATS a cluster of three\n",
        arguments.rate, arguments.streams
    );
    println!("| from | events | median ms | slowest s |\n|---|---|---|---|");
    let mut from = Duration::ZERO;
    let mut name = "the beginning";
    let ends = happened.iter().map(|next| (next.at, next.what.as_str()));
    for (until, next) in ends.chain([(Duration::MAX, "")]) {
        let of_this = |dot: &&Dot| dot.called >= from && dot.called < until;
        let mut took: Vec<Duration> = dots.iter().filter(of_this).map(|dot| dot.took).collect();
        took.sort_unstable();
        let at = |rank: usize| took.get(rank).map_or(f64::NAN, Duration::as_secs_f64);
        println!(
            "| {name} ({:.1} s) | {} | {:.1} | {:.2} |",
            from.as_secs_f64(),
            took.len(),
            at(took.len() / 2) * 1_000.0,
            at(took.len().saturating_sub(1))
        );
        (from, name) = (until, next);
    }
    println!(
        "\n{} events, each read once by each: {}\n",
        dots.len(),
        arguments.out.display()
    );
}
