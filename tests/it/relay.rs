//! Two API services as processes, of which one leads. It dies, or is stopped with messages on their way and wakes up:
//! the other takes over, and the log holds everything that was answered, once and in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crier_bus::{Bus, NatsConfig};
use crier_domain::Keys;
use crier_store::{DatabaseConfig, Store};
use crier_testkit::{HttpClient, NatsServer, Postgres, Proxy, TestDatabase, Way, wait_for};
use http::Method;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::fleet::{Process, command};
use crate::log;
use crate::people::{Person, group_of};
use crate::world::SECRET;

/// Between two comments of one writer.
const PAUSE: Duration = Duration::from_millis(10);

/// An API service with its own way to NATS.
struct Api {
    way: Proxy,
    process: Process,
    url: String,
}

impl Api {
    async fn start(nats: &NatsServer, database: &str, keys: &str) -> Self {
        let way = Proxy::start(nats.address()).await;
        let mut process = Process::start(
            command(&["api"])
                .env("CRIER_AUTH__SECRET", SECRET)
                .env("CRIER_CURSOR__KEYS", keys)
                .env("CRIER_NATS__URL", way.url())
                .env("CRIER_DATABASE__URL", database)
                .env("CRIER_DATABASE__MIGRATE_ON_START", "true")
                .env("CRIER_API__LISTEN", "127.0.0.1:0")
                .env("CRIER_LIMITS__USER_CALLS_PER_SECOND", "0")
                .env("CRIER_LIMITS__USER_CHANGES_PER_SECOND", "0")
                .env("CRIER_TELEMETRY__LOG", "error"),
        );
        let url = process.url("crier api on").await;
        Self { way, process, url }
    }

    async fn leads(&self) -> bool {
        let metrics = HttpClient::new(&self.url).get("/metrics").await.text();
        metrics.lines().any(|line| line == "relay_leader 1")
    }
}

struct Fleet {
    nats: NatsServer,
    /// Its address.
    database: String,
    /// The data are gone with it.
    _kept: (Option<TempDir>, Option<TestDatabase>),
    /// The first one leads.
    apis: [Api; 2],
    discussion: i64,
}

impl Fleet {
    async fn start(postgres: bool) -> Self {
        let nats = NatsServer::start().await;
        let (kept, url) = if postgres {
            let database = Postgres::database().await;
            let url = database.url();
            ((None, Some(database)), url)
        } else {
            let dir = tempfile::tempdir().unwrap();
            let url = format!("sqlite://{}", dir.path().join("crier.db").display());
            ((Some(dir), None), url)
        };
        let keys = format!("[\"{}\"]", Keys::random_base64());
        let leader = Api::start(&nats, &url, &keys).await;
        wait_for("a leader", async || leader.leads().await.then_some(())).await;
        let other = Api::start(&nats, &url, &keys).await;
        let alice = Person::at(&other.url, &[], 1, "alice");
        let place = group_of(&alice, &[]).await;
        let discussion = alice.discuss(place, "Storm").await;
        Self {
            nats,
            database: url,
            _kept: kept,
            apis: [leader, other],
            discussion,
        }
    }

    /// Alice, who calls this API service.
    fn writer(&self, api: usize) -> Person {
        Person::at(&self.apis[api].url, &[], 1, "alice")
    }

    async fn all_sent(&self) {
        let config = DatabaseConfig::new(self.database.clone());
        let store = Store::connect(&config).await.unwrap();
        wait_for("the outbox to be empty", async || {
            store.unsent(1).await.unwrap().is_empty().then_some(())
        })
        .await;
    }

    async fn log(&self) -> Vec<String> {
        let events = log::events(NatsConfig::at(self.nats.url())).await;
        events.into_iter().map(|event| event.text).collect()
    }

    /// Comments by way of the API service that stays, and waits until that is in the log.
    async fn says(&self, text: &str) {
        let nats = NatsConfig::at(self.nats.url());
        let bus = Bus::connect(&nats, "a test").await.unwrap();
        let log = bus.log();
        let mut seq = log.tail().await.unwrap();
        self.writer(1).comment(self.discussion, text).await;
        let text = format!("\"{text}\"");
        wait_for("the text to be in the log", async || {
            while let Some(stored) = log.read(seq.next()).await.ok()? {
                seq = stored.seq;
                if String::from_utf8_lossy(&stored.payload).contains(&text) {
                    return Some(());
                }
            }
            None
        })
        .await;
        bus.close().await;
    }

