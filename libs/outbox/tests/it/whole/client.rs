//! A client as an EventSource is one: it reads, and comes back by the last id it read.

use crier_domain::{Cursor, Keys, Seq, UserId};
use crier_hub::{ConnectionId, Resume};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::Instant;

use super::GATEWAYS;
use super::gateway::Gateway;
use super::sse::{self, Frame};
use crate::world::ms;

#[derive(Debug, Clone, Copy)]
pub(super) enum Stand {
    /// It comes back then.
    Away(Instant),
    At {
        gateway: usize,
        id: ConnectionId,
    },
}

/// A frame with an id that a client has read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) at: Seq,
    pub(super) what: What,
    /// The last row that had been committed by then.
    pub(super) rows: i64,
    /// Which of the client's connections it was.
    pub(super) connection: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    Ready,
    /// An event with the body of this row.
    Event(i64),
    /// The event that stands here can't be had.
    Lost,
    Moved,
}

pub(super) struct Client {
    pub(super) user: UserId,
    pub(super) stand: Stand,
    pub(super) stalls_until: Instant,
    pub(super) read: Vec<Read>,
    last: Option<Cursor>,
    connections: usize,
}

impl Client {
    pub(super) fn new(user: UserId, now: Instant) -> Self {
        Self {
            user,
            stand: Stand::Away(now),
            stalls_until: now,
            read: Vec::new(),
            last: None,
            connections: 0,
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        match self.stand {
            Stand::Away(back) => Some(back),
            Stand::At { .. } => Some(self.stalls_until).filter(|until| *until > Instant::now()),
        }
    }

    pub(super) fn is_settled(&self, gateways: &[Gateway]) -> bool {
        match self.stand {
            Stand::Away(_) => false,
            // Whoever is told nothing yet waits for a snapshot.
            Stand::At { gateway, id } => {
                let this = self.connections;
                let is_ready = self.read.iter().any(|read| read.connection == this);
                is_ready && gateways[gateway].has_read_all(id)
            }
        }
    }

    /// Does what it has to do by now. Whether it did anything.
    pub(super) fn turn(
        &mut self,
        gateways: &mut [Gateway],
        keys: &Keys,
        rng: &mut StdRng,
        rows: i64,
        now: Instant,
    ) -> bool {
        match self.stand {
            Stand::Away(back) if back > now => false,
            Stand::Away(_) => {
                let gateway = rng.random_range(0..GATEWAYS);
                let resume = self.last.map_or(Resume::Fresh, Resume::At);
                self.connections += 1;
                let id = gateways[gateway].connect(self.user, resume, now);
                self.stand = Stand::At { gateway, id };
                true
            }
            Stand::At { .. } if self.stalls_until > now => false,
            Stand::At { gateway, id } => {
                let (blocks, ended) = gateways[gateway].take(id, now);
                let is_new = !blocks.is_empty() || ended;
                for frame in blocks.iter().flat_map(|block| sse::read(block, keys)) {
                    self.reads(frame, rows);
                }
                if ended {
                    self.stand = Stand::Away(now + ms(rng.random_range(500..3_000)));
                }
                is_new
            }
        }
    }

    fn reads(&mut self, frame: Frame, rows: i64) {
        let (id, what) = match frame {
            Frame::Ready { id, .. } => (id, What::Ready),
            Frame::Event { id, body } => {
                let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
                (id, What::Event(body["row"].as_i64().expect("a row")))
            }
            Frame::Reset { id, reason, .. } => {
                assert_eq!(reason, "lost", "the log has lost nothing and is short");
                (id, What::Lost)
            }
            Frame::Moved(id) => (id, What::Moved),
            Frame::Entry { .. } | Frame::Bye(_) | Frame::Beat => return,
        };
        self.last = Some(id);
        self.read.push(Read {
            at: id.seq,
            what,
            rows,
            connection: self.connections,
        });
    }
}
