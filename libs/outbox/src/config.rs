//! What a relay is told.

use std::time::Duration;

use tracing::Span;

/// Joins the span of a publish to the trace of the request that wrote the row: gets the new span and the
/// row's `traceparent`, gives the `traceparent` that goes out with the message.
pub type TraceHook = fn(&Span, Option<&str>) -> Option<String>;

/// What a relay is told. The default is what production uses.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    /// How long a leader leads without renewing.
    pub lease: Duration,
    /// How often a leader renews, and a standby asks; well below `lease`.
    pub renew: Duration,
    /// How often the outbox is looked at though nobody called.
    pub sweep: Duration,
    /// The most users' rows of one pass, and the most events.
    pub batch: usize,
    /// The most messages on their way at a time, and so the length of a fence. To be raised in two steps: first the
    /// fences of all relays, then what they send.
    pub max_in_flight: usize,
    /// The most bytes on their way at a time; one message may be larger.
    pub max_in_flight_bytes: usize,
    /// How often a mark says how far back the log reaches.
    pub mark_every: Duration,
    /// How long events and marks are kept in the log.
    pub retention: Duration,
    /// How long sent rows are kept in the outbox, counted to the last moment at which the log is known to have had them.
    /// What it loses after that is sent again.
    pub keep_sent: Duration,
    /// How long a snapshot is kept in the log after a newer one came.
    pub keep_snapshots: Duration,
    /// The most old snapshots remembered to be taken away; beyond it the oldest stay until the user's next.
    pub max_old_snapshots: usize,
    /// How often old rows and snapshots are taken away.
    pub tidy_every: Duration,
    /// The first pause after a failure; it doubles with each further one, and all are jittered.
    pub backoff_first: Duration,
    /// The longest pause after a failure. Also how long the relay waits before it asks a second time
    /// whether the log has really lost something.
    pub backoff_longest: Duration,
    /// How long one call of the source, or one read of the sink, may take.
    pub call_timeout: Duration,
    /// How long a pass may go on after the shutdown began.
    pub grace: Duration,
    /// See [`TraceHook`]. By default the row's `traceparent` is passed on.
    pub trace: TraceHook,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(2),
            renew: Duration::from_millis(500),
            sweep: Duration::from_secs(1),
            batch: 256,
            max_in_flight: 256,
            max_in_flight_bytes: 8 * 1024 * 1024,
            mark_every: Duration::from_mins(1),
            retention: Duration::from_hours(72),
            keep_sent: Duration::from_mins(5),
            keep_snapshots: Duration::from_mins(10),
            max_old_snapshots: 100_000,
            tidy_every: Duration::from_secs(30),
            backoff_first: Duration::from_millis(50),
            backoff_longest: Duration::from_secs(2),
            call_timeout: Duration::from_secs(5),
            grace: Duration::from_secs(2),
            trace: |_, traceparent| traceparent.map(str::to_owned),
        }
    }
}
