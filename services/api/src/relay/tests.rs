//! The real relay over a real database and a real log that soon forgets the ids it has stored: what is sent again after
//! that is stored once all the same.

use std::time::Duration;

use crier_bus::{Bus, Log, LogConfig, NatsConfig, PublishError, Refusal};
use crier_domain::log::{Head, Message, Place};
use crier_domain::{Audience, CommunityId, Epoch, Event, EventId, OutboxId, Seq};
use crier_outbox::{Relay, RelayConfig};
use crier_store::{DatabaseConfig, Locks, Store};
use crier_testkit::{NatsServer, Proxy, Way, wait_for};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Outbox, Stream};

/// For how long the server knows an id again: hardly longer than the least it takes.
const WINDOW: Duration = Duration::from_millis(200);

const OURS: i64 = 1;
const PROBED: i64 = 9;

/// A relay that runs, and its way to NATS.
struct Running {
    way: Proxy,
    task: JoinHandle<()>,
    shutdown: CancellationToken,
}

struct Scene {
    nats: NatsServer,
    log: Log,
    store: Store,
    folder: TempDir,
}

fn community(id: i64) -> CommunityId {
    CommunityId::try_from(id).unwrap()
}

fn event(id: i64, text: &str) -> Event {
    Event {
        id: EventId::new(),
        community: community(id),
        article: None,
        audience: Audience::Members,
        exclude: None,
        body: format!("{{\"text\":\"{text}\"}}").into(),
    }
}

impl Scene {
    async fn begin() -> Self {
        let nats = NatsServer::start().await;
        let bus = Bus::connect(&NatsConfig::at(nats.url()), "a test").await;
        let log = bus.unwrap().log();
        let short = LogConfig {
            duplicate_window: WINDOW,
            ..LogConfig::default()
        };
        log.ensure(&short).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = database(&folder).await;
        store.migrate().await.unwrap();
        Self {
            nats,
            log,
            store,
            folder,
        }
    }

    /// Another relay. It asks a database of its own, as another process does.
    async fn relay(&self, name: &str) -> Running {
        let way = Proxy::start(self.nats.address()).await;
        let bus = Bus::connect(&NatsConfig::at(way.url()), name)
            .await
            .unwrap();
        let store = database(&self.folder).await;
        let wake = store.wake();
        let relay = Relay::new(
            Outbox(store),
            Stream(bus.log()),
            RelayConfig::default(),
            wake,
        );
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(relay.run(shutdown.clone()));
        Running {
            way,
            task,
            shutdown,
        }
    }

    /// Commits these, in this order.
    async fn commit(&self, texts: &[&str]) {
        let events: Vec<Event> = texts.iter().map(|text| event(OURS, text)).collect();
        let locks = Locks::new().shared(community(OURS));
        let tx = self.store.begin(locks, None).await.unwrap();
        tx.outbox_events(&events.iter().collect::<Vec<_>>())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    async fn all_sent(&self) {
        wait_for("the outbox to be empty", async || {
            (self.store.count_unsent().await.unwrap() == 0).then_some(())
        })
        .await;
    }

    /// The texts of the log, each linked to the one before.
    async fn texts(&self) -> Vec<String> {
        let tail = self.log.tail().await.unwrap();
        let (mut texts, mut last) = (Vec::new(), Seq::ZERO);
        for seq in 1..=tail.0 {
            let Some(stored) = self.log.read(Seq(seq)).await.unwrap() else {
                continue;
            };
            let (_, head) = stored.head().unwrap();
            let Head::Event(head) = head else { continue };
            if head.community == community(OURS) {
                assert_eq!(head.prev, last, "the link at {seq}");
                last = stored.seq;
                let body: serde_json::Value = serde_json::from_slice(&stored.payload).unwrap();
                texts.push(body["text"].as_str().unwrap().to_owned());
            }
        }
        texts
    }

    /// Waits until the server no longer knows the id of anything that is stored by now.
    async fn window_is_over(&self) {
        let place = Place {
            epoch: Epoch::from_bits(1),
            fence: OutboxId(1),
            prev: Seq::ZERO,
            retention: Duration::from_hours(1),
        };
        let probe = Message::event(&place, &event(PROBED, "probe"), None);
        let mut times = 0;
        wait_for("the probe to be stored again", async || {
            let tail = self.log.tail().await.unwrap();
            let sent = self.log.publish(&probe, tail).await.unwrap();
            match sent.await {
                Ok(_) => times += 1,
                Err(PublishError::Refused(Refusal::Duplicate { .. })) => assert_eq!(times, 1),
                // A relay has written meanwhile.
                Err(error) => assert!(matches!(error, PublishError::Refused(_)), "{error}"),
            }
            (times == 2).then_some(())
        })
        .await;
    }

    /// Messages that the server has had from connections of this name.
    async fn had_from(&self, name: &str) -> u64 {
        let all = self.nats.monitor("/connz?state=all").await;
        let all = all["connections"].as_array().cloned().unwrap_or_default();
        let of_name = all
            .iter()
            .filter(|one| one["name"].as_str().unwrap_or_default().starts_with(name));
        of_name.filter_map(|one| one["in_msgs"].as_u64()).sum()
    }

    /// The log holds these and nothing else, also after more was written.
    async fn holds(&self, texts: &[&str]) {
        self.all_sent().await;
        self.commit(&["last"]).await;
        self.all_sent().await;
        assert_eq!(self.texts().await, [texts, &["last"]].concat());
    }
}

async fn database(folder: &TempDir) -> Store {
    let url = format!("sqlite://{}", folder.path().join("crier.db").display());
    Store::connect(&DatabaseConfig::new(&url)).await.unwrap()
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

/// The first relay's messages were stored, and it never heard of it.
async fn unanswered(scene: &Scene) -> Running {
    let first = scene.relay("first").await;
    scene.commit(&["before"]).await;
    scene.all_sent().await;
    let end = scene.log.tail().await.unwrap();
    first.way.set(Way::Unanswered);
    scene.commit(&["one", "two", "three"]).await;
    wait_for("the messages to be stored", async || {
        (scene.log.tail().await.unwrap().0 == end.0 + 3).then_some(())
    })
    .await;
    first.way.set(Way::Cut);
    assert_eq!(scene.store.count_unsent().await.unwrap(), 3);
    scene.window_is_over().await;
    first
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_and_never_acknowledged_is_not_stored_again_when_the_relay_comes_back() {
    let scene = Scene::begin().await;
    let first = unanswered(&scene).await;
    first.way.set(Way::Open);
    scene.holds(&["before", "one", "two", "three"]).await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_and_never_acknowledged_is_not_stored_again_by_another_relay() {
    let scene = Scene::begin().await;
    let first = unanswered(&scene).await;
    first.task.abort();
    let second = scene.relay("second").await;
    scene.holds(&["before", "one", "two", "three"]).await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_held_up_for_longer_than_ids_are_known_comes_too_late() {
    let scene = Scene::begin().await;
    let first = scene.relay("first").await;
    scene.commit(&["before"]).await;
    scene.all_sent().await;
    first.way.set(Way::Frozen);
    scene.commit(&["one", "two", "three"]).await;
    first.way.holds("\"three\"").await;
    let had = scene.had_from("first").await;
    first.task.abort();
    let second = scene.relay("second").await;
    scene.all_sent().await;
    scene.window_is_over().await;
    first.way.set(Way::Open);
    wait_for("the late messages to have come", async || {
        (scene.had_from("first").await >= had + 3).then_some(())
    })
    .await;
    scene.holds(&["before", "one", "two", "three"]).await;
    second.stop().await;
}
