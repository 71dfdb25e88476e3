//! Everything together: rows of people's rights and of events, relays over a log that fails, the hubs of two gateways
//! behind it, and clients that come, go, stop reading and come back elsewhere by their cursor. Time is simulated, so
//! that thousands of interleavings are met which no campaign on real processes reaches.

use std::time::Duration;

use crier_domain::{CommunityId, Keys, Snapshot};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep_until};

use crate::faults::run;
use crate::world::{World, ms};
use client::{Client, Stand};
use gateway::{Gateway, Way};
use steps::{Step, beginning, step, user};

mod client;
mod gateway;
mod oracle;
#[path = "../../../hub/tests/it/sse.rs"]
mod sse;
mod steps;

const GATEWAYS: usize = 2;
const CLIENTS: usize = 5;
const USERS: i64 = 3;

struct Whole {
    world: World,
    /// The relays that run.
    relays: Vec<usize>,
    gateways: Vec<Gateway>,
    clients: Vec<Client>,
    keys: Keys,
    rng: StdRng,
}

impl Whole {
    async fn new(relays: usize, batch: usize, window: usize, seed: u64) -> Self {
        let mut world = World::leading().await;
        world.relays[0].kill();
        world.config.batch = batch;
        world.config.max_in_flight = window;
        let keys = Keys::from_base64(&[Keys::random_base64()]).unwrap();
        let mut whole = Self {
            relays: (0..relays).map(|_| world.start()).collect(),
            gateways: Vec::new(),
            clients: Vec::new(),
            keys,
            rng: StdRng::seed_from_u64(seed),
            world,
        };
        for _ in 0..GATEWAYS {
            let gateway = whole.new_gateway();
            whole.gateways.push(gateway);
        }
        for nth in 0..CLIENTS {
            let whose = user(nth as i64 % USERS + 1);
            whole.clients.push(Client::new(whose, Instant::now()));
        }
        whole
    }

    fn new_gateway(&mut self) -> Gateway {
        let seed = self.rng.random();
        Gateway::new(self.world.log.clone(), self.keys.clone(), seed)
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Events(new, times) => {
                (0..*times).for_each(|_| new.commit(&self.world));
                self.world.wake();
            }
            Step::Rights {
                user: whose,
                community,
                change,
            } => {
                let community = CommunityId::try_from(*community).unwrap();
                let change = |rights: &mut Snapshot, fence| change.make(rights, community, fence);
                self.world.db.commit_rights(user(*whose), community, change);
                self.world.wake();
            }
            Step::Pause(millis) => self.pass(ms(*millis)).await,
            Step::Publishes(fates) => self.world.log.fates(fates.clone()),
            Step::Calls(fates) => self.world.db.any_fates(fates.clone()),
            Step::Reads(reads) => self.world.log.fail_reads(*reads),
            Step::LogAway(millis) => {
                self.world.log.away(true);
                self.pass(ms(*millis)).await;
                self.world.log.away(false);
            }
            Step::RelayStopped {
                relay,
                held,
                millis,
            } => {
                let relay = self.relays[relay % self.relays.len()];
                self.world.relays[relay].stop(*held);
                self.pass(ms(*millis)).await;
                self.world.relays[relay].go_on();
            }
            Step::RelayKilled(relay) => {
                let slot = relay % self.relays.len();
                self.world.relays[self.relays[slot]].kill();
                self.relays[slot] = self.world.start();
            }
            Step::Way(gateway, way) => self.gateways[*gateway].way = way.clone(),
            Step::SpineLost(gateway, millis) => {
                self.gateways[*gateway].lose_spine(Instant::now() + ms(*millis));
            }
            Step::GatewayKilled(gateway) => self.kill(*gateway),
            Step::Leaves(client, millis) => self.leave(*client, ms(*millis)),
            Step::Stalls(client, millis) => {
                self.clients[*client].stalls_until = Instant::now() + ms(*millis);
            }
        }
        self.turn();
    }

    fn kill(&mut self, gateway: usize) {
        self.gateways[gateway] = self.new_gateway();
        for client in &mut self.clients {
            if matches!(client.stand, Stand::At { gateway: at, .. } if at == gateway) {
                let back = Instant::now() + ms(self.rng.random_range(0..3_000));
                client.stand = Stand::Away(back);
            }
        }
    }

    /// What was not read by then is never read.
    fn leave(&mut self, client: usize, away: Duration) {
        let back = Instant::now() + away;
        let client = &mut self.clients[client];
        if let Stand::At { gateway, id } = client.stand {
            client.stand = Stand::Away(back);
            self.gateways[gateway].left(id);
        }
    }

    /// Everything that is due now happens.
    fn turn(&mut self) {
        let now = Instant::now();
        let mut moves = true;
        while std::mem::take(&mut moves) {
            for gateway in &mut self.gateways {
                gateway.turn(now);
                for user in gateway.wanted.drain(..) {
                    self.world.db.want_snapshot(user.get());
                    self.world.wake();
                }
            }
            let rows = self.world.db.last_id();
            for client in &mut self.clients {
                moves |= client.turn(&mut self.gateways, &self.keys, &mut self.rng, rows, now);
            }
        }
    }

    /// Time passes, and whatever is due in it happens.
    async fn pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        let mut stored = self.world.log.stored();
        loop {
            stored.mark_unchanged();
            self.turn();
            if Instant::now() >= until {
                return;
            }
            let gateways = self.gateways.iter().filter_map(Gateway::due);
            let clients = self.clients.iter().filter_map(Client::due);
            let due = gateways.chain(clients).min();
            tokio::select! {
                biased;
                _ = stored.changed() => {}
                () = sleep_until(due.map_or(until, |due| due.min(until))) => {}
            }
        }
    }

    /// All faults are over: everybody gets what is still to come.
    async fn settle(&mut self) {
        for gateway in &mut self.gateways {
            gateway.way = Way::default();
        }
        let deadline = Instant::now() + ms(600_000);
        while !self.is_settled() {
            assert!(Instant::now() < deadline, "it never comes to rest");
            self.pass(ms(100)).await;
        }
        // Whatever was still on its way has arrived or will not.
        self.pass(ms(90_000)).await;
        assert!(self.is_settled(), "what came to rest moves again");
    }

    fn is_settled(&self) -> bool {
        let tail = self.world.log.tail();
        let mut gateways = self.gateways.iter();
        let mut clients = self.clients.iter();
        self.world.db.all_sent()
            && gateways.all(|gateway| gateway.is_settled(tail))
            && clients.all(|client| client.is_settled(&self.gateways))
    }
}

async fn play(before: Vec<Step>, steps: Vec<Step>, sizes: (usize, usize, usize), seed: u64) {
    let (relays, batch, window) = sizes;
    let mut whole = Whole::new(relays, batch, window, seed).await;
    for step in before.iter().chain(&steps) {
        whole.step(step).await;
    }
    whole.settle().await;
    whole.check();
    whole.world.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn each_client_gets_what_it_must_and_nothing_that_it_must_not(
        before in prop::collection::vec(beginning(), 0..24),
        steps in prop::collection::vec(step(), 1..100),
        sizes in (1usize..3, 2usize..20, 1usize..20),
        seed: u64,
    ) {
        run(play(before, steps, sizes, seed));
    }
}
