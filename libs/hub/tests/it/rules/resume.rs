//! Coming back with a cursor: what is replayed, from where, and where it meets what is live.

use crier_hub::HubConfig;

use crate::script::{check, check_with};

/// User 9 keeps community 45 followed, so that its ring has what happens.
pub(super) const HOST: &str = "connect 9 u9
     > read #0 u9
     found #0 u9 @5 45:9
     > follow 45
     > 9: ready @10 [45]
     event @11 45 members prev=8
     payload @11 a
     > 9: event @11 a
     mark @12
     event @13 45 members prev=11
     payload @13 b
     > 9: event @13 b";

#[test]
fn what_the_ring_has_is_replayed_at_once_and_then_it_is_live() {
    for (cursor, replayed) in [
        ("@8", "> 1: event @11 a\n> 1: event @13 b"),
        ("@10", "> 1: event @11 a\n> 1: event @13 b"),
        ("@11", "> 1: event @13 b"),
        ("@12", "> 1: event @13 b"),
    ] {
        check(&format!(
            "{HOST}
             connect 1 u7 {cursor}
             > read #1 u7
             found #1 u7 @5 45:9
             > 1: ready {cursor} [45]
             {replayed}
             ? resumes_ring=1
             ? replays=0
             event @14 45 members prev=13
             payload @14 c
             > 1 9: event @14 c"
        ));
    }
}

#[test]
fn a_client_that_missed_nothing_is_told_how_far_it_is() {
    check(&format!(
        "{HOST}
         mark @14
         connect 1 u7 @13
         > read #1 u7
         found #1 u7 @5 45:9
         > 1: ready @13 [45]
         > 1: id @14
         connect 2 u8 @2
         > read #2 u8
         found #2 u8 @5
         > 2: ready @2 []
         > 2: id @14"
    ));
}

#[test]
fn fences_and_audience_hold_on_replay() {
    check(
        "connect 9 u9
         > read #0 u9
         found #0 u9 @5 45:9[1:10]
         > follow 45
         > 9: ready @10 [45]
         event @11 45/1 fence=50 prev=8
         payload @11 a
         > 9: event @11 a
         event @12 45/1 fence=60 prev=11
         payload @12 b
         > 9: event @12 b
         event @13 45 members fence=61 not=7 prev=12
         payload @13 c
         > 9: event @13 c
         event @14 45 users=8,9 fence=62 prev=13
         payload @14 [8,9]d
         > 9: event @14 d
         connect 1 u7 @10
         > read #1 u7
         found #1 u7 @5 45:9[1:50]
         > 1: ready @10 [45]
         > 1: event @12 b
         > 1: id @14
         connect 2 u8 @10
         > read #2 u8
         found #2 u8 @5 45:60
         > 2: ready @10 [45]
         > 2: event @13 c
         > 2: event @14 d",
    );
}

#[test]
fn a_change_waits_for_its_place_and_counts_at_once() {
    check(&format!(
        "{HOST}
         connect 1 u7 @3
         > read #1 u7
         found #1 u7 @5 45:9 46:9
         > follow 46
         > 1: ready @3 [45,46]
         > past #2 page 45 @3
         > past #3 newest 46
         snapshot @14 u7
         > fetch @14
         is @14 45:9 47:9
         > follow 47
         event @15 47 members
         payload @15 n
         page #2 45 @4<2=x @8<4=y
         newest #3 @2
         > 1: event @4 x
         > 1: event @8 y
         > 1: event @11 a
         > 1: event @13 b
         > 1: -46
         > 1: +47
         > 1: event @15 n"
    ));
    // Removed while the page is under way: nothing of it is told.
    check(&format!(
        "{HOST}
         connect 1 u7 @3
         > read #1 u7
         found #1 u7 @5 45:9
         > 1: ready @3 [45]
         > past #2 page 45 @3
         snapshot @14 u7
         > fetch @14
         is @14
         event @15 45 members prev=13
         payload @15 secret
         > 9: event @15 secret
         page #2 45 @4<2=x @8<4=y
         > 1: -45
         > 1: id @15"
    ));
}

