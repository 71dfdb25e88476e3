//! What the tests share: a server with a log, and messages to put there.

use std::time::Duration;

use bytes::Bytes;
use crier_bus::{Bus, Log, LogConfig, NatsConfig};
use crier_domain::log::{Message, Place};
use crier_domain::{
    ArticleId, Audience, CommunityId, Epoch, Event, EventId, OutboxId, Seq, UserId,
};
use crier_testkit::{NatsServer, wait_for};

pub(crate) const EPOCH: Epoch = Epoch::from_bits(0xc0ffee);
pub(crate) const RETENTION: Duration = Duration::from_hours(72);

/// A server with an empty log, and a connection to it.
pub(crate) struct Fixture {
    pub(crate) nats: NatsServer,
    pub(crate) bus: Bus,
    pub(crate) log: Log,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let nats = NatsServer::start().await;
        let bus = connect(&nats).await;
        let log = bus.log();
        log.ensure(&LogConfig::default()).await.unwrap();
        Self { nats, bus, log }
    }

    /// Stores a message at the log's end.
    pub(crate) async fn put(&self, message: &Message) -> Seq {
        let tail = self.log.tail().await.unwrap();
        let ack = self.log.publish(message, tail).await.unwrap();
        ack.await.unwrap()
    }

    /// Stores `count` events of community 1 at the log's end, pipelined, and gives the last sequence.
    pub(crate) async fn fill(&self, count: u64) -> Seq {
        let tail = self.log.tail().await.unwrap();
        let mut acks = Vec::new();
        for at in 0..count {
            let message = event(1, &format!("{at}"));
            acks.push(self.log.publish(&message, Seq(tail.0 + at)).await.unwrap());
            // As the relay does: acks are taken while messages go out.
            if acks.len() >= 500 {
                for ack in acks.drain(..) {
                    ack.await.unwrap();
                }
            }
        }
        for ack in acks {
            ack.await.unwrap();
        }
        Seq(tail.0 + count)
    }

    /// The names of the stream's consumers, as the server tells them.
    pub(crate) async fn consumers(&self) -> Vec<String> {
        let jsz = self.nats.monitor("/jsz?consumers=true").await;
        let stream = &jsz["account_details"][0]["stream_detail"][0];
        let consumers = stream["consumer_detail"].as_array();
        consumers
            .into_iter()
            .flatten()
            .map(|consumer| consumer["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The subjects that clients subscribe to, as the server tells them.
    pub(crate) async fn subscriptions(&self) -> Vec<String> {
        let subsz = self.nats.subsz().await;
        let list = subsz["subscriptions_list"].as_array();
        list.into_iter()
            .flatten()
            .map(|entry| entry["subject"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The interests among them.
    pub(crate) async fn interests(&self) -> Vec<String> {
        let mut subjects = self.subscriptions().await;
        subjects.retain(|subject| subject.starts_with("live."));
        subjects.sort();
        subjects
    }
}

/// Stops the server in its tracks. The signal is on its way when `pause` returns: a server with many threads goes on
/// for up to a tenth of a second on a busy machine, and acknowledges meanwhile.
pub(crate) async fn pause(nats: &NatsServer) {
    nats.pause();
    let tasks = format!("/proc/{}/task", nats.pid());
    wait_for("all threads of the server to stop", async || {
        let stopped = std::fs::read_dir(&tasks).unwrap().all(|task| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat"));
            // "<pid> (<name>) <state> …"; a thread that has just ended has none.
            stat.map_or(true, |stat| {
                stat.rsplit_once(") ")
                    .is_some_and(|(_, rest)| rest.starts_with('T'))
            })
        });
        stopped.then_some(())
    })
    .await;
}

pub(crate) async fn connect(nats: &NatsServer) -> Bus {
    Bus::connect(&NatsConfig::at(nats.url()), "test")
        .await
        .unwrap()
}

pub(crate) fn community(id: i64) -> CommunityId {
    CommunityId::try_from(id).unwrap()
}

pub(crate) fn user(id: i64) -> UserId {
    UserId::try_from(id).unwrap()
}

/// An event of a community's article 5.
pub(crate) fn event(community_id: i64, body: &str) -> Message {
    event_kept(community_id, body, RETENTION)
}

pub(crate) fn event_kept(community_id: i64, body: &str, retention: Duration) -> Message {
    let event = Event {
        id: EventId::new(),
        community: community(community_id),
        article: Some(ArticleId::try_from(5).unwrap()),
        audience: Audience::Subscribers,
        exclude: None,
        body: Bytes::from(body.to_owned()),
    };
    let place = Place {
        epoch: EPOCH,
        fence: OutboxId(12),
        prev: Seq::ZERO,
        retention,
    };
    Message::event(&place, &event, None)
}

pub(crate) fn snapshot(user_id: i64, body: &str) -> Message {
    Message::snapshot(EPOCH, user(user_id), Bytes::from(body.to_owned()), None)
}
