//! The single measurements.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Serialize;
use serde_json::{Value, json};

use super::Arguments;
use crate::peers::{self, Crier, Figures, HEARTBEAT, MORE, Server, Stage, World, cpu};

/// Users that an event is for, whoever else is connected.
pub(super) const FEW: usize = 10;
/// Users whose subscriptions change, whoever else is connected; each as often as there are articles.
pub(super) const CHANGED: usize = 500;
/// Events for a few.
const EVENTS: u32 = 10_000;
/// In one call.
const TOGETHER: u32 = 20;
const PACE: Duration = Duration::from_millis(20);
/// Longer than anything is measured: heartbeats would take more than what few users cost.
const NO_HEARTBEAT: &str = "1h";
/// How long it is watched what a gateway takes with nothing to do.
const WATCHED: Duration = Duration::from_secs(10);
/// How long each rate of others' events is kept up.
const KEPT: Duration = Duration::from_secs(10);
const PADDING: usize = 200;

/// What a gateway spent on each of so many, beyond what it takes with nothing to do.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Spent {
    pub(super) connected: usize,
    pub(super) count: u32,
    pub(super) cpu_us: f64,
    /// With nothing to do.
    pub(super) idle_percent: f64,
}

/// What NATS sent to one gateway.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Share {
    pub(super) streams: usize,
    /// Whether its readers are in the community of the events.
    pub(super) is_member: bool,
    pub(super) bytes_each_event: f64,
}

/// What the events of others cost a gateway.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Others {
    pub(super) rate: u32,
    /// What was reached.
    pub(super) per_second: f64,
    pub(super) cpu_percent: f64,
    pub(super) kilobytes_per_second: f64,
}

/// All that is measured beside peers.
pub(super) async fn whole(
    readers: usize,
    communities: usize,
    at_once: usize,
    arguments: &Arguments,
) -> anyhow::Result<Figures> {
    eprintln!("{readers} connections, {at_once} on their way at a time, {communities} communities");
    let world = World {
        readers,
        communities,
        gateways: 1,
        apart: false,
        heartbeat: HEARTBEAT,
    };
    let wanted = peers::Arguments {
        connections: readers,
        at_once,
        settle: arguments.settle,
        ..peers::Arguments::default()
    };
    peers::measure_one(Server::crier(Crier::start(world).await?), &wanted).await
}

fn world(readers: usize, gateways: usize) -> World {
    World {
        readers,
        communities: 1_000,
        gateways,
        apart: gateways > 1,
        heartbeat: HEARTBEAT,
    }
}

/// A gateway with so many connected, and without heartbeats.
async fn connected(count: usize) -> anyhow::Result<Stage> {
    let world = World {
        heartbeat: NO_HEARTBEAT,
        ..world(count.max(FEW), 1)
    };
    let mut stage = Stage::new(Server::crier(Crier::start(world).await?))?;
    let connected = stage.connect(count).await?;
    ensure!(connected.open == count, "{:?}", connected.failure);
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(stage)
}

/// What a gateway spends from now on.
struct Watch {
    pids: Vec<u32>,
    begun: Instant,
    before: Duration,
    /// A second, with nothing to do.
    idle: f64,
}

impl Watch {
    async fn begin(crier: &Crier) -> anyhow::Result<Self> {
        let pids = crier.gateway_pids();
        let before = cpu(&pids)?.total();
        tokio::time::sleep(WATCHED).await;
        let after = cpu(&pids)?.total();
        Ok(Self {
            idle: after.saturating_sub(before).as_secs_f64() / WATCHED.as_secs_f64(),
            before: after,
            begun: Instant::now(),
            pids,
        })
    }

    fn spent(&self, connected: usize, count: u32) -> anyhow::Result<Spent> {
        let all = cpu(&self.pids)?.total().saturating_sub(self.before);
        let idle = self.idle * self.begun.elapsed().as_secs_f64();
        Ok(Spent {
            connected,
            count,
            cpu_us: (all.as_secs_f64() - idle) * 1e6 / f64::from(count),
            idle_percent: 100.0 * self.idle,
        })
    }
}

/// Events for the same few users, with only them or many others connected.
pub(super) async fn audience(count: usize, _: &Arguments) -> anyhow::Result<Spent> {
    eprintln!("an event for {FEW} of {count}");
    let stage = connected(count).await?;
    let crier = stage.crier()?;
    let watch = Watch::begin(crier).await?;
    let users: Vec<usize> = (1..=FEW).collect();
    for _ in 0..EVENTS / TOGETHER {
        let begun = Instant::now();
        publish(crier, TOGETHER, 1, Some(&users)).await?;
        tokio::time::sleep(PACE.saturating_sub(begun.elapsed())).await;
    }
    crier.settled().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = watch.spent(count, EVENTS)?;
    stage.stop().await?;
    Ok(spent)
}

