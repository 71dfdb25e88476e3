//! What a user may receive: how it is found, where it counts, what is told and followed.

use crier_hub::HubConfig;

use crate::script::{check, check_with};

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
         > follow 47
         > 1: -46/3
         > 1: -45/2
         > 1: -45/1
         > 1: -45
         > 1: +45
         > 1: +45/1
         > 1: +46/3
         > 1: +47
         > 1: +47/4
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
fn what_was_read_for_someone_who_left_is_forgotten() {
    check(
        "connect 1 u7
         > read #0 u7
         found #0 u7 @12 45:9
         disconnect 1
         connect 2 u7
         > read #1 u7
         found #1 u7 @14 46:9
         snapshot @12 u7
         event @13 45 members
         snapshot @14 u7
         > follow 46
         > 2: ready @14 [46]",
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
         ? idle
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
fn a_snapshot_asked_for_in_vain_is_asked_for_as_soon_as_the_log_is_in_reach_again() {
    check(
        "connect 1 u7
         > read #0 u7
         none #0 u7
         > request u7
         +300ms
         > request u7
         +600ms
         > request u7
         +1200ms
         > request u7
         back
         +250ms
         > request u7
         +300ms
         > request u7",
    );
    check(
        "connect 1 u7
         > read #0 u7
         back
         +250ms
         > read #1 u7
         found #0 u7 @5
         > 1: ready @10 []",
    );
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
fn whoever_cannot_keep_up_with_changes_leaves_nothing_to_the_next_in_the_same_place() {
    let config = HubConfig {
        replay_bytes: 1,
        ..HubConfig::default()
    };
    check_with(
        config,
        "connect 1 u7 at @8
         > read #0 u7
         found #0 u7 @5 45:9 46:9
         > follow 45
         > follow 46
         > 1: ready @8 [45,46]
         > past #1 newest 45
         > past #2 newest 46
         snapshot @11 u7
         > fetch @11
         is @11 45:9 46:9 47:11
         > follow 47
         snapshot @12 u7
         > fetch @12
         is @12 47:11
         > 1: bye slow
         connect 2 u8
         > read #3 u8
         found #3 u8 @5
         > 2: ready @12 []
         event @13 45 members
         event @14 46 members
         event @15 47 members
         payload @13 x
         payload @14 y
         payload @15 z
         +6s
         > unfollow 45
         > unfollow 46
         > unfollow 47
         ? interests=0",
    );
}
