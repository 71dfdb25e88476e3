//! What the rings don't have is read from the log: what is asked, and when an answer is believed.

use std::time::Duration;

use crier_hub::{Backoff, HubConfig};

use super::resume::HOST;
use crate::script::{check, check_with};

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
         ? fetches_past=0
         +1ms"
    ));
}

#[test]
fn pages_stay_a_while_for_those_who_come_just_after() {
    check(&format!(
        "{HOST}
         connect 1 u7 @3
         > read #1 u7
         found #1 u7 @5 45:9
         > 1: ready @3 [45]
         > past #2 page 45 @3
         page #2 45 @4<2=x @8<4=y
         > 1: event @4 x
         > 1: event @8 y
         > 1: event @11 a
         > 1: event @13 b
         ? replays=0
         +4000ms
         connect 2 u7 @3
         > 2: ready @3 [45]
         > 2: event @4 x
         > 2: event @8 y
         > 2: event @11 a
         > 2: event @13 b
         +1000ms
         ? page_bytes=0
         connect 3 u7 @3
         > 3: ready @3 [45]
         > past #3 page 45 @3"
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
         > 1: reset @3 lost [45]
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
         > 1: reset @10 lost [45]
         > 1: id @11
         connect 2 u7 @10
         > 2: ready @10 [45]
         > 2: reset @10 lost [45]
         > 2: id @11
         ? gone=1"
    ));
}

#[test]
fn what_is_gone_is_told_at_once_to_all_who_come_from_before_it() {
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
         connect 2 u7 @11
         > 2: ready @11 [45]
         > 2: event @12 late
         page #2 45 @13<12=c
         +30ms
         > past #3 page 45 @10
         page #3 45 @13<12=c
         > past #4 stands @12
         stands #4 45
         > 1: reset @10 lost [45]
         > past #5 page 45 @12
         page #5 45 @13<12=c
         > 1: event @13 c
         > 2: event @13 c
         ? gone=1",
    );
}

/// Client 2 is at 4 when it finds that events of 45 are gone, and client 1 has had one of them read, the 7. What
/// client 2 is told of 46 takes it to 6, between them. Would it be told of the loss at its end only, it could go on
/// from 6 or 7 at a gateway that remembers the 7 and the 9, and never hear of the 5.
#[test]
fn nobody_gets_to_between_events_that_are_gone_without_a_reset() {
    check(
        "connect 1 u7 @5
         > read #0 u7
         found #0 u7 @1 45:1
         > follow 45
         > 1: ready @5 [45]
         > past #1 newest 45
         newest #1 @9
         > past #2 page 45 @5
         page #2 45 @7<5=x
         > 1: event @7 x
         > past #3 page 45 @7
         connect 2 u8 @4
         > read #4 u8
         found #4 u8 @1 45:1 46:1
         > follow 46
         > 2: ready @4 [45,46]
         > past #5 newest 46
         newest #5 @6
         > past #6 page 46 @4
         page #6 46 @6<4=y
         page #3 45
         +30ms
         > past #7 page 45 @7
         page #7 45
         > past #8 stands @9
         stands #8 45
         > past #9 page 45 @4
         > 1: reset @7 lost [45]
         > 1: id @10
         page #9 45
         +30ms
         > past #10 page 45 @4
         page #10 45
         > past #11 stands @9
         stands #11 45
         > 2: reset @4 lost [45]
         > 2: event @6 y
         > 2: id @10",
    );
}

#[test]
fn one_reset_names_all_communities_of_which_something_is_gone() {
    check(
        "connect 1 u7 @2
         > read #0 u7
         found #0 u7 @1 45:1 46:1
         > follow 45
         > follow 46
         > 1: ready @2 [45,46]
         > past #1 newest 45
         > past #2 newest 46
         newest #1 @9
         > past #3 page 45 @2
         newest #2 @8
         > past #4 page 46 @2
         page #3 45
         page #4 46
         +30ms
         > past #5 page 46 @2
         > past #6 page 45 @2
         page #5 46
         > past #7 stands @8
         page #6 45
         > past #8 stands @9
         stands #7 46
         stands #8 45
         > 1: reset @2 lost [45,46]
         > 1: id @10
         ? gone=2",
    );
}

#[test]
fn what_is_gone_is_told_when_the_client_has_read_what_it_was_given() {
    let config = HubConfig {
        replay_messages: 1,
        ..HubConfig::default()
    };
    check_with(
        config,
        "connect 1 u7 @2
         > read #0 u7
         found #0 u7 @1 45:1
         > follow 45
         > 1: ready @2 [45]
         > past #1 newest 45
         newest #1 @9
         > past #2 page 45 @2
         page #2 45 @3<2=x
         > 1: event @3 x
         > past #3 page 45 @3
         page #3 45 @9<8=y
         +30ms
         > past #4 page 45 @3
         page #4 45 @9<8=y
         > past #5 stands @8
         stands #5 45
         > room 1
         drained 1
         > 1: reset @3 lost [45]
         > past #6 page 45 @8
         page #6 45 @9<8=y
         > room 1
         drained 1
         > 1: event @9 y
         > 1: id @10",
    );
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
