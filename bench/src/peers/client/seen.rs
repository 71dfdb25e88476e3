//! What has come since it was last asked.

use std::collections::BTreeMap;

use crate::peers::wire::{Collected, Fan, Latency};

/// Samples, kept whole: some millions of eight bytes.
#[derive(Default)]
pub(super) struct Seen {
    /// The event's number, and microseconds.
    frames: Vec<(u32, u32)>,
    /// Bytes of the reads with exactly one event.
    single: Vec<u32>,
    bytes: u64,
    reads: u64,
    ended: u64,
}

/// Reads whose size is kept: enough for a median.
const SIZES: usize = 10_000;

impl Seen {
    pub(super) fn frame(&mut self, number: u32, micros: u64) {
        let micros = u32::try_from(micros).unwrap_or(u32::MAX);
        self.frames.push((number, micros));
    }

    pub(super) fn read(&mut self, bytes: usize, frames: usize) {
        self.reads += 1;
        self.bytes += bytes as u64;
        if frames == 1 && self.single.len() < SIZES {
            self.single.push(u32::try_from(bytes).unwrap_or(u32::MAX));
        }
    }

    pub(super) fn ended(&mut self) {
        self.ended += 1;
    }

    pub(super) fn frames(&self) -> u64 {
        self.frames.len() as u64
    }

    /// All of it, and begins anew.
    pub(super) fn take(&mut self) -> Collected {
        let Self {
            frames,
            mut single,
            bytes,
            reads,
            ended,
        } = std::mem::take(self);
        single.sort_unstable();
        let mut by_event: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (number, micros) in &frames {
            by_event.entry(*number).or_default().push(*micros);
        }
        let events = by_event.into_iter().map(|(number, mut micros)| {
            micros.sort_unstable();
            Fan {
                number,
                readers: micros.len(),
                median_us: part(&micros, 50),
                last_us: part(&micros, 100),
            }
        });
        let events = events.collect();
        let mut all: Vec<u32> = frames.iter().map(|(_, micros)| *micros).collect();
        all.sort_unstable();
        Collected {
            frames: frames.len() as u64,
            bytes,
            reads,
            ended,
            frame_bytes: part(&single, 50),
            latency: Latency {
                p50: part(&all, 50),
                p90: part(&all, 90),
                p99: part(&all, 99),
                max: part(&all, 100),
            },
            events,
        }
    }
}

/// The value below which so many in a hundred are.
fn part(sorted: &[u32], percent: usize) -> u64 {
    let last = sorted.len().saturating_sub(1);
    u64::from(
        sorted
            .get(last * percent / 100)
            .copied()
            .unwrap_or_default(),
    )
}
