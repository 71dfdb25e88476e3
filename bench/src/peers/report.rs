//! Tables, plots and JSON of a measurement. Of several turns the median counts, each figure by itself.

mod plot;

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::server::Kind;
use super::work::{Delivered, Figures};
use super::{Arguments, Outcome};

const SECTION: &str = "## Beside its peers";

pub(super) fn write(outcome: &Outcome, arguments: &Arguments) -> anyhow::Result<()> {
    let section = section(outcome, arguments);
    println!("{section}");
    let Some(docs) = &arguments.docs else {
        return Ok(());
    };
    let folder = docs.join("bench");
    std::fs::create_dir_all(&folder)?;
    let figures = json!({
        "machine": machine(),
        "connections": arguments.connections,
        "bytes": arguments.bytes,
        "versions": outcome.about.iter().map(|(name, about)| (*name, &about.version)).collect::<Vec<_>>(),
        "missing": outcome.missing,
        "turns": outcome.turns,
    });
    std::fs::write(
        folder.join("peers.json"),
        serde_json::to_string_pretty(&figures)? + "\n",
    )?;
    for (name, plot) in plots(outcome) {
        std::fs::write(folder.join(name), plot)?;
    }
    replace_section(&docs.join("BENCHMARKS.md"), SECTION, &section)
}

/// Puts a section where one with the same title was, or at the end.
pub(crate) fn replace_section(path: &Path, title: &str, section: &str) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let (before, rest) = text
        .split_once(&format!("{title}\n"))
        .unwrap_or((&text, ""));
    let after = rest.find("\n## ").map_or("", |at| &rest[at + 1..]);
    let parts = [before.trim_end(), section.trim_end(), after.trim_end()];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Ok(std::fs::write(path, parts.join("\n\n") + "\n")?)
}

/// Processor, cores and kernel.
pub(crate) fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown");
    let model = model.trim_start_matches(['\t', ' ', ':']);
    let cores = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores of {model}, Linux {}", kernel.trim())
}

/// One figure of one server: the median of its turns.
fn of(outcome: &Outcome, kind: Kind, figure: impl Fn(&Figures) -> f64) -> Option<f64> {
    let turns = outcome.turns.get(kind.name())?;
    let mut values: Vec<f64> = turns.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// A row of a table.
struct Row<'a> {
    name: String,
    /// How many decimals.
    decimals: usize,
    figure: Box<dyn Fn(&Figures) -> f64 + 'a>,
    /// Whether it stands beside the floor's, too.
    has_ratio: bool,
}

fn row<'a>(
    name: impl Into<String>,
    decimals: usize,
    has_ratio: bool,
    figure: impl Fn(&Figures) -> f64 + 'a,
) -> Row<'a> {
    Row {
        name: name.into(),
        decimals,
        figure: Box::new(figure),
        has_ratio,
    }
}

