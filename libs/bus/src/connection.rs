//! One connection to NATS that comes back for ever, and what is known about it.

mod monitor;
mod open;
mod touch;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use async_nats::jetstream::Context;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::DropGuard;

use crate::error::Outage;
use crate::log::Log;
use monitor::Events;
pub use open::{ConnectError, VersionError};

/// How long [`Bus::close`] waits for what is still to be sent.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to NATS. Clones are the same connection; it ends when the last one is dropped, and whatever was
/// made from it.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    jetstream: Context,
    state: watch::Receiver<ConnectionState>,
    events: Arc<Events>,
    /// Ends the monitor, which holds a client and would keep the connection.
    _monitor: DropGuard,
}

/// Whether there is a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionState {
    /// There is one.
    pub connected: bool,
    /// How many there have been, this one included.
    pub connects: u64,
}

impl ConnectionState {
    fn of(client: &Client) -> Self {
        Self {
            connected: client.connection_state() == State::Connected,
            connects: client.statistics().connects.load(Ordering::Relaxed),
        }
    }

    /// How often a connection was found again.
    #[must_use]
    pub fn reconnects(self) -> u64 {
        self.connects.saturating_sub(1)
    }
}

/// What to count, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusStats {
    /// There is a connection.
    pub connected: bool,
    /// How often a connection was found again.
    pub reconnects: u64,
    /// How often the client library dropped a message because we didn't take it in time. A lower bound.
    pub slow_consumer_events: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages sent.
    pub messages_out: u64,
}

impl Bus {
    /// The log.
    #[must_use]
    pub fn log(&self) -> Log {
        Log::new(self.clone())
    }

    /// The connection's state, now and later. [`ConnectionState::connects`] tells a new connection from the old one.
    #[must_use]
    pub fn connection(&self) -> watch::Receiver<ConnectionState> {
        self.inner.state.clone()
    }

    /// Whether there is a connection now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.inner.state.borrow().connected
    }

    /// The largest message, headers included, that the server takes, in bytes. 1 MiB while it is not known.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.inner.client.max_payload()
    }

    /// What to count.
    #[must_use]
    pub fn stats(&self) -> BusStats {
        let state = *self.inner.state.borrow();
        let traffic = self.inner.client.statistics();
        BusStats {
            connected: state.connected,
            reconnects: state.reconnects(),
            slow_consumer_events: self.inner.events.slow_consumers(),
            messages_in: traffic.in_messages.load(Ordering::Relaxed),
            messages_out: traffic.out_messages.load(Ordering::Relaxed),
        }
    }

    /// Sends what is still to be sent and closes the connection for all clones, within two seconds.
    pub async fn close(&self) {
        let draining = async {
            self.inner.client.drain().await.ok();
            self.inner.client.flush().await.ok();
        };
        // Without a connection there is nothing to wait for that would ever come.
        if self.is_connected() && timeout(CLOSE_TIMEOUT, draining).await.is_err() {
            tracing::warn!("the connection to NATS was closed with messages unsent");
        }
        self.inner.events.close();
        let mut state = self.connection();
        timeout(CLOSE_TIMEOUT, state.wait_for(|state| !state.connected))
            .await
            .ok();
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    pub(crate) fn jetstream(&self) -> &Context {
        &self.inner.jetstream
    }

    /// The log's leader answered.
    pub(crate) fn answered(&self) {
        self.inner.events.touch.answered();
    }

    /// The log's leader did not answer what was asked then, over a connection that holds.
    pub(crate) fn unanswered(&self, asked: Instant) {
        let server = || self.client().server_info().server_id;
        if self.is_connected() && self.inner.events.touch.unanswered(asked, server) {
            self.inner.events.wake();
        }
    }

    /// The connection there is now, if there is one.
    pub(crate) fn link(&self) -> Option<Link> {
        let state = self.connection();
        let ConnectionState {
            connected,
            connects,
        } = *state.borrow();
        connected.then_some(Link { state, connects })
    }

    /// Waits for a connection, without a limit of its own.
    pub(crate) async fn connected(&self) -> Result<Link, Outage> {
        let mut state = self.connection();
        let connects = match state.wait_for(|state| state.connected).await {
            Ok(state) => state.connects,
            Err(_) => return Err(Outage::Disconnected),
        };
        Ok(Link { state, connects })
    }
}

/// One particular connection: what was asked over it is not answered over the next.
#[derive(Clone)]
pub(crate) struct Link {
    state: watch::Receiver<ConnectionState>,
    connects: u64,
}

impl Link {
    /// Resolves when this connection is no more. May be dropped and called again.
    pub(crate) async fn lost(&mut self) {
        let connects = self.connects;
        // An error means that the bus is gone, and the connection with it.
        self.state
            .wait_for(|state| !state.connected || state.connects != connects)
            .await
            .ok();
    }
}
