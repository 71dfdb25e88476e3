//! Every rule of the hub as a script.

use std::collections::BTreeMap;
use std::time::Instant;

use crier_domain::{Epoch, Keys, Seq, Snapshot, UserId};
use crier_hub::{Action, ConnectionId, Hub, HubConfig, Resume, SnapshotRead};

use crate::script::{check, check_with};

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
fn one_read_serves_all_connections_of_a_user_and_an_event_is_one_frame() {
    check(
        "connect 1 u7
         > read #0 u7
         connect 2 u7
         found #0 u7 @5 45:9
         > follow 45
         > 1: ready @10 [45]
         > 2: ready @10 [45]
         connect 3 u7
         > 3: ready @10 [45]
         event @11 45 members
         payload @11 x
         > 1 2 3: event @11 x
         disconnect 2
         event @12 45 members
         payload @12 y
         > 1 3: event @12 y",
    );
}

#[test]
fn events_for_nobody_here_cost_nothing_but_the_walk() {
    check(
        "connect 1 u7
         > read #0 u7
         event @11 45 members
         found #0 u7 @5 45:50[1:60]
         > follow 45
         > 1: ready @11 [45]
         event @12 46 members
         event @13 45/2
         event @14 45/1 fence=60
         event @15 45 members fence=50
         event @16 45/1 not=7
         event @17 45 users=8 fence=50
         mark @18
         snapshot @19 u8
         ? queue=0
         ? position=19
         +1s",
    );
}

#[test]
fn the_named_get_it_and_nobody_sees_the_list() {
    check(
        "connect 1 u7
         > read #0 u7
         found #0 u7 @5 45:9
         > follow 45
         > 1: ready @10 [45]
         connect 2 u8
         > read #1 u8
         found #1 u8 @5 45:9
         > 2: ready @10 [45]
         connect 3 u9
         > read #2 u9
         found #2 u9 @5 46:9
         > follow 46
         > 3: ready @10 [46]
         event @11 45 users=8,8,9
         payload @11 [8,8,9]{}
         > 2: event @11 {}",
    );
}

#[test]
fn the_spine_decides_the_order_not_arrival() {
    check(
        "connect 1 u7
         > read #0 u7
         found #0 u7 @5 45:9
         > follow 45
         > 1: ready @10 [45]
         payload @13 c
         payload @12 b
         event @11 45 members
         event @12 45 members
         event @13 46 members
         mark @14
         payload @14 d
         payload @14 e
         ? live=1
         payload @11 a
         > 1: event @11 a
         > 1: event @12 b
         ? early=0
         ? queue_bytes=0
         ? position=14
         payload @11 a
         payload @13 c
         ? early=0",
    );
}

#[test]
fn a_payload_that_does_not_come_live_is_fetched_after_the_grace_and_again_without_an_answer() {
    check(
        "connect 1 u7
         > read #0 u7
         found #0 u7 @5 45:9
         > follow 45
         > 1: ready @10 [45]
         event @11 45 members
         +19ms
         event @12 45 members
         +1ms
         > fetch @11
         +19ms
         > fetch @12
         payload @12 b
         +1200ms
         > fetch @11
         payload @11 a
         > 1: event @11 a
         > 1: event @12 b
         payload @11 a
         ? live=0
         ? fetched=2
         ? queue_bytes=0
         +10s",
    );
}

#[test]
fn what_becomes_needed_by_a_snapshot_passed_is_fetched_then() {
    check(
        "connect 1 u7
         > read #0 u7
         found #0 u7 @5
         > 1: ready @10 []
         snapshot @11 u7
         > fetch @11
         event @12 45 members
         event @13 46 members
         event @14 45 members
         is @11 45:9
         > 1: +45
         > follow 45
         > fetch @12
         > fetch @14
         payload @14 c
         payload @12 a
         > 1: event @12 a
         > 1: event @14 c",
    );
}

