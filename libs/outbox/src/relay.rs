//! The life of one relay: stands by, leads, hands over.

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::backoff::jittered;
use crate::config::RelayConfig;
use crate::housekeeping::{OldSnapshots, Proof, keep_house};
use crate::leader::Leader;
use crate::lease::Lease;
use crate::sink::Sink;
use crate::source::{Source, Term};
use crate::stats::Stats;
use crate::trouble::asked;

/// Whether a relay leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// Another does, or nobody yet.
    Standby,
    /// This one, under this term.
    Leading(Term),
}

/// Why a leadership ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Lost,
    Shutdown,
}

/// What every part of a relay uses.
pub(crate) struct Parts<S, K> {
    pub(crate) source: S,
    pub(crate) sink: K,
    pub(crate) config: RelayConfig,
    pub(crate) wake: Arc<Notify>,
    pub(crate) stats: Arc<Stats>,
}

/// One candidate for being the log's writer. Any number may run; one at a time leads.
pub struct Relay<S, K> {
    parts: Parts<S, K>,
    leadership: watch::Sender<Leadership>,
}

impl<S: Source, K: Sink> Relay<S, K> {
    /// A relay that will look at the outbox whenever `wake` is notified (by `notify_one`, which is not
    /// lost while the relay is busy), and at each sweep.
    #[must_use]
    pub fn new(source: S, sink: K, config: RelayConfig, wake: Arc<Notify>) -> Self {
        Self {
            parts: Parts {
                source,
                sink,
                config,
                wake,
                stats: Arc::default(),
            },
            leadership: watch::Sender::new(Leadership::Standby),
        }
    }

    /// What the relay tells about itself; good for as long as anyone holds it.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.parts.stats)
    }

    /// Whether it leads. Closed when the relay has ended.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    /// Runs until `shutdown`: the pass under way is finished, or abandoned after the grace period, and
    /// the lease given up.
    pub async fn run(self, shutdown: CancellationToken) {
        while let Some(lease) = self.stand_by(&shutdown).await {
            let term = lease.term();
            self.tell(Leadership::Leading(term));
            info!(crier.term = term.0, "relay leads");
            let ended = self.lead(&lease, &shutdown).await;
            self.tell(Leadership::Standby);
            match ended {
                Ended::Lost => warn!(crier.term = term.0, "relay lost its lease"),
                Ended::Shutdown => self.hand_over(term).await,
            }
            self.pause(&shutdown).await;
        }
    }

    /// Waits for the lease; `None` on shutdown.
    async fn stand_by(&self, shutdown: &CancellationToken) -> Option<Lease<'_, S>> {
        let Parts { source, config, .. } = &self.parts;
        // A new name each time: what a lost leadership left under way must not pass for this one's.
        let holder = Uuid::new_v4();
        while !shutdown.is_cancelled() {
            match Lease::take(source, holder, config).await {
                Ok(Some(lease)) => return Some(lease),
                Ok(None) => {}
                Err(trouble) => warn!(cause = trouble.chain(), "relay lease not asked for"),
            }
            self.pause(shutdown).await;
        }
        None
    }

    /// Leads until the lease is lost or the shutdown is through. Whatever is under way then is dropped
    /// where it stands: the next leader finds out from the log how far it came.
    async fn lead(&self, lease: &Lease<'_, S>, shutdown: &CancellationToken) -> Ended {
        let old = OldSnapshots::new(self.parts.config.max_old_snapshots);
        let proof = Proof::default();
        let mut leader = Leader::new(&self.parts, lease, &old, &proof);
        tokio::select! {
            biased;
            () = lease.keep() => Ended::Lost,
            ended = leader.run(shutdown) => ended,
            ended = keep_house(&self.parts, lease, &old, &proof) => ended,
            () = self.grace(shutdown) => Ended::Shutdown,
        }
    }

    async fn grace(&self, shutdown: &CancellationToken) {
        shutdown.cancelled().await;
        sleep(self.parts.config.grace).await;
    }

    async fn hand_over(&self, term: Term) {
        let Parts { source, config, .. } = &self.parts;
        match asked(config.lease, source.release(term)).await {
            Ok(()) => info!(crier.term = term.0, "relay handed over"),
            Err(trouble) => warn!(cause = trouble.chain(), "relay lease left to expire"),
        }
    }

    async fn pause(&self, shutdown: &CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = sleep(jittered(self.parts.config.renew)) => {}
        }
    }

    fn tell(&self, leadership: Leadership) {
        let leads = matches!(leadership, Leadership::Leading(_));
        self.parts.stats.is_leader.set(leads.into());
        self.leadership.send_replace(leadership);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Callers spawn it.
    #[allow(dead_code)]
    fn running_is_send<S: Source, K: Sink>(relay: Relay<S, K>) -> impl Send {
        relay.run(CancellationToken::new())
    }
}
