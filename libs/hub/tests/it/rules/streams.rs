//! The life of a connection: ready, reset, heartbeats, the end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crier_domain::{Epoch, Keys, Seq, Snapshot, UserId};
use crier_hub::{Action, ConnectionId, Hub, HubConfig, Resume, SnapshotRead};

use crate::script::check;

#[test]
fn a_connection_is_ready_once_its_snapshot_is_read_and_then_gets_events() {
    check(
        "connect 1 u7
         > read #0 u7
         found #0 u7 @5 45:9[1:10]
         > follow 45
         > 1: ready @10 [45]
         event @11 45/1
         payload @11 {\"n\":11}
         > 1: event @11 {\"n\":11}",
    );
}

#[test]
fn tokens_from_before_the_moment_are_turned_away_and_only_they() {
    check(
        "connect 1 u7 iat=99
         > read #0 u7
         connect 2 u7 iat=100
         found #0 u7 @5 nb=100 45:9
         > 1: refused
         > follow 45
         > 2: ready @10 [45]
         connect 3 u7 iat=99
         > 3: refused
         connect 4 u7 iat=101
         > 4: ready @10 [45]
         snapshot @11 u7
         > fetch @11
         is @11 nb=101 45:9 46:9
         > 2: bye disconnected
         > follow 46
         > 4: +46
         snapshot @12 u7
         > fetch @12
         is @12 nb=200 45:9 46:9
         > 4: bye disconnected
         ? users=0
         +5s
         > unfollow 45
         > unfollow 46",
    );
}

#[test]
fn a_token_withdrawn_further_on_in_the_log_is_turned_away_at_once() {
    check(
        "connect 1 u7 iat=99
         > read #0 u7
         connect 2 u7 iat=100
         found #0 u7 @12 nb=100 45:9
         > 1: refused
         connect 3 u7 iat=99
         > 3: refused
         snapshot @12 u7
         > follow 45
         > 2: ready @12 [45]",
    );
    check(
        "connect 1 u7 iat=99
         > read #0 u7
         found #0 u7 @12 nb=100 45:9
         > 1: refused
         ? users=0
         ? idle
         snapshot @12 u7",
    );
}

#[test]
fn a_cursor_that_nothing_can_follow_is_reset_and_the_reset_can_not_be_lost() {
    for (resume, reason) in [("@0", "behind"), ("@2:10", "foreign"), ("bad", "damaged")] {
        check(&format!(
            "connect 1 u7 {resume}
             > read #0 u7
             found #0 u7 @5 45:9
             > follow 45
             > 1: ready @0 [45]
             > 1: reset @10 {reason} [45]
             ? resumes_reset=1
             +31s
             > 1: hb",
        ));
    }
    check(
        "connect 1 u7 @10
         > read #0 u7
         found #0 u7 @5 45:9
         > follow 45
         > 1: ready @10 [45]",
    );
}

#[test]
fn a_heartbeat_moves_the_id_if_the_position_moved() {
    check(
        "connect 1 u7
         > read #0 u7
         found #0 u7 @5 45:9
         > follow 45
         > 1: ready @10 [45]
         +19999ms
         mark @11
         +10001ms
         > 1: id @11
         +30s
         > 1: hb
         event @12 45 members
         payload @12 x
         > 1: event @12 x
         disconnect 1
         +60s
         > unfollow 45",
    );
}

#[test]
fn no_heartbeat_repeats_the_id_of_an_event() {
    check(
        "connect 1 u7
         > read #0 u7
         found #0 u7 @5 45:9
         > follow 45
         > 1: ready @10 [45]
         event @11 45 members
         payload @11 x
         > 1: event @11 x
         +31s
         > 1: hb",
    );
}

#[test]
fn an_event_puts_the_heartbeat_off() {
    check(
        "connect 1 u7
         > read #0 u7
         found #0 u7 @5 45:9
         > follow 45
         > 1: ready @10 [45]
         +19s
         event @11 45 members
         payload @11 x
         > 1: event @11 x
         mark @12
         +19s
         event @13 45 members
         payload @13 y
         > 1: event @13 y
         mark @14
         +19999ms
         +10001ms
         > 1: id @14
         disconnect 1
         +60s
         > unfollow 45",
    );
}

#[test]
fn another_log_sends_everyone_away_and_begins_anew() {
    for other in ["mark @2:11", "mark @11", "mark @9"] {
        check(&format!(
            "connect 1 u7
             > read #0 u7
             found #0 u7 @5 45:9
             > follow 45
             > 1: ready @10 [45]
             connect 2 u8
             > read #1 u8
             event @11 45 members
             {other}
             > 1: bye unavailable
             > 2: bye unavailable
             > restart
             payload @11 x
             found #1 u8 @5
             mark @2:12
             connect 3 u7
             > 3: bye unavailable
             begin @2:3
             connect 4 u7
             > read #2 u7
             found #2 u7 @2:1 45:9
             > 4: ready @2:3 [45]
             event @2:4 45 members
             payload @11 x
             payload @4 x
             payload @2:4 y
             > 4: event @2:4 y"
        ));
    }
}

#[test]
fn the_heartbeats_of_many_are_spread_over_few_moments() {
    let keys = Keys::from_base64(&[Keys::random_base64()]).unwrap();
    let mut hub = Hub::new(HubConfig::default(), keys);
    let begun = Instant::now();
    let user = UserId::try_from(7).unwrap();
    hub.begin(Epoch::from_bits(1), Seq(10), begun);
    for id in 0..1_000 {
        hub.connect(ConnectionId(id), user, 0, Resume::Fresh, begun);
    }
    let Some(Action::ReadSnapshot { read, user }) = hub.poll_action() else {
        panic!("the snapshot is not read");
    };
    let found = SnapshotRead::Found {
        seq: Seq(5),
        epoch: Epoch::from_bits(1),
        snapshot: Snapshot::default(),
    };
    hub.snapshot_read(read, user, found, begun);
    while hub.poll_action().is_some() {}

    let mut per_second = BTreeMap::<u64, usize>::new();
    let mut moments = 0;
    loop {
        let due = hub.next_deadline().unwrap();
        if due - begun >= Duration::from_secs(30) {
            break;
        }
        moments += 1;
        hub.tick(due);
        let beats = std::iter::from_fn(|| hub.poll_action()).count();
        *per_second.entry((due - begun).as_secs()).or_default() += beats;
    }
    let seconds: Vec<u64> = per_second.keys().copied().collect();
    assert_eq!(seconds, (20..30).collect::<Vec<_>>());
    assert!(
        per_second.values().all(|beats| *beats < 150),
        "{per_second:?}"
    );
    assert!(moments < 110, "{moments}");
}