#[test]
fn what_a_snapshot_passed_makes_useless_is_not_waited_for() {
    check(
        "connect 1 u7
         > read #0 u7
         found #0 u7 @5 45:9
         > follow 45
         > 1: ready @10 [45]
         snapshot @11 u7
         > fetch @11
         event @12 45 members
         is @11
         > 1: -45
         ? position=12
         ? queue_bytes=0
         +1s",
    );
}

#[test]
fn a_snapshot_counts_from_its_place_on() {
    check(
        "connect 1 u7
         > read #0 u7
         found #0 u7 @5 45:9[1:10]
         > follow 45
         > 1: ready @10 [45]
         event @11 45/1
         snapshot @12 u7
         > fetch @12
         event @13 45/1
         event @14 45/2
         is @12 45:9[2:12]
         payload @14 c
         payload @11 a
         > 1: event @11 a
         > 1: -45/1
         > 1: +45/2
         > 1: event @14 c",
    );
}

#[test]
fn entries_go_from_the_inside_out_and_come_from_the_outside_in() {
    check(
        "connect 1 u7
         > read #0 u7
         found #0 u7 @5 45:9[1:10,2:10] 46:9[3:10]
         > follow 45
         > follow 46
         > 1: ready @10 [45,46]
         snapshot @11 u7
         > fetch @11
         is @11 45:20[1:21] 46:9[3:22] 47:9[4:10]
         > 1: -46/3
         > 1: -45/2
         > 1: -45/1
         > 1: -45
         > 1: +45
         > 1: +45/1
         > 1: +46/3
         > 1: +47
         > 1: +47/4
         > follow 47
         snapshot @12 u7
         > fetch @12
         is @12 45:20[1:21] 46:9[3:22] 47:9[4:10]
         snapshot @13 u7
         > fetch @13
         is @13 45:20[1:21] 46:23[3:22] 47:9[4:10]
         > 1: -46
         > 1: +46
         event @14 46/3
         payload @14 x
         > 1: event @14 x
         +6s
         ? interests=3",
    );
}

#[test]
fn interest_lingers_and_is_taken_up_again() {
    check(
        "connect 1 u7
         > read #0 u7
         found #0 u7 @5 45:9
         > follow 45
         > 1: ready @10 [45]
         connect 2 u8
         > read #1 u8
         found #1 u8 @5 45:9
         > 2: ready @10 [45]
         disconnect 1
         +6s
         disconnect 2
         +4s
         connect 3 u7
         > read #2 u7
         found #2 u7 @5 45:9
         > 3: ready @10 [45]
         +6s
         ? interests=1
         disconnect 3
         +4999ms
         +1ms
         > unfollow 45
         ? users=0
         connect 4 u7
         > read #3 u7
         found #3 u7 @5 45:9
         > follow 45
         > 4: ready @10 [45]",
    );
}

#[test]
fn a_snapshot_read_from_ahead_waits_for_its_place() {
    check(
        "connect 1 u7
         > read #0 u7
         found #0 u7 @12 45:9
         event @11 45 members
         ? position=11
         snapshot @12 u7
         > follow 45
         > 1: ready @12 [45]
         event @13 45 members
         payload @13 x
         > 1: event @13 x",
    );
}

#[test]
fn its_place_may_be_in_a_gap() {
    check(
        "connect 1 u7
         > read #0 u7
         found #0 u7 @12 45:9
         event @11 45 members
         event @13 45 members
         > follow 45
         > 1: ready @12 [45]
         > fetch @13
         payload @13 x
         > 1: event @13 x",
    );
}

#[test]
fn a_snapshot_read_is_skipped_if_a_later_one_was_passed() {
    check(
        "connect 1 u7
         > read #0 u7
         snapshot @11 u7
         > fetch @11
         is @11 45:9
         > follow 45
         > 1: ready @11 [45]
         found #0 u7 @5 46:9
         event @12 46 members
         event @13 45 members
         payload @13 x
         > 1: event @13 x",
    );
}

