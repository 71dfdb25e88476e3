//! What each server has to do, and what it costs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use super::readers::Readers;
use super::server::{Crier, Parts, Server};
use super::usage::{self, Cpu};
use super::wire::{Collected, Connect, Connected, Latency};
use super::{AT_ONCE, Arguments};

/// Streams that come and go before anything is counted: code is read from the disk, first buffers are made.
const WARM_UP: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);
/// One event a second: each has gone out long before the next comes.
const LOW: Duration = Duration::from_secs(1);
const BURSTS: u32 = 5;
/// For an allocator that gives back what is free: jemalloc takes ten seconds.
const GIVEN_BACK: Duration = Duration::from_secs(15);
/// Bytes of a large event, three times.
const LARGE: usize = 64 * 1024;
const LARGE_EVENTS: u32 = 3;

/// One server's turn.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) connections: usize,
    pub(crate) failed: usize,
    pub(crate) connects_per_second: f64,
    pub(crate) connect_cpu_us: f64,
    pub(crate) connect_beside_us: Vec<(String, f64)>,
    pub(crate) resident_before: u64,
    pub(crate) resident_idle: u64,
    /// How much those beside the server have grown by the idle streams.
    pub(crate) beside_grown: Vec<(String, u64)>,
    pub(crate) resident_after_load: u64,
    pub(crate) resident_after_leaving: u64,
    /// All sockets' buffers and slabs, the readers' ends too.
    pub(crate) kernel_bytes: u64,
    /// Hundredths of one processor while nothing is published.
    pub(crate) idle_cpu_percent: f64,
    pub(crate) low: Delivered,
    pub(crate) load: Delivered,
    pub(crate) large: Delivered,
}

/// Events on their way to all.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Delivered {
    pub(crate) events: u32,
    pub(crate) deliveries: u64,
    pub(crate) missing: u64,
    pub(crate) frame_bytes: u64,
    /// Of the server alone, for each delivery.
    pub(crate) cpu_us: f64,
    pub(crate) user_us: f64,
    pub(crate) beside_us: Vec<(String, f64)>,
    pub(crate) readers_us: f64,
    /// Until half of the readers and the last one had an event: medians over the events.
    pub(crate) median_ms: f64,
    pub(crate) last_ms: f64,
    pub(crate) latency: Latency,
    /// From the first publication to the last delivery.
    pub(crate) per_second: f64,
    pub(crate) reads: u64,
}

impl Figures {
    #[allow(clippy::cast_precision_loss, reason = "bytes of memory")]
    pub(crate) fn bytes_per_connection(&self) -> f64 {
        let grown = self.resident_idle.saturating_sub(self.resident_before);
        grown as f64 / self.connections.max(1) as f64
    }

    #[allow(clippy::cast_precision_loss, reason = "bytes of memory")]
    pub(crate) fn beside_bytes_per_connection(&self, name: &str) -> f64 {
        let found = self.beside_grown.iter().find(|(known, _)| known == name);
        let grown = found.map(|(_, bytes)| *bytes).unwrap_or_default();
        grown as f64 / self.connections.max(1) as f64
    }

    #[allow(clippy::cast_precision_loss, reason = "bytes of memory")]
    pub(crate) fn kernel_per_connection(&self) -> f64 {
        self.kernel_bytes as f64 / self.connections.max(1) as f64
    }
}

/// A server and its readers.
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) readers: Readers,
    dir: tempfile::TempDir,
    /// Events published so far.
    published: u32,
}

/// Processor time of all who have to do with it.
struct Times {
    server: Cpu,
    beside: Vec<(String, Cpu)>,
    readers: Cpu,
}

