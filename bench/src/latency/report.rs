//! Joins what was read with the spans of the services, and prints the table.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crier_testkit::{Span, TraceCollector};

use super::load::Samples;

/// Services export once a second.
const QUIET: Duration = Duration::from_secs(2);

/// The spans, once no more come.
pub(super) async fn settled_spans(collector: &TraceCollector) -> Vec<Span> {
    let mut before = 0;
    loop {
        tokio::time::sleep(QUIET).await;
        let spans = collector.spans();
        if spans.len() == before {
            return spans;
        }
        before = spans.len();
    }
}

/// Microseconds, signed: a frame may well come before the POST is answered.
struct Hop {
    name: &'static str,
    micros: Vec<i64>,
}

impl Hop {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            micros: Vec::new(),
        }
    }

    fn add(&mut self, from: SystemTime, to: SystemTime) {
        let signed = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        self.micros.push(match to.duration_since(from) {
            Ok(later) => signed(later),
            Err(earlier) => -signed(earlier.duration()),
        });
    }

    fn row(&mut self) -> String {
        self.micros.sort_unstable();
        let count = self.micros.len();
        let at = |share: f64| {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a rank in a list that fits memory"
            )]
            let rank = ((count as f64) * share) as usize;
            let micros = self.micros.get(rank.min(count.saturating_sub(1)));
            #[allow(
                clippy::cast_precision_loss,
                reason = "microseconds of minutes at the most"
            )]
            micros.map_or("–".to_owned(), |micros| {
                format!("{:.2}", *micros as f64 / 1000.0)
            })
        };
        format!(
            "| {} | {} | {} | {} | {count} |",
            self.name,
            at(0.5),
            at(0.99),
            at(1.0)
        )
    }
}

/// When an event was where, from its spans.
#[derive(Default)]
struct Way {
    committed: Option<SystemTime>,
    published: Option<SystemTime>,
    /// By gateway: when it delivered, and how long its hub had held the event by then.
    delivered: Vec<(SystemTime, Duration)>,
}

fn ways(spans: &[Span]) -> HashMap<String, Way> {
    let committed: HashMap<&str, SystemTime> = spans
        .iter()
        .filter(|span| span.name == "store.commit")
        .map(|span| (span.trace_id.as_str(), span.end))
        .collect();
    let mut ways: HashMap<String, Way> = HashMap::new();
    for span in spans {
        let Some(event) = span
            .attributes
            .get("crier.event_id")
            .and_then(|id| id.as_str())
        else {
            continue;
        };
        let way = ways.entry(event.to_owned()).or_default();
        if span.name == "relay.publish" {
            way.published = Some(span.start);
            way.committed = committed.get(span.trace_id.as_str()).copied();
        } else if span.name == "gateway.deliver" {
            let held = span
                .attributes
                .get("crier.held_us")
                .and_then(serde_json::Value::as_u64);
            way.delivered
                .push((span.start, Duration::from_micros(held.unwrap_or_default())));
        }
    }
    ways
}

/// Prints the table of one database.
pub(super) fn print(database: &str, samples: &Samples, spans: &[Span]) {
    let mut answered = Hop::new("POST answered → frame read");
    let mut whole = Hop::new("POST sent → frame read");
    let mut commit = Hop::new("commit: POST sent → committed");
    let mut relay = Hop::new("relay: committed → publish begins");
    let mut nats = Hop::new("NATS: publish begins → first gateway has its place in the order");
    let mut hub = Hop::new("hub: place in the order → delivery begins");
    let mut socket = Hop::new("socket: delivery begins → frame read");
    let ways = ways(spans);
    let mut events = HashMap::new();
    for read in &samples.reads {
        let Some(post) = samples.posts.get(&read.comment) else {
            continue;
        };
        answered.add(post.answered, read.at);
        whole.add(post.sent, read.at);
        events.insert(read.event.as_str(), *post);
        // The gateway that served this reader: the last one that had begun when the frame was read.
        let begun = ways
            .get(&read.event)
            .into_iter()
            .flat_map(|way| &way.delivered);
        if let Some((begun, _)) = begun.filter(|(begun, _)| *begun <= read.at).max() {
            socket.add(*begun, read.at);
        }
    }
    for (event, post) in events {
        let Some(way) = ways.get(event) else { continue };
        let (Some(committed), Some(published)) = (way.committed, way.published) else {
            continue;
        };
        commit.add(post.sent, committed);
        relay.add(committed, published);
        let met = |(begun, held): &(SystemTime, Duration)| *begun - *held;
        if let Some(first) = way.delivered.iter().map(met).min() {
            nats.add(published, first);
        }
        for (_, held) in &way.delivered {
            hub.add(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + *held);
        }
    }
    println!("### {database}\n");
    println!("| milliseconds | p50 | p99 | max | samples |\n|---|---|---|---|---|");
    for hop in [
        &mut answered,
        &mut whole,
        &mut commit,
        &mut relay,
        &mut nats,
        &mut hub,
        &mut socket,
    ] {
        println!("{}", hop.row());
    }
    println!();
}
