//! What takes a spine minutes at its own pace, at a faster one: requests that run out, consumers that stand still.

use async_nats::jetstream;
use crier_domain::log::Message;
use crier_testkit::{DEADLINE, NatsServer, Proxy, Way};

use super::*;
use crate::{LogConfig, NatsConfig};

const FAST: Pace = Pace {
    heartbeat: Duration::from_millis(200),
    silence: Duration::from_secs(20),
    request: Duration::from_millis(500),
    tail_every: Duration::from_millis(300),
};

async fn log() -> (NatsServer, Bus) {
    let nats = NatsServer::start().await;
    let bus = Bus::connect(&NatsConfig::at(nats.url()), "test")
        .await
        .unwrap();
    bus.log().ensure(&LogConfig::default()).await.unwrap();
    (nats, bus)
}

async fn put(bus: &Bus, expected_last: Seq) {
    let mark = Message::mark(Epoch::from_bits(1), Duration::from_hours(1));
    let ack = bus.log().publish(&mark, expected_last).await.unwrap();
    ack.await.unwrap();
}

#[tokio::test]
async fn requests_that_run_out_are_made_again() {
    let (_nats, bus) = log().await;
    let mut spine = Spine::start_at_pace(&bus, Seq::ZERO, FAST).await.unwrap();
    for last in 0..4 {
        // Long enough for two requests to run out and for the tail to be looked at.
        let idle = timeout(3 * FAST.request, spine.next()).await;
        assert!(idle.is_err(), "{:?}", idle.unwrap());
        put(&bus, Seq(last)).await;
        let item = timeout(DEADLINE, spine.next()).await.unwrap();
        assert_eq!(item.unwrap().seq, Seq(last + 1));
        assert!(spine.credit <= CREDIT, "{}", spine.credit);
    }
}

#[tokio::test]
async fn a_consumer_that_stands_still_ends_it() {
    let (nats, bus) = log().await;
    let mut spine = Spine::start_at_pace(&bus, Seq::ZERO, FAST).await.unwrap();
    let client = async_nats::connect(nats.url()).await.unwrap();
    let stream = jetstream::new(client).get_stream(STREAM).await.unwrap();
    let until = time::OffsetDateTime::now_utc() + Duration::from_secs(3600);
    stream.pause_consumer(&spine.consumer, until).await.unwrap();
    put(&bus, Seq::ZERO).await;
    let end = timeout(DEADLINE, spine.next()).await.unwrap();
    let end = end.unwrap_err();
    assert!(
        matches!(
            end,
            SpineLost::Stalled {
                at: Seq(0),
                tail: Seq(1)
            }
        ),
        "{end:?}"
    );
}

#[tokio::test]
async fn a_caller_that_was_away_finds_the_spine_alive() {
    let (_nats, bus) = log().await;
    let brief = Pace {
        silence: Duration::from_millis(500),
        request: Duration::from_secs(30),
        ..FAST
    };
    let mut spine = Spine::start_at_pace(&bus, Seq::ZERO, brief).await.unwrap();
    // As a machine that stands still: not even the connection is read meanwhile.
    std::thread::sleep(4 * brief.silence);
    let idle = timeout(brief.silence, spine.next()).await;
    assert!(idle.is_err(), "{:?}", idle.unwrap());
    put(&bus, Seq::ZERO).await;
    let item = timeout(DEADLINE, spine.next()).await.unwrap();
    assert_eq!(item.unwrap().seq, Seq(1));
}

#[test]
fn an_end_below_the_position_is_another_log() {
    assert!(not_replaced(Seq(1), Seq(1)).is_ok());
    assert!(not_replaced(Seq(1), Seq(2)).is_ok());
    let end = not_replaced(Seq(1), Seq::ZERO).unwrap_err();
    assert!(
        matches!(end, SpineLost::Replaced { found: Seq(0), .. }),
        "{end:?}"
    );
}

#[tokio::test]
async fn an_end_that_was_told_before_the_next_message_came_is_the_same_log() {
    let (_nats, bus) = log().await;
    let mut spine = Spine::start_at_pace(&bus, Seq::ZERO, FAST).await.unwrap();
    let (told, tail) = tokio::sync::oneshot::channel();
    let answer = Box::pin(async { Ok(tail.await.unwrap()) });
    spine.tail = Tail::Asked(spine.position(), answer);
    put(&bus, Seq::ZERO).await;
    let item = timeout(DEADLINE, spine.next()).await.unwrap();
    assert_eq!(item.unwrap().seq, Seq(1));
    told.send(Seq::ZERO).unwrap();
    let idle = timeout(2 * FAST.heartbeat, spine.next()).await;
    assert!(idle.is_err(), "{:?}", idle.unwrap());
    put(&bus, Seq(1)).await;
    let item = timeout(DEADLINE, spine.next()).await.unwrap();
    assert_eq!(item.unwrap().seq, Seq(2));
}

#[tokio::test]
async fn a_last_message_that_was_lost_is_missed_though_none_comes_after_it() {
    let (nats, bus) = log().await;
    let proxy = Proxy::start(nats.address()).await;
    let by_proxy = Bus::connect(&NatsConfig::at(proxy.url()), "test").await;
    let by_proxy = by_proxy.unwrap();
    let mut spine = Spine::start_at_pace(&by_proxy, Seq::ZERO, FAST)
        .await
        .unwrap();
    put(&bus, Seq::ZERO).await;
    let item = timeout(DEADLINE, spine.next()).await.unwrap();
    let item = item.unwrap();
    assert_eq!((item.seq, item.behind), (Seq(1), 0));

    proxy.set(Way::LosesConsumed(1.0));
    put(&bus, Seq(1)).await;
    let end = timeout(DEADLINE, spine.next()).await.unwrap().unwrap_err();
    assert!(
        matches!(
            end,
            SpineLost::Gap {
                expected: 2,
                found: 3
            }
        ),
        "{end:?}"
    );
    proxy.set(Way::Open);
    let mut again = Spine::start_at_pace(&by_proxy, spine.position(), FAST)
        .await
        .unwrap();
    let item = timeout(DEADLINE, again.next()).await.unwrap();
    assert_eq!(item.unwrap().seq, Seq(2));
}