#[test]
fn an_answer_from_before_the_user_was_known_does_not_count() {
    check(
        "connect 1 u7
         > read #0 u7
         disconnect 1
         snapshot @11 u7
         connect 2 u7
         > read #1 u7
         found #0 u7 @5 45:9
         found #1 u7 @11
         > 2: ready @11 []",
    );
}

#[test]
fn a_read_that_failed_is_made_again_until_the_client_has_waited_long_enough() {
    check(
        "connect 1 u7
         > read #0 u7
         failed #0 u7
         +300ms
         > read #1 u7
         +2400ms
         > read #2 u7
         found #1 u7 @5
         > 1: ready @10 []
         connect 2 u8
         > read #3 u8
         failed #3 u8
         +300ms
         > read #4 u8
         failed #4 u8
         +600ms
         > read #5 u8
         failed #5 u8
         +1200ms
         > read #6 u8
         failed #6 u8
         connect 3 u8
         +2899ms
         > read #7 u8
         failed #7 u8
         +1ms
         > 2: bye unavailable
         ? users=2
         found #7 u8 @5
         > 3: ready @10 []",
    );
}

#[test]
fn a_user_without_a_snapshot_of_this_epoch_has_one_written() {
    for none in ["none #0 u7", "found #0 u7 @2:5 45:9"] {
        check(&format!(
            "connect 1 u7
             > read #0 u7
             {none}
             > request u7
             +300ms
             > request u7
             +600ms
             > request u7
             snapshot @11 u7
             > fetch @11
             is @11 45:9
             > follow 45
             > 1: ready @11 [45]
             +10s",
        ));
        check(&format!(
            "connect 1 u7
             > read #0 u7
             {none}
             > request u7
             disconnect 1
             +10s
             connect 2 u7
             > read #1 u7",
        ));
    }
}