pub(crate) async fn measure(server: Server, arguments: &Arguments) -> anyhow::Result<Figures> {
    let mut stage = Stage::new(server)?;
    let settle = Duration::from_secs(arguments.settle);
    let count = arguments.connections;
    stage.warm_up().await?;
    let resident_before = stage.resident()?;
    let beside_before = stage.beside_resident()?;
    let kernel_before = usage::kernel()?;

    let before = stage.times()?;
    let connected = stage.connect_at_once(count, arguments.at_once).await?;
    let connecting = stage.times()?.since(&before);
    tokio::time::sleep(settle).await;
    let resident_idle = stage.resident()?;
    let beside_grown = grown(stage.beside_resident()?, &beside_before);
    let kernel_bytes = usage::kernel()?.saturating_sub(kernel_before);
    let open = connected.open;
    if let Some(failure) = &connected.failure {
        eprintln!("{} of {count} failed: {failure}", connected.failed);
    }
    ensure!(open > 0, "no stream was opened");

    let before = stage.times()?;
    tokio::time::sleep(settle).await;
    let idle = stage.times()?.since(&before).server.total();

    let padding = stage.pad_to(arguments.bytes, open).await?;
    let low = stage
        .deliver(open, arguments.events, 1, padding, LOW)
        .await?;
    let rest = Duration::from_secs(2);
    let load = stage
        .deliver(open, BURSTS, arguments.burst, padding, rest)
        .await?;
    let large = stage.deliver(open, LARGE_EVENTS, 1, LARGE, rest).await?;
    let resident_after_load = stage.resident()?;
    stage.readers.leave(0).await?;
    tokio::time::sleep(GIVEN_BACK).await;
    let resident_after_leaving = stage.resident()?;
    stage.server.stop().await?;
    Ok(Figures {
        connections: open,
        failed: connected.failed,
        connects_per_second: number(open) / connected.seconds,
        connect_cpu_us: each(connecting.server.total(), open as u64),
        connect_beside_us: connecting.beside_each(open as u64),
        resident_before,
        resident_idle,
        beside_grown,
        resident_after_load,
        resident_after_leaving,
        kernel_bytes,
        idle_cpu_percent: 100.0 * idle.as_secs_f64() / settle.as_secs_f64(),
        low,
        load,
        large,
    })
}

impl Stage {
    pub(crate) fn new(server: Server) -> anyhow::Result<Self> {
        Ok(Self {
            readers: Readers::start(server.certificate.as_deref())?,
            server,
            dir: tempfile::tempdir()?,
            published: 0,
        })
    }

    /// What is measured, when it is Crier.
    pub(crate) fn crier(&self) -> anyhow::Result<&Crier> {
        match &self.server.parts {
            Parts::Crier(crier) => Ok(crier),
            _ => anyhow::bail!("this is not Crier"),
        }
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        drop(self.readers);
        self.server.stop().await
    }

    fn resident(&self) -> anyhow::Result<u64> {
        usage::resident(&self.server.pids)
    }

    fn beside_resident(&self) -> anyhow::Result<Vec<(String, u64)>> {
        let beside = self.server.beside.iter();
        beside
            .map(|(name, pids)| Ok(((*name).to_owned(), usage::resident(pids)?)))
            .collect()
    }

    fn times(&self) -> anyhow::Result<Times> {
        let readers: Vec<u32> = self.readers.pid().into_iter().collect();
        let beside = self.server.beside.iter();
        let beside = beside.map(|(name, pids)| Ok(((*name).to_owned(), usage::cpu(pids)?)));
        Ok(Times {
            server: usage::cpu(&self.server.pids)?,
            beside: beside.collect::<anyhow::Result<_>>()?,
            readers: usage::cpu(&readers)?,
        })
    }

    /// Streams that come, get something, and go again.
    async fn warm_up(&mut self) -> anyhow::Result<()> {
        let connected = self.connect(WARM_UP).await?;
        for _ in 0..3 {
            self.publish(1, 100).await?;
            self.collect(connected.open as u64, PATIENCE).await?;
        }
        self.readers.leave(0).await?;
        self.publish(1, 100).await?;
        tokio::time::sleep(GIVEN_BACK).await;
        Ok(())
    }

    pub(crate) async fn connect(&mut self, count: usize) -> anyhow::Result<Connected> {
        self.connect_at_once(count, AT_ONCE).await
    }

    async fn connect_at_once(&mut self, count: usize, at_once: usize) -> anyhow::Result<Connected> {
        let order = Connect {
            servers: self.server.addresses.clone(),
            heads: self.server.write_heads(self.dir.path())?,
            count,
            marker: self.server.marker.to_owned(),
            at_once,
            patience_ms: 120_000,
        };
        self.readers.connect(order).await
    }

    async fn publish(&mut self, count: u32, padding: usize) -> anyhow::Result<()> {
        let first = self.published;
        self.published += count;
        self.server.publisher.publish(first, count, padding).await
    }

    async fn collect(&mut self, frames: u64, patience: Duration) -> anyhow::Result<Collected> {
        self.readers.collect(frames, patience).await
    }

