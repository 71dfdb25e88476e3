//! One span per event, from publish to acknowledgement, joined to the request's trace by the hook.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Span, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::connection::Fate;
use crate::world::{World, ms};

#[derive(Debug, Clone)]
struct Seen {
    fields: HashMap<&'static str, String>,
    begun: Instant,
    lasted: Option<Duration>,
    root: bool,
}

#[derive(Clone, Default)]
struct Spans(Arc<Mutex<HashMap<u64, Seen>>>);

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        if attributes.metadata().name() == "relay.publish" {
            let mut seen = Seen {
                fields: HashMap::new(),
                begun: Instant::now(),
                lasted: None,
                root: attributes.is_root(),
            };
            attributes.record(&mut seen);
            self.0.lock().unwrap().insert(id.into_u64(), seen);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        if let Some(seen) = self.0.lock().unwrap().get_mut(&id.into_u64()) {
            values.record(seen);
        }
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        if let Some(seen) = self.0.lock().unwrap().get_mut(&id.into_u64()) {
            seen.lasted = Some(seen.begun.elapsed());
        }
    }
}

fn child_of(span: &Span, parent: Option<&str>) -> Option<String> {
    assert!(!span.is_disabled());
    parent.map(|parent| format!("child of {parent}"))
}

#[tokio::test(start_paused = true)]
async fn an_events_span_lasts_from_publish_to_acknowledgement() {
    let spans = Spans::default();
    let subscriber = tracing_subscriber::registry().with(spans.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut world = World::new();
    world.config.trace = child_of;
    world.start();
    world
        .until("an epoch", |world| world.db.position().is_some())
        .await;
    world.log.fates([Fate::LateAck(40), Fate::Refused]);
    let ids = [world.event(45), world.event(46)];
    world.settled().await;

    let header = world.log.events()[0]
        .message
        .header("traceparent")
        .map(str::to_owned);
    assert_eq!(header.as_deref(), Some("child of 00-trace-1-01"));
    let seen: Vec<Seen> = spans.0.lock().unwrap().values().cloned().collect();
    assert_eq!(seen.len(), 3, "the second was sent twice");
    assert!(seen.iter().all(|span| span.root && span.lasted.is_some()));
    let of = |id: crier_domain::EventId| {
        let id = id.to_string();
        let of = seen
            .iter()
            .filter(move |span| span.fields["crier.event_id"] == id);
        of.collect::<Vec<_>>()
    };
    let first = of(ids[0])[0];
    let expected = [
        ("crier.outbox_id", "1"),
        ("crier.community_id", "45"),
        ("crier.seq", "257"),
        ("crier.stored", "true"),
    ];
    for (name, value) in expected {
        assert_eq!(first.fields[name], value, "{name}");
    }
    assert!(first.lasted.unwrap() >= ms(40) && first.lasted.unwrap() < ms(50));
    let stored = of(ids[1])
        .iter()
        .filter(|span| span.fields.contains_key("crier.stored"))
        .count();
    assert_eq!(stored, 1, "of two");
}
