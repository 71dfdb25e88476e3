//! The use cases. They know no HTTP: ids and checked texts in, views or an [`error::AppError`] out.

pub(crate) mod access;
pub(crate) mod article_ref;
pub(crate) mod articles;
pub(crate) mod comments;
pub(crate) mod communities;
pub(crate) mod demo;
pub(crate) mod discussions;
pub(crate) mod error;
mod event;
pub(crate) mod events;
pub(crate) mod list;
pub(crate) mod members;
pub(crate) mod mirror;
pub(crate) mod once;
pub(crate) mod one_line;
pub(crate) mod subscriptions;
pub(crate) mod sync;
pub(crate) mod text;
pub(crate) mod tickets;
pub(crate) mod users;
pub(crate) mod view;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crier_domain::Keys;
use crier_service_kit::telemetry;
use crier_store::{Locks, Store, Tx};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};

use crate::metrics::Metrics;
use error::AppError;

/// What every use case works with.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) store: Store,
    /// Seal positions and tickets.
    pub(crate) keys: Keys,
    pub(crate) metrics: Metrics,
    /// Who is admin of this many communities makes no more; 0 is no limit.
    pub(crate) communities_per_user: u32,
    /// How long the log holds events.
    pub(crate) retention: Duration,
    /// Bulk changes are made one at a time.
    pub(crate) syncs: sync::Place,
    /// Cancelled when the service is told to stop: what would go on for minutes ends then.
    pub(crate) stopping: CancellationToken,
}

impl App {
    /// A transaction under these locks; its outbox rows carry the trace of the call that this is part of.
    async fn begin(&self, locks: Locks) -> Result<Tx, AppError> {
        let trace = telemetry::current_traceparent();
        Ok(self.store.begin(locks, trace).await?)
    }

    /// Makes everything true at once. Whoever gets an answer gets it after this.
    async fn commit(&self, tx: Tx) -> Result<(), AppError> {
        let started = Instant::now();
        let done = tx.commit().instrument(info_span!("store.commit")).await;
        self.metrics.committed(started.elapsed());
        Ok(done?)
    }
}

/// The time, in seconds since 1970.
fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}
