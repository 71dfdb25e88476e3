//! Journals written by hand: each verdict once red, and beside it what is only just right.

#![allow(
    clippy::unwrap_used,
    reason = "a journal that can't be judged fails its test"
)]

use crier_oracle::journal::{Call, Caller, Client, Connection, Fault, Frame, Journal};
use crier_oracle::{Wrong, judge, overdue, timeline};
use serde_json::{Value, json};

const ALICE: i64 = 1;
const BOB: i64 = 2;
const CAROL: i64 = 3;

/// A private community 10 with alice as its admin, bob as a member, and article 20, which both follow.
struct Story {
    journal: Journal,
}

impl Story {
    fn new() -> Self {
        let mut story = Self {
            journal: Journal::default(),
        };
        let made = json!({"name": "A", "type": "private"});
        story.call(
            ALICE,
            "POST",
            "/api/communities/",
            made,
            1..2,
            201,
            json!({"id": 10}),
        );
        story.role(BOB, 3..4);
        let submitted = json!({"id": 30, "community_id": 10, "article_id": 20});
        story.call(
            ALICE,
            "POST",
            "/api/communities/10/articles/20/submit/",
            json!({}),
            5..6,
            201,
            submitted,
        );
        story.call(
            ALICE,
            "POST",
            "/api/communities/10/articles/20/manage/publish",
            json!({}),
            7..8,
            200,
            json!({}),
        );
        story.follow(BOB, 9..10, 201);
        story.call(
            ALICE,
            "POST",
            "/api/articles/20/discussions/?community_id=10",
            json!({"topic": "t", "content": "c"}),
            11..12,
            201,
            json!({"id": 40}),
        );
        story
    }

    #[allow(clippy::too_many_arguments, reason = "a call, field by field")]
    fn call(
        &mut self,
        user: i64,
        method: &str,
        path: &str,
        body: Value,
        time: std::ops::Range<u64>,
        status: u16,
        answer: Value,
    ) {
        let answered = (status > 0).then_some(time.end);
        self.journal.calls.push(Call {
            who: if user == 0 {
                Caller::Service
            } else {
                Caller::User(user)
            },
            method: method.to_owned(),
            path: path.to_owned(),
            body,
            begun: time.start,
            answered,
            status: answered.map(|_| status),
            answer,
        });
    }

    fn role(&mut self, user: i64, time: std::ops::Range<u64>) {
        let path = format!("/api/communities/10/members/{user}/");
        self.call(
            ALICE,
            "PUT",
            &path,
            json!({"role": "member"}),
            time,
            200,
            json!({}),
        );
    }

    fn promote(&mut self, user: i64, time: std::ops::Range<u64>) {
        let path = format!("/api/communities/10/manage-member/{user}/promote_admin");
        self.call(ALICE, "POST", &path, json!({}), time, 200, json!({}));
    }

    fn remove(&mut self, user: i64, time: std::ops::Range<u64>, status: u16) {
        let path = format!("/api/communities/10/manage-member/{user}/remove");
        self.call(ALICE, "POST", &path, json!({}), time, status, json!({}));
    }

    fn follow(&mut self, user: i64, time: std::ops::Range<u64>, status: u16) {
        let body = json!({"community_article_id": 30, "community_id": 10});
        let answer = json!({"id": 100 + user, "community_id": 10, "article_id": 20});
        self.call(
            user,
            "POST",
            "/api/discussions/subscribe/",
            body,
            time,
            status,
            answer,
        );
    }

    fn unfollow(&mut self, user: i64, time: std::ops::Range<u64>) {
        let path = format!("/api/discussions/unsubscribe/{}/", 100 + user);
        self.call(user, "DELETE", &path, json!(null), time, 204, json!(null));
    }

    /// Alice comments; 0 is no answer.
    fn comment(&mut self, text: &str, time: std::ops::Range<u64>, status: u16) {
        let path = "/api/discussions/40/comments/";
        self.call(
            ALICE,
            "POST",
            path,
            json!({"content": text}),
            time,
            status,
            json!({"id": 50}),
        );
    }

