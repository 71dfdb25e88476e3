//! Who leads, until when, and what becomes of a leader that was stopped.

use crier_domain::Snapshot;
use tokio::time::{Instant, sleep};

use crate::connection::Fate;
use crate::db::DbFate;
use crate::world::{World, ms};

#[tokio::test(start_paused = true)]
async fn one_leads_and_another_takes_over_within_three_seconds_of_its_death() {
    let mut world = World::leading().await;
    world.start();
    sleep(ms(10_000)).await;
    assert!(world.relays[0].leads().is_some() && world.relays[1].leads().is_none());
    world.event(45);
    world.all_sent().await;
    world.relays[0].kill();
    let died = Instant::now();
    world.event(45);
    world.settled().await;
    assert!(died.elapsed() < ms(3_000), "{:?}", died.elapsed());
    assert!(world.relays[1].leads().is_some());
    assert_eq!(world.log.epochs().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_finishes_the_pass_and_hands_over_at_once() {
    let mut world = World::leading().await;
    world.start();
    world.log.fates([Fate::LateAck(1_000)]);
    let id = world.event(45);
    world
        .until("the event stored", |world| world.log.events().len() == 1)
        .await;
    let begun = Instant::now();
    world.relays[0].end().await;
    assert!(begun.elapsed() < ms(1_100));
    assert!(
        world.db.sent(id).is_some(),
        "marked by the one that sent it"
    );
    world
        .until("another", |world| world.relays[1].leads().is_some())
        .await;
    assert!(begun.elapsed() < ms(1_600), "{:?}", begun.elapsed());
    world.event(45);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_nobody_for_ever() {
    let mut world = World::leading().await;
    world.log.fates([Fate::LostAck]);
    world.event(45);
    world
        .until("the event stored", |world| world.log.events().len() == 1)
        .await;
    let begun = Instant::now();
    world.relays[0].end().await;
    assert!(begun.elapsed() < ms(2_100), "{:?}", begun.elapsed());
    world.start();
    world.settled().await;

    world.db.hang(true);
    let begun = Instant::now();
    world.relays[1].end().await;
    assert!(begun.elapsed() < ms(5_000), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_while_a_batch_is_on_its_way() {
    let mut world = World::leading().await;
    world.start();
    world.log.fates([Fate::LateAck(4_900)]);
    world.event(45);
    world.settled().await;
    assert!(world.relays[0].leads().is_some());
    assert_eq!(
        world.db.with(|state| state.leases.len()),
        1,
        "one leader all the time"
    );
}

/// The lease is counted from before the question: however late the answers come, a relay has stopped
/// before another may begin.
#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_another_begins() {
    for late in [0, 300, 700, 900] {
        let mut world = World::leading().await;
        world.db.fates(
            "lease",
            [DbFate::AnsweredLate(late), DbFate::AnsweredLate(late)],
        );
        sleep(ms(1_500)).await;
        world.db.hang(true);
        let begun = Instant::now();
        world
            .until("standby", |world| world.relays[0].leads().is_none())
            .await;
        let stood_down = Instant::now();
        assert!(begun.elapsed() <= ms(2_000), "{:?}", begun.elapsed());
        world.db.hang(false);
        world.start();
        world
            .until("a second term", |w| {
                w.db.with(|state| state.leases.len()) == 2
            })
            .await;
        let taken = world.db.with(|state| state.leases[1].2);
        assert!(
            taken >= stood_down,
            "{late}: {:?} too early",
            stood_down - taken
        );
        world.event(45);
        world.settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_without_the_lease() {
    let world = World::leading().await;
    sleep(ms(200)).await;
    world.db.fates("unsent", [DbFate::AnsweredLate(500)]);
    world.event(45);
    sleep(ms(100)).await;
    // The process stands still with the rows on their way to it.
    world.relays[0].stop(false);
    sleep(ms(10_000)).await;
    let tail = world.log.tail();
    world.db.hang(true);
    world.relays[0].go_on();
    sleep(ms(5_000)).await;
    assert_eq!(world.log.tail(), tail);
    world.db.hang(false);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stood_still_between_two_publishes_looks_at_its_clock() {
    let world = World::leading().await;
    sleep(ms(100)).await;
    world.log.fates([Fate::StandsStill(3_000)]);
    world.db.commit_event(45, "{}");
    world.event(45);
    world
        .until("standby", |world| world.relays[0].leads().is_none())
        .await;
    sleep(ms(10)).await;
    assert_eq!(world.log.events().len(), 1);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_was_stopped_changes_nothing_when_it_goes_on() {
    for held in [false, true] {
        for fate in [
            Fate::Fine(0),
            Fate::LateAck(100),
            Fate::LostAck,
            Fate::Fine(20_000),
        ] {
            let mut world = World::leading().await;
            world.start();
            world.events(10, &[45]);
            world.all_sent().await;
            world.log.fates([Fate::Fine(0), fate]);
            world.events(20, &[45, 46]);
            world.user(7);
            world
                .until("a publish", |w| w.log.most_in_flight().0 >= 20)
                .await;
            world.relays[0].stop(held);
            world
                .until("the other", |w| w.relays[1].leads().is_some())
                .await;
            world.user(7);
            world.all_sent().await;
            let before = world.log.entries().len();
            world.relays[0].go_on();
            sleep(ms(30_000)).await;
            world.check();
            assert_eq!(world.log.entries().len(), before, "{fate:?} {held}");
            assert!(world.relays[0].leads().is_none());
            assert!(world.relays[1].leads().is_some());
        }
    }
}

/// A stopped leader's snapshot may fit between two of the new leader's. It must not stay the last.
#[tokio::test(start_paused = true)]
async fn a_late_snapshot_behind_a_newer_one_is_healed() {
    let world = World::leading().await;
    world.user(7);
    world.all_sent().await;
    let late = world.log.of_user(7).remove(0).message;
    world.user(7);
    world.all_sent().await;
    world.log.arrive(vec![late], world.log.tail()).unwrap();
    sleep(ms(61_000)).await;
    let last = world.log.of_user(7).pop().unwrap().message.payload;
    assert_eq!(Snapshot::decode(&last).unwrap().not_before, 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_arrives_between_looking_and_sending_is_recognised() {
    let world = World::leading().await;
    world
        .log
        .fates([Fate::LostAck, Fate::Fine(0), Fate::Fine(0)]);
    let ids = [world.event(45), world.event(45), world.event(46)];
    world.settled().await;
    let found: Vec<_> = world
        .log
        .events()
        .iter()
        .map(|e| e.event_id().unwrap())
        .collect();
    assert_eq!(found, ids);
    assert_eq!(world.log.entries().len(), 4, "not one was sent twice");
}
