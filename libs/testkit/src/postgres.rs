//! PostgreSQL for tests: one cluster for a test process and a database per test, or a cluster to kill.
//!
//! Clusters listen on a socket file in a folder of their own, so that no port can be taken by another.

mod cluster;
mod wire;

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::OnceCell;

use cluster::{Cluster, Safety};

/// Where test databases come from.
pub struct Postgres;

impl Postgres {
    /// A fresh, empty database in the cluster that all tests of this process share. The first call starts it.
    ///
    /// # Panics
    /// When there is no PostgreSQL, or it does not start.
    pub async fn database() -> TestDatabase {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let cluster = SHARED
            .get_or_init(|| Cluster::start(Safety::OfProcesses))
            .await;
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        cluster
            .query(
                "postgres",
                &format!("CREATE DATABASE {name} TEMPLATE template0"),
            )
            .await;
        TestDatabase { cluster, name }
    }

    /// A cluster of the test's own with one database, to be killed and started again.
    ///
    /// # Panics
    /// As [`database`](Self::database).
    pub async fn dedicated() -> DedicatedPostgres {
        DedicatedPostgres {
            cluster: Cluster::start(Safety::OfProcesses).await,
        }
    }

    /// As [`dedicated`](Self::dedicated), with commits that are on the disk when they are answered: for measurements.
    ///
    /// # Panics
    /// As [`database`](Self::database).
    pub async fn durable() -> DedicatedPostgres {
        DedicatedPostgres {
            cluster: Cluster::start(Safety::OfTheMachine).await,
        }
    }
}

/// A database of one test. Dropping it removes the database and whoever is still connected to it.
pub struct TestDatabase {
    cluster: &'static Cluster,
    name: String,
}

impl TestDatabase {
    /// The address for clients, a superuser's: `postgres://crier@localhost/test_0?host=/tmp/…`.
    pub fn url(&self) -> String {
        self.cluster.url(&self.name)
    }

    /// Runs one or more statements, each row as the text of its columns, past the code under test.
    ///
    /// # Panics
    /// When a statement fails.
    pub async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.cluster.query(&self.name, sql).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // One that can't be removed goes with the cluster, and a test that fails already has its own message.
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let _ = wire::query(&self.cluster.socket(), "postgres", &sql);
    }
}

/// A cluster of one test. Dropping it ends it and removes its folder.
pub struct DedicatedPostgres {
    cluster: Cluster,
}

impl DedicatedPostgres {
    /// The address for clients, a superuser's, the same through all lives of the cluster.
    pub fn url(&self) -> String {
        self.cluster.url("postgres")
    }

    /// The process id of its first process.
    ///
    /// # Panics
    /// When it is not running.
    pub fn pid(&self) -> u32 {
        self.cluster.pid()
    }

    /// As [`TestDatabase::query`].
    ///
    /// # Panics
    /// When a statement fails.
    pub async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.cluster.query("postgres", sql).await
    }

    /// Ends it as a crash would, and waits until it is gone: connections break, nothing is finished, and the next
    /// start recovers from its log. (By PostgreSQL's immediate shutdown: a SIGKILL would leave backends that work
    /// on for a while.) Does nothing when it is not running.
    pub async fn kill(&self) {
        self.cluster.kill().await;
    }

    /// Starts it again, and waits until it takes connections.
    ///
    /// # Panics
    /// When it is running, or not ready within [`DEADLINE`](crate::DEADLINE).
    pub async fn start_again(&self) {
        self.cluster.start_again().await;
    }
}
