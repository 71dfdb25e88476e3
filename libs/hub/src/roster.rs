//! Who is connected, and what each may receive.

use std::collections::HashMap;
use std::time::Instant;

use crier_domain::log::{AudienceTag, EventHead};
use crier_domain::{CommunityId, Seq, Snapshot, UserId, receives_since};
use smallvec::SmallVec;

use crate::action::{ConnectionId, ReadId};
use crate::audience::Audience;
use crate::changes::Entry;
use crate::index::{Index, Listener};
use crate::replay::Replay;
use crate::resume::Resume;
use crate::users::{Place, Users};

/// One open stream.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    /// Unix seconds; held against the snapshot's `not_before`.
    pub(crate) token_issued_at: i64,
    /// When it is next looked at: its heartbeat, or the end of its waiting.
    pub(crate) deadline: Instant,
    pub(crate) stream: Stream,
}

/// How far a stream has come.
#[derive(Debug)]
pub(crate) enum Stream {
    /// It has sent nothing, because the user's snapshot isn't there yet.
    Waiting(Resume),
    /// `ready` was sent; what the client missed is being told.
    Replaying(Box<Replay>),
    /// `ready` was sent, and the last id with it or since was this.
    Open {
        last_id: Seq,
        /// When there was last an event for it: from then on it needs no heartbeat for a heartbeat's time.
        event_at: Option<Instant>,
    },
}

/// Someone with at least one connection.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) id: UserId,
    /// Most have one, which is kept with them.
    pub(crate) connections: SmallVec<[Connection; 1]>,
    pub(crate) standing: Standing,
}

/// How a user's snapshot stands.
#[derive(Debug)]
pub(crate) enum Standing {
    /// It is being looked for.
    Looking(Lookup),
    /// It was read, but stands at a position that the hub has not reached.
    Arriving { seq: Seq, snapshot: Snapshot },
    /// It decides what the user gets.
    Applied(Snapshot),
}

/// The search for a user's first snapshot.
#[derive(Debug)]
pub(crate) struct Lookup {
    /// The first reading made since the user is known here; answers to earlier ones don't count.
    pub(crate) since: ReadId,
    /// The log has none, so it was asked for.
    pub(crate) requested: bool,
    /// How often it was read, or since `requested` asked for.
    pub(crate) times: u32,
    /// When the next try is due.
    pub(crate) again: Instant,
}

/// Which recipients an event with the audience `users` names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Named<'a> {
    /// These, in ascending order, each once.
    These(&'a [UserId]),
    /// The list is not known: it may be anyone.
    Anyone,
}

impl Stream {
    pub(crate) fn event_at(&self) -> Option<Instant> {
        match self {
            Self::Open { event_at, .. } => *event_at,
            Self::Waiting(_) | Self::Replaying(_) => None,
        }
    }
}

impl User {
    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        match &self.standing {
            Standing::Applied(snapshot) => Some(snapshot),
            Standing::Looking(_) | Standing::Arriving { .. } => None,
        }
    }

    /// From when on tokens count, in Unix seconds, by the newest snapshot known here: one that the hub has not
    /// reached yet withdraws tokens all the same.
    pub(crate) fn not_before(&self) -> Option<i64> {
        match &self.standing {
            Standing::Applied(snapshot) | Standing::Arriving { snapshot, .. } => {
                Some(snapshot.not_before)
            }
            Standing::Looking(_) => None,
        }
    }

    /// Whether a snapshot of this user at `seq` matters, and isn't here already.
    pub(crate) fn needs_snapshot(&self, seq: Seq) -> bool {
        !matches!(self.standing, Standing::Arriving { seq: arriving, .. } if seq <= arriving)
    }
}

impl<'a> Named<'a> {
    /// The list, as far as it matters for `user`.
    fn list(self, user: &'a UserId) -> &'a [UserId] {
        match self {
            Self::These(named) => named,
            Self::Anyone => std::slice::from_ref(user),
        }
    }
}

/// All users here, with the indexes into them.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    pub(crate) users: Users,
    /// Where the user is whose a connection is.
    pub(crate) connections: HashMap<ConnectionId, Place>,
    pub(crate) index: Index,
}

impl Roster {
    /// Whose the connection is.
    pub(crate) fn user_of(&self, id: ConnectionId) -> Option<UserId> {
        let place = self.connections.get(&id)?;
        self.users.at(*place).map(|user| user.id)
    }

    pub(crate) fn connection_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let user = self.users.at_mut(*self.connections.get(&id)?)?;
        user.connections
            .iter_mut()
            .find(|connection| connection.id == id)
    }

    /// The user's snapshot now has this entry. Whether the community is the first user's to need it.
    pub(crate) fn enter(&mut self, (community, article): Entry, user: UserId) -> bool {
        let since = self.users.get(user).and_then(User::snapshot);
        let since = since.and_then(|snapshot| snapshot.since(community, article));
        let listener = since.zip(self.users.place(user));
        listener.is_some_and(|(since, place)| {
            let listener = Listener { since, user };
            self.index.enter((community, article), place, listener)
        })
    }

    /// The fence of the user's membership has changed, and with it perhaps that of articles.
    pub(crate) fn enter_articles(&mut self, community: CommunityId, user: UserId) {
        let snapshot = self.users.get(user).and_then(User::snapshot);
        let membership = snapshot.and_then(|snapshot| snapshot.communities.get(&community));
        let articles: Vec<_> = membership.map_or_else(Vec::new, |membership| {
            membership.articles.keys().copied().collect()
        });
        for article in articles {
            self.enter((community, Some(article)), user);
        }
    }

    /// Whether anyone here could get an event with this head.
    pub(crate) fn could_concern(&self, head: &EventHead) -> bool {
        let concerned = self.index.concerned(head).into_iter();
        concerned
            .flat_map(Audience::iter)
            .any(|(_, Listener { since, user })| {
                receives_since(*user, *since, head, Named::Anyone.list(user))
            })
    }

    /// The connections that get the event at `seq`, which is noted as their last id.
    pub(crate) fn recipients(
        &mut self,
        head: &EventHead,
        named: Named<'_>,
        seq: Seq,
        now: Instant,
    ) -> Vec<ConnectionId> {
        let mut recipients = Vec::new();
        let Some(concerned) = self.index.concerned(head) else {
            return recipients;
        };
        let mut ask = |users: &mut Users, place: Place, Listener { since, user }: &Listener| {
            if !receives_since(*user, *since, head, named.list(user)) {
                return;
            }
            // The index forgets who leaves before another has the place. Whatever becomes of that, nobody gets what is another's.
            let known = users.at_mut(place).filter(|known| known.id == *user);
            debug_assert!(known.is_some(), "the index knows who has left: {user}");
            let connections = known.map(|known| &mut known.connections);
            for connection in connections.into_iter().flatten() {
                if let Stream::Open { last_id, event_at } = &mut connection.stream {
                    *last_id = seq;
                    *event_at = Some(now);
                    recipients.push(connection.id);
                }
            }
        };
        let users = &mut self.users;
        match (named, head.audience) {
            // A handful of names in a community of a hundred thousand: ask about the names.
            (Named::These(named), AudienceTag::Users { .. }) => {
                for id in named {
                    let place = users.place(*id);
                    let listener = place.and_then(|place| concerned.get(place));
                    if let Some((place, listener)) = place.zip(listener) {
                        ask(users, place, listener);
                    }
                }
            }
            _ => {
                for (place, listener) in concerned.iter() {
                    ask(users, *place, listener);
                }
            }
        }
        recipients
    }
}
