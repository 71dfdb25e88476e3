//! The fault campaign, three seeds of it: between them they break everything that it can break.

use std::time::Duration;

use tokio::process::Command;

use crate::fleet::binary;

/// Half a minute each and at once, and what a busy machine needs beside.
const WITHIN: Duration = Duration::from_secs(300);

#[tokio::test]
async fn three_seeds_lose_leak_double_and_disorder_nothing() {
    let crier = binary();
    let folder = crier.parent().unwrap().join("chaos");
    let mut campaign = Command::new(crier.with_file_name("crier-chaos"));
    campaign
        .args(["--seed", "1", "--seeds", "3", "--jobs", "3", "--folder"])
        .arg(&folder)
        .kill_on_drop(true);
    let ran = tokio::time::timeout(WITHIN, campaign.output()).await;
    let output = ran.expect("the campaign ends in time").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let cause = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{cause}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("3 seeds, "), "{said}");
    assert!(
        last.ends_with(": 0 lost, 0 leaked, 0 duplicated, 0 out of order"),
        "{said}"
    );
}
