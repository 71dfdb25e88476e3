//! Bulk changes by an application that keeps its own data: lines of JSON, as many as it likes, made true in the order
//! in which they came.
//!
//! | module | is |
//! |---|---|
//! | [`line`] | one line, as it is written |
//! | [`lines`] | a body cut into lines |
//! | [`pace`] | not running away from the relay |
//!
//! One task reads the body, collects lines into batches and makes each in a transaction of its own, so that the
//! communities' locks, and SQLite's one writer, are given back between two of them: whoever waits comes first. What is
//! committed stays, whatever becomes of the rest. Nothing grows with the body: at most one batch is held, and the body
//! is read no faster than batches are made.

pub(crate) mod line;
pub(crate) mod lines;
mod pace;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crier_store::StoreError;
use crier_store::mirror::{Batch, Effect, Outcome};
use futures::Stream;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::App;
use crate::causes;
use lines::{Found, Lines};
use pace::Pace;

/// Lines that are made in one transaction: enough that a commit is little beside them, few enough that others don't
/// wait long.
const BATCH_LINES: usize = 300;
/// The same in bytes, for lines that are long.
const BATCH_BYTES: usize = 1024 * 1024;
/// When nothing comes for so long, what has come is made.
const FLUSH: Duration = Duration::from_millis(100);
/// When nothing comes for so long, it is over.
const IDLE: Duration = Duration::from_secs(30);
/// How often a batch is begun while the database is away or others are in the way.
const ATTEMPTS: u32 = 6;
const BACK_OFF: Duration = Duration::from_millis(100);
/// After so many changes the database looks at its tables for the first time, and again each time they have doubled.
const ANALYSE_FIRST: u64 = 1_000;
/// Reports on their way to the client.
const REPORTS: usize = 256;
/// A client that takes no report for so long is not reading. It gets no more than the end.
const UNREAD: Duration = Duration::from_secs(5);

/// The place of the one bulk change that a service makes at a time.
#[derive(Debug, Clone)]
pub(crate) struct Place(Arc<Semaphore>);

impl Default for Place {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Place {
    /// `None`: it is taken.
    pub(crate) fn take(&self) -> Option<Taken> {
        let permit = Arc::clone(&self.0).try_acquire_owned().ok()?;
        Some(Taken { _permit: permit })
    }
}

/// The place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    _permit: OwnedSemaphorePermit,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Progress {
    /// Lines read, blank ones too.
    lines: u64,
    /// Lines that hold now.
    ok: u64,
    /// Lines that were refused.
    failed: u64,
}

/// A line that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Failed {
    /// Its number in the body, from 1.
    line: u64,
    /// Why.
    error: String,
}

/// The last that is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Done {
    /// Whether the whole body was gone through.
    done: bool,
    #[serde(flatten)]
    progress: Progress,
    /// Lines that made or changed something.
    changed: u64,
    /// Refused lines that were not told, since nobody read.
    #[serde(skip_serializing_if = "Option::is_none")]
    untold: Option<u64>,
    /// Why not the whole body was gone through.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Report {
    /// How far it has come.
    Progress(Progress),
    /// A line was refused.
    Failed(Failed),
    /// The last one.
    Done(Done),
}

/// What the task and those who tell of it share.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    lines: AtomicU64,
    ok: AtomicU64,
    failed: AtomicU64,
    changed: AtomicU64,
}

impl Counts {
    /// How far it has come.
    pub(crate) fn progress(&self) -> Progress {
        let [lines, ok, failed] =
            [&self.lines, &self.ok, &self.failed].map(|count| count.load(Ordering::Relaxed));
        Progress { lines, ok, failed }
    }
}

/// The ends that a caller holds: what is refused, then the end; and how far it has come.
pub(crate) struct Reports {
    pub(crate) reports: mpsc::Receiver<Report>,
    pub(crate) counts: Arc<Counts>,
}

/// Why it ends before the body does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Idle,
    Body,
    Reader,
    Stopping,
    Database,
    Broken,
}

