//! Hostile clients beside well-behaved ones: what do the others feel of it? One gateway with streams that read events by
//! the clock is the yardstick; beside it stands, in turns, nothing and each kind of attack.
//!
//! The attackers are members of all communities, so that each of their connections costs what a client's costs.

mod attack;
mod yardstick;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use crier_store::{DatabaseConfig, Store};
use crier_testkit::{NatsServer, SseClient};
use serde_json::json;

use crate::fleet::{mirror, settled};
use crate::platform::{Platform, Service, Settings};
use attack::{Attack, Attacker, Target};
use yardstick::{Felt, Yardstick};

/// The load.
#[derive(Args, Clone)]
pub(crate) struct Arguments {
    /// Well-behaved streams.
    #[arg(long, default_value_t = 500)]
    streams: usize,
    /// Events a second that they read, each of one community in turn.
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// Seconds counted of each row.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Connects and disconnects a second that are tried.
    #[arg(long, default_value_t = 10_000)]
    connects: u32,
    /// Threads that connect and disconnect.
    #[arg(long, default_value_t = 4)]
    threads: u32,
    /// Heads that come a byte at a time.
    #[arg(long, default_value_t = 200)]
    heads: usize,
    /// Readers of one byte a second.
    #[arg(long, default_value_t = 50)]
    readers: usize,
    /// Clients that come back again and again from where the log began.
    #[arg(long, default_value_t = 200)]
    cursors: usize,
    /// Events behind that place when the first row begins: more than a gateway remembers.
    #[arg(long, default_value_t = 2_000)]
    old: usize,
}

const COMMUNITIES: usize = 20;
/// Users from here on attack.
const HOSTILE: i64 = 1_000_000;
const HOSTILE_USERS: i64 = 200;
/// Attacks begin so long before anything counts.
const WARM_UP: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes in each event beyond its stamps.
const PADDING: usize = 1_000;
/// Events in one call.
const TOGETHER: usize = 100;

/// One row of the table.
struct Row {
    name: String,
    /// What the attack reached, in its own words.
    reached: String,
    felt: Felt,
    cpu_percent: f64,
    resident: u64,
}

pub(crate) async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    println!(
        "## Hostile clients beside {} streams with {} events a second, {} s a row\n",
        arguments.streams, arguments.rate, arguments.seconds
    );
    let nats = NatsServer::start().await;
    let data = tempfile::tempdir()?;
    let database = format!("sqlite://{}", data.path().join("crier.db").display());
    let platform = Platform::start(Settings::new(&nats.url(), &database), 1).await?;
    let lines = file(arguments)?;
    mirror(&platform.api.url, &platform.service_token()?, lines).await?;
    let store = Store::connect(&DatabaseConfig::new(&database)).await?;
    settled(&store).await?;

    let target = Arc::new(target(&platform, arguments, &store).await?);
    let yardstick = Yardstick::start(&platform, arguments.streams, COMMUNITIES).await?;
    println!(
        "| beside it | reached | p50 ms | p99 ms | max ms | frames | lost | twice | streams broken | gateway's CPU | its memory |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let gateway = &platform.gateways[0];
    for attack in attacks(arguments) {
        let row = row(arguments, attack, &target, &yardstick, gateway).await?;
        print(&row);
    }
    println!();
    drop(yardstick);
    platform.end().await
}

/// In the order of the rows.
fn attacks(arguments: &Arguments) -> Vec<Attack> {
    let (rate, threads) = (arguments.connects, arguments.threads);
    vec![
        Attack::Nothing,
        Attack::Connects {
            rate,
            threads,
            head: false,
        },
        Attack::Connects {
            rate,
            threads,
            head: true,
        },
        Attack::Heads(arguments.heads),
        Attack::Readers(arguments.readers),
        Attack::Cursors(arguments.cursors),
        Attack::Nothing,
    ]
}

async fn row(
    arguments: &Arguments,
    attack: Attack,
    target: &Arc<Target>,
    yardstick: &Yardstick,
    gateway: &Service,
) -> anyhow::Result<Row> {
    eprintln!("{attack}");
    let attacker = Attacker::start(attack, target);
    tokio::time::sleep(WARM_UP).await;
    let (begun, cpu) = (Instant::now(), gateway.process.cpu()?);
    let before = attacker.count();
    let sent = yardstick
        .publish(arguments.rate, Duration::from_secs(arguments.seconds))
        .await?;
    let took = begun.elapsed().as_secs_f64();
    let spent = gateway.process.cpu()?.saturating_sub(cpu);
    let (count, resident) = (attacker.count() - before, gateway.process.resident()?);
    let felt = yardstick.felt(&sent).await;
    attacker.stop().await;
    Ok(Row {
        name: attack.to_string(),
        reached: attack.reached(count, took),
        felt,
        cpu_percent: 100.0 * spent.as_secs_f64() / took,
        resident,
    })
}

fn print(row: &Row) {
    let felt = &row.felt;
    println!(
        "| {} | {} | {:.2} | {:.2} | {:.2} | {} | **{}** | {} | {} | {:.0} % | {} MiB |",
        row.name,
        row.reached,
        felt.at(50),
        felt.at(99),
        felt.at(100),
        felt.frames(),
        felt.lost,
        felt.twice,
        felt.broken,
        row.cpu_percent,
        row.resident >> 20,
    );
}

/// Each well-behaved user is in one community, each hostile one in all.
fn file(arguments: &Arguments) -> anyhow::Result<String> {
    let mut lines = String::new();
    for id in 1..=COMMUNITIES {
        writeln!(
            lines,
            r#"{{"kind":"community","id":{id},"name":"Group {id}","type":"private"}}"#
        )?;
    }
    let behaved = (0..arguments.streams)
        .map(|at| (yardstick::user(at), yardstick::community(at, COMMUNITIES)));
    let hostile = (0..HOSTILE_USERS)
        .flat_map(|at| (1..=COMMUNITIES).map(move |community| (HOSTILE + at, community)));
    for (user, community) in behaved.chain(hostile) {
        writeln!(
            lines,
            r#"{{"kind":"membership","community_id":{community},"user_id":{user},"role":"member","username":"user {user}"}}"#
        )?;
    }
    Ok(lines)
}

/// What is attacked: with old events in its log, and a cursor from before them.
async fn target(
    platform: &Platform,
    arguments: &Arguments,
    store: &Store,
) -> anyhow::Result<Target> {
    let url = &platform.gateways[0].url;
    let address: SocketAddr = url.trim_start_matches("http://").parse()?;
    let tokens: Vec<String> = (0..HOSTILE_USERS)
        .map(|at| platform.token(HOSTILE + at))
        .collect::<anyhow::Result<_>>()?;
    let authorization = format!("Bearer {}", tokens[0]);
    let headers = [("authorization", authorization.as_str())];
    let mut first = SseClient::connect(&format!("{url}/events"), &headers).await?;
    let ready = first.next_frame(PATIENCE).await.context("a stream")?;
    let cursor = ready.id.context("a cursor")?;
    drop(first);
    let backend = platform.backend()?;
    let padding = "x".repeat(PADDING);
    let event = |at: usize| {
        let community = at % COMMUNITIES + 1;
        json!({"type": "old", "community_id": community, "data": {"padding": padding}})
    };
    let events: Vec<_> = (0..arguments.old).map(event).collect();
    for some in events.chunks(TOGETHER) {
        let answer = backend.post("/api/events/", &some).await;
        ensure!(answer.status == 202, "events: {}", answer.text());
    }
    settled(store).await?;
    Ok(Target {
        address,
        url: url.clone(),
        tokens,
        cursor,
        old: arguments.old,
    })
}
