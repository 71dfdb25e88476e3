//! When an epoch begins, and when it does not.

use crier_domain::Seq;
use tokio::time::sleep;

use crate::connection::Fate;
use crate::db::DbFate;
use crate::world::{World, ms};

#[tokio::test(start_paused = true)]
async fn an_epoch_exists_only_with_its_marks_acknowledgement() {
    let fates = [
        Fate::NoResponders,
        Fate::Dropped,
        Fate::Refused,
        Fate::LostAck,
    ];
    for fate in fates {
        let mut world = World::new();
        world.log.fates([fate]);
        world.event(45);
        world.start();
        world.settled().await;
        let position = world.db.position().unwrap();
        let marks = world.log.marks();
        assert_eq!(position.epoch, marks.last().unwrap().epoch(), "{fate:?}");
        assert_eq!(world.log.events()[0].epoch(), position.epoch);
        assert_eq!(world.relays[0].stats.epochs.get(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_epoch_is_recorded_before_it_is_used() {
    let mut world = World::new();
    world.db.fates(
        "begin_epoch",
        [DbFate::Fails, DbFate::Hangs, DbFate::DoneButFails],
    );
    world.event(45);
    world.start();
    world.settled().await;
    assert_eq!(world.log.marks().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_lost_its_end_gets_an_epoch_and_what_it_lost() {
    for tail in [0, 1, 256, 260, 265] {
        let world = World::leading().await;
        world.events(10, &[45, 46]);
        world.all_sent().await;
        let old = world.db.position().unwrap().epoch;
        world.log.lose_after(Seq(tail));
        let after = world.event(45);
        world.all_sent().await;
        world.check_events();
        let position = world.db.position().unwrap();
        assert_ne!(position.epoch, old);
        let mark = world.log.marks().pop().unwrap();
        assert_eq!(mark.seq, Seq(tail + 1), "the mark expects the tail");
        assert_eq!(mark.epoch(), position.epoch);
        let events = world.log.events();
        assert_eq!(events.len(), 11, "what survived {tail} is not doubled");
        assert_eq!(events[10].event_id(), Some(after), "behind what was lost");
        for event in events {
            let is_new = event.seq.0 > tail;
            assert_eq!(event.epoch() == position.epoch, is_new, "{}", event.seq);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_purged_log_gets_an_epoch_and_all_that_is_kept_though_its_end_is_the_same() {
    let mut world = World::leading().await;
    world.events(10, &[45]);
    world.all_sent().await;
    let old = world.db.position().unwrap();
    world.relays[0].end().await;
    world.log.purge_all();
    world.start();
    world.event(45);
    world
        .until("another epoch", |world| {
            world.db.position().unwrap().epoch != old.epoch
        })
        .await;
    world.all_sent().await;
    world.check_events();
    assert_eq!(world.log.marks()[0].seq, old.seq.next());
    assert_eq!(world.log.events().len(), 11);
}

/// Permissions are not among it: gateways ask for them, and get them as they are now.
#[tokio::test(start_paused = true)]
async fn of_what_was_lost_only_events_are_sent_again() {
    let world = World::leading().await;
    world.user_in(7, 45);
    world.user_in(8, 46);
    world.events(4, &[45]);
    world.all_sent().await;
    world.log.lose_after(Seq(256));
    world.db.want_snapshot(7);
    world.wake();
    world.all_sent().await;
    world.check_events();
    let epoch = world.db.position().unwrap().epoch;
    let of_new_epoch: Vec<_> = world.log.entries();
    let of_new_epoch: Vec<_> = of_new_epoch.iter().filter(|e| e.epoch() == epoch).collect();
    assert_eq!(
        of_new_epoch[1].user().unwrap().get(),
        7,
        "wanted, so before all events"
    );
    assert_eq!(world.log.events().len(), 4);
    assert_eq!(world.log.of_user(8).len(), 0);
}

/// Between what survived and the log's end stand marks of epochs that nobody recorded.
#[tokio::test(start_paused = true)]
async fn what_survived_is_known_below_the_marks_of_epochs_that_were_not_recorded() {
    let world = World::leading().await;
    world.events(10, &[45, 46]);
    world.all_sent().await;
    world.log.lose_after(Seq(260));
    // The event finds the loss; each mark after it is stored, and its acknowledgement lost.
    world
        .log
        .fates([Fate::Fine(0), Fate::LostAck, Fate::LostAck, Fate::LostAck]);
    world.event(45);
    world.all_sent().await;
    world.check_events();
    let ever = world.log.ever();
    let marks = ever.iter().filter(|entry| entry.is_mark()).count();
    assert_eq!(
        marks, 5,
        "one of the old epoch, three of none, one of the new"
    );
    assert_eq!(world.log.events().len(), 11);
}

#[tokio::test(start_paused = true)]
async fn rows_are_kept_while_nobody_knows_what_the_log_will_come_back_with() {
    let world = World::leading().await;
    sleep(ms(60_000)).await;
    world.events(10, &[45]);
    world.all_sent().await;
    let tail = world.log.tail();
    world.log.away(true);
    sleep(ms(20 * 60_000)).await;
    world.log.lose_after(Seq(tail.0 - 7));
    world.log.away(false);
    world
        .until("what was lost", |world| world.log.events().len() == 10)
        .await;
    world.all_sent().await;
    world.check_events();
    // Acknowledged again and again, they are not kept any longer.
    sleep(ms(8 * 60_000)).await;
    assert_eq!(world.db.with(|state| state.rows.len()), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_out_of_date_begins_no_epoch() {
    let world = World::leading().await;
    world.events(10, &[45]);
    world.all_sent().await;
    for stale in [0, 1, 10] {
        world.log.answer_tail_once(Seq(stale));
        world.log.fates([Fate::Refused]);
        world.event(45);
        world.settled().await;
    }
    assert_eq!(world.relays[0].stats.epochs.get(), 1);
    assert_eq!(world.log.epochs().len(), 1);
    assert_eq!(world.log.events().len(), 13, "nothing is sent again");
}

/// Its mark would be stored: it is the second question that prevents it.
#[tokio::test(start_paused = true)]
async fn a_mark_missing_from_one_answer_begins_no_epoch() {
    let world = World::leading().await;
    world.log.hide_mark_once();
    world.log.fates([Fate::Refused]);
    world.event(45);
    world.settled().await;
    assert_eq!(world.relays[0].stats.epochs.get(), 1);
    assert_eq!(world.log.epochs().len(), 1);
}

/// However often the log's leader is asked: one that was replaced and doesn't know it can't have the mark stored.
#[tokio::test(start_paused = true)]
async fn answers_out_of_date_begin_none_for_the_mark_is_refused() {
    let world = World::leading().await;
    world.events(10, &[45]);
    world.all_sent().await;
    for _ in 0..6 {
        world.log.answer_tail_once(Seq(5));
    }
    world.log.fates([Fate::Refused]);
    world.event(45);
    world.settled().await;
    let stats = &world.relays[0].stats;
    assert_eq!((stats.epochs.get(), stats.refused.get()), (1, 1));
    assert_eq!(world.log.epochs().len(), 1);
    assert_eq!(world.log.events().len(), 11, "nothing is sent again");
    let asked = world.relays[0].stats.resyncs.get();
    assert!(
        asked > 3,
        "the mark was refused, and the log asked again: {asked}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_began_and_was_not_recorded_is_followed_by_another() {
    let mut world = World::leading().await;
    world.event(45);
    world.all_sent().await;
    let position = world.db.position().unwrap();
    world.relays[0].end().await;
    // A leader began an epoch in the lost log, and died before it wrote that down.
    let end = world.log.tail();
    let retention = world.config.retention;
    let mark = crier_domain::log::Message::mark(crier_domain::Epoch::random(), retention);
    world.log.arrive(vec![mark], end).unwrap();
    world.start();
    world.event(45);
    world.settled_in_two_epochs(position.epoch).await;
}

#[tokio::test(start_paused = true)]
async fn a_retention_made_shorter_begins_an_epoch_and_takes_the_old_marks_away() {
    let mut world = World::leading().await;
    sleep(ms(3 * 60_000)).await;
    world.events(10, &[45]);
    world.all_sent().await;
    // Stored, and not marked: recognised all the same.
    world.db.fates("mark_sent", [DbFate::Hangs]);
    world.event(45);
    world
        .until("the event", |world| world.log.events().len() == 11)
        .await;
    world.relays[0].kill();
    let old = world.db.position().unwrap();
    let longer = world.config.retention;
    for (retention, is_another) in [
        (longer, false),
        (longer / 2, true),
        (longer / 2, false),
        (longer, false),
    ] {
        world.config.retention = retention;
        let relay = world.start();
        world.event(45);
        world.all_sent().await;
        world.check_events();
        world.relays[relay].end().await;
        assert_eq!(
            world.relays[relay].stats.epochs.get(),
            u64::from(is_another),
            "{retention:?}"
        );
    }
    let position = world.db.position().unwrap();
    assert_ne!(position.epoch, old.epoch);
    for mark in world.log.marks() {
        assert_eq!(mark.epoch(), position.epoch, "the old ones are gone");
    }
    assert_eq!(
        world.log.events().len(),
        15,
        "nothing is lost, so nothing comes again"
    );
}

/// A log whose marks say less than it holds only tells clients to fetch what they needn't.
#[tokio::test(start_paused = true)]
async fn a_retention_made_longer_begins_none() {
    let mut world = World::leading().await;
    world.event(45);
    world.all_sent().await;
    world.relays[0].end().await;
    world.config.retention *= 2;
    world.start();
    world.event(45);
    world.settled().await;
    assert_eq!(world.relays[1].stats.epochs.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn purges_of_the_old_epoch_do_not_reach_into_the_new() {
    let world = World::leading().await;
    world.events(10, &[45]);
    world.all_sent().await;
    world.user(7);
    world.all_sent().await;
    let old = world.log.of_user(7)[0].seq;
    sleep(ms(120_000)).await;
    world.log.lose_after(Seq(0));
    world.user(7);
    world.all_sent().await;
    assert!(world.log.of_user(7)[0].seq < old);
    sleep(ms(30 * 60_000)).await;
    assert_eq!(
        world.log.of_user(7).len(),
        1,
        "the only one of the new epoch"
    );
}

impl World {
    async fn settled_in_two_epochs(&self, old: crier_domain::Epoch) {
        self.all_sent().await;
        self.check();
        let epoch = self.db.position().unwrap().epoch;
        assert_ne!(epoch, old);
        assert_eq!(self.log.entries().pop().unwrap().epoch(), epoch);
    }
}
