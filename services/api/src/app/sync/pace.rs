//! Not running away from the relay: a community's events wait for the permission changes before them, so the fewer of
//! those there are, the sooner a comment arrives that is written meanwhile.

use std::time::{Duration, Instant};

use crier_store::relay::UserBacklog;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// So many unsent permission changes are left behind while the relay makes progress.
const AHEAD: u64 = 2_000;
/// They are counted no further.
const COUNTED: u32 = 10_000;
/// How often it is looked at: at first, and at last.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LAST_LOOK: Duration = Duration::from_millis(100);
/// A relay that sends nothing for so long is not waited for: NATS is away, and what is in the outbox is safe.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest that one batch waits, whatever others add.
const LONGEST: Duration = Duration::from_secs(15);

/// How it goes with the relay.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Where it stood when it was waited for in vain.
    stuck: Option<UserBacklog>,
}

impl Pace {
    /// Waits until the relay has sent most of what there is, unless it sends nothing.
    pub(super) async fn keep(&mut self, app: &App, stopping: &CancellationToken) {
        let begun = Instant::now();
        let mut look = FIRST_LOOK;
        let mut progress: Option<(UserBacklog, Instant)> = None;
        // Without an answer there is nothing to wait for: the next batch will find out what is wrong.
        while let Ok(backlog) = app.store.user_backlog(COUNTED).await {
            if backlog.count < AHEAD {
                self.stuck = None;
                return;
            }
            if self.stuck.is_some_and(|stuck| stuck == backlog) {
                return;
            }
            let since = match progress {
                Some((before, since)) if before == backlog => since,
                _ => Instant::now(),
            };
            progress = Some((backlog, since));
            if since.elapsed() >= PATIENCE {
                tracing::warn!("the relay sends nothing; the bulk change goes on without it");
                self.stuck = Some(backlog);
                return;
            }
            if begun.elapsed() >= LONGEST {
                return;
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = sleep(look) => {}
            }
            look = (look * 2).min(LAST_LOOK);
        }
    }
}
