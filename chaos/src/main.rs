//! The fault campaign: `make chaos SEED=n SEEDS=k`. docs/CHAOS.md says what it does and how to read it.
//!
//! | module | is |
//! |---|---|
//! | [`plan`] | what a seed decides |
//! | [`run`] | one seed from start to judgement |
//! | [`system`], [`nats`], [`clock`] | the processes, their ways to NATS, their clocks |
//! | [`faults`] | how each fault is done and mended |
//! | [`actors`], [`groups`], [`api`] | who changes permissions and writes, where, and through which calls |
//! | [`client`] | an EventSource |
//! | [`recorder`] | the journal that crier-oracle judges |
//! | [`paths`] | by which way events came |
#![allow(
    clippy::indexing_slicing,
    reason = "only JSON is indexed, where what is missing is null"
)]

mod actors;
mod api;
mod client;
mod clock;
mod faults;
mod groups;
mod nats;
mod paths;
mod plan;
mod recorder;
mod run;
mod system;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use crier_oracle::{Wrong, judge, timeline};
use futures::StreamExt as _;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use paths::Figures;
use plan::{Kind, Plan};
use run::Outcome;

/// From so many seeds on, every kind of fault and every path must have occurred.
const ALL_KINDS_FROM: u64 = 20;

/// Breaks a running Crier in every way and counts what it got wrong.
#[derive(Parser)]
struct Cli {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, one number after the other.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How long the workload of a seed runs.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Seeds under way at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Where timelines and logs go.
    #[arg(long, default_value = "target/chaos")]
    folder: PathBuf,
    /// Judge the journal of an earlier run again, and nothing else.
    #[arg(long)]
    judge: Option<PathBuf>,
    /// A mistake on purpose, of a build with the feature `sabotage`; the first seed that notices it is the last.
    #[arg(long)]
    sabotage: Option<String>,
}

/// What all seeds together came to.
#[derive(Default)]
struct Total {
    seeds: u64,
    failed: u64,
    events: usize,
    deliveries: usize,
    after_reset: usize,
    due: usize,
    faults: BTreeMap<String, usize>,
    wrong: BTreeMap<Wrong, usize>,
    figures: Figures,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    if let Some(file) = &cli.judge {
        return again(file);
    }
    std::fs::create_dir_all(&cli.folder)?;
    let (kinds, left_out) = Kind::possible();
    for sentence in left_out {
        println!("{sentence}");
    }
    let seeds = futures::stream::iter(cli.seed..cli.seed.saturating_add(cli.seeds));
    let mut runs = seeds
        .map(|seed| one(seed, &kinds, &cli))
        .buffer_unordered(cli.jobs.max(1));
    let mut total = Total::default();
    while let Some((plan, took, outcome)) = runs.next().await {
        total.add(&plan, took, outcome);
        if cli.sabotage.is_some() && !total.wrong.is_empty() {
            println!("caught");
            break;
        }
    }
    Ok(total.conclude(&kinds))
}

fn again(file: &Path) -> anyhow::Result<ExitCode> {
    let journal = serde_json::from_slice(&std::fs::read(file)?)?;
    let judgement = judge(&journal).map_err(anyhow::Error::msg)?;
    for verdict in &judgement.verdicts {
        println!("{}", timeline(&journal, verdict));
    }
    println!("{}", counts(|wrong| judgement.count(wrong)));
    Ok(exit_code(judgement.verdicts.is_empty()))
}

