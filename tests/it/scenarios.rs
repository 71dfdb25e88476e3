//! The three scenarios of the system that Crier replaces, with the readers on two gateways, on both databases.

use crate::people::{Place, group};
use crate::world::{Options, World};

/// Subscribe and receive; the author doesn't get their own; who follows nothing gets nothing.
async fn scenario_1(world: &World) {
    let (alice, bob, carol, place) = group(world).await;
    let mut at_bob = bob.stream(0).await;
    let mut at_carol = carol.stream(1).await;
    let mut at_alice = alice.stream(1).await;

    bob.subscribe(place).await;
    let subscribed = at_bob.named("subscribed").await;
    assert_eq!(subscribed["community_id"], place.community);
    assert_eq!(subscribed["article_id"], place.article);

    let discussion = alice.discuss(place, "Is it real?").await;
    let event = at_bob.event().await;
    assert_eq!(event["type"], "new_discussion");
    assert_eq!(event["community_id"], place.community);
    assert_eq!(event["article_id"], place.article);
    assert_eq!(event["data"]["discussion"]["id"], discussion);
    assert_eq!(event["data"]["discussion"]["topic"], "Is it real?");

    let comment = alice.comment(discussion, "from alice").await;
    let event = at_bob.event().await;
    assert_eq!(event["type"], "new_comment");
    assert_eq!(
        event["data"]["comment"], comment,
        "the event shows what the API answered"
    );

    // The sentinels: bob's comment is the first that alice gets, so she got none of her own.
    bob.comment(discussion, "from bob").await;
    assert_eq!(
        at_alice.event().await["data"]["comment"]["content"],
        "from bob"
    );
    // carol subscribes now; the next comment is the first she gets.
    carol.subscribe(place).await;
    at_carol.named("subscribed").await;
    alice.comment(discussion, "for carol too").await;
    assert_eq!(
        at_carol.event().await["data"]["comment"]["content"],
        "for carol too"
    );
}

/// Unsubscribe and receive no more, at once, without a reconnect; subscribe again and get only what is new.
async fn scenario_2(world: &World) {
    let (alice, bob, _, place) = group(world).await;
    let other = second_article(&alice, place).await;
    let subscription = bob.subscribe(place).await;
    bob.subscribe(other).await;
    let mut at_bob = bob.stream(0).await;
    let discussion = alice.discuss(place, "one").await;
    let elsewhere = alice.discuss(other, "two").await;

    alice.comment(discussion, "before").await;
    // What was not delivered before the end of a subscription may be withheld.
    assert_eq!(at_bob.comments_until("before").await, ["", ""]);
    bob.unsubscribe(subscription).await;
    alice.comment(discussion, "while away").await;
    alice.comment(elsewhere, "sentinel 1").await;
    assert_eq!(at_bob.comments_until("sentinel 1").await, [""; 0]);

    assert_eq!(
        bob.subscribe(place).await,
        subscription,
        "the same subscription, active again"
    );
    alice.comment(discussion, "back").await;
    alice.comment(elsewhere, "sentinel 2").await;
    assert_eq!(at_bob.comments_until("sentinel 2").await, ["back"]);
}

/// Publishing subscribes admins and the submitter; promotion subscribes the new admin, while connected.
async fn scenario_3(world: &World) {
    let (alice, bob, carol, place) = group(world).await;
    let mut at_alice = alice.stream(0).await;
    let mut at_bob = bob.stream(0).await;
    let mut at_carol = carol.stream(1).await;

    let submitted = bob
        .submit(place.community, "Transformer Improvements")
        .await;
    alice.publish(submitted).await;
    for stream in [&mut at_alice, &mut at_bob] {
        assert_eq!(
            stream.named("subscribed").await["article_id"],
            submitted.article
        );
    }
    let discussion = carol.discuss(submitted, "by carol").await;
    for stream in [&mut at_alice, &mut at_bob] {
        assert_eq!(stream.event().await["data"]["discussion"]["id"], discussion);
    }

    alice
        .manage_member(place.community, &carol, "promote_admin")
        .await;
    let mut followed = Vec::new();
    for _ in 0..2 {
        followed.push(
            at_carol.named("subscribed").await["article_id"]
                .as_i64()
                .unwrap(),
        );
    }
    followed.sort_unstable();
    assert_eq!(followed, [place.article, submitted.article]);
    bob.comment(discussion, "welcome").await;
    assert_eq!(
        at_carol.event().await["data"]["comment"]["content"],
        "welcome"
    );
}

async fn second_article(admin: &crate::people::Person, place: Place) -> Place {
    let other = admin.submit(place.community, "Another Paper").await;
    admin.publish(other).await;
    other
}

macro_rules! on_both_databases {
    ($($name:ident),+) => { $(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let world = World::start().await;
                super::$name(&world).await;
                world.end().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                let world = World::with(Options { postgres: true, ..Options::default() }).await;
                super::$name(&world).await;
                world.end().await;
            }
        }
    )+ };
}

on_both_databases!(scenario_1, scenario_2, scenario_3);
