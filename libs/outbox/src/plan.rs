//! The messages that a pass's rows make, and their order.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use crier_domain::log::{Message, Place};
use crier_domain::{CommunityId, Event, OutboxId, Seq, Snapshot, UserId};
use tokio::time::Instant;
use tracing::{Span, error, info_span};

use crate::source::{Change, Position, Row};

/// What the leader knows of the log's end.
#[derive(Debug)]
pub(crate) struct LogEnd {
    /// The last acknowledged sequence; nothing else is on its way.
    pub(crate) position: Position,
    /// The last event of each community, where it was needed already.
    pub(crate) prev: HashMap<CommunityId, Seq>,
    /// When the next mark is to be made.
    pub(crate) mark_due: Instant,
}

/// A message to be, with the rows it stands for.
#[derive(Debug)]
pub(crate) enum Item {
    Mark,
    Snapshot {
        user: UserId,
        /// All rows of the user that were read together; none if it is made for another reason.
        rows: Vec<OutboxId>,
        /// Of the last of the rows.
        traceparent: Option<String>,
        payload: Bytes,
        /// The real one was refused for good.
        empty: bool,
    },
    Event {
        row: OutboxId,
        traceparent: Option<String>,
        event: Event,
        /// The event itself was refused for good.
        stand_in: bool,
    },
}

impl Item {
    /// The rows that are sent when this is stored.
    pub(crate) fn rows(&self) -> &[OutboxId] {
        match self {
            Self::Mark => &[],
            Self::Snapshot { rows, .. } => rows,
            Self::Event { row, .. } => std::slice::from_ref(row),
        }
    }

    /// Where the event happened, if it is one.
    pub(crate) fn community(&self) -> Option<CommunityId> {
        match self {
            Self::Mark | Self::Snapshot { .. } => None,
            Self::Event { event, .. } => Some(event.community),
        }
    }

    pub(crate) fn traceparent(&self) -> Option<&str> {
        match self {
            Self::Mark => None,
            Self::Snapshot { traceparent, .. } | Self::Event { traceparent, .. } => {
                traceparent.as_deref()
            }
        }
    }

    /// The span from publish to acknowledgement. It has no parent here: it continues the trace of the
    /// request that wrote the row, if the trace hook says so. Without `crier.stored`, the publish failed.
    pub(crate) fn span(&self, seq: Seq) -> Span {
        use tracing::field::Empty;
        match self {
            Self::Mark => Span::none(),
            Self::Snapshot { user, .. } => info_span!(
                parent: None, "relay.snapshot",
                crier.user_id = user.get(), crier.seq = seq.0, crier.stored = Empty,
            ),
            Self::Event { row, event, .. } => info_span!(
                parent: None, "relay.publish",
                crier.outbox_id = row.0, crier.event_id = %event.id,
                crier.community_id = event.community.get(), crier.seq = seq.0, crier.stored = Empty,
            ),
        }
    }

    /// The message that will stand at `seq`; the end of its community moves there.
    pub(crate) fn message(
        &self,
        end: &mut LogEnd,
        seq: Seq,
        retention: Duration,
        traceparent: Option<&str>,
    ) -> Message {
        let epoch = end.position.epoch;
        match self {
            Self::Mark => Message::mark(epoch, retention),
            Self::Snapshot { user, payload, .. } => {
                Message::snapshot(epoch, *user, payload.clone(), traceparent)
            }
            Self::Event {
                row,
                event,
                stand_in,
                ..
            } => {
                let prev = end.prev.insert(event.community, seq).unwrap_or_default();
                let place = Place {
                    epoch,
                    fence: *row,
                    prev,
                    retention,
                };
                let make = if *stand_in {
                    Message::reset
                } else {
                    Message::event
                };
                make(&place, event, traceparent)
            }
        }
    }
}

/// A user of whom a snapshot is due.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) user: UserId,
    pub(crate) rows: Vec<OutboxId>,
    /// Where it changed: the events there wait for the snapshot.
    pub(crate) communities: Vec<CommunityId>,
    pub(crate) traceparent: Option<String>,
}

/// Takes rows apart: one entry per user, by the first of its rows, and the events. `also` are users who may have no
/// row; they go first, since all events wait for them.
pub(crate) fn group(
    rows: Vec<Row>,
    also: impl Iterator<Item = UserId>,
    stand_ins: &HashSet<OutboxId>,
) -> (Vec<Changed>, Vec<Item>) {
    let mut users: Vec<Changed> = Vec::new();
    let mut places = HashMap::new();
    let mut events = Vec::new();
    let mut add =
        |user: UserId, community: Option<CommunityId>, row: Option<(OutboxId, Option<String>)>| {
            let place = *places.entry(user).or_insert(users.len());
            if place == users.len() {
                users.push(Changed {
                    user,
                    rows: Vec::new(),
                    communities: Vec::new(),
                    traceparent: None,
                });
            }
            if let (Some(changed), Some((id, traceparent))) = (users.get_mut(place), row) {
                changed.communities.extend(community);
                changed.rows.push(id);
                changed.traceparent = traceparent.or(changed.traceparent.take());
            }
        };
    also.for_each(|user| add(user, None, None));
    for Row {
        id,
        traceparent,
        change,
    } in rows
    {
        match change {
            Change::User(user, community) => add(user, community, Some((id, traceparent))),
            Change::Event(event) => events.push(Item::Event {
                row: id,
                traceparent,
                event,
                stand_in: stand_ins.contains(&id),
            }),
        }
    }
    (users, events)
}

/// The snapshots to publish, given what the source built for these users.
pub(crate) fn snapshots(
    users: Vec<Changed>,
    built: Vec<(UserId, Bytes)>,
    refused: &HashSet<UserId>,
) -> impl Iterator<Item = Item> {
    let mut built: HashMap<UserId, Bytes> = built.into_iter().collect();
    users.into_iter().map(move |changed| {
        let own = built.remove(&changed.user);
        if own.is_none() {
            error!(
                crier.user_id = changed.user.get(),
                "no snapshot was built: an empty one is sent"
            );
        }
        let own = own.filter(|_| !refused.contains(&changed.user));
        Item::Snapshot {
            user: changed.user,
            rows: changed.rows,
            traceparent: changed.traceparent,
            empty: own.is_none(),
            payload: own.unwrap_or_else(|| Snapshot::default().encode().into()),
        }
    })
}

/// About how many bytes a message takes on its way.
pub(crate) fn size(message: &Message) -> usize {
    let headers = message.headers.iter();
    let headers: usize = headers
        .map(|(name, value)| name.len() + value.len() + 4)
        .sum();
    message.payload.len() + headers + 64
}
