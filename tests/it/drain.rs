//! Gateways that stop: all of a fleet, one after the other, under load; and one whose clients never read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crier_testkit::{HttpClient, wait_for};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::figures::{Figures, until};
use crate::fleet::{Process, gateway_of};
use crate::hostile::Client;
use crate::people::{Person, Place, group_of, talk};
use crate::source::{Seen, Source};
use crate::world::{Options, World};

const MEMBERS: i64 = 40;
const COMMUNITIES: usize = 3;
const WINDOW: Duration = Duration::from_secs(2);

/// Writes in one discussion after the other until it is told to stop; gives what it wrote in each community.
fn write(alice: &Person, discussions: Vec<(i64, i64)>) -> (CancellationToken, JoinHandle<Written>) {
    let (stop, alice) = (CancellationToken::new(), alice.clone());
    let stopped = stop.clone();
    let task = tokio::spawn(async move {
        let mut written = Written::new();
        // A last one everywhere after it was told.
        let mut left = discussions.len();
        for (number, (community, discussion)) in discussions.iter().cycle().enumerate() {
            if stopped.is_cancelled() {
                if left == 0 {
                    break;
                }
                left -= 1;
            }
            let text = number.to_string();
            alice.comment(*discussion, &text).await;
            written.entry(*community).or_default().push(text);
        }
        written
    });
    (stop, task)
}

/// Contents of comments by community, in their order.
type Written = BTreeMap<i64, Vec<String>>;

/// The comments among these events.
fn came(events: &[Value]) -> Written {
    let mut came = Written::new();
    for event in events {
        if let Some(content) = event["data"]["comment"]["content"].as_str() {
            let community = event["community_id"].as_i64().unwrap();
            came.entry(community).or_default().push(content.to_owned());
        }
    }
    came
}

