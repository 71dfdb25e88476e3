//! `crier up` as its users know it: one command, Ctrl-C, kill -9, a second start, and what it refuses.

use std::path::Path;

use crier_testkit::{HttpClient, wait_for};
use serde_json::json;
use tempfile::tempdir;
use tokio::process::Command;

use crate::fleet::{Process, command, outcome, running_with};
use crate::people::expect;
use crate::stream::Stream;

fn up(data: &Path) -> Command {
    let data = data.to_str().unwrap();
    let any = "127.0.0.1:0";
    command(&[
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
    ])
}

struct Running {
    process: Process,
    api: String,
    gateways: [String; 2],
}

async fn start(data: &Path) -> Running {
    let mut process = Process::start(&mut up(data));
    let api = process.url("API").await;
    let gateways = [process.url("gateway").await, process.url("gateway").await];
    Running {
        process,
        api,
        gateways,
    }
}

async fn log_in(api: &str, user: &str) -> (HttpClient, String) {
    let answer = HttpClient::new(api)
        .post("/demo/login", &json!({ "user": user }))
        .await;
    let token = expect(&answer, 200)["token"].as_str().unwrap().to_owned();
    (HttpClient::new(api).with_token(&token), token)
}

const DISCUSSIONS: &str = "/api/articles/gpt-5-architecture/discussions/";

async fn discussions(http: &HttpClient) -> Vec<String> {
    let groups = http.get("/api/communities/").await;
    let id = expect(&groups, 200)["communities"][0]["id"]
        .as_i64()
        .unwrap();
    let list = http.get(&format!("{DISCUSSIONS}?community_id={id}")).await;
    let list = expect(&list, 200)["discussions"]
        .as_array()
        .unwrap()
        .clone();
    list.iter()
        .map(|found| found["topic"].as_str().unwrap().to_owned())
        .collect()
}

async fn discuss(http: &HttpClient, topic: &str) {
    let groups = http.get("/api/communities/").await;
    let id = expect(&groups, 200)["communities"][0]["id"]
        .as_i64()
        .unwrap();
    let body = json!({"topic": topic, "content": "…"});
    expect(
        &http
            .post(&format!("{DISCUSSIONS}?community_id={id}"), &body)
            .await,
        201,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_continues_and_no_child_outlives_a_kill() {
    let data = tempdir().unwrap();
    let own_server = format!("--config {}", data.path().canonicalize().unwrap().display());
    let first = start(data.path()).await;
    let (alice, _) = log_in(&first.api, "alice").await;
    let (_, bob) = log_in(&first.api, "bob").await;
    let mut at_bob = Stream::open(&first.gateways[1], &bob).await;
    discuss(&alice, "before the kill").await;
    at_bob.discussion("before the kill").await;
    assert_eq!(running_with(&own_server).len(), 1, "its own nats-server");

    first.process.signal("KILL");
    first.process.ended().await;
    wait_for("the nats-server to be gone", async || {
        running_with(&own_server).is_empty().then_some(())
    })
    .await;

    let second = start(data.path()).await;
    let (alice, _) = log_in(&second.api, "alice").await;
    let topics = discussions(&alice).await;
    assert!(topics.contains(&"before the kill".to_owned()), "{topics:?}");
    let sample_data = topics.len() - 1;
    assert_eq!(sample_data, 1, "sample data once: {topics:?}");
    let mut at_bob = Stream::open(&second.gateways[0], &bob).await;
    discuss(&alice, "after the kill").await;
    at_bob.discussion("after the kill").await;

    // Ctrl-C: streams are closed in order, the exit code is that of success.
    second.process.signal("INT");
    assert_eq!(at_bob.named("bye").await["reason"], "drain");
    assert!(second.process.ended().await, "an orderly end");
    assert_eq!(running_with(&own_server), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_work_is_refused_in_one_sentence() {
    let data = tempdir().unwrap();
    let held = start(data.path()).await;
    let address = held.api.trim_start_matches("http://").to_owned();
    let elsewhere = tempdir().unwrap();
    let fresh = elsewhere.path().join("data");
    let fresh = fresh.to_str().unwrap();
    let broken = tempdir().unwrap();
    std::fs::write(
        broken.path().join("crier.db"),
        "this is no database, and long enough to be read as one".repeat(99),
    )
    .unwrap();

    let cases: [(&str, Command, &str); 8] = [
        (
            "the data directory is taken",
            up(data.path()),
            "another crier is running",
        ),
        (
            "a busy port",
            command(&["up", "--data-dir", fresh, "--api", &address]),
            "is already in use",
        ),
        (
            "no nats-server",
            {
                let mut command = command(&["up", "--data-dir", fresh]);
                command.env("CRIER_UP__NATS_SERVER", "/nowhere/nats-server");
                command
            },
            "can't be run as a nats-server",
        ),
        ("a broken database file", up(broken.path()), "crier.db"),
        (
            "a misspelt setting",
            {
                let mut command = command(&["up", "--data-dir", fresh]);
                command.env("CRIER_GATEWAY__HEARTBEET", "1s");
                command
            },
            "gateway.heartbeet",
        ),
        (
            "a retention shorter than the marks",
            {
                let mut command = command(&["up", "--data-dir", fresh]);
                command.env("CRIER_RELAY__RETENTION", "1s");
                command
            },
            "relay.retention is 1 s",
        ),
        (
            "a fleet's service without settings",
            command(&["gateway"]),
            "nats.url is not set",
        ),
        (
            "no database",
            command(&["migrate"]),
            "database.url is not set",
        ),
    ];
    for (what, mut command, expected) in cases {
        let ended = outcome(&mut command).await;
        assert!(!ended.success, "{what}");
        let said: Vec<&str> = ended
            .stderr
            .lines()
            .filter(|line| line.starts_with("crier: "))
            .collect();
        assert_eq!(said.len(), 1, "{what}: {}", ended.stderr);
        assert!(said[0].contains(expected), "{what}: {}", said[0]);
        assert!(
            !ended.stderr.contains("panicked"),
            "{what}: {}",
            ended.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_printed_by_the_tool_is_taken() {
    let data = tempdir().unwrap();
    let running = start(data.path()).await;
    let directory = data.path().to_str().unwrap();
    let print = command(&[
        "token",
        "--user-id",
        "1",
        "--username",
        "alice",
        "--data-dir",
        directory,
    ])
    .output();
    let token = String::from_utf8(print.await.unwrap().stdout).unwrap();
    let http = HttpClient::new(&running.api).with_token(token.trim());
    expect(&http.get("/api/discussions/user-subscriptions/").await, 200);
}
