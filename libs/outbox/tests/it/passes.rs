//! What one leader does with rows: order, links, refusals for good, bounds, marks, old snapshots.

use std::collections::BTreeSet;

use crier_domain::{EventId, Snapshot};
use tokio::time::{Instant, sleep};

use crate::db::DbFate;
use crate::log::Entry;
use crate::world::{World, ms};

#[tokio::test(start_paused = true)]
async fn the_first_message_is_a_mark_and_an_event_follows_it() {
    let world = World::leading().await;
    let id = world.event(45);
    world.settled().await;
    let entries = world.log.entries();
    assert_eq!(entries[0].seq, world.log.marks()[0].seq);
    assert_eq!(entries[1].event_id(), Some(id));
    assert_eq!(
        entries[1].message.header("traceparent"),
        Some("00-trace-1-01")
    );
    assert_eq!(entries[1].message.header("Nats-TTL"), Some("259200s"));
    assert_eq!(world.db.sent(id), Some(entries[1].seq));
    assert_eq!(world.db.position().unwrap().seq, entries[1].seq);
    let stats = &world.relays[0].stats;
    assert_eq!((stats.published.get(), stats.epochs.get()), (2, 1));
    assert_eq!((stats.is_leader.get(), stats.refused.get()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_is_enough_without_any_sweep() {
    let mut world = World::new();
    world.config.sweep = ms(3_600_000);
    world.config.mark_every = ms(36_000_000);
    world.start();
    world
        .until("an epoch", |world| world.db.position().is_some())
        .await;
    for _ in 0..20 {
        // Quiet now, busy then: a call in the middle of a pass is the one that is easily lost.
        sleep(ms(1_000)).await;
        let begun = Instant::now();
        world.db.fates("mark_sent", [DbFate::AnsweredLate(30)]);
        world.event(45);
        world
            .until("the event", |world| world.log.tail().0 % 2 == 0)
            .await;
        let during = world.event(45);
        world
            .until("the second", |world| world.db.sent(during).is_some())
            .await;
        assert!(begun.elapsed() < ms(100), "took {:?}", begun.elapsed());
    }
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_in_every_instant_of_a_pass_is_heard() {
    let mut world = World::new();
    world.config.sweep = ms(3_600_000);
    world.config.mark_every = ms(36_000_000);
    world.start();
    world
        .until("an epoch", |world| world.db.position().is_some())
        .await;
    for after in 0..40 {
        sleep(ms(100)).await;
        let begun = Instant::now();
        world.event(45);
        sleep(ms(after) / 10).await;
        world.event(45);
        world.all_sent().await;
        assert!(begun.elapsed() < ms(100), "took {:?}", begun.elapsed());
    }
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_user_who_changes_in_any_instant_of_a_pass_gets_a_snapshot_that_knows() {
    let world = World::leading().await;
    for after in 0..60 {
        world.user(7);
        sleep(ms(after) / 10).await;
        world.user(7);
        world.settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_worked_off_without_a_pause() {
    let mut world = World::new();
    world.config.sweep = ms(3_600_000);
    world.config.batch = 10;
    world.events(105, &[1, 2, 3]);
    let begun = Instant::now();
    world.start();
    world.settled().await;
    assert!(begun.elapsed() < ms(1_000), "took {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn users_go_before_the_whole_backlog_with_one_snapshot_each() {
    let mut world = World::new();
    world.config.batch = 10;
    for i in 0..30 {
        world.event(1 + i % 3);
    }
    world.user(7);
    world.user(8);
    world.user(7);
    world.start();
    world.settled().await;
    let entries = world.log.entries();
    let users: Vec<i64> = entries[1..3]
        .iter()
        .map(|e| e.user().unwrap().get())
        .collect();
    assert_eq!(users, [7, 8]);
    assert_eq!(entries.len(), 1 + 2 + 30);
    let trace = entries[1].message.header("traceparent");
    assert_eq!(trace, Some("00-trace-33-01"), "of the last of its rows");
}

#[tokio::test(start_paused = true)]
async fn links_are_looked_up_once_and_then_known() {
    let mut world = World::leading().await;
    world.events(9, &[1, 2, 3]);
    world.settled().await;
    world.relays[0].end().await;
    world.start();
    world.events(9, &[1, 2, 3]);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_refused_for_good_is_buried_and_a_reset_takes_its_place() {
    let world = World::leading().await;
    let before = world.event(45);
    let too_large = world.event_of(45, &"x".repeat(2_000));
    let behind = world.event(45);
    world.settled().await;
    let events = world.log.events();
    let ids: Vec<_> = events
        .iter()
        .map(|entry| entry.event_id().unwrap())
        .collect();
    assert_eq!(ids, [before, too_large, behind]);
    let resets: Vec<_> = events
        .iter()
        .map(|entry| entry.event().unwrap().reset)
        .collect();
    assert_eq!(resets, [false, true, false]);
    let buried = world.db.with(|state| state.buried.clone());
    let rows: Vec<i64> = buried.keys().map(|row| row.0).collect();
    assert_eq!(rows, [2]);
    assert!(
        buried
            .values()
            .all(|reason| reason.contains("exceeds maximum"))
    );
    assert_eq!(world.relays[0].stats.buried.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_refused_for_good_stop_nobody() {
    let world = World::leading().await;
    let long = "x".repeat(2_000);
    for i in 0..40 {
        world.event_of(1 + i % 4, if i % 3 == 0 { &long } else { "{}" });
    }
    world.settled().await;
    let resets = world
        .log
        .events()
        .into_iter()
        .filter(|e| e.event().unwrap().reset)
        .count();
    assert_eq!(resets, 14);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_refused_for_good_is_replaced_by_an_empty_one_until_it_fits() {
    let world = World::leading().await;
    world
        .log
        .longest_payload(Snapshot::default().encode().len());
    for _ in 0..10 {
        world.db.commit_user(7, 45);
    }
    let event = world.event(45);
    world
        .until("the event", |world| world.db.sent(event).is_some())
        .await;
    let payload = |at: usize| world.log.of_user(7)[at].message.payload.clone();
    assert_eq!(payload(0), Snapshot::default().encode());
    assert_eq!(world.relays[0].stats.emptied.get(), 1);
    world.log.longest_payload(1_000);
    world.user(7);
    world.all_sent().await;
    assert_eq!(Snapshot::decode(&payload(1)).unwrap().not_before, 12);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_takes_nothing_is_asked_less_and_less_and_then_served() {
    let world = World::leading().await;
    world.log.longest_payload(0);
    world.user(7);
    sleep(ms(60_000)).await;
    let resyncs = world.relays[0].stats.resyncs.get();
    assert!(
        (40..160).contains(&resyncs),
        "looked {resyncs} times a minute"
    );
    world.log.longest_payload(1_000);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_is_bounded() {
    let mut world = World::new();
    world.config.max_in_flight = 20;
    world.config.max_in_flight_bytes = 20 * 400;
    for _ in 0..100 {
        world.event(45);
    }
    for _ in 0..100 {
        world.event_of(45, &"x".repeat(300));
    }
    world.start();
    world.settled().await;
    let (messages, bytes) = world.log.most_in_flight();
    assert_eq!(messages, 20);
    assert!(
        (2_000..=5_000).contains(&bytes),
        "{bytes} bytes of payload at a time"
    );
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_holds_back_until_acks_are_taken_in_is_no_deadlock() {
    let mut world = World::new();
    world.events(200, &[45]);
    world.start_on(|connection| connection.with_window(3));
    world.settled().await;
    assert_eq!(world.relays[0].stats.unavailable.get(), 0);
    assert_eq!(world.log.most_in_flight().0, 3);
}

#[tokio::test(start_paused = true)]
async fn marks_come_once_a_minute_and_move_the_position() {
    let mut world = World::new();
    world.config.sweep = ms(3_600_000);
    world.start();
    sleep(ms(10 * 60_000 + 500)).await;
    let marks = world.log.marks();
    assert_eq!(marks.len(), 11);
    assert_eq!(world.db.position().unwrap().seq, marks[10].seq);
    let gaps: BTreeSet<u64> = marks
        .windows(2)
        .map(|w| (w[1].at - w[0].at).as_secs())
        .collect();
    assert_eq!(gaps, BTreeSet::from([60]));
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_begins_with_a_fence_and_marks_a_minute_after_it() {
    let mut world = World::leading().await;
    let length = world.config.max_in_flight as u64;
    assert_eq!(world.log.tail().0, length, "so does the first epoch");
    sleep(ms(20_000)).await;
    world.relays[0].end().await;
    world.start();
    sleep(ms(55_000)).await;
    assert_eq!(world.log.tail().0, 2 * length);
    assert_eq!(world.log.marks().len(), 2);
    sleep(ms(10_000)).await;
    assert_eq!(world.log.tail().0, 2 * length + 1);
    assert_eq!(world.log.marks().len(), 3);
    assert_eq!(world.db.position().unwrap().seq, world.log.tail());
}

#[tokio::test(start_paused = true)]
async fn old_snapshots_go_after_ten_minutes_and_sent_rows_after_five() {
    let world = World::leading().await;
    world.user(7);
    world.user(8);
    world.all_sent().await;
    sleep(ms(60_000)).await;
    world.user(7);
    world.all_sent().await;
    sleep(ms(4 * 60_000)).await;
    assert_eq!(world.db.with(|state| state.rows.len()), 3);
    sleep(ms(2 * 60_000)).await;
    assert_eq!(world.db.with(|state| state.rows.len()), 0);
    sleep(ms(3 * 60_000 + 58_000)).await;
    assert_eq!(
        world.log.of_user(7).len(),
        2,
        "not ten minutes after the newer one"
    );
    sleep(ms(35_000)).await;
    assert_eq!(world.log.of_user(7).len(), 1);
    assert_eq!(world.log.of_user(8).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_purged_is_bounded_and_a_failed_purge_comes_again() {
    let mut world = World::new();
    world.config.max_old_snapshots = 3;
    world.start();
    for user in [1, 2, 3, 4, 4] {
        world.user(user);
        world.all_sent().await;
    }
    sleep(ms(9 * 60_000)).await;
    world
        .until("ten minutes", |world| world.log.marks().len() == 11)
        .await;
    world.log.fail_reads(1);
    sleep(ms(12 * 60_000)).await;
    let users: BTreeSet<i64> = world
        .log
        .purges()
        .iter()
        .map(|(user, _)| user.get())
        .collect();
    assert_eq!(users, BTreeSet::from([3, 4]));
    assert_eq!(world.log.of_user(4).len(), 1);
}

/// How many users' snapshots stand in front of an event.
fn users_before(world: &World, event: EventId) -> usize {
    let entries = world.log.entries();
    let is_it = |entry: &Entry| entry.event_id() == Some(event);
    let place = entries.iter().position(is_it).unwrap();
    let users = entries[..place].iter();
    users.filter(|entry| entry.user().is_some()).count()
}

#[tokio::test(start_paused = true)]
async fn large_snapshots_take_several_passes_and_the_events_of_their_community_wait() {
    let mut world = World::new();
    // Less than what the users of one statement have.
    world.config.max_in_flight_bytes = 100;
    for user in 1..=50 {
        world.user_in(user, 45);
    }
    let (waits, passes) = (world.event(45), world.event(46));
    world.start();
    world.settled().await;
    assert_eq!(users_before(&world, waits), 50);
    assert_eq!(
        users_before(&world, passes),
        16,
        "those of the first statement"
    );
}

#[tokio::test(start_paused = true)]
async fn a_bulk_change_of_one_community_holds_up_no_event_of_another() {
    let mut world = World::new();
    world.config.batch = 10;
    for user in 1..=200 {
        world.user_in(user, 45);
    }
    let (waits, passes) = (world.event(45), world.event(46));
    let behind = world.event(46);
    world.start();
    world.settled().await;
    assert_eq!(users_before(&world, waits), 200);
    assert_eq!(users_before(&world, passes), 10, "those of the first pass");
    assert_eq!(users_before(&world, behind), 10);
}

#[tokio::test(start_paused = true)]
async fn nor_does_it_hold_up_a_change_and_an_event_behind_it() {
    let mut world = World::new();
    world.config.batch = 10;
    for user in 1..=200 {
        world.user_in(user, 45);
    }
    world.event(45);
    world.user_in(201, 46);
    let behind = world.event(46);
    world.start();
    world.settled().await;
    assert_eq!(users_before(&world, behind), 10, "those of the first pass");
    assert_eq!(world.log.of_user(201).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_a_snapshot_that_changes_nothing() {
    let mut world = World::new();
    // Less than what the users of one statement have.
    world.config.max_in_flight_bytes = 100;
    for user in 1..=50 {
        world.db.want_snapshot(user);
    }
    let event = world.event(45);
    world.start();
    world.settled().await;
    assert_eq!(
        users_before(&world, event),
        16,
        "those of the first statement"
    );
}
