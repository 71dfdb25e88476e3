//! The whole log, as it stands.

use std::collections::{BTreeMap, BTreeSet};

use crier_bus::{Bus, NatsConfig};
use crier_domain::log::{Head, header};
use crier_domain::{CommunityId, Epoch, Seq};
use serde_json::Value;

/// An event in the log.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) epoch: Epoch,
    /// Its comment's text, or its discussion's topic.
    pub(crate) text: String,
}

/// All events of the log in its order. Within a community each is linked to the one before, and within an epoch each
/// stands once, or this fails.
pub(crate) async fn events(nats: NatsConfig) -> Vec<Event> {
    let bus = Bus::connect(&nats, "a test that reads the log")
        .await
        .unwrap();
    let log = bus.log();
    let tail = log.tail().await.unwrap();
    let mut last: BTreeMap<CommunityId, Seq> = BTreeMap::new();
    let mut rows = BTreeSet::new();
    let mut events = Vec::new();
    for seq in 1..=tail.0 {
        let Some(stored) = log.read(Seq(seq)).await.unwrap() else {
            continue;
        };
        let (epoch, head) = stored.head().unwrap();
        let Head::Event(head) = head else { continue };
        let before = last.insert(head.community, stored.seq).unwrap_or_default();
        assert_eq!(head.prev, before, "the link at {seq}");
        let is_new = rows.insert((epoch.to_bits(), head.fence.0));
        assert!(is_new, "a second time at {seq}");
        assert_eq!(
            stored.header(header::KIND),
            None,
            "an event was refused for good"
        );
        let (_, body) = head.open(&stored.payload).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let data = &body["data"];
        let text = data["comment"]["content"].as_str();
        let text = text
            .or(data["discussion"]["topic"].as_str())
            .unwrap_or_default();
        events.push(Event {
            epoch,
            text: text.to_owned(),
        });
    }
    bus.close().await;
    events
}
