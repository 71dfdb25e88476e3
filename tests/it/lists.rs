//! Fetch, then stream from the list's `last_event_id`: nothing falls between, however far behind the relay is.

use std::time::Duration;

use crier_domain::{Cursor, Keys};
use crier_store::{Store, Term};
use crier_testkit::wait_for;
use serde_json::Value;
use uuid::Uuid;

use crate::people::{Person, expect, group};
use crate::stream::Stream;
use crate::world::{Options, World};

/// Longer than the test.
const HELD: Duration = Duration::from_secs(600);

/// Takes the relay's lease away from it, and waits until it knows.
async fn hold_back(world: &World, store: &Store) -> Term {
    let holder = Uuid::new_v4();
    let mut theirs = 0;
    let term = wait_for("the lease", async || {
        // Each new leader has the next term.
        theirs += 1;
        store.release(Term(theirs)).await.unwrap();
        store.lease(holder, HELD).await.unwrap()
    })
    .await;
    let api = world.api();
    wait_for("the relay to follow", async || {
        let metrics = api.get("/metrics").await.text();
        let follows = metrics.lines().any(|line| line == "relay_leader 0");
        follows.then_some(())
    })
    .await;
    term
}

async fn comments(person: &Person, discussion: i64) -> (Vec<String>, String) {
    let path = format!("/api/discussions/{discussion}/comments/");
    let answer = person.http.get(&path).await;
    let list = expect(&answer, 200);
    let contents = list["comments"].as_array().unwrap().iter();
    let contents = contents.map(|comment: &Value| comment["content"].as_str().unwrap().to_owned());
    let position = list["last_event_id"].as_str().unwrap();
    (contents.collect(), position.to_owned())
}

async fn nothing_falls_between(postgres: bool) {
    let world = World::with(Options {
        postgres,
        ..Options::default()
    })
    .await;
    let (alice, bob, _, place) = group(&world).await;
    bob.subscribe(place).await;
    let discussion = alice.discuss(place, "Storm").await;
    alice.comment(discussion, "zero").await;
    world.settled().await;

    let store = world.store().await;
    let term = hold_back(&world, &store).await;
    alice.comment(discussion, "one").await;
    let (listed, position) = comments(&bob, discussion).await;
    assert_eq!(listed, ["zero", "one"]);
    let keys = Keys::from_base64(&[&world.keys]).unwrap();
    let cursor = Cursor::open(&position, &keys).unwrap();
    let stored = store.relay_position().await.unwrap().unwrap();
    assert_eq!((cursor.epoch, cursor.seq), (stored.epoch, stored.seq));
    alice.comment(discussion, "two").await;
    let url = world.gateway_url(1);
    let mut at_bob = Stream::resume(url, &bob.token, Some(&position)).await;
    alice.comment(discussion, "three").await;
    assert_eq!(store.unsent(10).await.unwrap().len(), 3, "held back");

    store.release(term).await.unwrap();
    // The first stands in the list too; what came after the list is in the stream alone.
    assert_eq!(at_bob.comments_until("three").await, ["one", "two"]);
    world.settled().await;
    let (listed, later) = comments(&bob, discussion).await;
    assert_eq!(listed, ["zero", "one", "two", "three"]);
    assert!(Cursor::open(&later, &keys).unwrap().seq > cursor.seq);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_falls_between_a_list_and_its_stream_on_sqlite() {
    nothing_falls_between(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_falls_between_a_list_and_its_stream_on_postgres() {
    nothing_falls_between(true).await;
}
