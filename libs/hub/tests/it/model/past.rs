//! What the model's log answers about its past, through replicas that lag and ways that lose.

use crier_domain::Seq;
use crier_hub::{PastAnswer, PastEvent, PastQuestion};

use super::Model;
use super::ops::PastHow;
use crate::log::{EPOCH, Entry};

/// Events that a page holds at most.
const PAGE: usize = 3;

impl Model {
    pub(super) fn ask_log(&self, question: PastQuestion) -> PastAnswer {
        let past = |entry: &Entry| PastEvent {
            seq: entry.seq,
            epoch: EPOCH,
            head: entry.event().unwrap().clone(),
            payload: entry.payload.clone(),
        };
        match question {
            PastQuestion::Page { community, after } => {
                let left = self.log.left(community, after);
                PastAnswer::Page(left.take(PAGE).map(past).collect())
            }
            PastQuestion::Newest(community) => {
                let last = self.log.left(community, Seq::ZERO).last();
                PastAnswer::Newest(last.map_or(Seq::ZERO, |last| last.seq))
            }
            PastQuestion::Event(seq) => {
                let entry = self.log.get(seq);
                PastAnswer::Event((!entry.is_gone()).then(|| past(entry)))
            }
            PastQuestion::Horizon => PastAnswer::Horizon(self.log.horizon()),
            PastQuestion::Tail => PastAnswer::Tail(self.log.end()),
        }
    }

    pub(super) fn answer_past(&mut self, at: usize, how: PastHow) {
        let (read, mut answer) = self.pasts.swap_remove(at);
        match (how, &mut answer) {
            (PastHow::Short(events), PastAnswer::Page(page)) => page.truncate(events),
            (PastHow::Holed(at), PastAnswer::Page(page)) if at < page.len() => {
                drop(page.remove(at))
            }
            (PastHow::Fails, _) => answer = PastAnswer::Failed,
            (PastHow::Whole | PastHow::Short(_) | PastHow::Holed(_), _) => {}
        }
        self.is_past = true;
        self.hub.past(read, answer, self.now);
        self.act();
        self.is_past = false;
    }
}
