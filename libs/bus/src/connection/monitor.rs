//! What the client library tells about the connection, made observable.
//!
//! Its events come over a channel that drops them when it is full. So an event only wakes the monitor, which then
//! asks the client for its state, and asks once a second besides.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, Event};
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::touch::Touch;
use super::{ConnectionState, open};

/// Where the client's events go.
#[derive(Default)]
pub(super) struct Events {
    changed: Notify,
    /// The connection was closed by us. The client goes on calling that connected.
    closed: AtomicBool,
    slow_consumers: AtomicU64,
    pub(super) touch: Touch,
    /// The last failure that was logged: one that lasts is logged once.
    failure: Mutex<Option<String>>,
}

impl Events {
    pub(super) fn slow_consumers(&self) -> u64 {
        self.slow_consumers.load(Ordering::Relaxed)
    }

    /// Has the monitor look.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    pub(super) fn take(&self, event: &Event) {
        match event {
            Event::SlowConsumer(_) => {
                // The first of a burst says it; the count says how long it went on.
                if self.slow_consumers.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!("messages from NATS are dropped: they are not taken in time");
                }
            }
            Event::ServerError(error) => self.failed(error),
            Event::ClientError(error) => self.failed(error),
            Event::LameDuckMode => tracing::info!("the NATS server is about to shut down"),
            Event::Connected | Event::Disconnected | Event::Draining | Event::Closed => {}
        }
        self.changed.notify_one();
    }

    fn failed(&self, error: &dyn std::fmt::Display) {
        let text = error.to_string();
        let mut last = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(&text) {
            tracing::warn!(error = %text, "NATS");
            *last = Some(text);
        }
    }

    fn recovered(&self) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Keeps `state` true until `stop`.
pub(super) async fn run(
    client: Client,
    events: Arc<Events>,
    state: watch::Sender<ConnectionState>,
    stop: CancellationToken,
) {
    let mut unasked = tokio::time::interval(Duration::from_secs(1));
    unasked.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = events.changed.notified() => {}
            _ = unasked.tick() => {}
        }
        let mut now = ConnectionState::of(&client);
        let closed = events.closed.load(Ordering::Relaxed);
        now.connected &= !closed;
        if state.send_if_modified(|known| std::mem::replace(known, now) != now) {
            told(&client, now, &events);
        }
        if closed {
            return;
        }
        if now.connected {
            events.touch.leave(&client).await;
        }
    }
}

fn told(client: &Client, state: ConnectionState, events: &Events) {
    if events.closed.load(Ordering::Relaxed) {
        return;
    }
    if !state.connected {
        tracing::warn!("the connection to NATS is lost; trying to get it back");
        return;
    }
    events.recovered();
    let info = client.server_info();
    tracing::info!(
        nats.server = info.server_name,
        nats.version = info.version,
        reconnects = state.reconnects(),
        "connected to NATS"
    );
    if let Err(error) = open::check_version(client) {
        tracing::error!(%error, "NATS is too old");
    }
}