#[test]
fn tokens_from_before_the_moment_are_turned_away_and_only_they() {
    check(
        "connect 1 u7 iat=99
         > read #0 u7
         connect 2 u7 iat=100
         found #0 u7 @5 nb=100 45:9
         > 1: bye disconnected
         > follow 45
         > 2: ready @10 [45]
         connect 3 u7 iat=99
         > 3: bye disconnected
         connect 4 u7 iat=101
         > 4: ready @10 [45]
         snapshot @11 u7
         > fetch @11
         is @11 nb=101 45:9 46:9
         > 2: bye disconnected
         > 4: +46
         > follow 46
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
fn only_the_present_position_is_taken_up_and_a_reset_can_not_be_lost() {
    for (resume, reason) in [
        ("@9", "behind"),
        ("@0", "behind"),
        ("@11", "ahead"),
        ("@2:10", "foreign"),
        ("bad", "damaged"),
    ] {
        check(&format!(
            "connect 1 u7 {resume}
             > read #0 u7
             found #0 u7 @5 45:9
             > follow 45
             > 1: ready @0 [45]
             > 1: reset @10 {reason} [45]
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
fn an_event_that_is_gone_resets_those_who_could_have_got_it() {
    let begin = "
         connect 1 u7
         > read #0 u7
         found #0 u7 @5 45:9[1:10]
         > follow 45
         > 1: ready @10 [45]
         connect 2 u8
         > read #1 u8
         found #1 u8 @5 45:9
         > 2: ready @10 [45]";
    let goes_on = "
         event @12 45 members
         payload @12 x
         > 1 2: event @12 x";
    for (event, told) in [
        (
            "45 members",
            "> 1: reset @11 lost [45]\n> 2: reset @11 lost [45]",
        ),
        ("45 members not=7", "> 2: reset @11 lost [45]"),
        (
            "45 users=7",
            "> 1: reset @11 lost [45]\n> 2: reset @11 lost [45]",
        ),
        ("45/1", "> 1: reset @11 lost [45]"),
    ] {
        check(&format!(
            "{begin}
             event @11 {event}
             +20ms
             > fetch @11
             gone @11
             {told}
             ? gone=1
             payload @11 late
             {goes_on}"
        ));
        check(&format!(
            "{begin}\nevent @11 {event} reset\n{told}\n{goes_on}"
        ));
    }
    check(&format!(
        "{begin}
         event @11 45 users=7
         payload @11 [7
         > 1: reset @11 lost [45]
         > 2: reset @11 lost [45]
         ? malformed=1
         {goes_on}"
    ));
    check(&format!(
        "{begin}\ngone @11\nevent @11 45/2\ngone @11\n{goes_on}"
    ));
}

#[test]
fn a_snapshot_that_is_gone_ends_the_streams_for_nothing_is_known_until_the_next() {
    for gone in ["gone @11", "payload @11 []"] {
        check(&format!(
            "connect 1 u7
             > read #0 u7
             found #0 u7 @5 45:9
             > follow 45
             > 1: ready @10 [45]
             snapshot @11 u7
             > fetch @11
             event @12 45 members
             {gone}
             > 1: bye unavailable
             ? position=12"
        ));
    }
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
fn a_full_queue_holds_the_spine_and_never_the_head() {
    let config = HubConfig {
        max_queue_entries: 4,
        max_queue_bytes: 10,
        ..HubConfig::default()
    };
    check_with(
        config,
        "connect 1 u7
         > read #0 u7
         found #0 u7 @5 45:9
         > follow 45
         > 1: ready @10 [45]
         event @11 45 members bytes=6
         ? room
         event @12 45 members bytes=6
         event @13 45 members bytes=6
         payload @12 bbbbbb
         payload @13 cccccc
         ? full
         ? queue_bytes=12
         +20ms
         > fetch @11
         payload @11 aaaaaa
         > 1: event @11 aaaaaa
         > 1: event @12 bbbbbb
         > 1: event @13 cccccc
         ? room
         event @14 45 members bytes=6
         event @15 45 members bytes=6
         event @16 45 members bytes=6
         ? room
         event @17 45 members bytes=6
         ? full
         payload @15 bbbbbb
         payload @16 cccccc
         payload @17 dddddd
         ? dropped=1
         ? queue_bytes=12
         +20ms
         > fetch @14
         payload @14 aaaaaa
         > 1: event @14 aaaaaa
         > 1: event @15 bbbbbb
         > 1: event @16 cccccc
         > fetch @17",
    );
}

#[test]
fn early_payloads_are_bounded_and_the_near_ones_kept() {
    let config = HubConfig {
        max_early_bytes: 10,
        ..HubConfig::default()
    };
    check_with(
        config,
        "connect 1 u7
         > read #0 u7
         found #0 u7 @5 45:9
         > follow 45
         > 1: ready @10 [45]
         payload @13 cccc
         payload @12 bbbb
         payload @11 aaaa
         ? early=8
         ? dropped=1
         ? room
         event @11 45 members
         > 1: event @11 aaaa
         event @13 45 members
         ? early=0
         +20ms
         > fetch @13",
    );
}

#[test]
fn the_heartbeats_of_many_are_spread() {
    let keys = Keys::from_base64(&[Keys::random_base64()]).unwrap();
    let mut hub = Hub::new(HubConfig::default(), keys);
    let begun = Instant::now();
    let user = UserId::try_from(7).unwrap();
    hub.begin(Epoch::from_bits(1), Seq(10), begun);
    for id in 0..100 {
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
    for _ in 0..100 {
        let due = hub.next_deadline().unwrap();
        hub.tick(due);
        let beats = std::iter::from_fn(|| hub.poll_action()).count();
        *per_second.entry((due - begun).as_secs()).or_default() += beats;
    }
    let seconds: Vec<u64> = per_second.keys().copied().collect();
    assert_eq!(seconds, (20..30).collect::<Vec<_>>());
    assert!(
        per_second.values().all(|beats| *beats < 25),
        "{per_second:?}"
    );
}
