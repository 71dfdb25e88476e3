//! What may happen in the model, and how often.

use crier_domain::{ArticleId, CommunityId, UserId};
use crier_hub::HubConfig;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::log::{Change, NewAudience, NewEvent};

/// Few, so that much happens to each.
const USERS: i64 = 3;

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Event {
        new: NewEvent,
        gap: u64,
        is_lost: bool,
    },
    Change {
        user: UserId,
        change: Change,
        gap: u64,
    },
    Mark {
        gap: u64,
    },
    Purge(Index),
    /// The oldest expire.
    Expire(Index),
    Spine {
        entries: usize,
    },
    /// A live copy that is under way arrives, or one of any message does.
    Live {
        which: Index,
        again: bool,
    },
    Stray(Index),
    Fetched(Index),
    Read {
        which: Index,
        how: ReadHow,
    },
    Requested(Index),
    /// A question about the past is answered.
    Past {
        which: Index,
        how: PastHow,
    },
    /// A client has read what it was given.
    Drained(Index),
    Connect {
        user: UserId,
        resume: Index,
        cursor: Index,
        old_token: bool,
    },
    Disconnect(Index),
    Time {
        millis: u64,
    },
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum ReadHow {
    /// As the log was when it was asked.
    Then,
    /// As the log is when the answer comes.
    Now,
    Fails,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum PastHow {
    /// As the log was when it was asked.
    Whole,
    /// By a replica that lacks all but so many of a page.
    Short(usize),
    /// One of a page got lost on the way.
    Holed(usize),
    Fails,
}

fn user() -> impl Strategy<Value = UserId> {
    (1..=USERS).prop_map(|id| UserId::try_from(id).unwrap())
}

fn community() -> impl Strategy<Value = CommunityId> {
    (41i64..=43).prop_map(|id| CommunityId::try_from(id).unwrap())
}

fn article() -> impl Strategy<Value = ArticleId> {
    (1i64..=2).prop_map(|id| ArticleId::try_from(id).unwrap())
}

fn gap() -> impl Strategy<Value = u64> {
    prop_oneof![6 => Just(0u64), 1 => 1..3u64]
}

fn event() -> impl Strategy<Value = Op> {
    let named = prop::collection::btree_set(user(), 0..3)
        .prop_map(|users| NewAudience::Users(users.into_iter().collect()));
    let audience = prop_oneof![
        2 => Just(NewAudience::Subscribers),
        2 => Just(NewAudience::Members),
        1 => named,
    ];
    let author = prop::option::weighted(0.3, user());
    let about = (
        community(),
        prop::option::weighted(0.8, article()),
        audience,
        author,
    );
    let chances = (
        0..3i64,
        prop::bool::weighted(0.05),
        gap(),
        prop::bool::weighted(0.2),
    );
    (about, chances).prop_map(|(about, (age, reset, gap, is_lost))| {
        let (community, article, audience, exclude) = about;
        let new = NewEvent {
            community,
            article,
            audience,
            exclude,
            age,
            reset,
        };
        Op::Event { new, gap, is_lost }
    })
}

pub(crate) fn change() -> impl Strategy<Value = Op> {
    let change = prop_oneof![
        6 => community().prop_map(Change::Community),
        6 => (community(), article()).prop_map(|(c, a)| Change::Article(c, a)),
        2 => (community(), any::<bool>()).prop_map(|(c, all)| Change::Again(c, all)),
        1 => Just(Change::Withdraw(5)),
        1 => Just(Change::Nothing),
    ];
    (user(), change, gap()).prop_map(|(user, change, gap)| Op::Change { user, change, gap })
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let which = any::<Index>();
    let how = prop_oneof![
        Just(ReadHow::Then),
        Just(ReadHow::Now),
        Just(ReadHow::Fails)
    ];
    let past = prop_oneof![
        6 => Just(PastHow::Whole),
        3 => (0..3usize).prop_map(PastHow::Short),
        2 => (0..3usize).prop_map(PastHow::Holed),
        1 => Just(PastHow::Fails)
    ];
    prop_oneof![
        12 => event(),
        6 => change(),
        2 => gap().prop_map(|gap| Op::Mark { gap }),
        3 => any::<Index>().prop_map(Op::Expire),
        12 => (any::<Index>(), past).prop_map(|(which, how)| Op::Past { which, how }),
        3 => any::<Index>().prop_map(Op::Drained),
        4 => which.prop_map(Op::Purge),
        8 => (1..6usize).prop_map(|entries| Op::Spine { entries }),
        8 => (any::<Index>(), prop::bool::weighted(0.2))
            .prop_map(|(which, again)| Op::Live { which, again }),
        1 => any::<Index>().prop_map(Op::Stray),
        6 => any::<Index>().prop_map(Op::Fetched),
        4 => (any::<Index>(), how).prop_map(|(which, how)| Op::Read { which, how }),
        2 => any::<Index>().prop_map(Op::Requested),
        6 => (user(), any::<Index>(), any::<Index>(), prop::bool::weighted(0.2)).prop_map(
            |(user, resume, cursor, old_token)| Op::Connect { user, resume, cursor, old_token }
        ),
        3 => any::<Index>().prop_map(Op::Disconnect),
        3 => prop_oneof![12 => 1..30u64, 3 => 30..3_000u64, 1 => Just(31_000)].prop_map(|millis| Op::Time { millis }),
    ]
}

pub(crate) fn config() -> impl Strategy<Value = HubConfig> {
    let queue = (
        prop_oneof![1..6usize, Just(1_000)],
        prop_oneof![1..60usize, Just(10_000)],
        prop_oneof![0..60usize, Just(10_000)],
    );
    let rings = (
        prop_oneof![1..6usize, Just(1_000)],
        prop_oneof![300..2_000usize, Just(100_000)],
        prop_oneof![300..2_000usize, Just(100_000)],
    );
    let replay = (
        prop_oneof![1 => 1..12usize, 2 => Just(1_000)],
        prop_oneof![1..4usize, Just(1_000)],
    );
    (queue, rings, replay, any::<u64>()).prop_map(|(queue, rings, replay, seed)| HubConfig {
        max_queue_entries: queue.0,
        max_queue_bytes: queue.1,
        max_early_bytes: queue.2,
        ring_events: rings.0,
        rings_bytes: rings.1,
        pages_bytes: rings.2,
        resume_events: replay.0,
        replay_messages: replay.1,
        // Each entry is a call of its own, so that it is known at which position a frame was written.
        pass_at_once: 1,
        seed,
        ..HubConfig::default()
    })
}