#[test]
fn a_client_is_given_more_when_it_has_read_and_nobody_waits_for_it() {
    let config = HubConfig {
        replay_messages: 1,
        ..HubConfig::default()
    };
    check_with(
        config,
        &format!(
            "{HOST}
             connect 1 u7 @10
             > read #1 u7
             found #1 u7 @5 45:9
             > 1: ready @10 [45]
             > 1: event @11 a
             > room 1
             event @14 45 members prev=13
             payload @14 c
             > 9: event @14 c
             drained 1
             > 1: event @13 b
             > room 1
             +30s
             > 9: hb
             > 1: hb
             drained 1
             > 1: event @14 c
             event @15 45 members prev=14
             payload @15 d
             > 1 9: event @15 d
             drained 1"
        ),
    );
}

#[test]
fn rings_are_bounded_and_what_they_gave_up_is_read_again() {
    for config in [
        HubConfig {
            ring_events: 1,
            ..HubConfig::default()
        },
        HubConfig {
            ring_bytes: 400,
            ..HubConfig::default()
        },
        HubConfig {
            rings_bytes: 400,
            ..HubConfig::default()
        },
    ] {
        check_with(
            config,
            &format!(
                "{HOST}
                 connect 1 u7 @11
                 > read #1 u7
                 found #1 u7 @5 45:9
                 > 1: ready @11 [45]
                 > 1: event @13 b
                 connect 2 u7 @10
                 > 2: ready @10 [45]
                 > past #2 page 45 @10
                 page #2 45 @11<8=a @13<11=b
                 > 2: event @11 a
                 > 2: event @13 b"
            ),
        );
    }
}

#[test]
fn more_than_a_resume_may_have_is_a_reset() {
    let config = HubConfig {
        resume_events: 1,
        ..HubConfig::default()
    };
    check_with(
        config,
        &format!(
            "{HOST}
             mark @14
             connect 1 u7 @10
             > read #1 u7
             found #1 u7 @5 45:9
             > 1: ready @10 [45]
             > 1: event @11 a
             > 1: reset @14 too_much [45]
             event @15 45 members prev=13
             payload @15 c
             > 1 9: event @15 c"
        ),
    );
}

#[test]
fn a_cursor_ahead_is_waited_for_and_beyond_the_log_is_a_reset() {
    let begin = "connect 1 u7 @12
         > read #0 u7
         found #0 u7 @5 45:9
         > follow 45
         ? users=1";
    check(&format!(
        "{begin}
         event @11 45 members
         payload @11 a
         mark @12
         > 1: ready @12 [45]
         +60ms"
    ));
    check(&format!(
        "{begin}
         +60ms
         > past #1 tail
         connect 2 u7 @13
         tail #1 @12
         +60ms
         > past #2 tail
         tail #2 @12
         > 2: ready @0 [45]
         > 2: reset @10 ahead [45]
         mark @12
         > 1: ready @12 [45]"
    ));
    check(&format!(
        "{begin}
         +60ms
         > past #1 tail
         unread #1
         +300ms
         > past #2 tail
         +4640ms
         > past #3 tail
         > past #4 tail
         > 1: bye unavailable
         +5s
         > unfollow 45"
    ));
}

#[test]
fn who_leaves_while_catching_up_leaves_nothing_behind() {
    check(
        "connect 1 u7 @7
         > read #0 u7
         found #0 u7 @5 45:9
         > follow 45
         > 1: ready @7 [45]
         > past #1 newest 45
         disconnect 1
         newest #1 @7
         ? replays=0
         ? fetches_past=0
         +5s
         > unfollow 45
         ? idle",
    );
}

#[test]
fn another_log_ends_what_was_being_read() {
    check(
        "connect 1 u7 @7
         > read #0 u7
         found #0 u7 @5 45:9
         > follow 45
         > 1: ready @7 [45]
         > past #1 newest 45
         connect 2 u7 @12
         mark @2:11
         > 1: bye unavailable
         > 2: bye unavailable
         > restart
         newest #1 @7
         begin @2:3
         +5s
         > unfollow 45
         ? idle",
    );
}