    /// A client of the user with one connection on which these frames were read.
    fn client(&mut self, user: i64, frames: Vec<Frame>) {
        self.journal.clients.push(Client {
            name: format!("{user}/{}", self.journal.clients.len()),
            user,
            connections: vec![Connection {
                frames,
                ..Connection::default()
            }],
            ..Client::default()
        });
    }

    #[track_caller]
    fn is(&self, expected: &[Wrong]) {
        let judgement = judge(&self.journal).unwrap();
        let wrong: Vec<Wrong> = judgement
            .verdicts
            .iter()
            .map(|verdict| verdict.wrong)
            .collect();
        assert_eq!(wrong, expected, "{:#?}", judgement.verdicts);
        for verdict in &judgement.verdicts {
            assert!(timeline(&self.journal, verdict).contains(&verdict.why));
        }
    }
}

fn frame(at: u64, id: &str, event: Option<&str>, data: &Value) -> Frame {
    Frame {
        at,
        id: Some(id.to_owned()),
        event: event.map(str::to_owned),
        data: Some(data.to_string()),
    }
}

fn ready(at: u64, id: &str) -> Frame {
    frame(at, id, Some("ready"), &json!({"communities": [10]}))
}

fn reset(at: u64, id: &str) -> Frame {
    told_reset(at, id, "foreign")
}

fn gone(at: u64, id: &str) -> Frame {
    told_reset(at, id, "lost")
}

fn told_reset(at: u64, id: &str, reason: &str) -> Frame {
    let data = json!({"reason": reason, "communities": [10]});
    frame(at, id, Some("reset"), &data)
}

fn comment(at: u64, id: &str, text: &str) -> Frame {
    let data =
        json!({"type": "new_comment", "community_id": 10, "data": {"comment": {"content": text}}});
    frame(at, id, None, &data)
}

#[test]
fn what_had_to_be_got_and_was_is_right() {
    let mut story = Story::new();
    story.comment("one", 30..31, 201);
    story.client(BOB, vec![ready(20, "a"), comment(32, "b", "one")]);
    // The author gets nothing, and who is no member neither.
    story.client(ALICE, vec![ready(20, "a")]);
    story.client(CAROL, vec![ready(20, "a")]);
    story.is(&[]);
    let judgement = judge(&story.journal).unwrap();
    assert_eq!(
        (judgement.events, judgement.deliveries, judgement.due),
        (2, 1, 1)
    );
}

#[test]
fn what_was_not_got_is_lost() {
    let mut story = Story::new();
    story.comment("one", 30..31, 201);
    story.client(BOB, vec![ready(20, "a")]);
    story.is(&[Wrong::Lost]);
    assert_eq!(overdue(&story.journal), Ok(1));
}

#[test]
fn what_began_before_the_client_or_was_not_answered_need_not_be_got() {
    let mut story = Story::new();
    story.comment("early", 30..31, 201);
    story.comment("unknown", 50..60, 0);
    story.comment("in trouble", 70..71, 503);
    story.client(BOB, vec![ready(40, "a")]);
    story.client(BOB, vec![ready(40, "a"), comment(55, "b", "unknown")]);
    story.is(&[]);
}

#[test]
fn what_was_refused_or_never_asked_for_is_leaked() {
    let mut story = Story::new();
    story.comment("refused", 30..31, 403);
    story.client(
        BOB,
        vec![
            ready(20, "a"),
            comment(32, "b", "refused"),
            comment(33, "c", "invented"),
        ],
    );
    story.is(&[Wrong::Leaked, Wrong::Leaked]);
}

#[test]
fn the_author_and_outsiders_must_not_get_it() {
    let mut story = Story::new();
    story.comment("one", 30..31, 201);
    for user in [ALICE, CAROL] {
        story.client(user, vec![ready(20, "a"), comment(32, "b", "one")]);
    }
    story.is(&[Wrong::Leaked, Wrong::Leaked]);
}

#[test]
fn after_a_removal_was_answered_nothing_may_come() {
    let mut story = Story::new();
    story.remove(BOB, 30..40, 204);
    story.comment("beside", 35..45, 201);
    story.comment("after", 41..46, 201);
    story.client(BOB, vec![ready(20, "a")]);
    story.client(BOB, vec![ready(20, "a"), comment(50, "b", "beside")]);
    story.is(&[]);
    story.client(
        BOB,
        vec![
            ready(20, "a"),
            comment(50, "b", "beside"),
            comment(51, "c", "after"),
        ],
    );
    story.is(&[Wrong::Leaked]);
}

