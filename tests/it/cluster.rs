//! A NATS cluster of three that keeps the log three times, and whose nodes die while people write and read.
//!
//! In each test alice writes all the while, and bob reads on both gateways: all that she wrote, once, in order, on
//! streams that stay open.

use std::time::Duration;

use crier_testkit::apart_refused;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::people::{Person, talk};
use crate::stream::Stream;
use crate::world::{Options, World};

/// The log's stream.
const LOG: &str = "CRIER";

/// Between two comments.
const PAUSE: Duration = Duration::from_millis(20);

/// Comments after which a reader is known to have gone on.
const MORE: usize = 10;

struct Writing {
    stop: watch::Sender<bool>,
    task: JoinHandle<usize>,
}

/// Comments with the numbers from 0 on, until told to stop; then with the sentinel.
fn write(author: Person, discussion: i64) -> Writing {
    let (stop, mut stopped) = watch::channel(false);
    let task = tokio::spawn(async move {
        let mut written = 0;
        while !*stopped.borrow_and_update() {
            author.comment(discussion, &written.to_string()).await;
            written += 1;
            tokio::time::sleep(PAUSE).await;
        }
        author.comment(discussion, "end").await;
        written
    });
    Writing { stop, task }
}

/// A system over a cluster, with a reader on each of its gateways and a writer at work.
struct Scene {
    world: World,
    streams: Vec<Stream>,
    /// What each reader has read.
    read: Vec<usize>,
    writing: Writing,
}

impl Scene {
    async fn begin() -> Self {
        Self::with(Options {
            cluster: true,
            ..Options::default()
        })
        .await
    }

    /// Nodes that can be cut off from each other; nothing where that is not allowed.
    async fn apart() -> Option<Self> {
        if let Some(why) = apart_refused() {
            println!("not tested, because this machine gives no network namespaces: {why}");
            return None;
        }
        let scene = Self::with(Options {
            cluster: true,
            apart: true,
            ..Options::default()
        });
        Some(scene.await)
    }

    async fn with(options: Options) -> Self {
        let world = World::with(options).await;
        let (alice, bob, discussion) = talk(&world).await;
        let streams = vec![bob.stream(0).await, bob.stream(1).await];
        let writing = write(alice, discussion);
        let mut scene = Self {
            world,
            streams,
            read: vec![0, 0],
            writing,
        };
        scene.goes_on().await;
        scene
    }

    /// Reads some more of what is being written, at each reader.
    async fn goes_on(&mut self) {
        for (stream, read) in self.streams.iter_mut().zip(&mut self.read) {
            for _ in 0..MORE {
                let event = stream.event().await;
                assert_eq!(event["data"]["comment"]["content"], read.to_string());
                *read += 1;
            }
        }
    }

    /// Reads to the end of what has been written.
    async fn end(self) {
        self.writing.stop.send_replace(true);
        let written = self.writing.task.await.unwrap();
        for (mut stream, read) in self.streams.into_iter().zip(self.read) {
            let rest = stream.comments_until("end").await;
            let expected: Vec<String> = (read..written).map(|number| number.to_string()).collect();
            assert_eq!(rest, expected);
        }
        self.world.settled().await;
        self.world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_the_logs_leader_loses_nothing() {
    let mut scene = Scene::begin().await;
    let leader = scene.world.cluster().leader(LOG, None).await;
    scene.world.cluster().node(leader).kill().await;
    scene.goes_on().await;
    scene.world.cluster().node(leader).start_again().await;
    scene.world.cluster().healthy().await;
    scene.goes_on().await;
    scene.end().await;
}

/// The others choose a new leader meanwhile; the old one wakes up believing that it still leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_stopped_and_wakes_up_changes_nothing() {
    let mut scene = Scene::begin().await;
    let leader = scene.world.cluster().leader(LOG, None).await;
    scene.world.cluster().node(leader).pause();
    scene.world.cluster().leader(LOG, Some(leader)).await;
    scene.goes_on().await;
    scene.world.cluster().node(leader).resume();
    scene.goes_on().await;
    scene.world.cluster().healthy().await;
    scene.goes_on().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_restart_one_after_the_other() {
    let mut scene = Scene::begin().await;
    for number in 0..3 {
        let node = scene.world.cluster().node(number);
        node.stop().await;
        node.start_again().await;
        scene.world.cluster().healthy().await;
        scene.goes_on().await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_die_at_once_and_come_back() {
    let mut scene = Scene::begin().await;
    for number in 0..3 {
        scene.world.cluster().node(number).kill().await;
    }
    let cluster = scene.world.cluster();
    tokio::join!(
        cluster.node(0).start_again(),
        cluster.node(1).start_again(),
        cluster.node(2).start_again()
    );
    cluster.healthy().await;
    scene.goes_on().await;
    scene.end().await;
}

/// It goes on believing that it leads, and whoever is connected to it sees nothing wrong, until the others have chosen
/// another and it has missed them for long enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_from_the_others_loses_nothing() {
    let Some(mut scene) = Scene::apart().await else {
        return;
    };
    let leader = scene.world.cluster().leader(LOG, None).await;
    scene.world.cluster().cut_off(leader);
    scene.world.cluster().leader(LOG, Some(leader)).await;
    scene.world.cluster().join_again(leader);
    scene.goes_on().await;
    scene.world.cluster().healthy().await;
    scene.goes_on().await;
    scene.end().await;
}
