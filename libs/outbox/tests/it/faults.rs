//! Whatever goes wrong, in whatever order: each event once, in order, linked, behind the snapshots it
//! must not overtake.

use crier_domain::Seq;
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use crate::connection::Fate;
use crate::db::DbFate;
use crate::world::{World, ms};

#[derive(Debug, Clone)]
enum Step {
    Event {
        community: i64,
        long: bool,
    },
    User(i64),
    Pause(u64),
    Publishes(Vec<Fate>),
    Calls(Vec<DbFate>),
    Reads(usize),
    LogAway(u64),
    /// A relay's process stands still, perhaps with messages in its buffers.
    Stopped {
        relay: usize,
        held: bool,
        millis: u64,
    },
    Restarted {
        relay: usize,
    },
    /// The log comes back without so many of its last messages.
    Loses(u64),
}

pub(crate) fn publish_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => (0u64..30).prop_map(Fate::Fine),
        1 => (0u64..9_000).prop_map(Fate::Fine),
        1 => (0u64..3_000).prop_map(Fate::HeldBack),
        1 => (0u64..9_000).prop_map(Fate::LateAck),
        1 => Just(Fate::LostAck),
        1 => Just(Fate::StoredUnavailable),
        1 => Just(Fate::Dropped),
        1 => Just(Fate::NoResponders),
        1 => Just(Fate::Refused),
        1 => Just(Fate::Elsewhere),
    ]
}

pub(crate) fn db_fate() -> impl Strategy<Value = DbFate> {
    prop_oneof![
        4 => (0u64..20).prop_map(DbFate::Fine),
        1 => (0u64..3_000).prop_map(DbFate::Fine),
        1 => (0u64..3_000).prop_map(DbFate::AnsweredLate),
        1 => Just(DbFate::Fails),
        1 => Just(DbFate::DoneButFails),
        1 => Just(DbFate::Hangs),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1i64..4, prop::bool::weighted(0.1))
            .prop_map(|(community, long)| Step::Event { community, long }),
        3 => (1i64..4).prop_map(Step::User),
        4 => (0u64..12).prop_map(Step::Pause),
        1 => (0u64..5_000).prop_map(Step::Pause),
        2 => prop::collection::vec(publish_fate(), 1..6).prop_map(Step::Publishes),
        2 => prop::collection::vec(db_fate(), 1..5).prop_map(Step::Calls),
        1 => (1usize..4).prop_map(Step::Reads),
        1 => (0u64..9_000).prop_map(Step::LogAway),
        2 => (0usize..2, any::<bool>(), 0u64..6_000)
            .prop_map(|(relay, held, millis)| Step::Stopped { relay, held, millis }),
        1 => (0usize..2).prop_map(|relay| Step::Restarted { relay }),
    ]
}

/// `window` is the most messages on their way; ids that come twice are recognised or, with `forgets`, never.
async fn play(steps: Vec<Step>, relays: usize, batch: usize, window: usize, forgets: bool) {
    let mut world = World::new();
    if forgets {
        world.log.recognise_ids_for(ms(0));
    }
    world.config.batch = batch;
    world.config.max_in_flight = window;
    let mut alive: Vec<usize> = (0..relays).map(|_| world.start()).collect();
    let mut has_lost = false;
    for step in steps {
        match step {
            Step::Event { community, long } => {
                let body = if long {
                    "x".repeat(2_000)
                } else {
                    "{}".to_owned()
                };
                world.event_of(community, &body);
            }
            Step::User(user) => world.user(user),
            Step::Pause(millis) => sleep(ms(millis)).await,
            Step::Publishes(fates) => world.log.fates(fates),
            Step::Calls(fates) => world.db.any_fates(fates),
            Step::Reads(reads) => world.log.fail_reads(reads),
            Step::LogAway(millis) => {
                world.log.away(true);
                sleep(ms(millis)).await;
                world.log.away(false);
            }
            Step::Stopped {
                relay,
                held,
                millis,
            } => {
                let relay = alive[relay % relays];
                world.relays[relay].stop(held);
                sleep(ms(millis)).await;
                world.relays[relay].go_on();
            }
            Step::Loses(messages) => {
                let tail = world.log.tail().0.saturating_sub(messages);
                world.log.lose_after(Seq(tail));
                has_lost = true;
            }
            Step::Restarted { relay } => {
                let slot = relay % relays;
                world.relays[alive[slot]].kill();
                alive[slot] = world.start();
            }
        }
    }
    if has_lost {
        // The next mark finds it, if nothing else does.
        world
            .until("all in the log", |w| w.db.all_sent() && w.lacks().is_none())
            .await;
        world.check_events();
        return;
    }
    world.settled().await;
    // Whatever was still on its way has arrived or will not.
    sleep(ms(90_000)).await;
    world.check();
}

