//! A short run of what is fuzzed at length by `make fuzz`: the seeds, and thousands of inputs that chance makes of
//! them, always the same ones.

// clippy.toml allows these in test functions; here they stand in what those functions share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crier_domain::{Cursor, Epoch, Keys, Seq, Ticket, UserId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const INPUTS: usize = 10_000;

/// What numbers, lists and names are likely to be wrong about.
const WORDS: [&str; 20] = [
    "0",
    "-1",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e3",
    "+1",
    "01",
    "users:",
    "users:3",
    "[]",
    "[1,2]",
    "[[[[",
    "{}",
    "\n\n",
    "\nCrier-Kind: reset",
    ".",
    "\u{2028}",
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let files = std::fs::read_dir(seeds.join(target)).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort_unstable();
    assert!(!paths.is_empty(), "no seeds for {target}");
    let read = paths.into_iter().map(|path| std::fs::read(path).unwrap());
    read.collect()
}

fn mutate(input: &mut Vec<u8>, others: &[Vec<u8>], rng: &mut StdRng) {
    let at = rng.random_range(0..=input.len());
    let end = rng.random_range(at..=input.len().min(at + 40));
    match rng.random_range(0..7) {
        0 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
        1 => input.insert(at, rng.random()),
        2 => drop(input.drain(at..end)),
        3 => {
            let word = WORDS[rng.random_range(0..WORDS.len())];
            drop(input.splice(at..end, word.bytes()));
        }
        4 => {
            let part = input[at..end].to_vec();
            drop(input.splice(at..at, part.repeat(rng.random_range(1..20))));
        }
        5 => {
            let other = &others[rng.random_range(0..others.len())];
            let from = rng.random_range(0..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        _ => input.truncate(at),
    }
}

fn fuzz(name: &str, target: fn(&[u8])) {
    let seeds = seeds(name);
    seeds.iter().for_each(|seed| target(seed));
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..INPUTS {
        let mut input = if rng.random_ratio(1, 10) {
            let length = rng.random_range(0..200);
            (0..length).map(|_| rng.random()).collect()
        } else {
            seeds[rng.random_range(0..seeds.len())].clone()
        };
        for _ in 0..rng.random_range(1..5) {
            mutate(&mut input, &seeds, &mut rng);
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| target(&input)));
        assert!(
            outcome.is_ok(),
            "{name} fails for \"{}\"",
            input.escape_ascii()
        );
    }
}

#[test]
fn cursors() {
    fuzz("cursor", targets::cursor);
}

#[test]
fn tickets() {
    fuzz("ticket", targets::ticket);
}

#[test]
fn headers() {
    fuzz("header", targets::message);
}

#[test]
fn snapshots() {
    fuzz("snapshot", targets::snapshot);
}

/// Any character of the 64 in any place: so any bit of what is sealed, and of what base64 leaves over.
#[test]
fn no_bit_can_be_turned() {
    let keys = Keys::from_base64(&[Keys::random_base64()]).unwrap();
    let cursor = Cursor {
        epoch: Epoch::from_bits(0),
        seq: Seq(1),
    };
    let ticket = Ticket {
        user: UserId::try_from(1).unwrap(),
        issued_at: 0,
        token_expires_at: 0,
        expires_at: i64::MAX,
    };
    let (cursor, ticket) = (cursor.seal(&keys), ticket.seal(&keys));
    for by in 0..63 {
        for at in 0..cursor.len() {
            let forged = targets::replaced(&cursor, at, by);
            assert!(Cursor::open(&forged, &keys).is_err(), "{forged}");
        }
        for at in 0..ticket.len() {
            let forged = targets::replaced(&ticket, at, by);
            assert!(Ticket::open(&forged, &keys).is_err(), "{forged}");
        }
    }
}
