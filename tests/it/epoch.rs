//! The log came back with less than it had: a new epoch begins, and what was lost is in the log again, once and in order.
//! Clients are told, and get nothing twice without being told.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crier_bus::Bus;
use crier_domain::Epoch;
use crier_testkit::wait_for;

use crate::log;
use crate::people::{Person, talk};
use crate::source::Source;
use crate::world::{Options, RETENTION, World};

/// Between two comments.
const PAUSE: Duration = Duration::from_millis(100);

/// A system in which bob reads what alice writes.
struct Scene {
    world: World,
    alice: Person,
    discussion: i64,
    at_bob: Source,
}

impl Scene {
    async fn begin() -> Self {
        // A gateway's request for a snapshot may get lost while NATS is away; the stream that comes back makes another.
        let world = World::with(Options {
            gateway: Some(|gateway| gateway.snapshot_wait = Duration::from_secs(2).into()),
            ..Options::default()
        })
        .await;
        let (alice, bob, discussion) = talk(&world).await;
        let at_bob = Source::of(&bob.gateways, &bob.token, 0);
        at_bob.ready().await;
        Self {
            world,
            alice,
            discussion,
            at_bob,
        }
    }

    /// Alice writes these, and bob reads them.
    async fn written(&self, texts: &[&str]) {
        for text in texts {
            self.alice.comment(self.discussion, text).await;
        }
        for text in texts {
            self.at_bob
                .until("bob to read it", |seen| seen.has(text))
                .await;
        }
        self.world.settled().await;
    }

    async fn restart_api(&mut self, retention: Duration) {
        self.world.restart_api(retention).await;
        self.alice = self.world.person(1, "alice");
    }

    async fn epoch(&self) -> Epoch {
        let store = self.world.store().await;
        store.relay_position().await.unwrap().unwrap().epoch
    }

    /// Another epoch begins: in the end the log holds these texts, all but the first `survived` under it.
    async fn begins_anew(self, old: Epoch, texts: &[&str], survived: usize) {
        // The relay looks where the log ends when it has something to send.
        self.alice.comment(self.discussion, "meanwhile").await;
        self.at_bob
            .until("bob to be told", |seen| !seen.resets.is_empty())
            .await;
        // He may be told a second time, and what is written before that he has to fetch.
        let mut all = [texts, &["meanwhile"]].concat();
        let after = wait_for("bob to read what is written after", async || {
            self.alice.comment(self.discussion, "after").await;
            tokio::time::sleep(PAUSE).await;
            all.push("after");
            self.at_bob.seen().has("after").then_some(())
        });
        after.await;
        self.world.settled().await;
        let epoch = self.epoch().await;
        assert_ne!(epoch, old);
        let events = log::events(self.world.nats_config()).await;
        let found: Vec<&str> = events.iter().map(|event| event.text.as_str()).collect();
        assert_eq!(found, all);
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event.epoch == epoch, number >= survived, "{}", event.text);
        }
        self.at_bob.seen().assert_once();
        self.world.end().await;
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-R").args([from, to]).status();
    assert!(copied.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_disk_put_back_does_not_hold_comes_again() {
    let scene = Scene::begin().await;
    scene.written(&["kept"]).await;
    let nats = scene.world.nats();
    let (store, backup) = (nats.store_dir(), nats.store_dir().with_extension("copy"));
    nats.stop().await;
    copy(&store, &backup);
    nats.start_again().await;
    scene.written(&["lost 1", "lost 2", "lost 3"]).await;
    let old = scene.epoch().await;
    nats.kill().await;
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::rename(&backup, &store).unwrap();
    nats.start_again().await;
    let texts = ["Storm", "kept", "lost 1", "lost 2", "lost 3"];
    scene.begins_anew(old, &texts, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_in_a_stream_that_is_gone_comes_again() {
    let scene = Scene::begin().await;
    scene.written(&["1", "2"]).await;
    let old = scene.epoch().await;
    let nats = scene.world.nats();
    nats.kill().await;
    std::fs::remove_dir_all(nats.store_dir()).unwrap();
    nats.start_again().await;
    scene.begins_anew(old, &["Storm", "1", "2"], 0).await;
}

/// The relay notices when next it looks where the log ends: here, when it begins to lead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_purged_comes_again() {
    let mut scene = Scene::begin().await;
    scene.written(&["1", "2"]).await;
    let old = scene.epoch().await;
    scene.world.nats().purge("CRIER", ">").await;
    scene.restart_api(RETENTION).await;
    scene.begins_anew(old, &["Storm", "1", "2"], 0).await;
}

/// Nothing is lost, so nothing comes again; but marks that promise too much are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retention_made_shorter_begins_an_epoch_and_takes_away_the_old_marks() {
    let mut scene = Scene::begin().await;
    scene.written(&["1", "2"]).await;
    let old = scene.epoch().await;
    scene.restart_api(RETENTION / 2).await;
    let bus = Bus::connect(&scene.world.nats_config(), "a test")
        .await
        .unwrap();
    wait_for("the old marks to be gone", async || {
        let oldest = bus.log().horizon().await.unwrap()?;
        let mark = bus.log().read(oldest).await.unwrap()?;
        (mark.epoch() != Some(old)).then_some(())
    })
    .await;
    bus.close().await;
    scene.begins_anew(old, &["Storm", "1", "2"], 3).await;
}
