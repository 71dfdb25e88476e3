//! What grows with what: a gateway's cost over connections, communities, the audience of an event, events of others.
//! The same readers as in [`crate::peers`], and Crier alone.

mod report;
mod steps;

use std::path::PathBuf;

use clap::Args;

use crate::peers::AT_ONCE;
use report::Growth;

/// The work.
#[derive(Args, Clone)]
pub(crate) struct Arguments {
    /// Connections, one measurement each.
    #[arg(long, value_delimiter = ',', default_value = "1000,5000,10000,18000")]
    pub(crate) connections: Vec<usize>,
    /// Communities on one gateway, one measurement each.
    #[arg(long, value_delimiter = ',', default_value = "4,100,1000,10000")]
    pub(crate) communities: Vec<usize>,
    /// Connections wherever something else grows.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) streams: usize,
    /// Events a second of communities that nobody on the gateway is in.
    #[arg(long, value_delimiter = ',', default_value = "0,500,1000,2000,5000")]
    pub(crate) rates: Vec<u32>,
    /// Seconds that memory has to settle.
    #[arg(long, default_value_t = 10)]
    pub(crate) settle: u64,
    /// These alone: connections, communities, audience, changes, interest, spine.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Writes the figures and the section of BENCHMARKS.md into this folder.
    #[arg(long)]
    pub(crate) docs: Option<PathBuf>,
}

pub(crate) async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let wanted =
        |what: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == what);
    let mut growth = Growth::default();
    if wanted("connections") {
        for readers in &arguments.connections {
            let communities = (readers / 10).max(4);
            let figures = steps::whole(*readers, communities, AT_ONCE, arguments).await?;
            growth.connections.push((readers.to_string(), figures));
        }
        let (readers, communities) = (arguments.streams, (arguments.streams / 10).max(4));
        let figures = steps::whole(readers, communities, readers, arguments).await?;
        let wave = format!("{readers}, all on their way at once");
        growth.connections.push((wave, figures));
    }
    if wanted("communities") {
        for communities in &arguments.communities {
            let readers = arguments.streams;
            let figures = steps::whole(readers, *communities, AT_ONCE, arguments).await?;
            growth.communities.push((communities.to_string(), figures));
        }
    }
    if wanted("audience") {
        for connected in [steps::FEW, arguments.streams] {
            growth
                .audience
                .push(steps::audience(connected, arguments).await?);
        }
    }
    if wanted("changes") {
        for connected in [steps::CHANGED, arguments.streams] {
            growth
                .changes
                .push(steps::changes(connected, arguments).await?);
        }
    }
    if wanted("interest") {
        growth.interest = steps::interest().await?;
    }
    if wanted("spine") {
        growth.spine = steps::spine(&arguments.rates).await?;
    }
    report::write(&growth, arguments)
}
