//! Old snapshots and old rows taken away, beside the leader's passes.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crier_domain::{Seq, UserId};
use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use crate::lease::Lease;
use crate::relay::{Ended, Parts};
use crate::sink::Sink;
use crate::source::Source;
use crate::trouble::{Trouble, read, written};

/// Purges at a time: they must not hold up what matters.
const AT_A_TIME: usize = 8;

/// Snapshots that have made older ones of the same user superfluous, and since when. Kept by one
/// leadership for one epoch: sequences of another would take away the wrong ones.
#[derive(Debug)]
pub(crate) struct OldSnapshots {
    most: usize,
    queue: Mutex<VecDeque<(UserId, Seq, Instant)>>,
}

impl OldSnapshots {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            queue: Mutex::default(),
        }
    }

    /// `user` has a snapshot at `seq` now.
    pub(crate) fn replaced_by(&self, user: UserId, seq: Seq) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back((user, seq, Instant::now()));
        if queue.len() > self.most {
            queue.pop_front();
        }
    }

    /// Sequences begin anew.
    pub(crate) fn forget(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.clear();
    }

    /// Takes out what has been superfluous for `age`: per user, what stands before the sequence may go.
    fn due(&self, age: Duration) -> HashMap<UserId, Seq> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = HashMap::new();
        while let Some((user, seq, since)) = queue.front().copied() {
            if since.elapsed() < age {
                break;
            }
            // A later one of the same user takes the earlier ones away as well.
            due.insert(user, seq);
            queue.pop_front();
        }
        due
    }
}

/// When the log last proved, by storing a message right behind all it had acknowledged, that it had lost nothing.
///
/// Sent rows are deleted by their age at that moment: while NATS is away none is, for nobody knows what it will come
/// back with.
#[derive(Debug, Default)]
pub(crate) struct Proof(Mutex<Option<Instant>>);

impl Proof {
    pub(crate) fn given(&self) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(Instant::now());
    }

    /// How long ago; none if not yet.
    fn age(&self) -> Option<Duration> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.map(|last| last.elapsed())
    }
}

/// Tidies again and again, for as long as the lease holds.
pub(crate) async fn keep_house<S: Source, K: Sink>(
    parts: &Parts<S, K>,
    lease: &Lease<'_, S>,
    old: &OldSnapshots,
    proof: &Proof,
) -> Ended {
    let Parts { source, config, .. } = parts;
    loop {
        sleep(config.tidy_every).await;
        if let Some(ago) = proof.age() {
            let tidy = source.tidy(lease.term(), config.keep_sent + ago);
            match written(config.call_timeout, tidy).await {
                Ok(()) => {}
                Err(Trouble::Lost) => return Ended::Lost,
                Err(trouble) => warn!(cause = trouble.chain(), "relay can't delete sent rows"),
            }
        }
        purge(parts, lease, old).await;
    }
}

async fn purge<S: Source, K: Sink>(parts: &Parts<S, K>, lease: &Lease<'_, S>, old: &OldSnapshots) {
    let config = &parts.config;
    let purges = old
        .due(config.keep_snapshots)
        .into_iter()
        .map(|(user, seq)| async move {
            lease.check()?;
            let purged = read(config.call_timeout, parts.sink.purge_snapshots(user, seq)).await;
            if let Err(trouble) = &purged {
                debug!(
                    crier.user_id = user.get(),
                    cause = trouble.chain(),
                    "relay can't purge snapshots"
                );
                old.replaced_by(user, seq);
            }
            purged
        });
    let mut purges = stream::iter(purges).buffer_unordered(AT_A_TIME);
    while purges.next().await.is_some() {}
}