fn table(outcome: &Outcome, title: &str, rows: &[Row<'_>]) -> String {
    let mut text = format!("| {title} |");
    for kind in Kind::ALL {
        let _ = write!(text, " {} |", kind.name());
    }
    text.push_str("\n|---|---|---|---|---|---|\n");
    for row in rows {
        let _ = write!(text, "| {} |", row.name);
        let floor = of(outcome, Kind::Floor, &row.figure).filter(|floor| *floor > 0.0);
        for kind in Kind::ALL {
            let decimals = row.decimals;
            match (of(outcome, kind, &row.figure), floor) {
                (None, _) => text.push_str(" missing |"),
                (Some(value), Some(floor)) if row.has_ratio && kind != Kind::Floor => {
                    let _ = write!(text, " {value:.decimals$} ({:.2} ×) |", value / floor);
                }
                (Some(value), _) => {
                    let _ = write!(text, " {value:.decimals$} |");
                }
            }
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

#[allow(clippy::cast_precision_loss, reason = "bytes of memory")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn section(outcome: &Outcome, arguments: &Arguments) -> String {
    let mut text = format!(
        "{SECTION}\n\n`make bench ARGS=peers`: {} streams, each event to all of them, {} bytes of it on the wire, \
         the servers in turns on the same machine ({}), {} turns each, of which the median counts. The readers are \
         one process of raw sockets on the same cores; what is stated is the server's own processor time and memory, \
         as the kernel counts them. The kernel floor is a loop that does nothing but one `write` for each event and \
         socket.\n\n",
        arguments.connections,
        arguments.bytes,
        machine(),
        arguments.rounds,
    );
    text.push_str("| | version | settings |\n|---|---|---|\n");
    for kind in Kind::ALL {
        let name = kind.name();
        if let Some(about) = outcome.about.get(name) {
            let _ = writeln!(text, "| {name} | {} | {} |", about.version, about.settings);
        } else if let Some(why) = outcome.missing.get(name) {
            let _ = writeln!(text, "| {name} | missing | {why} |");
        }
    }
    text.push('\n');
    text.push_str(&table(outcome, "a connection", &connection_rows()));
    text.push_str(&table(outcome, "a delivery", &delivery_rows(arguments)));
    text.push_str(&table(outcome, "one event to all", &fan_out_rows()));
    text.push_str(&beside(outcome));
    for (name, _) in plots(outcome) {
        let _ = writeln!(text, "![{name}](bench/{name})");
    }
    text
}

fn connection_rows() -> Vec<Row<'static>> {
    vec![
        row("resident, idle, KiB", 1, false, |figures| {
            figures.bytes_per_connection() / 1024.0
        }),
        row("kernel, both ends, KiB", 1, false, |figures| {
            figures.kernel_per_connection() / 1024.0
        }),
        row("to connect, µs of processor", 1, false, |figures| {
            figures.connect_cpu_us
        }),
        row("connects a second", 0, false, |figures| {
            figures.connects_per_second
        }),
        row("refused or dropped", 0, false, |figures| {
            number(figures.failed)
        }),
        row("before anyone comes, MiB", 1, false, |figures| {
            mebibytes(figures.resident_before)
        }),
        row("all connected, MiB", 1, false, |figures| {
            mebibytes(figures.resident_idle)
        }),
        row("after the load, MiB", 1, false, |figures| {
            mebibytes(figures.resident_after_load)
        }),
        row("after all have left, MiB", 1, false, |figures| {
            mebibytes(figures.resident_after_leaving)
        }),
        row(
            "nothing published, before the first heartbeats, % of a core",
            2,
            false,
            |figures| figures.idle_cpu_percent,
        ),
    ]
}

fn delivery_rows(arguments: &Arguments) -> Vec<Row<'static>> {
    vec![
        row("one event a second, µs of processor", 2, true, |figures| {
            figures.low.cpu_us
        }),
        row(
            "– of which in the program itself, µs",
            2,
            false,
            |figures| figures.low.user_us,
        ),
        row(
            format!("{} events at once, µs of processor", arguments.burst),
            2,
            true,
            |figures| figures.load.cpu_us,
        ),
        row("– deliveries a second", 0, false, |figures| {
            figures.load.per_second
        }),
        row("64 KiB, µs of processor", 1, true, |figures| {
            figures.large.cpu_us
        }),
        row("bytes on the wire", 0, false, |figures| {
            f64::from(u32::try_from(figures.low.frame_bytes).unwrap_or_default())
        }),
        row("lost", 0, false, |figures| {
            let lost = figures.low.missing + figures.load.missing + figures.large.missing;
            f64::from(u32::try_from(lost).unwrap_or(u32::MAX))
        }),
    ]
}

fn fan_out_rows() -> Vec<Row<'static>> {
    vec![
        row("350 bytes: half of them have it, ms", 1, true, |figures| {
            figures.low.median_ms
        }),
        row("350 bytes: the last one has it, ms", 1, true, |figures| {
            figures.low.last_ms
        }),
        row("64 KiB: half of them have it, ms", 1, true, |figures| {
            figures.large.median_ms
        }),
        row("64 KiB: the last one has it, ms", 1, true, |figures| {
            figures.large.last_ms
        }),
    ]
}

/// What stands beside Crier's gateway.
fn beside(outcome: &Outcome) -> String {
    let Some(turn) = outcome
        .turns
        .get(Kind::Crier.name())
        .and_then(|turns| turns.first())
    else {
        return String::new();
    };
    let mut text =
        String::from("Beside Crier's gateway, µs of processor for each connect or delivery:\n\n");
    text.push_str("| | connect | one event a second | at once | 64 KiB |\n|---|---|---|---|---|\n");
    let value = |beside: &[(String, f64)], name: &str| {
        let found = beside.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| *value).unwrap_or_default()
    };
    for (name, connect) in &turn.connect_beside_us {
        let delivered = |delivered: &Delivered| value(&delivered.beside_us, name);
        let _ = writeln!(
            text,
            "| {name} | {connect:.1} | {:.2} | {:.2} | {:.2} |",
            delivered(&turn.low),
            delivered(&turn.load),
            delivered(&turn.large),
        );
    }
    text.push('\n');
    text
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn plots(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let bars = |figure: fn(&Figures) -> f64| -> Vec<(&'static str, Option<f64>)> {
        let all = Kind::ALL.into_iter();
        all.map(|kind| (kind.name(), of(outcome, kind, figure)))
            .collect()
    };
    vec![
        (
            "delivery-low.svg",
            plot::bars(
                "A delivery, one event a second: µs of processor",
                &bars(|f| f.low.cpu_us),
            ),
        ),
        (
            "delivery-load.svg",
            plot::bars(
                "A delivery, events at once: µs of processor",
                &bars(|f| f.load.cpu_us),
            ),
        ),
        (
            "connection.svg",
            plot::bars(
                "An idle connection: KiB resident",
                &bars(|f| f.bytes_per_connection() / 1024.0),
            ),
        ),
        (
            "fan-out.svg",
            plot::bars(
                "One event to all: ms until the last has it",
                &bars(|f| f.low.last_ms),
            ),
        ),
    ]
}
