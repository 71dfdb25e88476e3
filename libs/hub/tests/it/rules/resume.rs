//! Coming back with a cursor: what is replayed, from where, and what can't be.

use crier_hub::{Backoff, HubConfig};
use std::time::Duration;

use crate::script::{check, check_with};

/// User 7 keeps community 45 followed, so that its ring has what happens.
const HOST: &str = "connect 9 u9
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
fn what_is_older_is_read_from_the_log_once_for_all_who_wait() {
    check(&format!(
        "{HOST}
         connect 1 u7 @3
         > read #1 u7
         found #1 u7 @5 45:9
         > 1: ready @3 [45]
         > past #2 page 45 @3
         connect 2 u7 @5
         > 2: ready @5 [45]
         page #2 45 @4<2=x @8<4=y
         > 1: event @4 x
         > 1: event @8 y
         > 2: event @8 y
         > 1: event @11 a
         > 1: event @13 b
         > 2: event @11 a
         > 2: event @13 b
         ? resumes_log=2
         ? page_bytes=0
         ? fetches_past=0
         +1ms"
    ));
}

#[test]
fn a_quiet_community_costs_one_question() {
    check(
        "connect 1 u7 @7
         > read #0 u7
         found #0 u7 @5 45:9 46:9
         > follow 45
         > follow 46
         > 1: ready @7 [45,46]
         > past #1 newest 45
         > past #2 newest 46
         newest #2 @6
         event @11 45 members prev=7
         payload @11 a
         newest #1 @7
         > 1: event @11 a
         event @12 46 members prev=6
         payload @12 b
         > 1: event @12 b
         connect 2 u7 @8
         > 2: ready @8 [45,46]
         > 2: event @11 a
         > 2: event @12 b",
    );
}

#[test]
fn events_of_several_communities_are_merged_in_the_logs_order() {
    check(
        "connect 1 u7 @2
         > read #0 u7
         found #0 u7 @1 45:9 46:9
         > follow 45
         > follow 46
         > 1: ready @2 [45,46]
         > past #1 newest 45
         > past #2 newest 46
         newest #1 @9
         > past #3 page 45 @2
         newest #2 @8
         > past #4 page 46 @2
         page #4 46 @3<1=x @6<3=y
         page #3 45 @4<2=a @9<4=b
         > 1: event @3 x
         > 1: event @4 a
         > 1: event @6 y
         > past #5 page 46 @6
         page #5 46 @8<6=z
         > 1: event @8 z
         > 1: event @9 b
         > 1: id @10",
    );
}

#[test]
fn a_short_page_is_asked_for_again_and_then_the_leader() {
    let begin = format!(
        "{HOST}
         connect 1 u7 @3
         > read #1 u7
         found #1 u7 @5 45:9
         > 1: ready @3 [45]
         > past #2 page 45 @3"
    );
    for short in ["page #2 45", "page #2 45 @8<6"] {
        check(&format!(
            "{begin}
             {short}
             +30ms
             > past #3 page 45 @3
             page #3 45 @6<2=x @8<6=y
             > 1: event @6 x
             > 1: event @8 y
             > 1: event @11 a
             > 1: event @13 b
             ? again=1"
        ));
    }
    check(&format!(
        "{begin}
         page #2 45 @8<6=y
         +30ms
         > past #3 page 45 @3
         page #3 45 @8<6=y
         > past #4 stands @6
         stands #4 45 @6<2=x
         > 1: event @6 x
         > past #5 page 45 @6
         page #5 45 @8<6=y
         > 1: event @8 y
         > 1: event @11 a
         > 1: event @13 b"
    ));
    check(&format!(
        "{begin}
         page #2 45 @8<6=y
         +30ms
         > past #3 page 45 @3
         page #3 45 @8<6=y
         > past #4 stands @6
         stands #4 45
         > 1: reset @6 lost [45]
         > past #5 page 45 @6
         page #5 45 @8<6=y
         > 1: event @8 y
         > 1: event @11 a
         > 1: event @13 b"
    ));
}

