//! Tokens that end while streams are open: withdrawn, expired, behind a ticket. A plain EventSource is told so by
//! 401, and never asks in vain for ever.

use std::time::Duration;

use crier_domain::{Keys, Ticket, UserId};
use crier_testkit::{SseClient, wait_for};
use serde_json::json;

use crate::auth::now;
use crate::people::{Person, expect, group};
use crate::source::Source;
use crate::world::{Options, PAGE, World, signer};

/// Withdraws all tokens of this person, and gives the moment from which on new ones count.
async fn withdraw(world: &World, person: &Person) -> i64 {
    let token = signer().sign_service(Duration::from_secs(3600)).unwrap();
    let path = format!("/api/users/{}/disconnect", person.id);
    let backend = world.api().with_token(token);
    let answer = backend.post(&path, &json!({})).await;
    expect(&answer, 202)["not_before"].as_i64().unwrap()
}

fn ticket(world: &World, person: &Person, expires_in: i64, token_expires_in: i64) -> String {
    let ticket = Ticket {
        user: UserId::try_from(person.id).unwrap(),
        issued_at: now(),
        token_expires_at: now() + token_expires_in,
        expires_at: now() + expires_in,
    };
    ticket.seal(&Keys::from_base64(&[&world.keys]).unwrap())
}

/// The gateway's answer to an attempt that must not become a stream.
async fn refused(url: &str, headers: &[(&str, &str)]) {
    let answer = SseClient::connect(url, headers).await.unwrap();
    assert_eq!(answer.status(), 401, "{url}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_token_ends_every_event_source_and_a_new_one_opens() {
    let mut world = World::start().await;
    let (alice, bob, carol, place) = group(&world).await;
    bob.subscribe(place).await;
    carol.subscribe(place).await;
    let at_carol = Source::of(&carol.gateways, &carol.token, 0);
    let tabs = [0, 0, 1].map(|first| Source::of(&bob.gateways, &bob.token, first));
    for tab in tabs.iter().chain([&at_carol]) {
        tab.ready().await;
    }
    let before = ticket(&world, &bob, 3600, 3600);

    let not_before = withdraw(&world, &bob).await;
    expect(&bob.http.get("/api/communities/").await, 401);
    for tab in &tabs {
        tab.until("a tab to be ended for good", |seen| seen.ended.is_some())
            .await;
        let seen = tab.seen();
        assert_eq!(seen.ended, Some(401));
        // It may have come back before the gateway knew, but was never left open.
        assert!(!seen.byes().is_empty());
        assert!(seen.byes().iter().all(|reason| *reason == "disconnected"));
        assert_eq!(seen.byes().len() + 1, seen.attempts.len(), "{seen:?}");
    }

    // Also where bob has never been, and by a ticket that was given before.
    world.settled().await;
    let fresh = world.add_gateway().await;
    for gateway in [0, 1, fresh] {
        let url = format!("{}/events", world.gateway_url(gateway));
        let authorization = format!("Bearer {}", bob.token);
        refused(&url, &[("authorization", &authorization)]).await;
        refused(&format!("{url}?ticket={before}"), &[]).await;
    }
    let url = format!("{}/events", world.gateway_url(0));
    let cookie = format!("crier_token={}", bob.token);
    let headers = [("cookie", cookie.as_str()), ("origin", PAGE)];
    let answer = SseClient::connect(&url, &headers).await.unwrap();
    assert_eq!(answer.header("access-control-allow-origin"), PAGE);
    assert!(answer.text().await.contains("withdrawn"));

    wait_for("the second from which new tokens count", async || {
        (now() >= not_before).then_some(())
    })
    .await;
    let again = world.person(bob.id, "bob");
    let back = Source::of(&again.gateways, &again.token, fresh);
    back.ready().await;
    alice.discuss(place, "Welcome back").await;
    for stream in [&back, &at_carol] {
        stream
            .until("the event", |seen| seen.events.len() == 1)
            .await;
        assert_eq!(stream.seen().attempts.len(), 1, "its stream was never cut");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_expires_ends_an_event_source() {
    let world = World::start().await;
    let (alice, bob, _, place) = group(&world).await;
    bob.subscribe(place).await;
    let short = signer().sign_user(bob.id, "bob", Duration::from_secs(3));
    let tab = Source::of(&bob.gateways, &short.unwrap(), 0);
    tab.ready().await;
    alice.discuss(place, "In time").await;
    tab.until("the end", |seen| seen.ended.is_some()).await;
    {
        let seen = tab.seen();
        assert_eq!(seen.ended, Some(401));
        assert_eq!(seen.byes(), ["expired"]);
        assert_eq!((seen.attempts.len(), seen.events.len()), (2, 1));
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_opens_for_its_minute_and_the_stream_ends_with_its_token() {
    let world = World::start().await;
    let (alice, bob, _, place) = group(&world).await;
    bob.subscribe(place).await;
    world.settled().await;
    let url = |ticket: &str| {
        let ticketed = |gateway| format!("{}/events?ticket={ticket}", world.gateway_url(gateway));
        [ticketed(0), ticketed(1)]
    };

    // The ticket ends long before the token: the stream stays, and can't be opened again by it.
    let short = ticket(&world, &bob, 2, 3600);
    let tab = Source::open(&url(&short), &[], 0);
    tab.ready().await;
    wait_for("the ticket to have ended", async || {
        let again = SseClient::connect(&url(&short)[1], &[]).await.unwrap();
        (again.status() == 401).then_some(())
    })
    .await;
    alice.discuss(place, "Still here").await;
    tab.until("the event", |seen| seen.events.len() == 1).await;
    assert_eq!(tab.seen().attempts.len(), 1);

    // The token ends first.
    let dying = ticket(&world, &bob, 3600, 3);
    let tab = Source::open(&url(&dying), &[], 1);
    tab.ready().await;
    tab.until("the end", |seen| seen.ended.is_some()).await;
    assert_eq!(tab.seen().ended, Some(401));
    assert_eq!(tab.seen().byes(), ["expired"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_can_not_be_looked_up_is_sent_away_and_not_for_good() {
    let world = World::with(Options {
        gateway: Some(|config| config.snapshot_wait = Duration::from_millis(300).into()),
        ..Options::default()
    })
    .await;
    let (_, bob, _, _) = group(&world).await;
    world.nats().pause();
    let tab = Source::of(&bob.gateways, &bob.token, 0);
    tab.until("to be sent away", |seen| !seen.byes().is_empty())
        .await;
    assert_eq!(tab.seen().attempts[0].status, Some(200));
    assert_eq!(tab.seen().byes()[0], "unavailable");
    world.nats().resume();
    tab.ready().await;
    world.end().await;
}
