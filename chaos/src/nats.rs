//! NATS under test: one server, or a cluster of three that keeps the log three times.

use std::net::SocketAddr;

use anyhow::bail;
use crier_testkit::{NatsCluster, NatsServer};

use crate::plan::{Kind, Plan};

/// The log's stream.
const STREAM: &str = "CRIER";

pub(crate) enum Nats {
    One(NatsServer),
    Three(NatsCluster),
}

impl Nats {
    pub(crate) async fn start(plan: &Plan) -> Self {
        if plan.has(Kind::NatsCutOff) {
            Self::Three(NatsCluster::start_apart().await)
        } else if plan.cluster {
            Self::Three(NatsCluster::start().await)
        } else {
            Self::One(NatsServer::start().await)
        }
    }

    /// Where the process of this number finds a server.
    pub(crate) fn address(&self, process: usize) -> SocketAddr {
        match self {
            Self::One(server) => server.address(),
            Self::Three(cluster) => cluster.node(process % 3).address(),
        }
    }

    /// The server that a fault hits: the one that leads the log.
    pub(crate) async fn leader(&self) -> &NatsServer {
        match self {
            Self::One(server) => server,
            Self::Three(cluster) => cluster.node(cluster.leader(STREAM, None).await),
        }
    }

    /// The cluster, and the number of the node that leads the log.
    pub(crate) async fn cluster(&self) -> anyhow::Result<(&NatsCluster, usize)> {
        match self {
            Self::One(_) => bail!("there is one NATS server"),
            Self::Three(cluster) => Ok((cluster, cluster.leader(STREAM, None).await)),
        }
    }

    /// Waits until a server that was hit is one of three again: two of them at once would be another fault.
    pub(crate) async fn is_whole(&self) {
        if let Self::Three(cluster) = self {
            cluster.healthy().await;
        }
    }

    /// Takes everything out of the log.
    pub(crate) async fn purge(&self) {
        self.leader().await.purge(STREAM, ">").await;
    }
}
