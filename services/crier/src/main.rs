//! `crier`: the one binary. It only composes: configuration in, services built, run until told to stop.
//!
//! | command | module |
//! |---|---|
//! | `up` | [`up`]: everything on one machine, with what [`embedded`] makes for it |
//! | `api`, `gateway`, `migrate` | [`services`]: one service each, for a fleet |
//! | `sync` | [`sync`]: an application's own data, sent to the API service |
//! | `token` | [`token`] |

#[cfg(feature = "jemalloc")]
mod allocator;
mod config;
mod embedded;
mod services;
mod sync;
mod token;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tells each member of a community, at once, what happened in the discussions they follow.
#[derive(Parser)]
#[command(name = "crier", version, disable_help_subcommand = true)]
struct Cli {
    /// A TOML file with settings; CRIER_<GROUP>__<KEY> in the environment goes over it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs everything on this machine: API, gateways, a nats-server of its own, SQLite.
    Up(up::Arguments),
    /// Runs the API service.
    Api,
    /// Runs one gateway.
    Gateway,
    /// Brings the database's schema up to date.
    Migrate,
    /// Sends a file of changes (lines of JSON) to the API service: what an application that keeps its own data has.
    Sync(sync::Arguments),
    /// Prints a token, signed with the configured secret or the data directory's.
    Token(token::Arguments),
    /// Becomes the nats-server of `crier up`.
    #[command(name = embedded::nats_server::COMMAND, hide = true)]
    BecomeNatsServer {
        parent: i32,
        binary: PathBuf,
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One sentence: what is wrong and what to do. The chain says where it came from.
            eprintln!("crier: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let file = cli.config.as_deref();
    match cli.command {
        Command::Up(arguments) => up::run(config::load(file)?, &arguments),
        Command::Api => services::api(config::load(file)?),
        Command::Gateway => services::gateway(config::load(file)?),
        Command::Migrate => services::migrate(&config::load(file)?),
        Command::Sync(arguments) => sync::run(file, &arguments),
        Command::Token(arguments) => token::print(&config::load(file)?, &arguments),
        Command::BecomeNatsServer {
            parent,
            binary,
            config,
        } => match embedded::nats_server::become_server(parent, &binary, &config)? {},
    }
}
