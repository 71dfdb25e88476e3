//! Reading one community's past: what to ask next, and when what came counts as complete.
//!
//! No page is believed by itself: a replica that lags ends its page like a complete one. A page counts from
//! `after` as far as each event names the one before it. If the first names one that didn't come, or nothing
//! came though something is known to stand there, the page is asked for again, and then the log's leader
//! about just that event; what it says is gone, is. An event that names none before it, and a community
//! without any, show nothing by themselves: some may have expired. Then the oldest mark must stand before
//! `after`, for marks live as long as events.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use crier_domain::{CommunityId, Seq, sabotage};

use super::kept::Kept;
use super::ring::Ring;
use crate::action::{ConnectionId, PastQuestion, ReadId};

/// One reading, on behalf of all who wait for this community.
#[derive(Debug)]
pub(crate) struct Fetch {
    community: CommunityId,
    /// What is read stands after here.
    pub(crate) after: Seq,
    /// The question under way.
    pub(crate) question: PastQuestion,
    pub(crate) read: ReadId,
    /// When it is asked, or asked again.
    pub(crate) at: Instant,
    /// How often it was asked.
    pub(crate) times: u32,
    /// How often a page was short.
    pub(crate) short: u32,
    /// Events that are complete if the log reaches back far enough.
    held: VecDeque<Kept>,
    /// Who waits, by how far they are.
    pub(crate) waiters: BTreeSet<(Seq, ConnectionId)>,
}

/// An answer, its events made ready.
#[derive(Debug)]
pub(crate) enum Reply {
    Page(VecDeque<Kept>),
    Newest(Seq),
    Event(Kept),
    /// The leader says that the event is gone.
    Gone,
    Horizon(Option<Seq>),
}

/// What follows from an answer.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// These are all that stand after `after` up to the last of them.
    Page(VecDeque<Kept>),
    /// None of those after `after` up to here is in the log any more.
    Gone(Seq),
    /// There is nothing between here and where the ring begins; and whether an event stands here.
    Reaches { from: Seq, at_event: bool },
    /// This must be asked next, or once more after a while.
    Ask {
        question: PastQuestion,
        /// The last answer was not good enough.
        later: bool,
    },
    /// Events after `after` may have expired: the log reaches back to here, or holds no mark.
    Behind(Option<Seq>),
}

impl Fetch {
    pub(crate) fn new(community: CommunityId, read: ReadId, now: Instant) -> Self {
        Self {
            community,
            after: Seq::ZERO,
            question: PastQuestion::Newest(community),
            read,
            at: now,
            times: 0,
            short: 0,
            held: VecDeque::new(),
            waiters: BTreeSet::new(),
        }
    }

    /// Begins where the first who waits is. Most communities are quiet: where the last event is not known,
    /// that is asked first.
    pub(crate) fn begin(&mut self, ring: &Ring) {
        let first = self.waiters.first();
        self.after = first.map_or(ring.from, |(at, _)| *at);
        self.short = 0;
        self.held.clear();
        self.question = match ring.missing_after(self.after) {
            Some(_) => self.page(),
            None => PastQuestion::Newest(self.community),
        };
    }

    fn page(&self) -> PastQuestion {
        PastQuestion::Page {
            community: self.community,
            after: self.after,
        }
    }

    /// Judges the answer to the question under way. Whatever is no answer to it is asked again.
    pub(crate) fn judge(&mut self, ring: &mut Ring, reply: Reply) -> Verdict {
        match (self.question, reply) {
            (PastQuestion::Page { .. }, Reply::Page(events)) => self.judge_page(ring, events),
            (PastQuestion::Newest(_), Reply::Newest(newest)) => self.judge_newest(ring, newest),
            (PastQuestion::Event(seq), Reply::Gone) => Verdict::Gone(seq),
            (PastQuestion::Event(_), Reply::Event(event)) => {
                let prev = event.prev();
                if prev > self.after {
                    return self.ask_again();
                }
                self.begin_with(prev, VecDeque::from([event]))
            }
            (PastQuestion::Horizon, Reply::Horizon(horizon)) => self.judge_horizon(ring, horizon),
            (question, _) => Verdict::Ask {
                question,
                later: true,
            },
        }
    }

    fn judge_page(&mut self, ring: &Ring, mut events: VecDeque<Kept>) -> Verdict {
        if sabotage::makes("gap-in-page-believed") && events.len() > 1 {
            let prev = events.pop_front().map_or(Seq::ZERO, |first| first.seq);
            return self.begin_with(prev, events);
        }
        events.truncate(linked(self.after, &events));
        let missing = match events.front() {
            Some(first) if first.prev() <= self.after => {
                let prev = first.prev();
                return self.begin_with(prev, events);
            }
            Some(first) => Some(first.prev()),
            None => ring.missing_after(self.after),
        };
        self.short += 1;
        match missing {
            _ if self.short == 1 => self.ask_again(),
            Some(seq) => Verdict::Ask {
                question: PastQuestion::Event(seq),
                later: false,
            },
            None => Verdict::Ask {
                question: PastQuestion::Newest(self.community),
                later: true,
            },
        }
    }

    fn ask_again(&self) -> Verdict {
        Verdict::Ask {
            question: self.page(),
            later: true,
        }
    }

    /// The events are linked, and the first follows `prev`, which is not after `after`.
    fn begin_with(&mut self, prev: Seq, events: VecDeque<Kept>) -> Verdict {
        if prev > Seq::ZERO {
            return Verdict::Page(events);
        }
        self.held = events;
        Verdict::Ask {
            question: PastQuestion::Horizon,
            later: false,
        }
    }

    fn judge_newest(&mut self, ring: &mut Ring, newest: Seq) -> Verdict {
        if newest > self.after {
            ring.reaches(newest, true);
            return Verdict::Ask {
                question: self.page(),
                later: false,
            };
        }
        if newest == Seq::ZERO {
            self.held.clear();
            return Verdict::Ask {
                question: PastQuestion::Horizon,
                later: false,
            };
        }
        if ring.at_event {
            return self.by_ring(ring);
        }
        Verdict::Reaches {
            from: newest,
            at_event: true,
        }
    }

    /// The ring has come to know better meanwhile.
    fn by_ring(&self, ring: &Ring) -> Verdict {
        match ring.missing_after(self.after) {
            Some(_) => self.ask_again(),
            None => Verdict::Reaches {
                from: ring.from,
                at_event: true,
            },
        }
    }

    fn judge_horizon(&mut self, ring: &Ring, horizon: Option<Seq>) -> Verdict {
        let Some(reaches) = horizon.filter(|mark| *mark <= self.after) else {
            return Verdict::Behind(horizon);
        };
        if !self.held.is_empty() {
            return Verdict::Page(std::mem::take(&mut self.held));
        }
        if ring.at_event {
            return self.by_ring(ring);
        }
        Verdict::Reaches {
            from: reaches,
            at_event: false,
        }
    }
}

/// How many of the events, from the first on, follow each other without one missing between.
fn linked(after: Seq, events: &VecDeque<Kept>) -> usize {
    let mut last: Option<Seq> = None;
    let mut count = 0;
    for event in events {
        let follows = match last {
            None => event.seq > after,
            Some(last) => event.seq > last && event.prev() <= last,
        };
        if !follows {
            break;
        }
        last = Some(event.seq);
        count += 1;
    }
    count
}
