//! Tables and JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::Arguments;
use super::steps::{FEW, Others, Share, Spent};
use crate::peers::{Figures, machine, replace_section};

const SECTION: &str = "## How it grows";

#[derive(Default, Serialize)]
pub(super) struct Growth {
    pub(super) connections: Vec<(String, Figures)>,
    pub(super) communities: Vec<(String, Figures)>,
    pub(super) audience: Vec<Spent>,
    pub(super) changes: Vec<Spent>,
    pub(super) interest: Vec<Share>,
    pub(super) spine: Vec<Others>,
}

pub(super) fn write(growth: &Growth, arguments: &Arguments) -> anyhow::Result<()> {
    let section = section(growth, arguments);
    println!("{section}");
    let Some(docs) = &arguments.docs else {
        return Ok(());
    };
    let folder = docs.join("bench");
    std::fs::create_dir_all(&folder)?;
    let json = serde_json::to_string_pretty(growth)? + "\n";
    std::fs::write(folder.join("growth.json"), json)?;
    replace_section(&docs.join("BENCHMARKS.md"), SECTION, &section)
}

fn section(growth: &Growth, arguments: &Arguments) -> String {
    let mut text = format!(
        "{SECTION}\n\n`make bench ARGS=growth`: Crier alone, by the readers and on the work of the section before \
         ({}). Processor time is the gateway's, for an event or a change \
         beyond what it takes with nothing to do, and without heartbeats.\n\n",
        machine()
    );
    whole(&mut text, "connections", &growth.connections);
    let title = format!("communities, with {} connections", arguments.streams);
    whole(&mut text, &title, &growth.communities);
    spent(
        &mut text,
        &format!("an event for {FEW} users"),
        &growth.audience,
    );
    spent(
        &mut text,
        "a user follows one more article",
        &growth.changes,
    );
    if !growth.interest.is_empty() {
        text.push_str("| three gateways, events of one community | bytes from NATS for each event |\n|---|---|\n");
        for (number, share) in (1..).zip(&growth.interest) {
            let who = if share.is_member {
                "holds its members"
            } else {
                "holds none of them"
            };
            let (streams, bytes) = (share.streams, share.bytes_each_event);
            let _ = writeln!(
                text,
                "| gateway {number}, {streams} streams, {who} | {bytes:.0} |"
            );
        }
        text.push('\n');
    }
    if !growth.spine.is_empty() {
        text.push_str(
            "| events a second of others: wanted | reached | % of a core | kB/s from NATS |\n|---|---|---|---|\n",
        );
        for others in &growth.spine {
            let _ = writeln!(
                text,
                "| {} | {:.0} | {:.1} | {:.0} |",
                others.rate, others.per_second, others.cpu_percent, others.kilobytes_per_second
            );
        }
        text.push('\n');
    }
    text
}

fn whole(text: &mut String, title: &str, rows: &[(String, Figures)]) {
    if rows.is_empty() {
        return;
    }
    let _ = write!(
        text,
        "| {title} | failed | connects/s | µs a connect | KiB resident each | µs a delivery, one event a second | \
         µs, 20 at once | deliveries/s | last of all, ms | MiB after all left |\n|---|---|---|---|---|---|---|---|---|---|\n"
    );
    for (what, figures) in rows {
        let _ = writeln!(
            text,
            "| {what} | {} | {:.0} | {:.0} | {:.1} | {:.2} | {:.2} | {:.0} | {:.1} | {} |",
            figures.failed,
            figures.connects_per_second,
            figures.connect_cpu_us,
            figures.bytes_per_connection() / 1024.0,
            figures.low.cpu_us,
            figures.load.cpu_us,
            figures.load.per_second,
            figures.low.last_ms,
            figures.resident_after_leaving >> 20,
        );
    }
    text.push('\n');
}

fn spent(text: &mut String, title: &str, rows: &[Spent]) {
    if rows.is_empty() {
        return;
    }
    let _ = write!(
        text,
        "| {title} | µs of processor each | with nothing to do, % of a core |\n|---|---|---|\n"
    );
    for row in rows {
        let (connected, each, idle) = (row.connected, row.cpu_us, row.idle_percent);
        let _ = writeln!(text, "| {connected} connected | {each:.1} | {idle:.2} |");
    }
    text.push('\n');
}
