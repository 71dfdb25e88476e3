//! What reaches whom: matching, order, payloads and their bounds.

use crier_hub::HubConfig;

use crate::script::{check, check_with};

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
         ? gaps=2
         ? healed=2
         ? healing_ms=1259
         ? queue_bytes=0
         +10s",
    );
}

#[test]
fn a_payload_asked_for_in_vain_is_asked_for_as_soon_as_the_log_is_in_reach_again() {
    check(
        "connect 1 u7
         > read #0 u7
         found #0 u7 @5 45:9
         > follow 45
         > 1: ready @10 [45]
         event @11 45 members
         +20ms
         > fetch @11
         +1200ms
         > fetch @11
         +2400ms
         > fetch @11
         +4800ms
         > fetch @11
         back
         +250ms
         > fetch @11
         +1349ms
         +1051ms
         > fetch @11
         payload @11 a
         > 1: event @11 a",
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
         > follow 45
         > 1: +45
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
