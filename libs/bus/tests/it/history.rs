//! The log's past: pages of one community, their bounds, and how far back the log reaches.

use std::time::Duration;

use crier_bus::{Outage, PageLimits, ReadError};
use crier_domain::Seq;
use crier_domain::log::Message;

use crate::support::{EPOCH, Fixture, RETENTION, community, event, event_kept, snapshot};

impl Fixture {
    /// The sequences and bodies of a page.
    async fn page(&self, id: i64, after: Seq, limits: PageLimits) -> Vec<(u64, String)> {
        let page = self.log.page(community(id), after, limits).await.unwrap();
        let text = |payload: &[u8]| String::from_utf8(payload.to_vec()).unwrap();
        page.iter()
            .map(|stored| (stored.seq.0, text(&stored.payload)))
            .collect()
    }
}

#[tokio::test]
async fn a_page_holds_the_communitys_events_after_a_position_and_nothing_else() {
    let fixture = Fixture::new().await;
    let all = PageLimits::default();
    assert_eq!(fixture.page(45, Seq::ZERO, all).await, []);
    fixture.put(&Message::mark(EPOCH, RETENTION)).await;
    for (id, body) in [(45, "a"), (4, "x"), (45, "b"), (451, "y"), (45, "c")] {
        fixture.put(&event(id, body)).await;
    }
    fixture.put(&snapshot(45, "{}")).await;
    let expected = [(2, "a"), (4, "b"), (6, "c")].map(|(seq, body)| (seq, body.to_owned()));
    for (after, from) in [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (6, 3), (99, 3)] {
        let page = fixture.page(45, Seq(after), all).await;
        assert_eq!(page, expected[from..], "after {after}");
    }
    assert_eq!(fixture.page(46, Seq::ZERO, all).await, []);
    let page = fixture.log.page(community(45), Seq(5), all).await.unwrap();
    let (epoch, _) = page[0].head().unwrap();
    assert_eq!(epoch, EPOCH);
}

#[tokio::test]
async fn a_page_is_bounded_and_never_empty_for_it() {
    let fixture = Fixture::new().await;
    let end = fixture.fill(700).await;
    let page = |after, events, bytes| fixture.page(1, Seq(after), PageLimits { events, bytes });
    assert_eq!(page(0, 256, 512 << 10).await.len(), 256);
    assert_eq!(page(600, 256, 512 << 10).await.len(), 100);
    let few = page(0, 256, 2_000).await.len();
    assert!((2..20).contains(&few), "{few}");
    assert_eq!(page(0, 256, 1).await.len(), 1);
    // Page by page to the end, without a hole.
    let (mut at, mut read) = (Seq::ZERO, Vec::new());
    while at < end {
        let next = page(at.0, 100, 1 << 20).await;
        at = Seq(next.last().unwrap().0);
        read.extend(next.into_iter().map(|(seq, _)| seq));
    }
    assert_eq!(read, (1..=700).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_horizon_is_the_oldest_mark_that_is_left() {
    let fixture = Fixture::new().await;
    let short = Duration::from_secs(1);
    assert_eq!(fixture.log.horizon().await.unwrap(), None);
    fixture.put(&event_kept(1, "old", short)).await;
    let first = fixture.put(&Message::mark(EPOCH, short)).await;
    let second = fixture.put(&Message::mark(EPOCH, RETENTION)).await;
    let begun = fixture.log.horizon().await.unwrap().unwrap();
    assert!(begun == first || begun == second);
    crier_testkit::wait_for("the first mark to expire", async || {
        let horizon = fixture.log.horizon().await.unwrap();
        (horizon == Some(second)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_away_is_an_error_and_no_empty_page() {
    let fixture = Fixture::new().await;
    fixture.put(&event(1, "x")).await;
    fixture.nats.kill().await;
    let log = &fixture.log;
    let page = log
        .page(community(1), Seq::ZERO, PageLimits::default())
        .await;
    assert!(
        matches!(page, Err(ReadError::Unavailable(Outage::Disconnected))),
        "{page:?}"
    );
    assert!(log.horizon().await.is_err());
}

#[tokio::test]
async fn without_a_stream_there_is_nobody_to_answer() {
    let nats = crier_testkit::NatsServer::start().await;
    let bus = crate::support::connect(&nats).await;
    let page = bus
        .log()
        .page(community(1), Seq::ZERO, PageLimits::default())
        .await;
    assert!(
        matches!(page, Err(ReadError::Unavailable(Outage::NoResponders))),
        "{page:?}"
    );
}