/// Members who each follow all communities but one, with three tabs each.
async fn crowd(alice: &Person, places: &[Place], world: &World) -> Vec<(i64, Source)> {
    let mut sources = Vec::new();
    for id in 100..100 + MEMBERS {
        let member = world.person(id, &format!("member{id}"));
        let without = usize::try_from(id).unwrap() % COMMUNITIES;
        for (number, place) in places.iter().enumerate() {
            alice.add_member(place.community, &member).await;
            if number != without {
                member.subscribe(*place).await;
            }
        }
        sources.push((places[without].community, member));
    }
    world.settled().await;
    let tabs = sources.iter().flat_map(|(without, member)| {
        let tab = |gateway| Source::of(&member.gateways, &member.token, gateway);
        (0..3).map(move |gateway| (*without, tab(gateway)))
    });
    tabs.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_gateways_restarted_one_after_the_other_under_load_lose_nothing_and_make_no_storm() {
    let mut world = World::with(Options {
        gateway: Some(|config| config.drain_window = WINDOW.into()),
        ..Options::default()
    })
    .await;
    world.add_gateway().await;
    let alice = world.person(1, "alice");
    let (mut places, mut discussions) = (Vec::new(), Vec::new());
    for _ in 0..COMMUNITIES {
        let place = group_of(&alice, &[]).await;
        discussions.push((place.community, alice.discuss(place, "Rolling").await));
        places.push(place);
    }
    let sources = crowd(&alice, &places, &world).await;
    for (_, source) in &sources {
        source.ready().await;
    }
    let (stop, writing) = write(&alice, discussions);

    let mut drained = Vec::new();
    for gateway in 0..3 {
        let from = Instant::now();
        world.stop_gateway(gateway).await;
        drained.push(from..Instant::now());
        world.start_gateway_again(gateway).await;
    }
    stop.cancel();
    let written = writing.await.unwrap();
    for (without, source) in &sources {
        let mut expected = written.clone();
        expected.remove(without);
        let all = expected.values().map(Vec::len).sum();
        source
            .until("all that was written", |seen| {
                came(&seen.events).values().map(Vec::len).sum::<usize>() >= all
            })
            .await;
        let seen = source.seen();
        assert_eq!(came(&seen.events), expected);
        assert!(seen.resets.is_empty() && seen.ended.is_none());
        // A gateway that has just started may not know yet where the log stands.
        let expected = |reason: &&str| ["drain", "unavailable"].contains(reason);
        assert!(seen.byes().iter().all(expected), "{:?}", seen.byes());
    }
    no_storm(&sources, &drained);
    world.end().await;
}

/// Streams were closed over the window, and each client was told another time to come back.
fn no_storm(sources: &[(i64, Source)], drained: &[std::ops::Range<Instant>]) {
    let seen: Vec<_> = sources.iter().map(|(_, source)| source.seen()).collect();
    let attempts = seen.iter().flat_map(|seen: &_| {
        let seen: &Seen = seen;
        seen.attempts.iter()
    });
    let byes: Vec<(Instant, Duration)> = attempts
        .filter_map(|attempt| Some((attempt.bye_at?, attempt.bye.as_ref()?)))
        .filter(|(_, (reason, _))| reason == "drain")
        .map(|(at, (_, retry))| (at, *retry))
        .collect();
    assert!(byes.len() >= sources.len(), "{} byes", byes.len());
    let retries: BTreeSet<Duration> = byes.iter().map(|(_, retry)| *retry).collect();
    assert!(
        retries.len() > byes.len() / 2,
        "{} of {}",
        retries.len(),
        byes.len()
    );
    // From 0.2 to 3 s: each quarter of it has its share.
    for quarter in 0..4 {
        let from = Duration::from_millis(200 + 700 * quarter);
        let share = byes
            .iter()
            .filter(|(_, retry)| (from..from + Duration::from_millis(700)).contains(retry))
            .count();
        assert!(
            share > byes.len() / 16,
            "{share} of {} in quarter {quarter}",
            byes.len()
        );
    }
    for window in drained {
        let within: Vec<Instant> = byes
            .iter()
            .map(|(at, _)| *at)
            .filter(|at| window.contains(at))
            .collect();
        assert!(within.len() >= 20, "{} byes of a gateway", within.len());
        let spread = *within.iter().max().unwrap() - *within.iter().min().unwrap();
        assert!(spread > WINDOW / 2, "{spread:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_drains_is_not_ready_and_ends_though_clients_never_read() {
    let world = World::start().await;
    let (alice, bob, discussion) = talk(&world).await;
    let mut gateway = Process::start(&mut gateway_of(
        &world,
        &[
            ("QUEUE_MESSAGES", "16"),
            // The kernel is not to end them.
            ("STALL_TIMEOUT", "10m"),
            ("DRAIN_WINDOW", "1s"),
            ("DRAIN_DEADLINE", "5s"),
        ],
    ));
    let url = gateway.url("gateway").await;
    wait_for("the gateway to be ready", async || {
        let ready = HttpClient::new(&url).get("/health/ready").await;
        (ready.status == 200).then_some(())
    })
    .await;
    // One is closed because it is slow, and still there; the others have read nothing, not even the head.
    let mut stuck = Vec::new();
    for _ in 0..20 {
        let mut client = Client::small(&url).await;
        client.get_events(&bob.token, None).await;
        stuck.push(client);
    }
    let open = |figures: &Figures| figures.get("gateway_connections") == 20.0;
    until(&url, "the streams to be open", open).await;
    let text = Arc::new("x".repeat(4096));
    wait_for("a client to be slow", async || {
        alice.comment(discussion, &text).await;
        let figures = Figures::of(&url).await;
        (figures.get("gateway_connections") < 20.0).then_some(())
    })
    .await;

    let reader = Source::of(std::slice::from_ref(&url), &bob.token, 0);
    reader.ready().await;
    gateway.signal("TERM");
    reader
        .until("to be sent away", |seen| !seen.byes().is_empty())
        .await;
    assert_eq!(reader.seen().byes()[0], "drain");
    // Not ready, or gone already.
    let ready = HttpClient::new(&url)
        .call(http::Method::GET, "/health/ready", None)
        .await;
    assert!(ready.is_err() || ready.unwrap().status == 503);
    assert!(gateway.ended().await, "it ended as it should");
    drop(stuck);
    world.end().await;
}
