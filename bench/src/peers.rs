//! What a connection and a delivery cost, of Crier and of its peers in turns, on the same work: so many streams, each
//! event to all of them, about 350 bytes on the wire. The kernel alone, a bare loop of writes, is the floor.
//!
//! | module | is |
//! |---|---|
//! | [`server`] | whoever is measured, started on loopback |
//! | [`client`] | the readers, a process of their own; [`readers`] orders them, in the words of [`wire`] |
//! | [`work`] | what each has to do, and the figures |
//! | [`usage`] | processor time and memory from the kernel |
//! | [`report`] | tables, plots, JSON |

mod client;
mod floor;
mod readers;
mod report;
mod server;
mod usage;
mod wire;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

pub(crate) use client::http2::run as readers_http2;
pub(crate) use client::run as readers;
pub(crate) use floor::run as floor;

pub(crate) use report::{machine, replace_section};
pub(crate) use server::{Crier, HEARTBEAT, MORE, Server, World};
pub(crate) use usage::cpu;
pub(crate) use work::{Figures, Stage, measure as measure_one};

use server::Kind;

/// Connections that are on their way at a time, where that is not what is measured.
pub(crate) const AT_ONCE: usize = 256;

/// The work.
#[derive(Args, Clone)]
pub(crate) struct Arguments {
    /// Streams.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) connections: usize,
    /// Each server's turns; the median counts.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Events at low rate, one a second.
    #[arg(long, default_value_t = 20)]
    pub(crate) events: u32,
    /// Events at once, five times.
    #[arg(long, default_value_t = 20)]
    pub(crate) burst: u32,
    /// Bytes of an event on the wire.
    #[arg(long, default_value_t = 350)]
    pub(crate) bytes: u64,
    /// These alone: floor, nchan, mercure, centrifugo, crier.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Connections that are on their way at a time.
    #[arg(long, default_value_t = AT_ONCE)]
    pub(crate) at_once: usize,
    /// Seconds that memory has to settle.
    #[arg(long, default_value_t = 10)]
    pub(crate) settle: u64,
    /// Writes the figures, plots and the section of BENCHMARKS.md into this folder.
    #[arg(long)]
    pub(crate) docs: Option<PathBuf>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            connections: 10_000,
            rounds: 3,
            events: 20,
            burst: 20,
            bytes: 350,
            only: Vec::new(),
            at_once: AT_ONCE,
            settle: 10,
            docs: None,
        }
    }
}

/// All turns of all servers.
#[derive(Default)]
pub(crate) struct Outcome {
    turns: BTreeMap<&'static str, Vec<Figures>>,
    about: BTreeMap<&'static str, server::About>,
    missing: BTreeMap<&'static str, String>,
}

pub(crate) async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let mut outcome = Outcome::default();
    for round in 1..=arguments.rounds {
        for kind in Kind::ALL {
            let name = kind.name();
            let is_wanted = arguments.only.is_empty()
                || arguments
                    .only
                    .iter()
                    .any(|only| name.to_lowercase().contains(only));
            if !is_wanted || outcome.missing.contains_key(name) {
                continue;
            }
            let server = match kind.start(arguments.connections).await {
                Ok(server) => server,
                // Crier and the floor are not to be had for granted: without them there is nothing to show.
                Err(error) if !matches!(kind, Kind::Crier | Kind::Floor) => {
                    eprintln!("{name}: missing: {error:#}");
                    outcome.missing.insert(name, format!("{error:#}"));
                    continue;
                }
                Err(error) => return Err(error),
            };
            outcome.about.insert(name, server.about.clone());
            eprintln!("round {round}: {name} {}", server.about.version);
            let figures = work::measure(server, arguments).await?;
            eprintln!("{}", serde_json::to_string(&figures)?);
            outcome.turns.entry(name).or_default().push(figures);
        }
    }
    report::write(&outcome, arguments)
}
