//! The recent events of one followed community, as the hub passed them.

use std::collections::VecDeque;
use std::sync::Arc;

use crier_domain::Seq;
use crier_domain::log::EventHead;

use super::kept::{Content, Kept};

/// Holds every event of its community from `from` to the hub's position.
#[derive(Debug)]
pub(crate) struct Ring {
    /// All after here are held.
    pub(crate) from: Seq,
    /// An event stood, or stands, at `from`. Otherwise `from` is only where the following began.
    pub(crate) at_event: bool,
    pub(crate) events: VecDeque<Kept>,
    pub(crate) bytes: usize,
}

impl Ring {
    pub(crate) fn new(from: Seq) -> Self {
        Self {
            from,
            at_event: false,
            events: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Takes the community's next event, which tells where the one before it stands. Gives what no longer counts.
    pub(crate) fn push(&mut self, kept: Kept) -> VecDeque<Kept> {
        let prev = kept.prev();
        let last = self.events.back().map_or(self.from, |last| last.seq);
        // The first event tells where the last one before the following began stands. One between two that
        // were passed can't be, unless nobody could read it: then nothing before it counts as complete.
        let tells = self.events.is_empty() && !self.at_event && prev > Seq::ZERO;
        let mut given_up = VecDeque::new();
        if tells || prev > last {
            given_up = std::mem::take(&mut self.events);
            self.bytes = 0;
            self.from = prev;
            self.at_event = true;
        }
        self.bytes += kept.bytes();
        self.events.push_back(kept);
        given_up
    }

    /// Gives up the oldest.
    pub(crate) fn evict(&mut self) -> Option<Kept> {
        let oldest = self.events.pop_front()?;
        self.bytes -= oldest.bytes();
        self.from = oldest.seq;
        self.at_event = true;
        Some(oldest)
    }

    /// Nothing stands between `from` and where the ring began.
    pub(crate) fn reaches(&mut self, from: Seq, at_event: bool) {
        if !self.at_event && from <= self.from {
            self.from = from;
            self.at_event = at_event;
        }
    }

    /// The head of an event that is not here to be read.
    pub(crate) fn blank(&self, seq: Seq) -> Option<&Arc<EventHead>> {
        let kept = self.events.get(self.find(seq)?)?;
        (kept.content == Content::Blank).then_some(&kept.head)
    }

    /// It is now.
    pub(crate) fn fill(&mut self, seq: Seq, content: Content) {
        let at = self.find(seq);
        let Some(kept) = at.and_then(|at| self.events.get_mut(at)) else {
            return;
        };
        if kept.content == Content::Blank {
            self.bytes -= kept.bytes();
            kept.content = content;
            self.bytes += kept.bytes();
        }
    }

    fn find(&self, seq: Seq) -> Option<usize> {
        self.events.binary_search_by_key(&seq, |kept| kept.seq).ok()
    }

    /// An event after `at` that is known to have been stored and isn't here to be read.
    pub(crate) fn missing_after(&self, at: Seq) -> Option<Seq> {
        if at < self.from {
            return self.at_event.then_some(self.from);
        }
        let mut later = super::kept::after(&self.events, at);
        later
            .find(|kept| kept.content == Content::Blank)
            .map(|kept| kept.seq)
    }
}

#[cfg(test)]
mod tests {
    use crier_domain::log::AudienceTag;
    use crier_domain::{CommunityId, EventId, OutboxId};

    use super::*;

    fn event(seq: u64, prev: u64) -> Kept {
        let head = EventHead {
            id: EventId::new(),
            fence: OutboxId(1),
            prev: Seq(prev),
            community: CommunityId::try_from(45).unwrap(),
            article: None,
            exclude: None,
            audience: AudienceTag::Members,
            reset: false,
            traceparent: None,
        };
        Kept {
            seq: Seq(seq),
            head: Arc::new(head),
            content: Content::Blank,
        }
    }

    #[test]
    fn a_ring_knows_from_where_it_is_complete() {
        type Step = fn(&mut Ring);
        let cases: [(&str, &[Step], u64, bool); 8] = [
            ("new", &[], 10, false),
            (
                "the first tells the one before",
                &[|ring| drop(ring.push(event(11, 4)))],
                4,
                true,
            ),
            (
                "the first is the first of all",
                &[|ring| drop(ring.push(event(11, 0)))],
                10,
                false,
            ),
            (
                "what one tells the next does not take back",
                &[
                    |ring| drop(ring.push(event(11, 4))),
                    |ring| drop(ring.push(event(12, 11))),
                ],
                4,
                true,
            ),
            (
                "one was never passed",
                &[
                    |ring| drop(ring.push(event(11, 4))),
                    |ring| drop(ring.push(event(14, 13))),
                ],
                13,
                true,
            ),
            (
                "the oldest went",
                &[
                    |ring| drop(ring.push(event(11, 4))),
                    |ring| drop(ring.evict()),
                ],
                11,
                true,
            ),
            (
                "the log's leader said",
                &[|ring| ring.reaches(Seq(3), true)],
                3,
                true,
            ),
            (
                "it said so too late",
                &[
                    |ring| drop(ring.push(event(11, 4))),
                    |ring| drop(ring.evict()),
                    |ring| ring.reaches(Seq(3), true),
                ],
                11,
                true,
            ),
        ];
        for (what, steps, from, at_event) in cases {
            let mut ring = Ring::new(Seq(10));
            for step in steps {
                step(&mut ring);
            }
            assert_eq!((ring.from, ring.at_event), (Seq(from), at_event), "{what}");
            assert_eq!(
                ring.bytes,
                ring.events.iter().map(Kept::bytes).sum::<usize>(),
                "{what}"
            );
        }
    }
}