/// Each of some connected users follows more articles, one after the other, with only them or many others connected.
pub(super) async fn changes(count: usize, _: &Arguments) -> anyhow::Result<Spent> {
    eprintln!("{CHANGED} of {count} follow one more article");
    let stage = connected(count).await?;
    let crier = stage.crier()?;
    let watch = Watch::begin(crier).await?;
    for article in 0..MORE {
        crier.follow_one_more(CHANGED, article).await?;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = watch.spent(count, u32::try_from(CHANGED * MORE)?)?;
    stage.stop().await?;
    Ok(spent)
}

/// Three gateways, and events of a community whose members are on one of them.
pub(super) async fn interest() -> anyhow::Result<Vec<Share>> {
    const STREAMS: usize = 300;
    const COUNT: u32 = 1_000;
    eprintln!("three gateways, {COUNT} events of a community of one of them");
    let mut stage = Stage::new(Server::crier(Crier::start(world(STREAMS, 3)).await?))?;
    let connected = stage.connect(STREAMS).await?;
    ensure!(connected.open == STREAMS, "{:?}", connected.failure);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let crier = stage.crier()?;
    let before = sent(crier).await?;
    for _ in 0..COUNT / TOGETHER {
        // Of the first gateway's readers alone.
        publish(crier, TOGETHER, 2, None).await?;
    }
    crier.settled().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = sent(crier).await?;
    let shares = before.iter().zip(&after).enumerate();
    let shares = shares.map(|(at, (before, after))| Share {
        streams: STREAMS / 3,
        is_member: at == 0,
        bytes_each_event: (after - before) / f64::from(COUNT),
    });
    let shares = shares.collect();
    stage.stop().await?;
    Ok(shares)
}

/// Events of a community that nobody on the gateway is in.
pub(super) async fn spine(rates: &[u32]) -> anyhow::Result<Vec<Others>> {
    let world = World {
        readers: 1_000,
        communities: 1_000,
        gateways: 1,
        apart: false,
        heartbeat: HEARTBEAT,
    };
    let mut stage = Stage::new(Server::crier(Crier::start(world).await?))?;
    let connected = stage.connect(world.readers).await?;
    ensure!(connected.open == world.readers, "{:?}", connected.failure);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let crier = stage.crier()?;
    let pids = crier.gateway_pids();
    let mut all = Vec::new();
    for rate in rates {
        eprintln!("{rate} events a second of others");
        let (before, bytes) = (cpu(&pids)?.total(), sent(crier).await?);
        let begun = Instant::now();
        let mut published = 0;
        while begun.elapsed() < KEPT {
            let due = begun.elapsed().as_secs_f64() * f64::from(*rate);
            if f64::from(published) < due {
                publish(crier, TOGETHER, world.quiet(), None).await?;
                published += TOGETHER;
            } else {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        crier.settled().await?;
        let took = begun.elapsed().as_secs_f64();
        let spent = cpu(&pids)?.total().saturating_sub(before);
        let more: f64 = sent(crier).await?.iter().sum::<f64>() - bytes.iter().sum::<f64>();
        all.push(Others {
            rate: *rate,
            per_second: f64::from(published) / took,
            cpu_percent: 100.0 * spent.as_secs_f64() / took,
            kilobytes_per_second: more / took / 1000.0,
        });
    }
    stage.stop().await?;
    Ok(all)
}

/// Bytes that NATS has sent to each gateway, in their order.
async fn sent(crier: &Crier) -> anyhow::Result<Vec<f64>> {
    let connz = crier.nats.connz().await;
    let connections = connz["connections"].as_array().cloned().unwrap_or_default();
    let of = |address: &std::net::SocketAddr| {
        let name = format!("crier-gateway {address}");
        let mine = connections
            .iter()
            .filter(|one| one["name"] == name.as_str());
        mine.filter_map(|one| one["out_bytes"].as_f64()).sum()
    };
    Ok(crier.addresses.iter().map(of).collect())
}

async fn publish(
    crier: &Crier,
    count: u32,
    community: usize,
    users: Option<&[usize]>,
) -> anyhow::Result<()> {
    let data = json!({"p": "x".repeat(PADDING)});
    let event = match users {
        Some(users) => {
            json!({"type": "measured", "community_id": community, "data": data, "subscriber_ids": users})
        }
        None => json!({"type": "measured", "community_id": community, "data": data}),
    };
    let events: Vec<Value> = (0..count).map(|_| event.clone()).collect();
    let answer = crier.http.post("/api/events/", &json!(events)).await;
    ensure!(answer.status == 202, "publish: {}", answer.text());
    Ok(())
}
