//! Three nats-servers that keep one JetStream between them, each with a life that the test decides.

use std::net::{SocketAddr, TcpListener};

use serde_json::Value;

use super::{NatsOptions, NatsServer};
use crate::wait_for;

/// A NATS cluster of three. Dropping it kills all of it.
pub struct NatsCluster {
    nodes: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts three and waits until they have found each other.
    ///
    /// # Panics
    /// When there is no nats-server, or they are not ready in time.
    pub async fn start() -> Self {
        let routes = free_ports();
        let starts = (0..routes.len()).map(|number| NatsServer::with(options(number, &routes)));
        let nodes = futures::future::join_all(starts).await;
        let cluster = Self { nodes };
        cluster.healthy().await;
        cluster
    }

    /// All nodes' addresses, as clients take them: with commas between.
    pub fn url(&self) -> String {
        let urls: Vec<String> = self.nodes.iter().map(NatsServer::url).collect();
        urls.join(",")
    }

    /// The node with this number, from 0.
    ///
    /// # Panics
    /// When there is none.
    pub fn node(&self, number: usize) -> &NatsServer {
        &self.nodes[number]
    }

    /// Waits until every node says that it is well: it has caught up with all streams that it keeps.
    ///
    /// # Panics
    /// When they are not in time.
    pub async fn healthy(&self) {
        for (number, node) in self.nodes.iter().enumerate() {
            wait_for(&format!("node {number} to be well"), async || {
                let health = node.try_monitor("/healthz").await?;
                (health["status"] == "ok").then_some(())
            })
            .await;
        }
    }

    /// The number of the node that leads this stream, asked of the others but for `except`.
    ///
    /// # Panics
    /// When it has no leader for too long.
    pub async fn leader(&self, stream: &str, except: Option<usize>) -> usize {
        wait_for(&format!("a leader of {stream}"), async || {
            for (number, node) in self.nodes.iter().enumerate() {
                if except == Some(number) {
                    continue;
                }
                let Some(told) = node.try_monitor("/jsz?streams=true").await else {
                    continue;
                };
                let leader = leader_of(&told, stream).filter(|leader| Some(*leader) != except);
                if leader.is_some() {
                    return leader;
                }
            }
            None
        })
        .await
    }
}

/// `n2` is number 2.
fn leader_of(told: &Value, stream: &str) -> Option<usize> {
    let accounts = told["account_details"].as_array()?.iter();
    let mut streams = accounts.filter_map(|account| account["stream_detail"].as_array());
    let found = streams.find_map(|streams| streams.iter().find(|found| found["name"] == stream))?;
    let name = found["cluster"]["leader"].as_str()?;
    name.strip_prefix('n')?.parse().ok()
}

/// Ports for the routes between the nodes. They have to be known before any node starts, so another process may take
/// one meanwhile; then the cluster doesn't become ready, and says so.
fn free_ports() -> Vec<SocketAddr> {
    let listeners: Vec<TcpListener> = (0..3)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
        .collect();
    let address = |listener: &TcpListener| listener.local_addr().expect("its address");
    listeners.iter().map(address).collect()
}

fn options(number: usize, routes: &[SocketAddr]) -> NatsOptions {
    let others: Vec<String> = routes
        .iter()
        .map(|route| format!("\"nats://{route}\""))
        .collect();
    NatsOptions {
        config: format!(
            "server_name: n{number}\ncluster {{ name: test, listen: \"{}\", routes: [{}] }}\n",
            routes[number],
            others.join(", ")
        ),
        token: None,
    }
}