#[test]
fn a_page_counts_only_as_far_as_it_is_linked() {
    check(&format!(
        "{HOST}
         connect 1 u7 @3
         > read #1 u7
         found #1 u7 @5 45:9
         > 1: ready @3 [45]
         > past #2 page 45 @3
         page #2 45 @4<2=x @8<6=z
         > 1: event @4 x
         > past #3 page 45 @4
         page #3 45 @6<4=y @8<6=z
         > 1: event @6 y
         > 1: event @8 z
         > 1: event @11 a
         > 1: event @13 b"
    ));
}

#[test]
fn what_has_expired_is_a_reset_and_what_never_was_is_none() {
    let none = "connect 1 u7 @7
         > read #0 u7
         found #0 u7 @5 45:9
         > follow 45
         > 1: ready @7 [45]
         > past #1 newest 45
         newest #1 @0
         > past #2 horizon";
    check(&format!("{none}\nhorizon #2 @7\n> 1: id @10"));
    check(&format!(
        "{none}
         horizon #2 @8
         > 1: reset @10 behind [45]
         event @11 45 members
         payload @11 a
         > 1: event @11 a"
    ));
    check(&format!("{none}\nhorizon #2\n> 1: reset @10 behind [45]"));
    let first = format!(
        "{HOST}
         connect 1 u7 @3
         > read #1 u7
         found #1 u7 @5 45:9
         > 1: ready @3 [45]
         > past #2 page 45 @3
         page #2 45 @6<0=x @8<6=y
         > past #3 horizon"
    );
    check(&format!(
        "{first}
         horizon #3 @3
         > 1: event @6 x
         > 1: event @8 y
         > 1: event @11 a
         > 1: event @13 b"
    ));
    check(&format!(
        "{first}
         horizon #3 @4
         > 1: reset @13 behind [45]
         ? resumes_reset=1"
    ));
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
fn a_blank_of_the_ring_is_filled_by_a_late_copy_or_read() {
    let begin = "connect 9 u9
         > read #0 u9
         found #0 u9 @5 45:9
         > follow 45
         > 9: ready @10 [45]
         event @11 45/1 prev=8";
    let comes = "connect 1 u7 @10
         > read #1 u7
         found #1 u7 @5 45:9[1:9]
         > 1: ready @10 [45]";
    check(&format!(
        "{begin}
         payload @11 late
         {comes}
         > 1: event @11 late"
    ));
    check(&format!(
        "{begin}
         {comes}
         > past #2 page 45 @10
         page #2 45 @11<8=read
         > 1: event @11 read"
    ));
    check(&format!(
        "{begin}
         {comes}
         > past #2 page 45 @10
         page #2 45
         +30ms
         > past #3 page 45 @10
         page #3 45
         > past #4 stands @11
         stands #4 45
         > 1: reset @11 lost [45]
         connect 2 u7 @10
         > 2: ready @10 [45]
         > 2: reset @11 lost [45]"
    ));
}

#[test]
fn a_blank_that_is_gone_with_what_followed_it_is_no_longer_waited_for() {
    check(
        "connect 9 u9
         > read #0 u9
         found #0 u9 @5 45:9
         > follow 45
         > 9: ready @10 [45]
         event @11 45/1 prev=8
         event @12 45/1 prev=11
         event @13 45/1 prev=12
         payload @12 late
         connect 1 u7 @10
         > read #1 u7
         found #1 u7 @5 45:9[1:9]
         > 1: ready @10 [45]
         > past #2 page 45 @10
         page #2 45 @13<12=c
         +30ms
         > past #3 page 45 @10
         page #3 45 @13<12=c
         > past #4 stands @12
         stands #4 45
         > 1: reset @12 lost [45]
         > past #5 page 45 @12
         page #5 45 @13<12=c
         > 1: event @13 c",
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
fn a_log_that_cannot_be_read_is_asked_again_until_another_gateway_may_do_better() {
    let config = HubConfig {
        page_backoff: Backoff {
            first: Duration::from_secs(60),
            most: Duration::from_secs(60),
        },
        ..HubConfig::default()
    };
    check_with(
        config,
        "connect 1 u7 @7
         > read #0 u7
         found #0 u7 @5 45:9
         > follow 45
         > 1: ready @7 [45]
         > past #1 newest 45
         unread #1
         +30s
         > 1: hb
         +30s
         > 1: bye unavailable
         > unfollow 45
         ? fetches_past=0
         ? replays=0
         ? idle",
    );
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
