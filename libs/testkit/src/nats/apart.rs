//! Network namespaces for the nodes of a cluster, so that one can be cut off from the others though clients reach it.
//!
//! ```text
//!   this machine ── crier7n0 ── client (node 0) nodes ── node0 ┐
//!                ── crier7n1 ── client (node 1) nodes ── node1 ┼ the bridge between the nodes
//!                ── crier7n2 ── client (node 2) nodes ── node2 ┘
//! ```
//!
//! The bridge is in a namespace of its own, so that the nodes' addresses are the same in every cluster. Those that
//! clients use are this machine's too, and belong to a slot: whoever makes the links of that name has it. Names of
//! namespaces carry our process id. What a killed process left the guardian removes, or else the next cluster; the
//! links go with the namespaces.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::guardian;

/// Nodes of a cluster.
pub(super) const NODES: usize = 3;

/// Their port for each other. It is nobody else's there.
const ROUTE_PORT: u16 = 6222;

/// Addresses that are meant for tests of networks and are in no network (RFC 2544), 16 for each slot.
const ADDRESSES: u32 = 0xC612_0000;
const SLOTS: u32 = 1 << 13;

/// What the names of our namespaces begin with; then comes the process id.
const PREFIX: &str = "crier-test-";

/// Where a node lives.
pub(super) struct Place {
    namespace: String,
    /// At which clients and tests reach it.
    pub(super) address: Ipv4Addr,
}

impl Place {
    /// A program in there. `ip` becomes it, so the process id stays.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace])
            .arg(program);
        command
    }
}

/// The namespaces of one cluster. Gone when dropped.
pub(super) struct Apart {
    name: String,
    slot: u32,
}

/// Why this machine lets us have no network namespaces; `None` if it does.
pub fn refused() -> Option<&'static str> {
    static ANSWER: OnceLock<Option<String>> = OnceLock::new();
    ANSWER.get_or_init(|| Apart::make().err()).as_deref()
}

impl Apart {
    /// Makes them, with everything open.
    pub(super) fn make() -> Result<Self, String> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        sweep();
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let mut apart = Self {
            name: format!("{PREFIX}{pid}-{number}"),
            slot: pid.wrapping_mul(7).wrapping_add(number) % SLOTS,
        };
        for namespace in apart.namespaces() {
            guardian::watch_namespace(&namespace);
            ip(&format!("netns add {namespace}"))?;
        }
        let bridge = apart.bridge();
        ip(&format!("-n {bridge} link add nodes type bridge"))?;
        ip(&format!("-n {bridge} link set nodes up"))?;
        apart.take_slot()?;
        for node in 0..NODES {
            apart.connect(node)?;
        }
        Ok(apart)
    }

    /// The first free slot: a name is given once.
    fn take_slot(&mut self) -> Result<(), String> {
        for _ in 0..64 {
            let (link, namespace) = (self.link(0), self.namespace(0));
            let made = ip(&format!(
                "link add {link} type veth peer name client netns {namespace}"
            ));
            match made {
                Err(why) if why.contains("File exists") => self.slot = (self.slot + 1) % SLOTS,
                made => return made,
            }
        }
        Err("no free addresses".to_owned())
    }

    fn connect(&self, node: usize) -> Result<(), String> {
        let (link, namespace, bridge) = (self.link(node), self.namespace(node), self.bridge());
        if node > 0 {
            ip(&format!(
                "link add {link} type veth peer name client netns {namespace}"
            ))?;
        }
        let (ours, its) = (self.address(node, 1), self.address(node, 2));
        let route = self.route(node).ip();
        for command in [
            format!("address add {ours}/30 dev {link}"),
            format!("link set {link} up"),
            format!("-n {namespace} address add {its}/30 dev client"),
            format!("-n {namespace} link set client up"),
            format!("-n {namespace} link set lo up"),
            format!("-n {namespace} link add nodes type veth peer name node{node} netns {bridge}"),
            format!("-n {namespace} address add {route}/24 dev nodes"),
            format!("-n {namespace} link set nodes up"),
            format!("-n {bridge} link set node{node} up"),
        ] {
            ip(&command)?;
        }
        self.plug(node, "master nodes")
    }

    pub(super) fn place(&self, node: usize) -> Place {
        Place {
            namespace: self.namespace(node),
            address: self.address(node, 2),
        }
    }

    /// Where the other nodes find this one.
    #[expect(
        clippy::unused_self,
        reason = "it is an address within these namespaces alone"
    )]
    pub(super) fn route(&self, node: usize) -> SocketAddr {
        let last = u8::try_from(node + 1).expect("a few nodes");
        (Ipv4Addr::new(10, 0, 0, last), ROUTE_PORT).into()
    }

    /// Takes the node off the bridge. Nothing tells it: its packets come to nobody.
    pub(super) fn cut_off(&self, node: usize) {
        self.plug(node, "nomaster").expect("cut a node off");
    }

    pub(super) fn join_again(&self, node: usize) {
        self.plug(node, "master nodes").expect("join a node again");
    }

    fn plug(&self, node: usize, how: &str) -> Result<(), String> {
        ip(&format!("-n {} link set node{node} {how}", self.bridge()))
    }

    fn namespaces(&self) -> impl Iterator<Item = String> {
        let nodes: Vec<String> = (0..NODES).map(|node| self.namespace(node)).collect();
        nodes.into_iter().chain([self.bridge()])
    }

    fn namespace(&self, node: usize) -> String {
        format!("{}-{node}", self.name)
    }

    fn bridge(&self) -> String {
        format!("{}-b", self.name)
    }

    fn link(&self, node: usize) -> String {
        format!("crier{}n{node}", self.slot)
    }

    /// The first of a node's four addresses is the network's, the second this machine's, the third the node's.
    fn address(&self, node: usize, which: u32) -> Ipv4Addr {
        let node = u32::try_from(node).expect("a few nodes");
        Ipv4Addr::from_bits(ADDRESSES + self.slot * 16 + node * 4 + which)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        for namespace in self.namespaces() {
            let _ = ip(&format!("netns delete {namespace}"));
        }
    }
}

/// Removes the namespaces of processes that are gone.
fn sweep() {
    for entry in std::fs::read_dir("/run/netns")
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = ip(&format!("netns delete {name}"));
        }
    }
}

/// One call of iproute2, or what it says against it.
fn ip(words: &str) -> Result<(), String> {
    let done = Command::new("ip")
        .args(words.split_ascii_whitespace())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("ip can't be run: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(format!("ip {words}: {}", said.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clusters_have_nothing_in_common_and_leave_nothing() {
        if let Some(why) = refused() {
            println!("not tested: {why}");
            return;
        }
        let (a, b) = (Apart::make().unwrap(), Apart::make().unwrap());
        assert_ne!(a.slot, b.slot);
        let names: Vec<String> = a.namespaces().chain(b.namespaces()).collect();
        let there = |name: &String| Path::new("/run/netns").join(name).exists();
        assert!(names.iter().all(there));
        drop((a, b));
        assert!(!names.iter().any(there));
    }
}
