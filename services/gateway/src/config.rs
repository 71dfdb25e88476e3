//! What an operator may set for a gateway. Defaults and their reasons stand in the embedded
//! `config.default.toml`.

use std::net::SocketAddr;

use crier_service_kit::config::HumanDuration;
use serde::Deserialize;

/// The group `[gateway]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Streams held at once; further ones are answered `bye busy`.
    pub max_connections: usize,
    /// Streams of one user held at once; further ones are answered `bye busy`.
    pub streams_per_user: usize,
    /// Connections held at once, streams and all others; further ones are closed as they come.
    pub max_sockets: usize,
    /// How long a client may take over a request's head, and how long it may keep a connection without one.
    pub head_timeout: HumanDuration,
    /// How long a client may take not a single byte of what is sent to it.
    pub stall_timeout: HumanDuration,
    /// Frames that may wait for one client before it counts as slow.
    pub queue_messages: usize,
    /// Bytes that may wait for one client before it counts as slow.
    pub queue_bytes: usize,
    /// About how often a quiet stream says that it lives.
    pub heartbeat: HumanDuration,
    /// How long a community is followed after the last connected member left.
    pub interest_linger: HumanDuration,
    /// How long a new stream waits for its user's snapshot.
    pub snapshot_wait: HumanDuration,
    /// Recent events of one followed community that are kept for clients that come back.
    pub ring_events: usize,
    /// Bytes of them.
    pub ring_bytes: usize,
    /// Bytes of them over all communities.
    pub rings_bytes: usize,
    /// Bytes of older events, read back from the log, that are kept while clients catch up.
    pub pages_bytes: usize,
    /// Events that one client's resume may look at before it is told to fetch again.
    pub resume_events: usize,
    /// Bytes of them.
    pub resume_bytes: usize,
    /// Live copies that may wait to be taken. What finds no room is read from the log.
    pub live_messages: usize,
    /// Bytes of them.
    pub live_bytes: usize,
    /// How long a spine may be away before the log's end is taken instead and all streams resume.
    pub spine_patience: HumanDuration,
    /// Over how long the streams are closed when the gateway is told to stop.
    pub drain_window: HumanDuration,
    /// When it ends in any case, counted from the same moment.
    pub drain_deadline: HumanDuration,
}

/// What a gateway has open beside its clients: NATS, traces, the listening socket, the runtime's own.
const OTHER_DESCRIPTORS: u64 = 64;

impl GatewayConfig {
    /// Takes no more than there are descriptors for. Without one, a client's connection could not even be taken to be told
    /// `bye busy`; it would wait, and so would whoever asks how the gateway is.
    pub(crate) fn fit(&mut self, descriptors: Option<u64>) {
        let Some(room) = descriptors.map(|most| most.saturating_sub(OTHER_DESCRIPTORS)) else {
            return;
        };
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if self.max_sockets <= room {
            return;
        }
        let spare = self.max_sockets.saturating_sub(self.max_connections);
        let streams = self.max_connections.min(room - spare.min(room / 4));
        tracing::warn!(
            max_sockets = room,
            max_connections = streams,
            "the limit of open files is below `gateway.max_sockets`: this gateway takes fewer streams; raise the limit (ulimit -n, LimitNOFILE=)"
        );
        self.max_sockets = room;
        self.max_connections = streams;
    }
}

/// The group `[cors]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorsConfig {
    /// The web pages that may open streams here from another origin, each as `https://app.example.org`.
    pub allowed_origins: Vec<String>,
}
