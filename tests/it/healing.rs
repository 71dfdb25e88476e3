//! What goes missing on the way from the log to a gateway is healed: clients lose nothing, and the gateway's metrics
//! say what it was.

use crier_gateway::config::GatewayConfig;
use crier_testkit::{NatsServer, Proxy, Way};

use crate::figures::{Figures, until};
use crate::people::{Person, talk};
use crate::source::Source;
use crate::stream::Stream;
use crate::world::{Options, World};

const COMMENTS: usize = 30;

/// A system whose gateways reach NATS by a way that may be broken.
struct Broken {
    world: World,
    way: Proxy,
    alice: Person,
    bob: Person,
    discussion: i64,
}

impl Broken {
    async fn start(gateway: fn(&mut GatewayConfig)) -> Self {
        let nats = NatsServer::start().await;
        let way = Proxy::start(nats.address()).await;
        let world = World::with(Options {
            nats_by_way_of: Some(way.url()),
            nats: Some(nats),
            gateway: Some(gateway),
            ..Options::default()
        })
        .await;
        let (alice, bob, discussion) = talk(&world).await;
        Self {
            world,
            way,
            alice,
            bob,
            discussion,
        }
    }

    /// alice writes this much.
    async fn write(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            self.alice
                .comment(self.discussion, &number.to_string())
                .await;
        }
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Figures) -> bool) -> Figures {
        until(self.world.gateway_url(0), what, is_so).await
    }

    /// Everything came to a stream that was open all the time, once and in order, and the gap of this cause was
    /// healed.
    async fn ends_healed(self, mut at_bob: Stream, comments: usize, cause: &str) {
        self.alice.comment(self.discussion, "end").await;
        let came = at_bob.comments_until("end").await;
        assert_eq!(came, numbers(comments));
        let figures = self
            .until("the gaps to be healed", |figures| {
                let (gaps, healed) = figures.gaps(cause);
                // The one is counted at once, the other looked at once a second.
                gaps >= 1.0 && healed == gaps && figures.get("gateway_spine_away_seconds") == 0.0
            })
            .await;
        assert!(figures.healing(cause) > 0.0);
        self.world.end().await;
    }
}

fn numbers(until: usize) -> Vec<String> {
    (0..until).map(|number| number.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_copies_that_do_not_come_are_read() {
    let broken = Broken::start(|_| {}).await;
    let at_bob = broken.bob.stream(0).await;
    broken.way.set(Way::LosesLive(1.0));
    broken.write(0..COMMENTS).await;
    let figures = broken
        .until("the gaps to be seen", |figures| {
            figures.gaps("live_copy").0 >= COMMENTS as f64
        })
        .await;
    assert_eq!(figures.get("gateway_spine_lost_total"), 0.0);
    broken.ends_healed(at_bob, COMMENTS, "live_copy").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_copies_that_find_the_queue_full_are_read() {
    // No copy fits.
    let broken = Broken::start(|config| config.live_bytes = 1).await;
    let at_bob = broken.bob.stream(0).await;
    broken.write(0..COMMENTS).await;
    broken
        .until("copies to be dropped", |figures| {
            figures.get("gateway_live_dropped_total") >= COMMENTS as f64
                && figures.gaps("live_copy").0 >= COMMENTS as f64
        })
        .await;
    broken.ends_healed(at_bob, COMMENTS, "live_copy").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_is_made_again_and_the_spine_goes_on() {
    let broken = Broken::start(|_| {}).await;
    let at_bob = broken.bob.stream(0).await;
    broken.write(0..5).await;
    broken.way.set(Way::Cut);
    broken
        .until("the spine to be lost", |figures| {
            figures.gaps("disconnected") == (1.0, 0.0)
                && figures.get("gateway_spine_away_seconds") > 0.0
        })
        .await;
    broken.write(5..COMMENTS).await;
    broken.way.set(Way::Open);
    broken
        .until("the connection to be back", |figures| {
            figures.get("gateway_nats_reconnects_total") >= 1.0
        })
        .await;
    broken.ends_healed(at_bob, COMMENTS, "disconnected").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spine_that_falls_silent_is_made_again() {
    let broken = Broken::start(|_| {}).await;
    let at_bob = broken.bob.stream(0).await;
    broken.way.set(Way::Frozen);
    broken.write(0..COMMENTS).await;
    broken
        .until("the silence to be noticed", |figures| {
            figures.gaps("silent").0 >= 1.0
        })
        .await;
    broken.way.set(Way::Open);
    broken.ends_healed(at_bob, COMMENTS, "silent").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spine_whose_consumer_is_gone_is_made_again() {
    let broken = Broken::start(|_| {}).await;
    let at_bob = broken.bob.stream(0).await;
    broken.write(0..5).await;
    assert_eq!(broken.world.nats().delete_consumers("CRIER").await, 2);
    broken.write(5..COMMENTS).await;
    broken.ends_healed(at_bob, COMMENTS, "gone").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_spine_lost_on_the_way_is_noticed_though_nothing_comes_after_it() {
    let broken = Broken::start(|_| {}).await;
    let at_bob = broken.bob.stream(0).await;
    broken.write(0..5).await;
    broken.way.set(Way::LosesConsumed(1.0));
    broken.write(5..COMMENTS).await;
    broken
        .until("the gap to be noticed", |figures| {
            figures.gaps("gap").0 >= 1.0
        })
        .await;
    broken.way.set(Way::Open);
    broken.ends_healed(at_bob, COMMENTS, "gap").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spine_that_is_too_far_behind_sends_its_streams_away_and_they_resume() {
    let patience = |config: &mut GatewayConfig| {
        config.spine_patience = std::time::Duration::from_millis(500).into();
    };
    let broken = Broken::start(patience).await;
    let at_bob = Source::of(&broken.bob.gateways, &broken.bob.token, 0);
    at_bob.ready().await;
    broken.write(0..5).await;
    at_bob
        .until("the first events", |seen| seen.events.len() == 5)
        .await;
    broken.way.set(Way::Cut);
    broken.write(5..COMMENTS).await;
    broken
        .until("the patience to be over", |figures| {
            figures.gaps("behind") == (1.0, 0.0)
        })
        .await;
    broken.way.set(Way::Open);
    at_bob
        .until("all events", |seen| seen.events.len() >= COMMENTS)
        .await;
    broken
        .until("the log to be followed again", |figures| {
            figures.gaps("behind") == (1.0, 1.0)
        })
        .await;
    {
        let seen = at_bob.seen();
        let comments = seen.events.iter();
        let came: Vec<&str> = comments
            .filter_map(|event| event["data"]["comment"]["content"].as_str())
            .collect();
        assert_eq!(came, numbers(COMMENTS));
        assert!(seen.resets.is_empty());
        let byes = seen.byes();
        let away = |reason: &&str| *reason == "unavailable";
        assert!(!byes.is_empty() && byes.iter().all(away), "{byes:?}");
    }
    broken.world.end().await;
}