    /// Padding with which an event has so many bytes on the wire.
    async fn pad_to(&mut self, bytes: u64, open: usize) -> anyhow::Result<usize> {
        const TRIED: usize = 100;
        self.publish(1, TRIED).await?;
        let seen = self.collect(open as u64, PATIENCE).await?;
        let (sent, wanted) = (i64::try_from(seen.frame_bytes)?, i64::try_from(bytes)?);
        let padding = i64::try_from(TRIED)? + wanted - sent;
        usize::try_from(padding).context("so few bytes don't hold an event")
    }

    /// Publishes `count` at once, `times` times, and counts what comes of it.
    pub(crate) async fn deliver(
        &mut self,
        open: usize,
        times: u32,
        count: u32,
        padding: usize,
        pace: Duration,
    ) -> anyhow::Result<Delivered> {
        let expected = open as u64 * u64::from(count);
        let before = self.times()?;
        let mut seen = Vec::new();
        for _ in 0..times {
            let begun = Instant::now();
            self.publish(count, padding).await?;
            seen.push(self.collect(expected, PATIENCE).await?);
            tokio::time::sleep(pace.saturating_sub(begun.elapsed())).await;
        }
        let spent = self.times()?.since(&before);
        Ok(delivered(&seen, count, expected, &spent))
    }
}

fn grown(now: Vec<(String, u64)>, before: &[(String, u64)]) -> Vec<(String, u64)> {
    let both = now.into_iter().zip(before);
    both.map(|((name, now), (_, before))| (name, now.saturating_sub(*before)))
        .collect()
}

fn delivered(seen: &[Collected], count: u32, expected: u64, spent: &Times) -> Delivered {
    let deliveries: u64 = seen.iter().map(|seen| seen.frames).sum();
    let fans = || seen.iter().flat_map(|seen| &seen.events);
    let milliseconds = |micros: Vec<u64>| median(micros) / 1000.0;
    let took: f64 = seen.iter().map(|seen| last(seen).as_secs_f64()).sum();
    let middle = |part: fn(&Latency) -> u64| {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "microseconds"
        )]
        let median = median(seen.iter().map(|seen| part(&seen.latency)).collect()) as u64;
        median
    };
    let times = u32::try_from(seen.len()).unwrap_or_default();
    Delivered {
        events: times * count,
        deliveries,
        missing: (expected * u64::from(times)).saturating_sub(deliveries),
        frame_bytes: seen.last().map(|seen| seen.frame_bytes).unwrap_or_default(),
        cpu_us: each(spent.server.total(), deliveries),
        user_us: each(spent.server.user, deliveries),
        beside_us: spent.beside_each(deliveries),
        readers_us: each(spent.readers.total(), deliveries),
        median_ms: milliseconds(fans().map(|fan| fan.median_us).collect()),
        last_ms: milliseconds(fans().map(|fan| fan.last_us).collect()),
        latency: Latency {
            p50: middle(|latency| latency.p50),
            p90: middle(|latency| latency.p90),
            p99: middle(|latency| latency.p99),
            max: seen
                .iter()
                .map(|seen| seen.latency.max)
                .max()
                .unwrap_or_default(),
        },
        per_second: number(usize::try_from(deliveries).unwrap_or_default()) / took.max(1e-9),
        reads: seen.iter().map(|seen| seen.reads).sum(),
    }
}

/// When the last reader had the last of what was published at once.
fn last(seen: &Collected) -> Duration {
    let last = seen.events.iter().map(|fan| fan.last_us).max();
    Duration::from_micros(last.unwrap_or_default())
}

impl Times {
    fn since(&self, before: &Self) -> Self {
        let beside = self.beside.iter().zip(&before.beside);
        Self {
            server: self.server.since(before.server),
            beside: beside
                .map(|((name, now), (_, before))| (name.clone(), now.since(*before)))
                .collect(),
            readers: self.readers.since(before.readers),
        }
    }

    fn beside_each(&self, count: u64) -> Vec<(String, f64)> {
        let beside = self.beside.iter();
        beside
            .map(|(name, cpu)| (name.clone(), each(cpu.total(), count)))
            .collect()
    }
}

/// Microseconds for each.
#[allow(clippy::cast_precision_loss, reason = "millions at most")]
fn each(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count.max(1) as f64
}

#[allow(clippy::cast_precision_loss, reason = "millions at most")]
fn number(count: usize) -> f64 {
    count as f64
}

/// The one in the middle.
#[allow(clippy::cast_precision_loss, reason = "microseconds")]
fn median(mut values: Vec<u64>) -> f64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default() as f64
}
