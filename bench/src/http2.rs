//! Streams as browsers have them: over HTTP/2 and TLS, each browser with a connection of its own, to nginx before the
//! gateway. The gateway speaks HTTP/1.1 alone; what a stream takes is nginx's and the gateway's together.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::peers::{self, Figures, HEARTBEAT, Server, World, machine, replace_section};

const SECTION: &str = "## Over HTTP/2 and TLS";

/// The work.
#[derive(Args, Clone)]
pub(crate) struct Arguments {
    /// Connections, each with one stream.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) connections: usize,
    /// Events at low rate, one a second.
    #[arg(long, default_value_t = 15)]
    pub(crate) events: u32,
    /// Seconds that memory has to settle.
    #[arg(long, default_value_t = 10)]
    pub(crate) settle: u64,
    /// Writes the figures and the section of BENCHMARKS.md into this folder.
    #[arg(long)]
    pub(crate) docs: Option<PathBuf>,
}

#[derive(Serialize)]
struct Both {
    /// To the gateway itself, by HTTP/1.1.
    plain: Figures,
    /// To nginx. What is beside it, the gateway too, stands in the figures.
    proxied: Figures,
}

pub(crate) async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let world = World {
        readers: arguments.connections,
        communities: (arguments.connections / 10).max(4),
        gateways: 1,
        apart: false,
        heartbeat: HEARTBEAT,
    };
    let wanted = peers::Arguments {
        connections: arguments.connections,
        events: arguments.events,
        settle: arguments.settle,
        ..peers::Arguments::default()
    };
    eprintln!("HTTP/1.1 to the gateway");
    let plain = peers::measure_one(Server::crier(peers::Crier::start(world).await?), &wanted);
    let plain = plain.await?;
    eprintln!("HTTP/2 over TLS to nginx");
    let server = Server::proxied(world).await?;
    let about = server.about.clone();
    let both = Both {
        plain,
        proxied: peers::measure_one(server, &wanted).await?,
    };
    let section = section(&both, &about.version, about.settings);
    println!("{section}");
    let Some(docs) = &arguments.docs else {
        return Ok(());
    };
    let json = serde_json::to_string_pretty(&both)? + "\n";
    std::fs::write(docs.join("bench/http2.json"), json)?;
    replace_section(&docs.join("BENCHMARKS.md"), SECTION, &section)
}

fn section(both: &Both, version: &str, settings: &str) -> String {
    let Both { plain, proxied } = both;
    let mut text = format!(
        "{SECTION}\n\n`make bench ARGS=http2`: {} streams of as many users, each over a connection of its own, straight to the gateway by \
         HTTP/1.1, and by HTTP/2 to {version} ({settings}) and from there to the gateway. \
         Other than that the work is that of \"Beside its peers\" ({}), but that the readers who speak HTTP/2 have more to do, {:.0} µs \
         of processor for an event and not {:.0}, on the same cores: until the last one has it, that is theirs too.\n\n\
         | | straight: the gateway | HTTP/2: nginx | the gateway behind it |\n|---|---|---|---|\n",
        plain.connections,
        machine(),
        proxied.low.readers_us,
        plain.low.readers_us,
    );
    let gateway = |beside: &[(String, f64)]| {
        let found = beside.iter().find(|(name, _)| name == "gateway");
        found.map(|(_, figure)| *figure).unwrap_or_default()
    };
    let kibibytes = |bytes: f64| format!("{:.1}", bytes / 1024.0);
    let mut row = |what: &str, plain: String, proxied: String, gateway: String| {
        let _ = writeln!(text, "| {what} | {plain} | {proxied} | {gateway} |");
    };
    row(
        "resident, idle, KiB a stream",
        kibibytes(plain.bytes_per_connection()),
        kibibytes(proxied.bytes_per_connection()),
        kibibytes(proxied.beside_bytes_per_connection("gateway")),
    );
    row(
        "kernel, all ends, KiB a stream",
        kibibytes(plain.kernel_per_connection()),
        kibibytes(proxied.kernel_per_connection()),
        String::new(),
    );
    row(
        "to connect, µs of processor",
        format!("{:.0}", plain.connect_cpu_us),
        format!("{:.0}", proxied.connect_cpu_us),
        format!("{:.0}", gateway(&proxied.connect_beside_us)),
    );
    row(
        "refused or dropped",
        plain.failed.to_string(),
        proxied.failed.to_string(),
        String::new(),
    );
    for (what, plain, proxied) in [
        (
            "a delivery, one event a second, µs of processor",
            &plain.low,
            &proxied.low,
        ),
        (
            "a delivery, 20 events at once, µs of processor",
            &plain.load,
            &proxied.load,
        ),
        (
            "a delivery of 64 KiB, µs of processor",
            &plain.large,
            &proxied.large,
        ),
    ] {
        row(
            what,
            format!("{:.2}", plain.cpu_us),
            format!("{:.2}", proxied.cpu_us),
            format!("{:.2}", gateway(&proxied.beside_us)),
        );
    }
    row(
        "one event to all: the last one has it, ms",
        format!("{:.0}", plain.low.last_ms),
        format!("{:.0}", proxied.low.last_ms),
        String::new(),
    );
    row(
        "lost",
        missing(plain).to_string(),
        missing(proxied).to_string(),
        String::new(),
    );
    text.push('\n');
    text
}

fn missing(figures: &Figures) -> u64 {
    figures.low.missing + figures.load.missing + figures.large.missing
}