fn exit_code(is_clean: bool) -> ExitCode {
    if is_clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One seed, on a thread of its own: a panic of the testkit's is a failed seed.
async fn one(seed: u64, kinds: &[Kind], cli: &Cli) -> (Plan, Duration, anyhow::Result<Outcome>) {
    let plan = Plan::of(seed, Duration::from_secs(cli.seconds), kinds);
    let begun = Instant::now();
    let (run, folder, sabotage) = (plan.clone(), cli.folder.clone(), cli.sabotage.clone());
    let (done, outcome) = oneshot::channel();
    // Not one of the runtime's, which would be waited for at the end.
    std::thread::spawn(move || {
        let ran = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let ran = ran.map_err(Into::into).and_then(|runtime| {
            let run = run::seed(&run, sabotage.as_deref(), &folder);
            LocalSet::new().block_on(&runtime, run)
        });
        let _ = done.send(ran);
    });
    let outcome = outcome
        .await
        .unwrap_or_else(|_| Err(anyhow::anyhow!("the seed's thread panicked")));
    (plan, begun.elapsed(), outcome)
}

fn counts(count: impl Fn(Wrong) -> usize) -> String {
    format!(
        "{} lost, {} leaked, {} duplicated, {} out of order",
        count(Wrong::Lost),
        count(Wrong::Leaked),
        count(Wrong::Duplicated),
        count(Wrong::OutOfOrder)
    )
}

impl Total {
    fn add(&mut self, plan: &Plan, took: Duration, outcome: anyhow::Result<Outcome>) {
        self.seeds += 1;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                self.failed += 1;
                println!("seed {}: could not be run: {error:#}", plan.seed);
                return;
            }
        };
        let judgement = &outcome.judgement;
        println!(
            "seed {} ({}, {}, {} gateways, {} faults, {} s): {} events, {} deliveries, {} due: {}",
            plan.seed,
            if plan.postgres {
                "PostgreSQL, two APIs"
            } else {
                "SQLite, one API"
            },
            if plan.cluster {
                "three NATS"
            } else {
                "one NATS"
            },
            plan.gateways,
            plan.faults.len(),
            took.as_secs(),
            judgement.events,
            judgement.deliveries,
            judgement.due,
            counts(|wrong| judgement.count(wrong)),
        );
        if let Some(file) = &outcome.told {
            println!("  timeline: {}", file.display());
        }
        self.events += judgement.events;
        self.deliveries += judgement.deliveries;
        self.after_reset += judgement.after_reset;
        self.due += judgement.due;
        for verdict in &judgement.verdicts {
            *self.wrong.entry(verdict.wrong).or_default() += 1;
        }
        for (kind, count) in outcome.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        paths::add(&mut self.figures, &outcome.figures);
    }

    fn conclude(&self, kinds: &[Kind]) -> ExitCode {
        println!("\nfaults by kind");
        for kind in kinds {
            println!(
                "  {:20} {}",
                kind.name(),
                self.faults.get(kind.name()).unwrap_or(&0)
            );
        }
        println!("\ndeliveries by path, as far as the gateways lived to tell");
        for (name, value) in &self.figures {
            println!("  {name:20} {value}");
        }
        println!("  {:20} {}", "after a reset", self.after_reset);
        let missing = self.missing(kinds);
        for what in &missing {
            println!("never occurred: {what}");
        }
        if self.failed > 0 {
            println!("{} seeds could not be run", self.failed);
        }
        println!(
            "\n{} seeds, {} faults, {} events, {} deliveries: {}",
            self.seeds,
            self.faults.values().sum::<usize>(),
            self.events,
            self.deliveries,
            counts(|wrong| self.wrong.get(&wrong).copied().unwrap_or(0)),
        );
        let is_clean = self.wrong.is_empty() && self.failed == 0 && missing.is_empty();
        if is_clean {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// What a run of this many seeds should have seen and did not.
    fn missing(&self, kinds: &[Kind]) -> Vec<&'static str> {
        if self.seeds < ALL_KINDS_FROM {
            return Vec::new();
        }
        let kinds = kinds.iter().map(|kind| kind.name());
        let mut missing: Vec<&str> = kinds
            .filter(|kind| !self.faults.contains_key(*kind))
            .collect();
        let paths = [
            "live",
            "replayed",
            "resumes from rings",
            "resumes from the log",
        ];
        missing.extend(
            paths
                .into_iter()
                .filter(|path| self.figures.get(path).is_none_or(|count| *count == 0)),
        );
        if self.after_reset == 0 {
            missing.push("after a reset");
        }
        missing
    }
}
