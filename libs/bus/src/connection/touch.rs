//! Whether the server we are connected to is in touch with the log.
//!
//! A server that is cut off from the rest of its cluster stays connected to us and answers pings: nothing but
//! questions to the log's leader that stay unanswered show it. Then another server is tried, if there is one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::Client;
use tokio::time::Instant;

/// Questions go unanswered for so long when a leader dies and another is chosen. Twice as long after each move that
/// did not help, up to [`LONGEST`].
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(80);

/// Connections made in search of a server that is not the one we left: which it is is chance.
const TRIES: u32 = 8;

#[derive(Default)]
pub(super) struct Touch(Mutex<State>);

#[derive(Default)]
struct State {
    /// When the first of the questions was asked that have all gone unanswered.
    since: Option<Instant>,
    /// Moves since the last answer.
    moves: u32,
    /// The server to leave, once that is due, and how often it was tried.
    leaving: Option<(String, u32)>,
}

impl Touch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leader answered.
    pub(super) fn answered(&self) {
        let mut state = self.state();
        (state.since, state.moves) = (None, 0);
    }

    /// It did not answer what was asked then. Gives whether it is time to try another server.
    pub(super) fn unanswered(&self, asked: Instant, server: impl FnOnce() -> String) -> bool {
        let mut state = self.state();
        let since = *state.since.get_or_insert(asked);
        let patience = PATIENCE.saturating_mul(2_u32.saturating_pow(state.moves));
        let due = since.elapsed() >= patience.min(LONGEST);
        if due {
            state.since = None;
            state.moves = state.moves.saturating_add(1);
            state.leaving = Some((server(), 0));
        }
        due
    }

    /// Breaks the connection if it is to the server that we are leaving; the client makes another at once.
    pub(super) async fn leave(&self, client: &Client) {
        let server = client.server_info().server_id;
        let tries = {
            let mut state = self.state();
            match state.leaving.take() {
                Some((left, tries)) if left == server && tries < TRIES => {
                    state.leaving = Some((left, tries + 1));
                    tries
                }
                _ => return,
            }
        };
        let others = client.server_pool().await.map_or(0, |pool| pool.len());
        if others < 2 {
            self.state().leaving = None;
            return;
        }
        if tries == 0 {
            tracing::warn!(
                nats.server_id = server,
                "the log's leader doesn't answer by way of this NATS server; trying another"
            );
        }
        client.force_reconnect().await.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(4);

    /// Asks every four seconds in vain, and gives the questions that were asked before a move.
    async fn questions(touch: &Touch) -> usize {
        for question in 1..100 {
            let asked = Instant::now();
            tokio::time::advance(STEP).await;
            if touch.unanswered(asked, String::new) {
                return question;
            }
        }
        panic!("no move");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_is_left_when_nothing_is_answered_for_long_and_later_each_time() {
        let touch = Touch::default();
        assert_eq!(questions(&touch).await, 3);
        assert_eq!(questions(&touch).await, 5);
        assert_eq!(questions(&touch).await, 10);
        assert_eq!(questions(&touch).await, 20);
        assert_eq!(questions(&touch).await, 20);
        touch.answered();
        assert_eq!(questions(&touch).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_is_enough_to_stay() {
        let touch = Touch::default();
        for _ in 0..20 {
            let asked = Instant::now();
            tokio::time::advance(STEP).await;
            assert!(!touch.unanswered(asked, String::new));
            touch.answered();
        }
    }
}
