//! Who was away and comes back gets what it missed, once and in order, on whichever gateway; or is told `reset`.

use crier_domain::event::ClientEvent;
use crier_domain::{Audience, CommunityId, Cursor, Epoch, Event, EventId, Keys, Seq};
use crier_store::{Locks, Store};
use crier_testkit::{HttpClient, wait_for};
use serde_json::json;

use crate::people::{Person, Place, group};
use crate::stream::Stream;
use crate::world::{Options, World};

async fn back(world: &World, person: &Person, gateway: usize, cursor: &str) -> Stream {
    Stream::resume(world.gateway_url(gateway), &person.token, Some(cursor)).await
}

/// How often a gateway gave a stream what it missed by this path.
async fn resumes(world: &World, gateway: usize, path: &str, count: u32) {
    let http = HttpClient::new(world.gateway_url(gateway));
    let line = format!("gateway_resumes_total{{path=\"{path}\"}} {count}");
    wait_for(&line, async || {
        let metrics = http.get("/metrics").await;
        metrics
            .text()
            .lines()
            .any(|found| found == line)
            .then_some(())
    })
    .await;
}

/// Bob, who follows alice's article, and the cursor with which he went away after "before".
async fn away(world: &World) -> (Person, Person, Person, Place, i64, String) {
    let (alice, bob, carol, place) = group(world).await;
    bob.subscribe(place).await;
    world.settled().await;
    let mut at_bob = bob.stream(0).await;
    let discussion = alice.discuss(place, "While you were away").await;
    alice.comment(discussion, "before").await;
    at_bob.discussion("While you were away").await;
    at_bob.comments_until("before").await;
    let cursor = at_bob.last_event_id().to_owned();
    (alice, bob, carol, place, discussion, cursor)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_missed_comes_from_the_other_gateways_ring_or_from_the_log() {
    let mut world = World::start().await;
    let (alice, bob, carol, place, discussion, cursor) = away(&world).await;
    // Carol keeps the community followed on the second gateway: its ring has what happens.
    carol.subscribe(place).await;
    let mut at_carol = carol.stream(1).await;
    for text in ["one", "two"] {
        alice.comment(discussion, text).await;
    }
    bob.comment(discussion, "my own").await;
    alice.comment(discussion, "three").await;
    assert_eq!(
        at_carol.comments_until("three").await,
        ["one", "two", "my own"]
    );

    let mut at_bob = back(&world, &bob, 1, &cursor).await;
    assert_eq!(at_bob.comments_until("three").await, ["one", "two"]);
    alice.comment(discussion, "live").await;
    assert_eq!(at_bob.comments_until("live").await, [""; 0]);
    resumes(&world, 1, "ring", 1).await;

    let later = at_bob.last_event_id().to_owned();
    drop(at_bob);
    alice.comment(discussion, "four").await;
    at_carol.comments_until("four").await;
    let mut at_bob = back(&world, &bob, 1, &later).await;
    assert_eq!(at_bob.comments_until("four").await, [""; 0]);
    resumes(&world, 1, "ring", 2).await;

    // A gateway that has just started has passed none of it.
    world.stop_gateway(0).await;
    let fresh = world.add_gateway().await;
    let mut at_bob = back(&world, &bob, fresh, &cursor).await;
    let missed = at_bob.comments_until("four").await;
    assert_eq!(missed, ["one", "two", "three", "live"]);
    alice.comment(discussion, "five").await;
    assert_eq!(at_bob.comments_until("five").await, [""; 0]);
    at_bob.assert_rising(&Keys::from_base64(&[&world.keys]).unwrap());
    resumes(&world, fresh, "log", 1).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fences_hold_on_replay() {
    let mut world = World::start().await;
    let (alice, bob, _, place, discussion, cursor) = away(&world).await;
    alice.comment(discussion, "between us").await;
    let subscription = bob.subscribe(place).await;
    bob.unsubscribe(subscription).await;
    alice.comment(discussion, "not for you").await;
    bob.subscribe(place).await;
    alice.comment(discussion, "again").await;
    world.settled().await;
    for gateway in [1, world.add_gateway().await] {
        let mut at_bob = back(&world, &bob, gateway, &cursor).await;
        assert_eq!(at_bob.comments_until("again").await, [""; 0]);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_removed_while_away_gets_nothing() {
    let mut world = World::start().await;
    let (alice, bob, carol, place, discussion, cursor) = away(&world).await;
    let mut at_carol = carol.stream(1).await;
    alice.comment(discussion, "the last").await;
    alice.manage_member(place.community, &bob, "remove").await;
    alice.comment(discussion, "secret").await;
    // Bob's own community tells when everything before has been told.
    let own = bob.create_community("Bob's", "private").await;
    carol.http.get("/api/communities/").await;
    bob.add_member(own, &carol).await;
    let mine = bob.submit(own, "Notes").await;
    bob.publish(mine).await;
    carol.discuss(mine, "Sentinel").await;
    world.settled().await;
    at_carol.named("subscribed").await;
    for gateway in [1, world.add_gateway().await] {
        let mut at_bob = back(&world, &bob, gateway, &cursor).await;
        assert_eq!(at_bob.ready["communities"], json!([own]));
        let first = at_bob.event().await;
        assert_eq!(first["data"]["discussion"]["topic"], "Sentinel");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_cursor_has_its_reset_and_the_stream_goes_on() {
    let world = World::start().await;
    let (alice, bob, _, place, discussion, cursor) = away(&world).await;
    let keys = Keys::from_base64(&[&world.keys]).unwrap();
    let foreign_keys = Keys::from_base64(&[Keys::random_base64()]).unwrap();
    let good = Cursor::open(&cursor, &keys).unwrap();
    let at = |seq| Cursor { seq, ..good };
    let of_epoch = |epoch| Cursor { epoch, ..good };
    let truncated = &cursor[..cursor.len() - 1];
    let cases = [
        ("damaged", "nonsense".to_owned()),
        ("damaged", truncated.to_owned()),
        ("damaged", format!("{cursor}{cursor}")),
        ("damaged", good.seal(&foreign_keys)),
        ("foreign", of_epoch(Epoch::from_bits(7)).seal(&keys)),
        ("behind", at(Seq::ZERO).seal(&keys)),
        ("ahead", at(Seq(good.seq.0 + 1_000_000)).seal(&keys)),
        ("ahead", at(Seq(u64::MAX)).seal(&keys)),
    ];
    for (number, (reason, cursor)) in cases.iter().enumerate() {
        let mut at_bob = back(&world, &bob, number % 2, cursor).await;
        let frame = at_bob.frame().await;
        assert_eq!(frame.event.as_deref(), Some("reset"), "{cursor}: {frame:?}");
        assert!(frame.id.is_some());
        let reset = frame.json();
        assert_eq!(reset["reason"], *reason, "{cursor}");
        assert_eq!(reset["communities"], json!([place.community]));
        let text = format!("after {number}");
        alice.comment(discussion, &text).await;
        assert_eq!(at_bob.comments_until(&text).await, [""; 0]);
    }
    // And one of the log's very beginning is none of them: it still has everything.
    let mut at_bob = back(&world, &bob, 0, &at(Seq(1)).seal(&keys)).await;
    at_bob.discussion("While you were away").await;
    let last = format!("after {}", cases.len() - 1);
    let missed = at_bob.comments_until(&last).await;
    assert_eq!(missed.first().map(String::as_str), Some("before"));
    assert_eq!(missed.len(), cases.len());
    world.end().await;
}

fn numbered(community: CommunityId, number: usize) -> Event {
    let id = EventId::new();
    let event = ClientEvent {
        event_id: id,
        kind: "numbered",
        community_id: community,
        article_id: None,
        timestamp: "2026-01-01T00:00:00.000Z",
        data: &json!({ "number": number }),
    };
    Event {
        id,
        community,
        article: None,
        audience: Audience::Members,
        exclude: None,
        body: event.encode().unwrap(),
    }
}

async fn write(store: &Store, communities: &[CommunityId], numbers: std::ops::Range<usize>) {
    for number in numbers {
        let community = communities[number % communities.len()];
        let locks = Locks::new().shared(community);
        let tx = store.begin(locks, None).await.unwrap();
        tx.outbox_event(&numbered(community, number)).await.unwrap();
        tx.commit().await.unwrap();
    }
}

async fn read(stream: &mut Stream, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_eq!(stream.event().await["data"]["number"], number);
    }
}

/// Alice with three communities, and where she is.
async fn in_three(world: &World) -> (Person, Vec<CommunityId>, String) {
    let alice = world.person(1, "alice");
    let mut communities = Vec::new();
    for name in ["One", "Two", "Three"] {
        let id = alice.create_community(name, "private").await;
        communities.push(CommunityId::try_from(id).unwrap());
    }
    world.settled().await;
    let cursor = alice.stream(0).await.last_event_id().to_owned();
    (alice, communities, cursor)
}

/// What fits neither the client's queue nor a page nor a ring, of several communities at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_absence_is_told_as_fast_as_the_client_reads() {
    let mut world = World::with(Options {
        gateway: Some(|config| {
            config.queue_messages = 16;
            config.ring_events = 50;
            config.pages_bytes = 64 << 10;
        }),
        ..Options::default()
    })
    .await;
    let (alice, communities, cursor) = in_three(&world).await;
    let store = world.store().await;
    write(&store, &communities, 0..2_000).await;
    world.settled().await;
    // One gateway has passed them without following the communities, the other was not there.
    let fresh = world.add_gateway().await;
    for (gateway, next) in [(1, 2_000), (fresh, 2_001)] {
        let mut at_alice = back(&world, &alice, gateway, &cursor).await;
        read(&mut at_alice, 0..next).await;
        write(&store, &communities, next..next + 1).await;
        read(&mut at_alice, next..next + 1).await;
        at_alice.assert_rising(&Keys::from_base64(&[&world.keys]).unwrap());
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_for_one_resume_is_a_reset() {
    let world = World::with(Options {
        gateway: Some(|config| config.resume_events = 100),
        ..Options::default()
    })
    .await;
    let (alice, communities, cursor) = in_three(&world).await;
    let store = world.store().await;
    write(&store, &communities, 0..200).await;
    world.settled().await;
    let mut at_alice = back(&world, &alice, 1, &cursor).await;
    let mut told = 0;
    let reset = loop {
        let frame = at_alice.frame().await;
        if frame.event.is_some() {
            break frame;
        }
        assert_eq!(frame.json()["data"]["number"], told);
        told += 1;
    };
    assert_eq!(reset.json()["reason"], "too_much");
    assert_eq!(told, 100);
    write(&store, &communities, 200..203).await;
    read(&mut at_alice, 200..203).await;
    world.end().await;
}

/// A plain EventSource whose connection breaks all the time, on changing gateways, while events keep coming.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_anywhere_loses_and_doubles_nothing() {
    const EVENTS: usize = 600;
    let world = World::start().await;
    let (alice, communities, mut cursor) = in_three(&world).await;
    let store = world.store().await;
    let written = write(&store, &communities, 0..EVENTS);
    let read_all = async {
        let (mut next, mut connects) = (0, 0);
        while next < EVENTS {
            let mut stream = back(&world, &alice, connects % 2, &cursor).await;
            let upto = EVENTS.min(next + connects % 7);
            read(&mut stream, next..upto).await;
            (next, connects) = (upto, connects + 1);
            stream.last_event_id().clone_into(&mut cursor);
        }
    };
    let both = async { tokio::join!(written, read_all) };
    tokio::time::timeout(std::time::Duration::from_secs(120), both)
        .await
        .expect("all events in time");
    world.end().await;
}