#[test]
fn a_removal_of_unknown_fate_may_or_may_not_have_been() {
    let mut story = Story::new();
    story.remove(BOB, 30..40, 0);
    story.comment("after", 50..51, 201);
    story.client(BOB, vec![ready(20, "a"), comment(52, "b", "after")]);
    story.client(BOB, vec![ready(20, "a")]);
    story.is(&[]);
    // Asked again: there was nobody left to remove, so from then on it is certain.
    story.remove(BOB, 60..61, 404);
    story.comment("later", 70..71, 201);
    story.client(BOB, vec![ready(20, "a"), comment(72, "c", "later")]);
    story.is(&[Wrong::Leaked]);
}

#[test]
fn what_came_before_a_removal_may_be_withheld_unless_it_was_passed() {
    let mut story = Story::new();
    story.comment("one", 30..31, 201);
    story.comment("two", 32..33, 201);
    story.remove(BOB, 50..51, 204);
    story.client(BOB, vec![ready(20, "a")]);
    story.is(&[]);
    story.client(BOB, vec![ready(20, "a"), comment(40, "c", "two")]);
    story.is(&[Wrong::Lost]);
}

#[test]
fn a_subscription_counts_from_its_answer_and_only_until_its_end() {
    let mut story = Story::new();
    story.role(CAROL, 20..21);
    story.comment("before", 22..23, 201);
    story.follow(CAROL, 30..40, 201);
    story.comment("between", 41..42, 201);
    story.unfollow(CAROL, 50..51);
    story.comment("after", 52..53, 201);
    story.client(CAROL, vec![ready(19, "a"), comment(45, "c", "between")]);
    story.is(&[]);
    story.client(
        CAROL,
        vec![
            ready(19, "a"),
            comment(44, "b", "before"),
            comment(54, "d", "after"),
        ],
    );
    story.is(&[Wrong::Leaked, Wrong::Leaked]);
}

#[test]
fn who_is_promoted_follows_everything_but_what_they_gave_up_themselves() {
    let mut story = Story::new();
    story.role(CAROL, 20..21);
    story.unfollow(BOB, 22..23);
    for user in [BOB, CAROL] {
        story.promote(user, 24 + 2 * user as u64..25 + 2 * user as u64);
    }
    story.comment("one", 40..41, 201);
    for user in [BOB, CAROL] {
        story.client(user, vec![ready(19, "a")]);
    }
    story.is(&[Wrong::Lost]);
    story.journal.clients.clear();
    for user in [BOB, CAROL] {
        story.client(user, vec![ready(19, "a"), comment(45, "b", "one")]);
    }
    story.is(&[Wrong::Leaked]);
}

#[test]
fn twice_is_once_too_often() {
    let mut story = Story::new();
    story.comment("one", 30..31, 201);
    story.client(
        BOB,
        vec![
            ready(20, "a"),
            comment(32, "b", "one"),
            comment(33, "c", "one"),
        ],
    );
    story.is(&[Wrong::Duplicated]);
}

#[test]
fn what_comes_twice_says_nothing_of_the_order_and_hides_nothing_of_it() {
    let mut story = Story::new();
    for (text, begun) in [("one", 30), ("two", 32), ("three", 34), ("four", 36)] {
        story.comment(text, begun..begun + 1, 201);
    }
    let mut frames = vec![
        ready(20, "a"),
        comment(40, "b", "one"),
        comment(41, "c", "two"),
        comment(42, "b", "one"),
        comment(43, "c", "two"),
    ];
    let in_order = [comment(44, "d", "three"), comment(45, "e", "four")];
    story.client(BOB, [frames.clone(), in_order.to_vec()].concat());
    story.is(&[Wrong::Duplicated, Wrong::Duplicated]);
    story.journal.clients.clear();
    frames.extend([comment(44, "d", "four"), comment(45, "e", "three")]);
    story.client(BOB, frames.clone());
    story.is(&[Wrong::Duplicated, Wrong::Duplicated, Wrong::OutOfOrder]);
    story.journal.clients.clear();
    frames.push(ready(50, "d"));
    story.client(BOB, frames);
    story.is(&[
        Wrong::Duplicated,
        Wrong::Duplicated,
        Wrong::OutOfOrder,
        Wrong::OutOfOrder,
    ]);
}

