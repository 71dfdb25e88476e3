//! Calls a second that an API service answers to 32 connections, as a ratio to what the bare database does when it is
//! given the same statements: pgbench on PostgreSQL, a loop on SQLite. Both in turns, on the same data, in one run;
//! commits reach the disk, the relay carries what is written to a real NATS, and the load runs on the same machine.

mod bare;
mod load;
mod world;

use anyhow::{Context as _, ensure};
use clap::Args;
use crier_testkit::Postgres;

use bare::Call;
use load::Load;
use world::{Database, World};

/// The load.
#[derive(Args, Clone)]
pub(crate) struct Arguments {
    /// Connections, each of a user of its own, calling again as soon as they are answered.
    #[arg(long, default_value_t = 32)]
    pub(crate) connections: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3)]
    pub(crate) seconds: u64,
    /// Measurements of each kind, the API service and the bare database in turns.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            connections: 32,
            seconds: 3,
            rounds: 3,
        }
    }
}

/// Among how many communities the calls are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    Many,
    One,
}

pub(crate) async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    println!(
        "## Calls a second over {} connections, beside the bare database, {} × {} s each\n",
        arguments.connections, arguments.rounds, arguments.seconds
    );
    println!(
        "| database | call | statements | communities | API | bare | ratio (median of rounds) |"
    );
    println!("|---|---|---|---|---|---|---|");
    let postgres = Postgres::durable().await;
    on(arguments, Database::Postgres(postgres.url())).await?;
    let data = tempfile::tempdir()?;
    on(arguments, Database::Sqlite(data.path().join("crier.db"))).await?;
    println!();
    Ok(())
}

async fn on(arguments: &Arguments, database: Database) -> anyhow::Result<()> {
    let mut world = World::prepare(arguments, database).await?;
    for call in [Call::Subscribe, Call::Comment, Call::Status] {
        let statements = world.statements(call).await?;
        let scripted = bare::statements(&world, call);
        ensure!(
            statements == scripted,
            "{call:?} sends {statements} statements, the bare script {scripted}: bring bench/src/calls/bare.rs up to date"
        );
        for spread in [Spread::Many, Spread::One] {
            let mut rounds = Vec::new();
            for round in 0..arguments.rounds {
                // The relay has published what the bare database wrote.
                world.settled().await?;
                let load = Load::new(&world, call, spread, round);
                let api = load.run(arguments).await?;
                let alone = world
                    .aside(async |world| bare::run(world, arguments, call, spread, round).await)
                    .await?;
                rounds.push((api, alone));
            }
            report(&world, call, spread, statements, &rounds)?;
        }
    }
    world.end().await
}

fn report(
    world: &World,
    call: Call,
    spread: Spread,
    statements: u64,
    rounds: &[(f64, f64)],
) -> anyhow::Result<()> {
    let median = |of: &dyn Fn(&(f64, f64)) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().context("a round was run")
    };
    let communities = match spread {
        Spread::Many => world::PLACES,
        Spread::One => 1,
    };
    println!(
        "| {} | {} | {statements} | {communities} | {:.0} | {:.0} | **{:.2}** |",
        world.database.name(),
        call.name(),
        median(&|round| round.0)?,
        median(&|round| round.1)?,
        median(&|round| round.0 / round.1)?,
    );
    Ok(())
}
