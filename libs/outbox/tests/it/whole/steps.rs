//! What may happen, and how often.

use bytes::Bytes;
use crier_domain::{ArticleId, Audience, CommunityId, Event, EventId, OutboxId, Snapshot, UserId};
use proptest::prelude::*;

use super::gateway::Way;
use super::{CLIENTS, GATEWAYS, USERS};
use crate::connection::Fate;
use crate::db::DbFate;
use crate::faults::{db_fate, publish_fate};
use crate::world::{World, ms};

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// So many of the kind, one after the other.
    Events(NewEvent, usize),
    Rights {
        user: i64,
        community: i64,
        change: Change,
    },
    Pause(u64),
    Publishes(Vec<Fate>),
    Calls(Vec<DbFate>),
    Reads(usize),
    LogAway(u64),
    /// A relay's process stands still, perhaps with messages in its buffers.
    RelayStopped {
        relay: usize,
        held: bool,
        millis: u64,
    },
    RelayKilled(usize),
    /// How a gateway is told of the log from now on.
    Way(usize, Way),
    SpineLost(usize, u64),
    GatewayKilled(usize),
    /// A client leaves, and comes back to any gateway.
    Leaves(usize, u64),
    /// A client reads nothing for a while.
    Stalls(usize, u64),
}

#[derive(Debug, Clone)]
pub(super) struct NewEvent {
    community: i64,
    article: Option<i64>,
    audience: NewAudience,
    exclude: Option<i64>,
    /// Larger than the log takes.
    is_long: bool,
}

#[derive(Debug, Clone)]
pub(super) enum NewAudience {
    Subscribers,
    Members,
    Users(Vec<i64>),
}

/// What changes for one user in one community.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// Joins, or leaves with all that was followed.
    Member,
    /// Follows an article, or no longer.
    Follow(i64),
    /// Leaves and joins again, in one transaction.
    Again,
}

pub(super) fn user(id: i64) -> UserId {
    UserId::try_from(id).unwrap()
}

fn article(id: i64) -> ArticleId {
    ArticleId::try_from(id).unwrap()
}

impl NewEvent {
    pub(super) fn commit(&self, world: &World) {
        let users = |ids: &[i64]| ids.iter().map(|id| user(*id)).collect();
        world.db.commit(|row| Event {
            id: EventId::new(),
            community: CommunityId::try_from(self.community).unwrap(),
            article: self.article.map(article),
            audience: match &self.audience {
                NewAudience::Subscribers => Audience::Subscribers,
                NewAudience::Members => Audience::Members,
                NewAudience::Users(ids) => Audience::Users(users(ids)),
            },
            exclude: self.exclude.map(user),
            body: self.body(row),
        });
    }

    fn body(&self, row: OutboxId) -> Bytes {
        let more = if self.is_long { 2_000 } else { 0 };
        Bytes::from(format!("{{\"row\":{row},\"x\":\"{}\"}}", "x".repeat(more)))
    }
}

impl Change {
    pub(super) fn make(&self, rights: &mut Snapshot, community: CommunityId, fence: OutboxId) {
        match self {
            Self::Member => {
                if rights.communities.remove(&community).is_none() {
                    rights.communities.entry(community).or_default().since = fence;
                }
            }
            Self::Follow(id) => {
                if let Some(membership) = rights.communities.get_mut(&community)
                    && membership.articles.remove(&article(*id)).is_none()
                {
                    membership.articles.insert(article(*id), fence);
                }
            }
            Self::Again => {
                if let Some(membership) = rights.communities.get_mut(&community) {
                    membership.since = fence;
                    membership
                        .articles
                        .iter_mut()
                        .for_each(|(_, it)| *it = fence);
                }
            }
        }
    }
}

fn event() -> impl Strategy<Value = Step> {
    let named = prop::collection::btree_set(1..=USERS, 0..3)
        .prop_map(|ids| NewAudience::Users(ids.into_iter().collect()));
    let audience = prop_oneof![
        3 => Just(NewAudience::Subscribers),
        3 => Just(NewAudience::Members),
        1 => named,
    ];
    let about = (1i64..3, prop::option::weighted(0.8, 1i64..3), audience);
    let also = (
        prop::option::weighted(0.2, 1..=USERS),
        prop::bool::weighted(0.05),
        prop_oneof![12 => Just(1usize), 1 => 2..20usize],
    );
    (about, also).prop_map(
        |((community, article, audience), (exclude, is_long, times))| {
            let new = NewEvent {
                community,
                article,
                audience,
                exclude,
                is_long,
            };
            Step::Events(new, times)
        },
    )
}

fn rights() -> impl Strategy<Value = Step> {
    let change = prop_oneof![
        4 => Just(Change::Member),
        6 => (1i64..3).prop_map(Change::Follow),
        1 => Just(Change::Again),
    ];
    (1..=USERS, 1i64..3, change).prop_map(|(user, community, change)| Step::Rights {
        user,
        community,
        change,
    })
}

fn way() -> impl Strategy<Value = Way> {
    let spine = prop_oneof![3 => 0u64..5, 1 => 0u64..2_000];
    let live = prop_oneof![3 => 0u64..5, 1 => 0u64..200];
    let reads = prop_oneof![3 => 0u64..5, 1 => 0u64..3_000];
    let chances = (prop_oneof![Just(0u32), Just(30), Just(100)], 0u32..50);
    (spine, live, reads, chances).prop_map(|(spine, live, reads, (lost, wrong))| Way {
        spine: ms(spine),
        live: ms(live),
        reads: ms(reads),
        lost,
        wrong,
    })
}

fn changed_way() -> impl Strategy<Value = Step> {
    (0..GATEWAYS, way()).prop_map(|(gateway, way)| Step::Way(gateway, way))
}

/// How things stand when the story begins.
pub(super) fn beginning() -> impl Strategy<Value = Step> {
    prop_oneof![6 => rights(), 1 => changed_way()]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let (client, gateway) = (0..CLIENTS, 0..GATEWAYS);
    prop_oneof![
        14 => event(),
        8 => rights(),
        8 => (0u64..12).prop_map(Step::Pause),
        3 => (0u64..5_000).prop_map(Step::Pause),
        2 => prop::collection::vec(publish_fate(), 1..6).prop_map(Step::Publishes),
        2 => prop::collection::vec(db_fate(), 1..5).prop_map(Step::Calls),
        1 => (1usize..4).prop_map(Step::Reads),
        1 => (0u64..6_000).prop_map(Step::LogAway),
        1 => (0usize..2, any::<bool>(), 0u64..6_000)
            .prop_map(|(relay, held, millis)| Step::RelayStopped { relay, held, millis }),
        1 => (0usize..2).prop_map(Step::RelayKilled),
        3 => changed_way(),
        1 => (gateway.clone(), 0u64..4_000).prop_map(|(gateway, ms)| Step::SpineLost(gateway, ms)),
        1 => gateway.prop_map(Step::GatewayKilled),
        6 => (client.clone(), prop_oneof![0u64..20, 0u64..5_000])
            .prop_map(|(client, millis)| Step::Leaves(client, millis)),
        3 => (client, 0u64..4_000).prop_map(|(client, millis)| Step::Stalls(client, millis)),
    ]
}
