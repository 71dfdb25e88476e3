//! From `crier up` to ready: a first start, which makes database, secrets and log, and later ones on the same data.

use std::time::{Duration, Instant};

use crate::fleet::Process;

const STARTS: usize = 9;

pub(crate) async fn measure() -> anyhow::Result<()> {
    let mut first = Vec::new();
    let mut later = Vec::new();
    for _ in 0..STARTS {
        let data = tempfile::tempdir()?;
        let path = data.path().join("data");
        let path = path.to_string_lossy();
        first.push(start(&path).await?);
        later.push(start(&path).await?);
    }
    println!("## `crier up --demo` to ready, {STARTS} starts each, milliseconds\n");
    println!("| | min | median | max |\n|---|---|---|---|");
    for (what, mut times) in [("first start", first), ("later start", later)] {
        times.sort_unstable();
        let ms = |at: usize| times[at].as_millis();
        println!(
            "| {what} | {} | {} | {} |",
            ms(0),
            ms(STARTS / 2),
            ms(STARTS - 1)
        );
    }
    println!();
    Ok(())
}

/// Until the line that says it runs, which comes once all gateways follow the log.
async fn start(data: &str) -> anyhow::Result<Duration> {
    let any = "127.0.0.1:0";
    let begun = Instant::now();
    let arguments = [
        "up",
        "--demo",
        "--data-dir",
        data,
        "--api",
        any,
        "--gateway",
        any,
        "--gateway",
        any,
    ];
    let mut process = Process::start(&arguments, &[])?;
    process.url("API").await?;
    let took = begun.elapsed();
    process.stop().await?;
    Ok(took)
}
