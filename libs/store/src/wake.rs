//! Telling the relay at once that there are new rows: in this process by a [`Notify`], in others by PostgreSQL's
//! NOTIFY. A signal that is lost costs latency, never an event: the relay sweeps behind it.
//!
//! NOTIFY is sent after the commit and apart from it. Inside the transaction it takes a lock of the whole cluster
//! until the commit is on disk; after it, it would add its own time to the call.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx;
use sea_orm::sqlx::postgres::{PgListener, PgPool};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use uuid::Uuid;

const CHANNEL: &str = "crier_outbox";
/// The least time between two NOTIFYs: what is committed meanwhile shares the next.
const NOTIFY_GAP: Duration = Duration::from_millis(5);
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// A background task that ends when this is dropped.
pub(crate) struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a commit with new rows signals.
#[derive(Clone)]
pub(crate) struct Wake {
    local: Arc<Notify>,
    /// PostgreSQL: the notifier waits here.
    remote: Option<Arc<Notify>>,
    /// Tells our own NOTIFYs, of which nobody here needs to hear, from those of others.
    process: Uuid,
}

impl Wake {
    pub(crate) fn raise(&self) {
        self.local.notify_one();
        if let Some(remote) = &self.remote {
            remote.notify_one();
        }
    }

    pub(crate) fn local(&self) -> Arc<Notify> {
        Arc::clone(&self.local)
    }
}

/// The signal, and on PostgreSQL the task that carries it to other processes.
pub(crate) fn start(signals: Option<PgPool>) -> (Wake, Option<Task>) {
    let remote = signals.as_ref().map(|_| Arc::new(Notify::new()));
    let wake = Wake {
        local: Arc::new(Notify::new()),
        remote: remote.clone(),
        process: Uuid::new_v4(),
    };
    let process = wake.process.to_string();
    let task = signals
        .zip(remote)
        .map(|(pool, remote)| Task(tokio::spawn(notify(pool, remote, process))));
    (wake, task)
}

/// One NOTIFY at a time, none sooner than [`NOTIFY_GAP`] after the last, and one after the last commit always.
async fn notify(pool: PgPool, remote: Arc<Notify>, process: String) {
    loop {
        remote.notified().await;
        let sent = sqlx::query("SELECT pg_notify($1, $2)")
            .bind(CHANNEL)
            .bind(&process)
            .execute(&pool)
            .await;
        if let Err(error) = sent {
            tracing::warn!(
                error.message = %error,
                "other processes were not told of new outbox rows; their sweep will find them"
            );
            sleep(jittered(FIRST_BACK_OFF)).await;
        }
        sleep(NOTIFY_GAP).await;
    }
}

/// Starts hearing of other processes' rows.
pub(crate) fn listen(pool: PgPool, wake: &Wake) -> Task {
    let (local, own) = (wake.local(), wake.process.to_string());
    Task(tokio::spawn(async move {
        let mut back_off = FIRST_BACK_OFF;
        loop {
            let error = match hear(&pool, &local, &own, &mut back_off).await {
                Ok(()) | Err(sqlx::Error::PoolClosed) => return,
                Err(error) => error,
            };
            tracing::warn!(
                error.message = %error,
                retry_seconds = back_off.as_secs_f64(),
                "lost the connection that hears of new outbox rows"
            );
            sleep(jittered(back_off)).await;
            back_off = (back_off * 2).min(LONGEST_BACK_OFF);
        }
    }))
}

async fn hear(
    pool: &PgPool,
    local: &Notify,
    own: &str,
    back_off: &mut Duration,
) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    *back_off = FIRST_BACK_OFF;
    // What was said before we listened, or while the connection was lost, was not heard.
    local.notify_one();
    loop {
        match listener.try_recv().await? {
            Some(notification) if notification.payload() == own => {}
            Some(_) | None => local.notify_one(),
        }
    }
}

/// Half to one and a half times as long, so that replicas don't come back all at once.
fn jittered(length: Duration) -> Duration {
    length.mul_f64(rand::random_range(0.5..1.5))
}