impl Cut {
    fn sentence(self) -> &'static str {
        match self {
            Self::Idle => "nothing came for 30 seconds",
            Self::Body | Self::Reader => "the connection broke",
            Self::Stopping => "the service is stopping",
            Self::Database => "the database is unavailable",
            Self::Broken => "something went wrong here; the log says what",
        }
    }
}

/// Lines on their way into the database.
#[derive(Default)]
struct Pending {
    batch: Batch,
    /// The numbers of its lines.
    numbers: Vec<u64>,
    bytes: usize,
}

impl Pending {
    fn is_full(&self) -> bool {
        self.numbers.len() >= BATCH_LINES || self.bytes >= BATCH_BYTES
    }
}

/// A bulk change under way.
pub(crate) struct Sync {
    counts: Arc<Counts>,
    reports: mpsc::Sender<Report>,
    /// Refused lines that the client did not take.
    untold: u64,
    pace: Pace,
    /// Whether the last batch gave the relay something to do.
    ahead: bool,
    /// How many changes there have to be before the database looks at its tables again.
    analyse_at: u64,
    stopping: CancellationToken,
    /// Given back when it is over.
    _place: Taken,
}

impl Sync {
    /// A bulk change in this place, and the ends that tell of it.
    pub(crate) fn new(place: Taken, stopping: CancellationToken) -> (Self, Reports) {
        let (sender, receiver) = mpsc::channel(REPORTS);
        let counts = Arc::<Counts>::default();
        let sync = Self {
            counts: counts.clone(),
            reports: sender,
            untold: 0,
            pace: Pace::default(),
            ahead: false,
            analyse_at: ANALYSE_FIRST,
            stopping,
            _place: place,
        };
        let reports = Reports {
            reports: receiver,
            counts,
        };
        (sync, reports)
    }

    /// Goes through the body. Its last report is [`Report::Done`].
    pub(crate) async fn run<S, E>(mut self, app: &App, body: S)
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Error,
    {
        let started = Instant::now();
        let cut = self.go_through(app, Lines::of(body)).await.err();
        let progress = self.counts.progress();
        let changed = self.counts.changed.load(Ordering::Relaxed);
        tracing::info!(
            sync.lines = progress.lines,
            sync.failed = progress.failed,
            sync.changed = changed,
            sync.seconds = started.elapsed().as_secs_f64(),
            sync.cut = cut.map(Cut::sentence),
            "a bulk change has ended"
        );
        let done = Done {
            done: cut.is_none(),
            progress,
            changed,
            untold: (self.untold > 0).then_some(self.untold),
            error: cut.map(Cut::sentence),
        };
        // Nobody may be there any more.
        let _ = timeout(UNREAD, self.reports.send(Report::Done(done))).await;
    }

    async fn go_through<S, E>(&mut self, app: &App, mut lines: Lines<S>) -> Result<(), Cut>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Error,
    {
        let stopping = self.stopping.clone();
        let mut pending = Pending::default();
        loop {
            let patience = if pending.numbers.is_empty() {
                IDLE
            } else {
                FLUSH
            };
            let found = tokio::select! {
                () = stopping.cancelled() => return Err(Cut::Stopping),
                // A reader who is gone is noticed while nothing comes, too.
                () = self.reports.closed() => return Err(Cut::Reader),
                found = timeout(patience, lines.next()) => found,
            };
            match found {
                Err(_) if pending.numbers.is_empty() => return Err(Cut::Idle),
                Err(_) => self.make(app, &mut pending).await?,
                Ok(Found::Broken) => {
                    // What came whole is made: as if the connection had broken a little later.
                    self.make(app, &mut pending).await?;
                    return Err(Cut::Body);
                }
                Ok(Found::End) => return self.make(app, &mut pending).await,
                Ok(Found::TooLong) => {
                    let number = self.count_line();
                    let most = lines::LONGEST / 1024;
                    self.refuse(number, format!("the line is longer than {most} KiB"))
                        .await;
                }
                Ok(Found::Line(text)) => self.take(app, &mut pending, &text).await?,
            }
        }
    }

