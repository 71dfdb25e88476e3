//! What every request may reach.

use std::sync::atomic::AtomicU64;

use crier_domain::Keys;
use crier_service_kit::auth::Verifier;
use tokio::sync::mpsc;

use crate::config::{CorsConfig, GatewayConfig};
use crate::feed::Open;
use crate::outlet::Told;

/// Shared by all requests of one gateway.
pub(crate) struct State {
    pub(crate) config: GatewayConfig,
    pub(crate) cors: CorsConfig,
    pub(crate) verifier: Verifier,
    pub(crate) keys: Keys,
    /// New streams, for the feed.
    pub(crate) open: mpsc::Sender<Open>,
    /// What becomes of streams, for the feed.
    pub(crate) told: mpsc::UnboundedSender<Told>,
    /// The next connection's id.
    pub(crate) next_connection: AtomicU64,
}
