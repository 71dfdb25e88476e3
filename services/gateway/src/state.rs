//! What every request may reach.

use std::sync::atomic::AtomicU64;

use crier_domain::Keys;
use crier_hub::ConnectionId;
use crier_service_kit::auth::Verifier;
use tokio::sync::mpsc;

use crate::config::{CorsConfig, GatewayConfig};
use crate::feed::Open;

/// Shared by all requests of one gateway.
pub(crate) struct State {
    pub(crate) config: GatewayConfig,
    pub(crate) cors: CorsConfig,
    pub(crate) verifier: Verifier,
    pub(crate) keys: Keys,
    /// New streams, for the feed.
    pub(crate) open: mpsc::Sender<Open>,
    /// Ended streams, for the feed.
    pub(crate) closed: mpsc::UnboundedSender<ConnectionId>,
    /// The next connection's id.
    pub(crate) next_connection: AtomicU64,
}