    /// The log holds all of these, each writer's in order, and nothing else but what was perhaps carried out.
    async fn holds(&self, answered: &[Vec<String>], perhaps: &[String]) {
        let found = self.log().await;
        let mut rest: Vec<&String> = found.iter().collect();
        for one in answered {
            let own: Vec<&String> = found.iter().filter(|text| one.contains(text)).collect();
            assert_eq!(own, one.iter().collect::<Vec<_>>());
            rest.retain(|text| !one.contains(text));
        }
        rest.retain(|text| !perhaps.contains(text));
        assert_eq!(rest, Vec::<&String>::new(), "and nothing else");
    }
}

/// Someone who comments all the while: what was answered, and what was not.
struct Writing {
    stop: watch::Sender<bool>,
    task: JoinHandle<(Vec<String>, Vec<String>)>,
}

impl Writing {
    fn begin(person: Person, discussion: i64, name: &str) -> Self {
        let (stop, stopped) = watch::channel(false);
        let name: Arc<str> = name.into();
        let task = tokio::spawn(async move {
            let (mut answered, mut unknown) = (Vec::new(), Vec::new());
            let path = format!("/api/discussions/{discussion}/comments/");
            while !*stopped.borrow() {
                let text = format!("{name} {}", answered.len() + unknown.len());
                let body = json!({"content": &text}).to_string();
                let asked = person.http.call(Method::POST, &path, Some(body.into()));
                match tokio::time::timeout(Duration::from_secs(1), asked).await {
                    Ok(Ok(answer)) if answer.status == 201 => answered.push(text),
                    _ => unknown.push(text),
                }
                tokio::time::sleep(PAUSE).await;
            }
            (answered, unknown)
        });
        Self { stop, task }
    }

    async fn end(self) -> (Vec<String>, Vec<String>) {
        self.stop.send_replace(true);
        self.task.await.unwrap()
    }
}

/// The aim is three seconds; what is asserted is looser, for a machine that does much else.
async fn killed(postgres: bool) {
    let fleet = Fleet::start(postgres).await;
    let there = Writing::begin(fleet.writer(0), fleet.discussion, "there");
    let here = Writing::begin(fleet.writer(1), fleet.discussion, "here");
    fleet.says("begun").await;
    fleet.apis[0].process.signal("KILL");
    let died = Instant::now();
    fleet.says("after").await;
    let took = died.elapsed();
    println!("postgres: {postgres}, published again after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let (there, mut perhaps) = there.end().await;
    let (here, unknown) = here.end().await;
    perhaps.extend(unknown);
    fleet.says("last").await;
    let said = ["Storm", "begun", "after", "last"].map(str::to_owned);
    fleet.holds(&[there, here, said.into()], &perhaps).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_takes_over_when_the_leader_is_killed_on_sqlite() {
    killed(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_takes_over_when_the_leader_is_killed_on_postgres() {
    killed(true).await;
}

/// Its messages are on their way, and reach the log only when the other has gone on.
async fn stopped(postgres: bool) {
    let fleet = Fleet::start(postgres).await;
    let [leader, other] = &fleet.apis;
    fleet.says("begun").await;
    // It waits for no acknowledgement, so that it sends what comes next.
    fleet.all_sent().await;
    leader.way.set(Way::Frozen);
    fleet.writer(1).comment(fleet.discussion, "held").await;
    leader.way.holds("\"held\"").await;
    let here = Writing::begin(fleet.writer(1), fleet.discussion, "here");
    leader.process.signal("STOP");
    fleet.says("by the other").await;
    assert!(other.leads().await);
    leader.way.set(Way::Open);
    fleet.says("thawed").await;
    leader.process.signal("CONT");
    wait_for("the old leader to stand by", async || {
        (!leader.leads().await).then_some(())
    })
    .await;
    fleet.says("awake").await;
    assert!(other.leads().await);
    let (here, perhaps) = here.end().await;
    let said = ["Storm", "begun", "held", "by the other", "thawed", "awake"];
    fleet
        .holds(&[here, said.map(str::to_owned).into()], &perhaps)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_stopped_with_messages_on_their_way_changes_nothing_on_sqlite() {
    stopped(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_stopped_with_messages_on_their_way_changes_nothing_on_postgres() {
    stopped(true).await;
}
