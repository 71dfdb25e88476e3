//! How each kind of fault is done, and mended.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use crier_testkit::Way;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::actors::{self, TwoChanges};
use crate::api::Api;
use crate::client::Order;
use crate::clock::CLOCK_STEP;
use crate::groups::Group;
use crate::plan::{Kind, Planned};
use crate::recorder::Recorder;
use crate::system::{Database, Server, System};

/// Between the copy of a log and the moment in which it takes the log's place.
const COPY_AGE: Duration = Duration::from_millis(1_500);

/// What two changes may take at most.
const TWO_CHANGES: Duration = Duration::from_secs(10);

/// Large events published while clients stand still.
const FLOOD: usize = 40;

/// Everything that a fault can get hold of.
pub(crate) struct Hands {
    pub(crate) system: System,
    pub(crate) api: Arc<Api>,
    pub(crate) groups: Vec<Arc<Group>>,
    pub(crate) managers: Vec<mpsc::Sender<TwoChanges>>,
    pub(crate) clients: Vec<mpsc::Sender<Order>>,
}

impl Hands {
    fn recorder(&self) -> &Recorder {
        &self.api.recorder
    }

    /// Breaks something, waits, and mends it.
    pub(crate) async fn commit(&self, fault: Planned, mut rng: StdRng) -> anyhow::Result<()> {
        let gateway = self.one_of(&self.system.gateways, fault.target)?;
        match fault.kind {
            Kind::GatewayKilled => self.restart(fault, gateway, Signal::KILL).await,
            Kind::GatewaysRolled => self.roll(fault, &self.system.gateways).await,
            Kind::GatewayPaused => self.pause_gateway(fault, gateway).await,
            Kind::LeaderKilled => {
                self.restart(fault, self.system.leader().await, Signal::KILL)
                    .await
            }
            Kind::LeaderPaused => self.pause_leader(fault).await,
            Kind::ApisRolled => self.roll(fault, &self.system.apis).await,
            Kind::NatsKilled | Kind::LogWiped | Kind::LogRestored => self.restart_nats(fault).await,
            Kind::NatsPaused => self.pause_nats(fault).await,
            Kind::NatsCutOff => self.cut_nats_off(fault).await,
            Kind::LogPurged => self.purge(fault).await,
            Kind::DatabaseKilled => self.restart_database(fault).await,
            Kind::ConnectionsCut => self.change_way(fault, Way::Cut).await,
            Kind::ConnectionsFrozen => self.change_way(fault, Way::Frozen).await,
            Kind::ConnectionsSlow => {
                let delay = Duration::from_millis(rng.random_range(5..150));
                self.change_way(fault, Way::Slow(delay)).await
            }
            Kind::LiveCopiesLost => {
                let share = rng.random_range(0.2..=1.0);
                self.on_way(fault, gateway, Way::LosesLive(share)).await
            }
            Kind::ClockStepped => self.step_clock(fault, &mut rng).await,
            Kind::ClientsStalled => self.stall_clients(fault, &mut rng).await,
        }
    }

