//! Slow, vanished and hostile clients: while they do what they do, the others get every event, once and in order, and
//! when they have gone, nothing of them is left.

mod attacks;
mod client;

use std::time::Duration;

use crier_testkit::{HttpClient, SseClient, wait_for};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::figures::until;
use crate::fleet::{Process, gateway_of};
use crate::people::{Person, group, talk};
use crate::stream::Stream;
use crate::world::{Options, World};

pub(crate) use client::Client;

/// Events that are older than what a gateway keeps.
const OLD: usize = 300;

/// Small bounds and short times, so that they are met.
const SETTINGS: [(&str, &str); 7] = [
    ("HEAD_TIMEOUT", "1s"),
    ("STALL_TIMEOUT", "1s"),
    ("HEARTBEAT", "500ms"),
    ("QUEUE_MESSAGES", "64"),
    ("RING_EVENTS", "16"),
    ("INTEREST_LINGER", "200ms"),
    ("MAX_SOCKETS", "2000"),
];

/// A gateway as a process, ready.
async fn gateway(world: &World) -> (Process, String) {
    started(&mut gateway_of(world, &SETTINGS)).await
}

async fn started(command: &mut tokio::process::Command) -> (Process, String) {
    let mut gateway = Process::start(command);
    let url = gateway.url("gateway").await;
    wait_for("the gateway to be ready", async || {
        let ready = HttpClient::new(&url).get("/health/ready").await;
        (ready.status == 200).then_some(())
    })
    .await;
    (gateway, url)
}

/// Waits until the gateway holds this many streams, and nothing of any other.
async fn nothing_is_left(url: &str, streams: f64) {
    until(url, "nothing to be left", |figures| {
        let of_nobody = [
            "replays",
            "queue_entries",
            "queue_bytes",
            "early_bytes",
            "page_bytes",
        ];
        let all_gone = streams > 0.0
            || ["users", "interests", "ring_bytes"]
                .iter()
                .all(|name| figures.get(&format!("gateway_{name}")) == 0.0);
        // Whoever asks for the metrics has sockets too.
        all_gone
            && figures.get("gateway_connections") == streams
            && figures.get("gateway_streams_held") == streams
            && figures.get("gateway_sockets") <= streams + 2.0
            && of_nobody
                .iter()
                .all(|name| figures.get(&format!("gateway_{name}")) == 0.0)
    })
    .await;
}

fn text(number: usize) -> String {
    format!("{number} {}", "x".repeat(2000))
}

