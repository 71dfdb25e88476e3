//! Three nats-servers that keep one JetStream between them, each with a life that the test decides.

use std::net::{SocketAddr, TcpListener};

use serde_json::Value;

use super::apart::{Apart, NODES};
use super::{NatsOptions, NatsServer};
use crate::wait_for;

/// A NATS cluster of three. Dropping it kills all of it.
pub struct NatsCluster {
    nodes: Vec<NatsServer>,
    /// Dropped after the nodes that live in it.
    apart: Option<Apart>,
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
        let cluster = Self { nodes, apart: None };
        cluster.healthy().await;
        cluster
    }

    /// As [`start`](Self::start), each in a network namespace of its own, so that one can be [cut
    /// off](Self::cut_off) from the others.
    ///
    /// # Panics
    /// Also where namespaces [are refused](super::apart_refused).
    pub async fn start_apart() -> Self {
        let apart = Apart::make().unwrap_or_else(|why| panic!("network namespaces: {why}"));
        let routes: Vec<SocketAddr> = (0..NODES).map(|number| apart.route(number)).collect();
        let starts = (0..NODES)
            .map(|number| NatsServer::placed(options(number, &routes), Some(apart.place(number))));
        let nodes = futures::future::join_all(starts).await;
        let cluster = Self {
            nodes,
            apart: Some(apart),
        };
        cluster.healthy().await;
        cluster
    }

    /// From now on nothing passes between this node and the others, while clients still reach all of them.
    ///
    /// # Panics
    /// When the nodes are not apart, or the system refuses.
    pub fn cut_off(&self, number: usize) {
        self.apart().cut_off(number);
    }

    /// The node reaches the others again.
    ///
    /// # Panics
    /// As [`cut_off`](Self::cut_off).
    pub fn join_again(&self, number: usize) {
        self.apart().join_again(number);
    }

    fn apart(&self) -> &Apart {
        self.apart.as_ref().expect("nodes that are apart")
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
