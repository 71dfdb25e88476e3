//! What runs beside the requests: the stream is made and mended, the relay carries the outbox to it, gateways that ask
//! for snapshots are answered, the database is watched, and callers are forgotten. All of it waits for NATS as long as it takes.

use std::sync::Arc;
use std::time::Duration;

use crier_bus::{Bus, LogConfig};
use crier_domain::UserId;
use crier_domain::rpc::SnapshotReply;
use crier_outbox::Relay;
use crier_service_kit::health::Readiness;
use crier_store::{Store, StoreError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::causes;
use crate::limits::Limits;
use crate::relay::{Outbox, Stream};

/// The condition of readiness: NATS is none, for calls are answered without it.
pub(crate) const DATABASE: &str = "database";

/// How often the database is asked whether it is there, and how long it may take.
const DATABASE_CHECK: Duration = Duration::from_secs(2);
/// How often the stream is looked at though the connection stood: an operator may have changed it.
const STREAM_CHECK: Duration = Duration::from_secs(60);
/// How often callers are forgotten who have not called for a while.
const LIMITS_TIDIED: Duration = Duration::from_secs(60);
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);
/// Snapshot requests answered at a time: when a fleet starts, they come by the thousand.
const SNAPSHOT_CONCURRENCY: usize = 8;

/// Everything that runs beside the requests.
pub(crate) struct Background {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) relay: Relay<Outbox, Stream>,
    pub(crate) stream: LogConfig,
    pub(crate) readiness: Readiness,
    pub(crate) limits: Arc<Limits>,
}

impl Background {
    /// Starts it all. Each task ends soon after `shutdown`; before that, none does unless it panics.
    pub(crate) fn spawn(self, shutdown: &CancellationToken) -> JoinSet<()> {
        let Self {
            bus,
            store,
            relay,
            stream,
            readiness,
            limits,
        } = self;
        let (made, is_made) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(keep_stream(bus.clone(), stream, made, shutdown.clone()));
        tasks.spawn(run_relay(relay, is_made, shutdown.clone()));
        tasks.spawn(serve_snapshots(bus, store.clone(), shutdown.clone()));
        tasks.spawn(watch_database(store, readiness, shutdown.clone()));
        tasks.spawn(tidy_limits(limits, shutdown.clone()));
        tasks
    }
}

/// Makes the stream, and looks at it again after each reconnect: NATS may have come back without it.
async fn keep_stream(
    bus: Bus,
    stream: LogConfig,
    made: watch::Sender<bool>,
    shutdown: CancellationToken,
) {
    let log = bus.log();
    let mut connection = bus.connection();
    let mut back_off = BackOff::new();
    while !shutdown.is_cancelled() {
        let connects = connection.borrow_and_update().connects;
        let ensured = tokio::select! {
            () = shutdown.cancelled() => return,
            ensured = log.ensure(&stream) => ensured,
        };
        if let Err(error) = ensured {
            tracing::warn!(error = %causes(&error), "the stream is not ready; calls are answered all the same");
            back_off.wait(&shutdown).await;
            continue;
        }
        back_off = BackOff::new();
        if !made.send_replace(true) {
            tracing::info!("the stream is ready");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = connection.wait_for(|state| state.connects != connects) => {
                if changed.is_err() {
                    return;
                }
            }
            () = sleep(STREAM_CHECK) => {}
        }
    }
}

/// Runs the relay once there is a stream to write.
async fn run_relay(
    relay: Relay<Outbox, Stream>,
    mut is_made: watch::Receiver<bool>,
    shutdown: CancellationToken,
) {
    tokio::select! {
        () = shutdown.cancelled() => return,
        made = is_made.wait_for(|made| *made) => {
            if made.is_err() {
                return;
            }
        }
    }
    relay.run(shutdown).await;
}

/// Answers gateways whose user has no snapshot: a row in the outbox stands for one soon.
async fn serve_snapshots(bus: Bus, store: Store, shutdown: CancellationToken) {
    let mut back_off = BackOff::new();
    while !shutdown.is_cancelled() {
        let handler = |user: UserId| {
            let store = store.clone();
            async move {
                store.ensure_snapshot_pending(user).await?;
                Ok::<_, StoreError>(SnapshotReply::Pending)
            }
        };
        let served = bus
            .serve_snapshots(handler, SNAPSHOT_CONCURRENCY, shutdown.clone())
            .await;
        match served {
            Err(error) => {
                tracing::warn!(error = %causes(&error), "gateways can't ask for snapshots");
            }
            Ok(()) if shutdown.is_cancelled() => return,
            Ok(()) => tracing::warn!("the subscription for snapshot requests ended"),
        }
        back_off.wait(&shutdown).await;
    }
}

/// Keeps the readiness true to whether the database answers.
async fn watch_database(store: Store, readiness: Readiness, shutdown: CancellationToken) {
    loop {
        let answered = tokio::select! {
            () = shutdown.cancelled() => break,
            answered = timeout(DATABASE_CHECK, store.ping()) => answered,
        };
        match answered {
            Ok(Ok(())) => readiness.holds(DATABASE),
            Ok(Err(_)) => readiness.fails(DATABASE, "it refuses"),
            Err(_) => readiness.fails(DATABASE, "it does not answer"),
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = sleep(DATABASE_CHECK) => {}
        }
    }
    readiness.fails(DATABASE, "the service is stopping");
}

/// Keeps the memory of callers to those who called of late.
async fn tidy_limits(limits: Arc<Limits>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = sleep(LIMITS_TIDIED) => limits.tidy(),
        }
    }
}

/// Pauses that double up to a longest one, each jittered.
struct BackOff(Duration);

impl BackOff {
    fn new() -> Self {
        Self(FIRST_BACK_OFF)
    }

    async fn wait(&mut self, shutdown: &CancellationToken) {
        let pause = self.0.mul_f64(rand::random_range(0.5..1.5));
        self.0 = self.0.saturating_mul(2).min(LONGEST_BACK_OFF);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = sleep(pause) => {}
        }
    }
}