pub(crate) fn run(play: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(play);
}

proptest! {
    #[test]
    fn one_relay(
        steps in prop::collection::vec(step(), 1..60), batch in 2usize..20, window in 1usize..20, forgets: bool,
    ) {
        run(play(steps, 1, batch, window, forgets));
    }

    #[test]
    fn two_relays(
        steps in prop::collection::vec(step(), 1..60), batch in 2usize..20, window in 1usize..20, forgets: bool,
    ) {
        run(play(steps, 2, batch, window, forgets));
    }
}

fn step_or_loss() -> impl Strategy<Value = Step> {
    prop_oneof![20 => step(), 1 => (0u64..100).prop_map(Step::Loses)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// With a fence longer than what is lost and on its way together.
    #[test]
    fn a_log_that_loses_its_end(steps in prop::collection::vec(step_or_loss(), 1..60), batch in 2usize..20) {
        run(play(steps, 2, batch, 200, true));
    }
}

#[tokio::test(start_paused = true)]
async fn each_way_to_lose_an_answer_leaves_one_copy() {
    let fates = [
        Fate::LateAck(20_000),
        Fate::LostAck,
        Fate::StoredUnavailable,
        Fate::Dropped,
        Fate::NoResponders,
        Fate::Refused,
        Fate::Elsewhere,
        Fate::HeldBack(20_000),
        Fate::Fine(20_000),
    ];
    for fate in fates {
        for place in 0..6 {
            let world = World::leading().await;
            world
                .log
                .fates(vec![Fate::Fine(0); place].into_iter().chain([fate]));
            world.db.commit_user(7, 45);
            for _ in 0..4 {
                world.db.commit_event(45, "{}");
            }
            world.event(46);
            world.settled().await;
            assert_eq!(world.log.events().len(), 5, "{fate:?} at {place}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_failing_call_of_the_database_leaves_one_copy() {
    let calls = [
        "lease",
        "position",
        "unsent",
        "snapshots",
        "mark_sent",
        "mark_found",
        "bury",
    ];
    let fates = [
        DbFate::Fails,
        DbFate::DoneButFails,
        DbFate::Hangs,
        DbFate::AnsweredLate(1_800),
    ];
    for call in calls {
        for fate in fates {
            let world = World::leading().await;
            world.db.fates(call, [fate, fate]);
            world.log.fates([Fate::Fine(0), Fate::LostAck]);
            world.db.commit_user(7, 45);
            world.db.commit_event(45, "{}");
            world.db.commit_event(45, &"x".repeat(2_000));
            world.event(45);
            world.settled().await;
            assert_eq!(world.log.events().len(), 3, "{call} {fate:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_log_is_away_the_relay_backs_off_and_then_delivers_at_once() {
    let world = World::leading().await;
    world.log.away(true);
    world.event(45);
    sleep(ms(60_000)).await;
    let asked = world.relays[0].stats.resyncs.get();
    assert!((20..80).contains(&asked), "asked {asked} times a minute");
    world.log.away(false);
    let back = Instant::now();
    world.settled().await;
    assert!(back.elapsed() <= ms(2_100));
    assert_eq!(world.relays[0].stats.epochs.get(), 1);
}
