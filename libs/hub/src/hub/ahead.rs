//! Cursors ahead of the position: this gateway is a little behind the one the client comes from, and the client
//! waits for it. Only the log's leader can say that a cursor is beyond the log.

use std::time::Instant;

use crier_domain::Seq;

use super::Hub;
use crate::action::{Action, ConnectionId, PastAnswer, PastQuestion, ReadId};
use crate::frame::ResetReason;
use crate::resume::Start;
use crate::timers::Timer;

/// The question where the log ends.
#[derive(Debug)]
pub(super) struct Tail {
    /// None before it was asked.
    read: Option<ReadId>,
    /// When it is asked, or asked again.
    at: Instant,
    times: u32,
}

impl Hub {
    /// The connection begins once the position has come to `seq`.
    pub(super) fn wait_for(&mut self, seq: Seq, id: ConnectionId, now: Instant) {
        let since = self.next_read;
        self.ahead.entry((seq, id)).or_insert(since);
        if self.tail.is_none() {
            // Most such waits are over in a moment.
            self.set_tail(None, now + self.config.ahead_grace, 0);
        }
    }

    fn set_tail(&mut self, read: Option<ReadId>, at: Instant, times: u32) {
        self.clear_tail();
        self.tail = Some(Tail { read, at, times });
        self.timers.set(at, Timer::Tail);
    }

    pub(super) fn clear_tail(&mut self) {
        if let Some(tail) = self.tail.take() {
            self.timers.unset(tail.at, Timer::Tail);
        }
    }

    /// The time to ask has come.
    pub(super) fn ask_tail(&mut self, now: Instant) {
        let times = self.tail.take().map_or(0, |tail| tail.times);
        if self.ahead.is_empty() {
            return;
        }
        let read = self.new_read();
        self.actions.push_back(Action::ReadPast {
            read,
            question: PastQuestion::Tail,
        });
        let again = now + self.chance.about(self.config.read_timeout);
        self.set_tail(Some(read), again, times.saturating_add(1));
    }

    /// Whether this was the answer to that question.
    pub(super) fn tail_answered(
        &mut self,
        read: ReadId,
        answer: &PastAnswer,
        now: Instant,
    ) -> bool {
        let Some(tail) = self.tail.as_ref().filter(|tail| tail.read == Some(read)) else {
            return false;
        };
        let PastAnswer::Tail(end) = answer else {
            let wait = self.chance.back_off(self.config.lookup_backoff, tail.times);
            self.set_tail(None, now + wait, tail.times);
            return true;
        };
        self.clear_tail();
        let told = self.ahead.iter().filter(|(_, since)| **since <= read);
        let beyond = told.filter(|((seq, _), _)| seq > end).map(|(key, _)| *key);
        let beyond: Vec<_> = beyond.collect();
        for key in beyond {
            self.ahead.remove(&key);
            self.greet(key.1, Start::Reset(ResetReason::Ahead), now);
        }
        if self.ahead.values().any(|since| *since > read) {
            self.set_tail(None, now + self.config.ahead_grace, 0);
        }
        true
    }

    /// The position has come to where these clients are.
    pub(super) fn welcome_reached(&mut self, now: Instant) {
        let Some(position) = self.position else {
            return;
        };
        while let Some((seq, id)) = self.ahead.keys().next().copied() {
            if seq > position.seq {
                break;
            }
            self.ahead.remove(&(seq, id));
            if let Some(user) = self.roster.user_of(id) {
                self.welcome(user, now);
            }
        }
    }
}
