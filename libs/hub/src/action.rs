//! What the hub asks for, and the names in which it and the gateway speak.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use crier_domain::log::EventHead;
use crier_domain::{CommunityId, Epoch, Seq, Snapshot, UserId};

use crate::frame::ByeReason;

/// One open stream. The gateway chooses the number; it is never used again while the hub knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    /// As `ready` tells it to the client: 16 hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One reading of a snapshot, to be handed back with its answer: an answer to a question that was
/// asked before the user was known here may be older than what the hub has passed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub(crate) u64);

/// The answer to [`Action::ReadSnapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotRead {
    /// The last one in the log, as its leader has it.
    Found {
        /// Its position.
        seq: Seq,
        /// The life of the log it was written in.
        epoch: Epoch,
        /// What it says.
        snapshot: Snapshot,
    },
    /// The leader says that the user has none.
    None,
    /// There was no answer, or not one that could be read.
    Failed,
}

/// What the hub wants to know of the log's past, for clients that come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PastQuestion {
    /// The community's events after a position, in order, as many as come at once. Any replica may answer;
    /// what is missing at the end may only be late there.
    Page {
        /// Whose.
        community: CommunityId,
        /// After here.
        after: Seq,
    },
    /// The sequence of the community's last event; of the log's leader.
    Newest(CommunityId),
    /// The event that stands here; of the log's leader.
    Event(Seq),
    /// The oldest mark; of the log's leader.
    Horizon,
    /// The last sequence; of the log's leader.
    Tail,
}

/// The answer to a [`PastQuestion`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PastAnswer {
    /// To [`PastQuestion::Page`].
    Page(Vec<PastEvent>),
    /// To [`PastQuestion::Newest`]; [`Seq::ZERO`] if the log holds none.
    Newest(Seq),
    /// To [`PastQuestion::Event`]; none if the leader says that it is gone.
    Event(Option<PastEvent>),
    /// To [`PastQuestion::Horizon`]; none if the log holds no mark.
    Horizon(Option<Seq>),
    /// To [`PastQuestion::Tail`].
    Tail(Seq),
    /// There was no answer, or not one that could be read.
    Failed,
}

/// An event as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastEvent {
    /// Its position.
    pub seq: Seq,
    /// The life of the log it was written in.
    pub epoch: Epoch,
    /// What its headers say.
    pub head: EventHead,
    /// Its body, with the list of recipients.
    pub payload: Bytes,
}

/// What the gateway is to do. Actions are in order; frames for one connection must stay so.
#[derive(Debug, Clone)]
pub enum Action {
    /// Subscribe to the live copies of this community's events.
    Follow(CommunityId),
    /// End that subscription.
    Unfollow(CommunityId),
    /// Read the user's last snapshot from the log's leader and answer with
    /// [`Hub::snapshot_read`](crate::Hub::snapshot_read).
    ReadSnapshot {
        /// To be handed back.
        read: ReadId,
        /// Whose.
        user: UserId,
    },
    /// Ask the API service to have this user's snapshot written. No answer is expected: it comes
    /// through the spine, and is asked for again until it does.
    RequestSnapshot(UserId),
    /// Read this message's payload from the log and answer with [`Hub::payload`](crate::Hub::payload)
    /// or, if the leader says that it is no longer there, [`Hub::gone`](crate::Hub::gone). Without an
    /// answer it is asked for again.
    Fetch(Seq),
    /// Find this out and answer with [`Hub::past`](crate::Hub::past). Without an answer it is asked again.
    ReadPast {
        /// To be handed back; the same when it is asked again.
        read: ReadId,
        /// What.
        question: PastQuestion,
    },
    /// Call [`Hub::drained`](crate::Hub::drained) once nothing waits to be written to this connection.
    AwaitRoom(ConnectionId),
    /// Write to one connection.
    Send {
        /// Where.
        connection: ConnectionId,
        /// One or more whole SSE blocks.
        frame: Bytes,
    },
    /// Write an event to all connections that get it. Encoded once, shared by all.
    Deliver {
        /// At least one, each once.
        connections: Vec<ConnectionId>,
        /// One whole SSE block.
        frame: Bytes,
        /// What is delivered, for the trace.
        event: Arc<EventHead>,
        /// Its position.
        seq: Seq,
        /// When the spine brought it.
        met: Instant,
    },
    /// Answer that the token has been withdrawn, instead of a stream: nothing was written to this connection,
    /// and the hub has already forgotten it.
    Refuse(ConnectionId),
    /// Write the last frame and end the stream. The hub has already forgotten the connection.
    Close {
        /// Which.
        connection: ConnectionId,
        /// The `bye`.
        frame: Bytes,
        /// Why.
        reason: ByeReason,
    },
    /// The log is another one than before. All streams have been closed; read the log's end and call
    /// [`Hub::begin`](crate::Hub::begin).
    Restart,
}
