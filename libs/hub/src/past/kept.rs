//! An event of the past, ready to be written to whoever it is for.

use std::collections::VecDeque;
use std::collections::vec_deque::Iter;
use std::sync::Arc;

use bytes::Bytes;
use crier_domain::log::EventHead;
use crier_domain::{Seq, Snapshot, UserId, receives};

/// What an event takes besides its frame: head, list entry, bookkeeping.
pub(super) const OVERHEAD: usize = 256;

#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) seq: Seq,
    pub(crate) head: Arc<EventHead>,
    pub(crate) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nobody here needed it when it was passed, and its live copy had not come.
    Blank,
    /// Here.
    Here {
        /// In ascending order, each once.
        named: Box<[UserId]>,
        /// The whole SSE block.
        frame: Bytes,
    },
    /// The log does not have it; the block is the `reset` that says so.
    Lost(Bytes),
}

/// What an event is to one user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due<'a> {
    Nothing,
    Frame(&'a Bytes),
    /// It may be for the user, and isn't here.
    Blank,
}

impl Kept {
    /// By the one rule, with the user's snapshot as it stands.
    pub(crate) fn due(&self, user: UserId, snapshot: &Snapshot) -> Due<'_> {
        let to = |named: &[UserId]| receives(user, snapshot, &self.head, named);
        match &self.content {
            Content::Here { named, frame } if to(named) => Due::Frame(frame),
            Content::Lost(frame) if to(&[user]) => Due::Frame(frame),
            Content::Blank if to(&[user]) => Due::Blank,
            _ => Due::Nothing,
        }
    }

    pub(crate) fn prev(&self) -> Seq {
        self.head.prev
    }

    pub(crate) fn bytes(&self) -> usize {
        self.content.bytes() + OVERHEAD
    }
}

impl Content {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Blank => 0,
            Self::Here { named, frame } => frame.len() + size_of_val::<[UserId]>(named),
            Self::Lost(frame) => frame.len(),
        }
    }
}

/// Those after `at` of a list in the log's order.
pub(crate) fn after(events: &VecDeque<Kept>, at: Seq) -> Iter<'_, Kept> {
    events.range(events.partition_point(|kept| kept.seq <= at)..)
}