    fn one_of<'a>(&self, servers: &'a [Server], target: usize) -> anyhow::Result<&'a Server> {
        servers
            .get(target % servers.len().max(1))
            .context("there is always one")
    }

    fn begin(&self, fault: Planned, detail: &str) -> crate::recorder::FaultNumber {
        let (name, loses) = (fault.kind.name(), fault.kind.loses_log());
        self.recorder().fault(name, loses, detail.to_owned())
    }

    async fn restart(&self, fault: Planned, server: &Server, signal: Signal) -> anyhow::Result<()> {
        let _held = server.hold.lock().await;
        let number = self.begin(fault, &server.name);
        server.end(signal).await;
        sleep(fault.length).await;
        server.start().await?;
        self.recorder().mended(number);
        Ok(())
    }

    async fn roll(&self, fault: Planned, servers: &[Server]) -> anyhow::Result<()> {
        let number = self.begin(fault, "one after the other");
        for server in servers {
            let _held = server.hold.lock().await;
            server.end(Signal::TERM).await;
            server.start().await?;
            // As an orchestrator would, but not for longer: NATS may be away.
            let _ = timeout(Duration::from_secs(5), server.is_ready()).await;
        }
        self.recorder().mended(number);
        Ok(())
    }

    async fn pause_gateway(&self, fault: Planned, gateway: &Server) -> anyhow::Result<()> {
        let _held = gateway.hold.lock().await;
        let number = self.begin(fault, &gateway.name);
        gateway.signal(Signal::STOP);
        let manager = self
            .managers
            .get(fault.target % self.managers.len().max(1))
            .context("a manager")?;
        let (done, changed) = oneshot::channel();
        let both = async {
            if manager.send(done).await.is_ok() {
                let _ = changed.await;
            }
        };
        // Both changes while it stands still. If something else is broken too they may take longer, and then it is a
        // pause like any other.
        let _ = tokio::join!(sleep(fault.length), timeout(TWO_CHANGES, both));
        gateway.signal(Signal::CONT);
        self.recorder().mended(number);
        Ok(())
    }

    async fn pause_leader(&self, fault: Planned) -> anyhow::Result<()> {
        let leader = self.system.leader().await;
        let _held = leader.hold.lock().await;
        let number = self.begin(fault, &leader.name);
        leader.signal(Signal::STOP);
        sleep(fault.length).await;
        leader.signal(Signal::CONT);
        self.recorder().mended(number);
        Ok(())
    }

    async fn pause_nats(&self, fault: Planned) -> anyhow::Result<()> {
        let nats = self.system.nats.lock().await;
        let number = self.begin(fault, "SIGSTOP");
        let server = nats.leader().await;
        server.pause();
        sleep(fault.length).await;
        server.resume();
        nats.is_whole().await;
        self.recorder().mended(number);
        Ok(())
    }

    /// The log's leader as often as another node.
    async fn cut_nats_off(&self, fault: Planned) -> anyhow::Result<()> {
        let nats = self.system.nats.lock().await;
        let (cluster, leader) = nats.cluster().await?;
        let node = match fault.target % 4 {
            0 | 1 => leader,
            other => (leader + other - 1) % 3,
        };
        let what = if node == leader { "leads" } else { "follows" };
        let number = self.begin(fault, &format!("node {node}, which {what}"));
        cluster.cut_off(node);
        sleep(fault.length).await;
        cluster.join_again(node);
        nats.is_whole().await;
        self.recorder().mended(number);
        Ok(())
    }

    async fn restart_nats(&self, fault: Planned) -> anyhow::Result<()> {
        let nats = self.system.nats.lock().await;
        let server = nats.leader().await;
        let store = server.store_dir();
        let copy = store.with_extension("copy");
        if fault.kind == Kind::LogRestored {
            // Of a server that does not write: a copy of files in motion would be none.
            server.kill().await;
            copy_dir(&store, &copy)?;
            server.start_again().await;
            sleep(COPY_AGE).await;
        }
        let number = self.begin(fault, "SIGKILL");
        server.kill().await;
        match fault.kind {
            Kind::LogWiped => std::fs::remove_dir_all(&store)?,
            Kind::LogRestored => {
                std::fs::remove_dir_all(&store)?;
                std::fs::rename(&copy, &store)?;
            }
            _ => {}
        }
        sleep(fault.length).await;
        server.start_again().await;
        nats.is_whole().await;
        self.recorder().mended(number);
        Ok(())
    }

    async fn purge(&self, fault: Planned) -> anyhow::Result<()> {
        let nats = self.system.nats.lock().await;
        let number = self.begin(fault, "STREAM.PURGE");
        nats.purge().await;
        self.recorder().mended(number);
        Ok(())
    }

    async fn restart_database(&self, fault: Planned) -> anyhow::Result<()> {
        let database = self.system.database.lock().await;
        let number = self.begin(fault, "immediate shutdown");
        match &*database {
            Database::Postgres(postgres) => {
                postgres.kill().await;
                sleep(fault.length).await;
                postgres.start_again().await;
            }
            Database::Sqlite(_) => anyhow::bail!("SQLite has no server to kill"),
        }
        self.recorder().mended(number);
        Ok(())
    }

    /// Any process' way to NATS.
    async fn change_way(&self, fault: Planned, way: Way) -> anyhow::Result<()> {
        self.on_way(fault, self.any_process(fault.target)?, way)
            .await
    }

    fn any_process(&self, target: usize) -> anyhow::Result<&Server> {
        let servers: Vec<&Server> = self.system.servers().collect();
        let server = servers.get(target % servers.len().max(1));
        server.copied().context("a process")
    }

    async fn step_clock(&self, fault: Planned, rng: &mut StdRng) -> anyhow::Result<()> {
        let server = self.any_process(fault.target)?;
        let _held = server.hold.lock().await;
        let sign = if rng.random_bool(0.5) { '+' } else { '-' };
        let step = format!("{sign}{}", CLOCK_STEP.as_secs());
        let number = self.begin(fault, &format!("{}: {step} s", server.name));
        server.set_clock(&step)?;
        sleep(fault.length).await;
        server.set_clock("+0")?;
        self.recorder().mended(number);
        Ok(())
    }

    async fn on_way(&self, fault: Planned, server: &Server, way: Way) -> anyhow::Result<()> {
        let _held = server.hold.lock().await;
        let number = self.begin(fault, &format!("{}: {way:?}", server.name));
        server.proxy.set(way);
        sleep(fault.length).await;
        server.proxy.set(Way::Open);
        self.recorder().mended(number);
        Ok(())
    }

    /// Every third client reads nothing while large events go to everybody.
    async fn stall_clients(&self, fault: Planned, rng: &mut StdRng) -> anyhow::Result<()> {
        let number = self.begin(fault, "every third client");
        for client in self.clients.iter().skip(fault.target % 3).step_by(3) {
            let _ = client.try_send(Order::Stall(fault.length));
        }
        let group = self
            .groups
            .get(fault.target % self.groups.len().max(1))
            .context("a group")?;
        for _ in 0..FLOOD {
            actors::tell_all(&self.api, group, true, rng).await?;
        }
        self.recorder().mended(number);
        Ok(())
    }
}

fn copy_dir(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
