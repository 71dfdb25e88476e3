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
        "mark_sent",
        [DbFate::Fails, DbFate::Hangs, DbFate::DoneButFails],
    );
    world.event(45);
    world.start();
    world.settled().await;
    assert_eq!(world.log.marks().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_begins_anew_gets_an_epoch_and_the_rows_that_follow() {
    for tail in [0, 1, 5] {
        let world = World::leading().await;
        world.events(10, &[45]);
        world.all_sent().await;
        let old = world.db.position().unwrap().epoch;
        world.log.lose_after(Seq(tail));
        let after = world.event(45);
        world
            .until("the event", |world| world.db.sent(after).is_some())
            .await;
        let position = world.db.position().unwrap();
        assert_ne!(position.epoch, old);
        let marks = world.log.marks();
        assert_eq!(
            marks.last().unwrap().seq,
            Seq(tail + 1),
            "the mark expects the tail"
        );
        assert_eq!(marks.last().unwrap().epoch(), position.epoch);
        assert_eq!(world.log.events().pop().unwrap().epoch(), position.epoch);
        let wrongs = world.db.with(|state| state.wrongs.clone());
        assert!(wrongs.is_empty(), "{wrongs:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_purged_log_gets_an_epoch_though_its_end_is_the_same() {
    let mut world = World::leading().await;
    world.events(10, &[45]);
    world.all_sent().await;
    let old = world.db.position().unwrap();
    world.relays[0].end().await;
    world.log.purge_all();
    world.start();
    let event = world.event(45);
    world
        .until("the event", |world| world.db.sent(event).is_some())
        .await;
    assert_ne!(world.db.position().unwrap().epoch, old.epoch);
    assert_eq!(world.log.marks()[0].seq, old.seq.next());
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
    assert_eq!(world.log.marks().len(), 1);
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
    assert_eq!(world.log.marks().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn even_two_answers_out_of_date_begin_none_for_the_mark_is_refused() {
    let world = World::leading().await;
    world.events(10, &[45]);
    world.all_sent().await;
    world.log.answer_tail_once(Seq(5));
    world.log.answer_tail_once(Seq(5));
    world.log.fates([Fate::Refused]);
    world.event(45);
    world.settled().await;
    assert_eq!(world.relays[0].stats.epochs.get(), 1);
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
    let mark = crier_domain::log::Message::mark(crier_domain::Epoch::random(), ms(1_000));
    world.log.arrive(mark, end).unwrap();
    world.start();
    world.event(45);
    world.settled_in_two_epochs(position.epoch).await;
}

#[tokio::test(start_paused = true)]
async fn purges_of_the_old_epoch_do_not_reach_into_the_new() {
    let world = World::leading().await;
    world.events(10, &[45]);
    world.all_sent().await;
    world.user(7);
    world.all_sent().await;
    sleep(ms(120_000)).await;
    world.log.lose_after(Seq(0));
    world.user(7);
    world.all_sent().await;
    assert!(world.log.of_user(7)[0].seq < Seq(5));
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