    /// Reads a line and puts it into the batch, or into the next one.
    async fn take(&mut self, app: &App, pending: &mut Pending, text: &[u8]) -> Result<(), Cut> {
        let number = self.count_line();
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let line = match line::read(text) {
            Ok(line) => line,
            Err(error) => {
                self.refuse(number, error).await;
                return Ok(());
            }
        };
        if pending.is_full() {
            self.make(app, pending).await?;
        }
        if let Err(line) = pending.batch.push(line) {
            self.make(app, pending).await?;
            pending.batch = Batch::of(line);
        }
        pending.numbers.push(number);
        pending.bytes += text.len();
        Ok(())
    }

    /// Makes the batch, and begins another.
    async fn make(&mut self, app: &App, pending: &mut Pending) -> Result<(), Cut> {
        let Pending { batch, numbers, .. } = std::mem::take(pending);
        if numbers.is_empty() {
            return Ok(());
        }
        if std::mem::take(&mut self.ahead) {
            self.pace.keep(app, &self.stopping).await;
        }
        let outcomes = self.commit(app, &batch).await?;
        for (number, outcome) in numbers.into_iter().zip(outcomes) {
            match outcome {
                Ok(effect) => {
                    self.counts.ok.fetch_add(1, Ordering::Relaxed);
                    if effect != Effect::Unchanged {
                        self.counts.changed.fetch_add(1, Ordering::Relaxed);
                        self.ahead = true;
                    }
                }
                Err(refusal) => self.refuse(number, refusal.to_string()).await,
            }
        }
        self.analyse(app).await;
        Ok(())
    }

    /// Has the database look at its tables when they have grown. That it doesn't makes it slow, not wrong.
    async fn analyse(&mut self, app: &App) {
        let changed = self.counts.changed.load(Ordering::Relaxed);
        if changed < self.analyse_at {
            return;
        }
        self.analyse_at = changed * 2;
        if let Err(error) = app.store.analyse().await {
            tracing::warn!(error = %causes(&error), "the database could not analyse its tables");
        }
    }

    /// Makes the batch in a transaction, again if others were in the way: lines that hold already change nothing.
    async fn commit(&self, app: &App, batch: &Batch) -> Result<Vec<Outcome>, Cut> {
        let mut attempt = 1;
        loop {
            let error = match try_commit(app, batch).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(error) => error,
            };
            let may_pass = error.is_unavailable() || matches!(error, StoreError::Exists(_));
            if !may_pass {
                tracing::error!(error = %causes(&error), "a batch of a bulk change failed");
                return Err(Cut::Broken);
            }
            if attempt == ATTEMPTS {
                tracing::warn!(error = %causes(&error), "a bulk change is given up");
                return Err(Cut::Database);
            }
            let pause = BACK_OFF * 2_u32.pow(attempt);
            tokio::select! {
                () = self.stopping.cancelled() => return Err(Cut::Stopping),
                () = sleep(pause.mul_f64(rand::random_range(0.5..1.5))) => {}
            }
            attempt += 1;
        }
    }

    fn count_line(&self) -> u64 {
        self.counts.lines.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Tells that the line is refused, unless nobody reads.
    async fn refuse(&mut self, line: u64, error: String) {
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        let report = Report::Failed(Failed { line, error });
        // Who has not read for so long may be waiting for us to read first: then we must not wait for them.
        let told = if self.untold > 0 {
            self.reports.try_send(report).is_ok()
        } else {
            let sent = timeout(UNREAD, self.reports.send(report)).await;
            sent.is_ok_and(|sent| sent.is_ok())
        };
        if !told {
            self.untold += 1;
        }
    }
}

async fn try_commit(app: &App, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
    // Without a trace: a hundred thousand changes are no steps of one call that anybody would look at.
    let tx = app.store.begin(batch.locks(), None).await?;
    let outcomes = tx.mirror(batch).await?;
    let changes = |outcome: &Outcome| matches!(outcome, Ok(Effect::Made | Effect::Changed));
    if outcomes.iter().any(changes) {
        let started = Instant::now();
        tx.commit().await?;
        app.metrics.committed(started.elapsed());
    }
    Ok(outcomes)
}
