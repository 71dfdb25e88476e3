//! Who is connected, and what each may receive.

use std::collections::HashMap;
use std::time::Instant;

use crier_domain::log::{AudienceTag, EventHead};
use crier_domain::{Seq, Snapshot, UserId, receives};

use crate::action::{ConnectionId, ReadId};
use crate::index::Index;
use crate::replay::Replay;
use crate::resume::Resume;

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
    Open { last_id: Seq },
}

/// Someone with at least one connection.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) connections: Vec<Connection>,
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

    fn receives(&self, user: UserId, head: &EventHead, named: Named<'_>) -> bool {
        let named = match &named {
            Named::These(named) => named,
            Named::Anyone => std::slice::from_ref(&user),
        };
        self.snapshot()
            .is_some_and(|snapshot| receives(user, snapshot, head, named))
    }
}

/// All users here, with the indexes into them.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    pub(crate) users: HashMap<UserId, User>,
    /// Whose a connection is.
    pub(crate) connections: HashMap<ConnectionId, UserId>,
    pub(crate) index: Index,
}

impl Roster {
    pub(crate) fn connection_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let user = self.users.get_mut(self.connections.get(&id)?)?;
        user.connections
            .iter_mut()
            .find(|connection| connection.id == id)
    }

    /// Whether anyone here could get an event with this head.
    pub(crate) fn could_concern(&self, head: &EventHead) -> bool {
        self.index.concerned(head).any(|id| {
            let user = self.users.get(&id);
            user.is_some_and(|user| user.receives(id, head, Named::Anyone))
        })
    }

    /// The connections that get the event at `seq`, which is noted as their last id.
    pub(crate) fn recipients(
        &mut self,
        head: &EventHead,
        named: Named<'_>,
        seq: Seq,
    ) -> Vec<ConnectionId> {
        let mut recipients = Vec::new();
        let users = &mut self.users;
        let mut ask = |id: UserId| {
            let user = users.get_mut(&id);
            if let Some(user) = user.filter(|user| user.receives(id, head, named)) {
                for connection in &mut user.connections {
                    if let Stream::Open { last_id } = &mut connection.stream {
                        *last_id = seq;
                        recipients.push(connection.id);
                    }
                }
            }
        };
        match (named, head.audience) {
            // A handful of names in a community of a hundred thousand: ask about the names.
            (Named::These(named), AudienceTag::Users { .. }) => {
                named.iter().copied().for_each(&mut ask);
            }
            _ => self.index.concerned(head).for_each(&mut ask),
        }
        recipients
    }
}