/// Writes one comment after the other until it is told to stop, and then "end"; gives what it wrote.
fn write(
    alice: &Person,
    discussion: i64,
    from: usize,
) -> (CancellationToken, JoinHandle<Vec<String>>) {
    let (stop, alice) = (CancellationToken::new(), alice.clone());
    let stopped = stop.clone();
    let task = tokio::spawn(async move {
        let mut written = Vec::new();
        while !stopped.is_cancelled() {
            let text = text(from + written.len());
            alice.comment(discussion, &text).await;
            written.push(text);
        }
        alice.comment(discussion, "end").await;
        written
    });
    (stop, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_hostile_clients_do_all_they_can_the_others_get_every_event() {
    let world = World::start().await;
    let (alice, bob, carol, place) = group(&world).await;
    let hostile: Vec<Person> = (10..14)
        .map(|id| world.person(id, &format!("mallory{id}")))
        .collect();
    for member in [&bob, &carol].into_iter().chain(&hostile) {
        alice.add_member(place.community, member).await;
        member.subscribe(place).await;
    }
    let discussion = alice.discuss(place, "Under attack").await;
    world.settled().await;
    let (process, url) = gateway(&world).await;
    let begin = Stream::open(&url, &hostile[0].token).await;
    let cursor = begin.last_event_id().to_owned();
    drop(begin);
    let mut old = Vec::new();
    for number in 0..OLD {
        alice.comment(discussion, &text(number)).await;
        old.push(text(number));
    }
    world.settled().await;

    let mut good = Vec::new();
    for person in [&bob, &carol, &bob] {
        let mut stream = Stream::open(&url, &person.token).await;
        good.push(tokio::spawn(async move {
            let came = stream.comments_until("end").await;
            (came, stream)
        }));
    }
    let (stop, writing) = write(&alice, discussion, OLD);
    let [trickler, churner, ancient, odd] =
        [0, 1, 2, 3].map(|number| hostile[number].token.as_str());
    let mut trickling = tokio::task::JoinSet::new();
    for bytes in [1, 400] {
        let pause = Duration::from_millis(50);
        let readers = attacks::SlowReaders::open(&url, trickler, 5, bytes, pause).await;
        trickling.spawn(readers.read());
    }
    let (vanished, ..) = tokio::join!(
        attacks::vanish(&url, trickler, 10),
        attacks::slowloris(&url),
        attacks::churn(&url, churner, 8, 100),
        attacks::ancient(&url, ancient, &cursor, &old),
        attacks::malformed(&url),
        attacks::odd(&url, odd),
    );
    stop.cancel();
    let written = writing.await.unwrap();
    let mut streams = Vec::new();
    for client in good {
        let (came, stream) = client.await.unwrap();
        assert!(came == written, "{} of {}", came.len(), written.len());
        streams.push(stream);
    }
    // Slow readers have been given up though they read on, vanished clients though they never said that they go.
    nothing_is_left(&url, 3.0).await;
    drop((streams, vanished, trickling));
    nothing_is_left(&url, 0.0).await;
    process.signal("TERM");
    assert!(process.ended().await);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_vanished_are_given_up_though_nothing_says_so() {
    let world = World::start().await;
    let (alice, bob, discussion) = talk(&world).await;
    let (_process, url) = gateway(&world).await;
    let mut open = Stream::open(&url, &bob.token).await;
    let vanished = attacks::vanish(&url, &bob.token, 10).await;
    until(&url, "all streams to be seen", |figures| {
        figures.get("gateway_streams_held") == 11.0
    })
    .await;
    // Heartbeats are not acknowledged.
    nothing_is_left(&url, 1.0).await;
    alice.comment(discussion, "still here").await;
    let event = open.event().await;
    assert_eq!(event["data"]["comment"]["content"], "still here");
    drop(vanished);
    world.end().await;
}

/// Readers that read on and on are given up, and nothing of them is kept while they do.
async fn slow_readers_are_given_up(bytes: usize, pause: Duration) {
    const READERS: usize = 5;
    let world = World::start().await;
    let (alice, bob, discussion) = talk(&world).await;
    let (_process, url) = gateway(&world).await;
    let mut open = Stream::open(&url, &bob.token).await;
    let readers = attacks::SlowReaders::open(&url, &bob.token, READERS, bytes, pause).await;
    until(&url, "all streams to be open", |figures| {
        figures.get("gateway_streams_held") == 1.0 + READERS as f64
    })
    .await;
    let (stop, writing) = write(&alice, discussion, 0);
    let reading = tokio::spawn(async move { (open.comments_until("end").await, open) });
    let reads = tokio::spawn(readers.read());
    nothing_is_left(&url, 1.0).await;
    stop.cancel();
    let written = writing.await.unwrap();
    let (came, _open) = reading.await.unwrap();
    assert!(came == written, "{} of {}", came.len(), written.len());
    reads.abort();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_one_byte_a_second_is_given_up() {
    slow_readers_are_given_up(1, Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_some_kilobytes_a_second_is_given_up() {
    slow_readers_are_given_up(400, Duration::from_millis(50)).await;
}

/// The memory that a process has, in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_and_goes_thousands_of_times_leaves_no_memory_behind() {
    let world = World::start().await;
    let (_, bob, _) = talk(&world).await;
    let (process, url) = gateway(&world).await;
    attacks::churn(&url, &bob.token, 16, 125).await;
    nothing_is_left(&url, 0.0).await;
    let before = resident(process.pid());
    attacks::churn(&url, &bob.token, 16, 250).await;
    nothing_is_left(&url, 0.0).await;
    let grown = resident(process.pid()).saturating_sub(before);
    assert!(
        grown < 4096,
        "{grown} KiB more than {before} after 4,000 connections"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_user_has_so_many_streams_and_no_more() {
    let world = World::with(Options {
        gateway: Some(|config| config.streams_per_user = 3),
        ..Options::default()
    })
    .await;
    let (alice, bob, discussion) = talk(&world).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(bob.stream(0).await);
    }
    let url = format!("{}/events", bob.gateways[0]);
    let authorization = format!("Bearer {}", bob.token);
    let headers = [("authorization", authorization.as_str())];
    let mut fourth = SseClient::connect(&url, &headers).await.unwrap();
    assert_eq!(
        fourth.status(),
        200,
        "another would end an EventSource for good"
    );
    let bye = fourth.next_frame(Duration::from_secs(30)).await.unwrap();
    assert_eq!(bye.event.as_deref(), Some("bye"));
    assert_eq!(bye.json()["reason"], "busy");
    assert!(bye.retry.is_some());
    assert_eq!(fourth.next_frame(Duration::from_secs(30)).await, None);

    // Another gateway counts for itself, and others for themselves.
    let at_other = bob.stream(1).await;
    let at_alice = alice.stream(0).await;
    alice.comment(discussion, "to all three").await;
    for stream in &mut held {
        let event = stream.event().await;
        assert_eq!(event["data"]["comment"]["content"], "to all three");
    }
    held.pop();
    until(&bob.gateways[0], "a place to be free", |figures| {
        figures.get("gateway_streams_held") == 3.0
    })
    .await;
    held.push(bob.stream(0).await);
    drop((at_other, at_alice));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_new_streams_are_told_so_and_old_ones_go_on() {
    let world = World::start().await;
    let (alice, bob, discussion) = talk(&world).await;
    let mut limited = with_descriptors(120, &gateway_of(&world, &[("STREAMS_PER_USER", "1000")]));
    let (_gateway, url) = started(&mut limited).await;
    let mut held = Vec::new();
    let authorization = format!("Bearer {}", bob.token);
    let headers = [("authorization", authorization.as_str())];
    let bye = loop {
        let mut stream = SseClient::connect(&format!("{url}/events"), &headers)
            .await
            .unwrap();
        assert_eq!(stream.status(), 200);
        let first = stream.next_frame(Duration::from_secs(30)).await.unwrap();
        if first.event.as_deref() == Some("bye") {
            break first;
        }
        assert_eq!(first.event.as_deref(), Some("ready"));
        held.push(stream);
        assert!(held.len() < 120, "more streams than descriptors");
    };
    assert_eq!(bye.json()["reason"], "busy");
    assert!(bye.retry.is_some());
    assert!(held.len() > 30, "{}", held.len());
    // All that there are besides, and more.
    let others: Vec<_> = (0..200)
        .map(|_| std::net::TcpStream::connect(url.trim_start_matches("http://")).unwrap())
        .collect();
    alice.comment(discussion, "to all who are there").await;
    for stream in &mut held {
        let event = stream.next_frame(Duration::from_secs(30)).await.unwrap();
        assert_eq!(
            event.json()["data"]["comment"]["content"],
            "to all who are there"
        );
    }
    drop(others);
    world.end().await;
}

/// The same command, for a process that may have so many files open and can't have more.
fn with_descriptors(most: u32, command: &tokio::process::Command) -> tokio::process::Command {
    let command = command.as_std();
    let mut limited = tokio::process::Command::new("/bin/sh");
    limited
        .args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\"")])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(
            command
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true);
    limited
}
