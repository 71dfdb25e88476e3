//! Reading the past: one question at a time for a community, however many connections wait for it.

use std::collections::VecDeque;
use std::time::Instant;

use crier_domain::{CommunityId, Seq};

use super::Hub;
use crate::action::{Action, ConnectionId, PastAnswer, PastEvent, ReadId};
use crate::frame::ResetReason;
use crate::past::{Fetch, Kept, Reply, Verdict};
use crate::replay::Replay;
use crate::roster::Stream;
use crate::timers::Timer;

/// After everything.
const END: Seq = Seq(u64::MAX);

impl Hub {
    /// The connection, which is at `at`, needs the community's events after it.
    pub(super) fn recall(
        &mut self,
        community: CommunityId,
        at: Seq,
        connection: ConnectionId,
        now: Instant,
    ) {
        let read = self.new_read();
        if self.past.wait(community, at, connection, read, now) {
            self.begin_recall(community, now);
        }
    }

    /// Begins the reading, or begins it anew for those who still wait.
    fn begin_recall(&mut self, community: CommunityId, now: Instant) {
        let read = self.new_read();
        match self.past.begin(community) {
            Some(fetch) => {
                fetch.read = read;
                fetch.times = 0;
                self.ask_past(community, now);
            }
            None => self.wake_stalled(),
        }
    }

    /// Asks the question under way, and sets the time to ask it again.
    pub(super) fn ask_past(&mut self, community: CommunityId, now: Instant) {
        let Some(fetch) = self.past.fetch_mut(community) else {
            return;
        };
        fetch.times = fetch.times.saturating_add(1);
        fetch.at = now + self.chance.about(self.config.read_timeout);
        self.timers.set(fetch.at, Timer::Past(community));
        self.actions.push_back(Action::ReadPast {
            read: fetch.read,
            question: fetch.question,
        });
    }

    pub(super) fn past_answered(&mut self, read: ReadId, answer: PastAnswer, now: Instant) {
        if self.tail_answered(read, &answer, now) {
            return;
        }
        let Some(community) = self.past.asked(read) else {
            return;
        };
        let reply = match answer {
            PastAnswer::Page(events) => Some(Reply::Page(self.make_ready(community, events))),
            PastAnswer::Newest(newest) => Some(Reply::Newest(newest)),
            PastAnswer::Horizon(mark) => Some(Reply::Horizon(mark)),
            PastAnswer::Event(None) => Some(Reply::Gone),
            PastAnswer::Event(Some(event)) => {
                let mut ready = self.make_ready(community, vec![event]);
                ready.pop_front().map(Reply::Event)
            }
            PastAnswer::Tail(_) | PastAnswer::Failed => None,
        };
        let verdict = reply.and_then(|reply| self.past.judge(community, reply));
        match verdict {
            Some(verdict) => self.follow_verdict(community, verdict, now),
            None => self.ask_later(community, now),
        }
    }

    /// The events of this community and this life of the log; after the first that isn't, none counts.
    fn make_ready(&mut self, community: CommunityId, events: Vec<PastEvent>) -> VecDeque<Kept> {
        let epoch = self.position.map(|position| position.epoch);
        let ours =
            |event: &PastEvent| event.head.community == community && Some(event.epoch) == epoch;
        let mut ready = VecDeque::with_capacity(events.len());
        for event in events.into_iter().take_while(ours) {
            ready.push_back(Kept {
                seq: event.seq,
                content: self.content(&event.head, event.seq, &event.payload),
                head: event.head.into(),
            });
        }
        ready
    }

    fn follow_verdict(&mut self, community: CommunityId, verdict: Verdict, now: Instant) {
        let Some(fetch) = self.past.fetch_mut(community) else {
            return;
        };
        let after = fetch.after;
        self.timers.unset(fetch.at, Timer::Past(community));
        match verdict {
            Verdict::Page(events) => {
                self.stats.pages += 1;
                self.past.install(community, after, events);
                self.proceed(community, after, now);
            }
            Verdict::Reaches { from, at_event } => {
                self.past.reaches(community, from, at_event);
                self.proceed(community, after, now);
            }
            Verdict::Gone(upto) => {
                self.stats.gone += 1;
                self.past.lost(community, after, upto);
                self.proceed(community, after, now);
            }
            Verdict::Behind(horizon) => self.behind(community, horizon, now),
            Verdict::Ask { question, later } => {
                let read = self.new_read();
                if let Some(fetch) = self.past.fetch_mut(community) {
                    (fetch.read, fetch.question, fetch.times) = (read, question, 0);
                }
                if later {
                    self.stats.pages_again += 1;
                    self.ask_later(community, now);
                } else {
                    self.ask_past(community, now);
                }
            }
        }
    }

    /// The question is asked after a while that grows.
    fn ask_later(&mut self, community: CommunityId, now: Instant) {
        let Some(fetch) = self.past.fetch_mut(community) else {
            return;
        };
        self.timers.unset(fetch.at, Timer::Past(community));
        let times = fetch.times.max(fetch.short).max(1);
        fetch.at = now + self.chance.back_off(self.config.page_backoff, times);
        self.timers.set(fetch.at, Timer::Past(community));
    }

    /// More is known of what stands after `after`: whoever is there goes on, and the reading for the others.
    fn proceed(&mut self, community: CommunityId, after: Seq, now: Instant) {
        for connection in self.past.end_waits(community, after..END) {
            self.wake(connection);
        }
        self.begin_recall(community, now);
    }

    /// The log reaches back to the horizon only: whoever is not there yet must fetch again.
    fn behind(&mut self, community: CommunityId, horizon: Option<Seq>, now: Instant) {
        let expired = Seq::ZERO..horizon.unwrap_or(END);
        for connection in self.past.end_waits(community, expired) {
            if self.needs(connection, community) {
                self.give_up(connection, ResetReason::Behind);
            } else {
                self.wake(connection);
            }
        }
        self.begin_recall(community, now);
    }

    /// Whether the community's events from where the connection is still count for it.
    fn needs(&mut self, id: ConnectionId, community: CommunityId) -> bool {
        let communities = self.communities_of(id);
        let is_member = communities.is_some_and(|all| all.contains(&community));
        let stream = self.roster.connection_mut(id).map(|known| &known.stream);
        is_member
            && matches!(stream, Some(Stream::Replaying(replay)) if replay.from(community) == replay.at)
    }

    /// The connection no longer waits for anything.
    pub(super) fn leave_past(&mut self, connection: ConnectionId, replay: &Replay) {
        if let Some(pinned) = replay.pinned {
            self.past.unpin(pinned);
        }
        if replay.waits > 0 {
            for (community, fetch) in self.past.leave(replay.at, connection) {
                self.end_fetch(community, &fetch);
            }
        }
    }

    /// The community is no longer followed.
    pub(super) fn forget_past(&mut self, community: CommunityId) {
        if let Some(fetch) = self.past.unfollow(community) {
            self.end_fetch(community, &fetch);
            for (_, connection) in fetch.waiters {
                self.wake(connection);
            }
        }
    }

    /// Nothing that was known of the log counts any more.
    pub(super) fn clear_past(&mut self) {
        for (community, fetch) in self.past.clear() {
            self.end_fetch(community, &fetch);
        }
        if let Some(due) = self.pages_due.take() {
            self.timers.unset(due, Timer::Pages);
        }
        self.clear_tail();
        self.runnable.clear();
        self.stalled.clear();
        self.replays = 0;
    }

    fn end_fetch(&mut self, community: CommunityId, fetch: &Fetch) {
        self.timers.unset(fetch.at, Timer::Past(community));
        self.wake_stalled();
    }
}