#[test]
fn only_a_listed_loss_of_the_log_explains_a_reset() {
    let mut story = Story::new();
    story.comment("one", 30..31, 201);
    story.comment("two", 40..41, 201);
    let frames = vec![
        ready(20, "a"),
        comment(32, "b", "one"),
        reset(50, "x"),
        comment(51, "y", "one"),
    ];
    story.client(BOB, frames);
    story.is(&[Wrong::Lost, Wrong::Lost, Wrong::Duplicated]);
    story.journal.faults.push(Fault {
        kind: "log lost".to_owned(),
        begun: 42,
        ended: Some(45),
        log_lost: true,
        detail: String::new(),
    });
    story.is(&[]);
    // What is asked for after it was read is due again.
    story.comment("three", 60..61, 201);
    story.is(&[Wrong::Lost]);
    // It explains three: what was gone on two connections, and the log's new life. A fourth has no reason.
    let frames = vec![
        ready(20, "a"),
        gone(46, "u"),
        comment(47, "v", "one"),
        gone(48, "w"),
        comment(49, "ww", "two"),
        reset(50, "x"),
        reset(51, "xx"),
        comment(52, "y", "two"),
        reset(53, "z"),
        comment(61, "zz", "three"),
    ];
    story.client(BOB, frames.clone());
    story.is(&[Wrong::Lost]);
    story.client(BOB, [frames, vec![reset(70, "zzz")]].concat());
    story.is(&[Wrong::Lost, Wrong::Lost]);
}

#[test]
fn what_overtakes_an_earlier_one_of_its_community_is_out_of_order() {
    let mut story = Story::new();
    story.comment("one", 30..31, 201);
    story.comment("beside one", 30..33, 201);
    story.comment("two", 32..34, 201);
    story.client(
        BOB,
        vec![
            ready(20, "a"),
            comment(40, "b", "beside one"),
            comment(41, "c", "one"),
            comment(42, "d", "two"),
        ],
    );
    story.is(&[]);
    story.client(
        BOB,
        vec![
            ready(20, "a"),
            comment(40, "d", "two"),
            comment(41, "e", "one"),
            comment(42, "f", "beside one"),
        ],
    );
    story.is(&[Wrong::OutOfOrder]);
}

#[test]
fn all_clients_see_one_order() {
    let mut story = Story::new();
    story.comment("one", 30..40, 201);
    story.comment("two", 30..40, 201);
    story.promote(CAROL, 13..14);
    story.role(CAROL, 15..16);
    story.promote(CAROL, 17..18);
    story.client(
        BOB,
        vec![
            ready(20, "a"),
            comment(41, "b", "one"),
            comment(42, "c", "two"),
        ],
    );
    story.client(
        CAROL,
        vec![
            ready(20, "a"),
            comment(41, "b", "one"),
            comment(42, "c", "two"),
        ],
    );
    story.is(&[]);
    story.client(
        BOB,
        vec![
            ready(20, "a"),
            comment(41, "c", "two"),
            comment(42, "b", "one"),
        ],
    );
    story.is(&[Wrong::OutOfOrder]);
}

#[test]
fn a_cursor_never_stands_still_nor_goes_back() {
    let mut story = Story::new();
    story.comment("one", 30..40, 201);
    story.comment("two", 30..40, 201);
    story.client(
        BOB,
        vec![
            ready(20, "a"),
            comment(41, "b", "one"),
            comment(42, "b", "two"),
        ],
    );
    story.is(&[Wrong::OutOfOrder]);
    story.journal.clients.clear();
    story.client(
        BOB,
        vec![
            ready(20, "b"),
            comment(41, "a", "one"),
            comment(42, "b", "two"),
        ],
    );
    story.is(&[Wrong::OutOfOrder]);
}

#[test]
fn changes_that_overlap_can_not_be_judged() {
    let mut story = Story::new();
    story.remove(BOB, 30..40, 204);
    story.role(BOB, 35..45);
    assert!(judge(&story.journal).is_err());
}
