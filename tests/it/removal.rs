//! Who is removed, or leaves, gets nothing that began after the answer, and nothing of it later.

use crate::people::{expect, group};
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_gets_nothing_more_and_nothing_of_it_when_back() {
    let world = World::start().await;
    let (alice, bob, carol, place) = group(&world).await;
    bob.subscribe(place).await;
    carol.subscribe(place).await;
    let mut at_bob = bob.stream(0).await;
    let discussion = alice.discuss(place, "Between us").await;
    alice.comment(discussion, "before").await;

    alice.manage_member(place.community, &bob, "remove").await;
    alice.comment(discussion, "secret").await;
    expect(&bob.try_subscribe(place).await, 403);
    let gone = at_bob.named("unsubscribed").await;
    assert_eq!(gone["community_id"], place.community);

    alice.add_member(place.community, &bob).await;
    bob.subscribe(place).await;
    alice.comment(discussion, "sentinel").await;
    // `named` passed over "before"; nothing may stand between the removal and the sentinel.
    assert_eq!(at_bob.comments_until("sentinel").await, [""; 0]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_ends_subscriptions_and_the_stream_stays() {
    let world = World::start().await;
    let (alice, bob, _, place) = group(&world).await;
    bob.subscribe(place).await;
    let own = bob.create_community("Bob's", "private").await;
    let mine = bob.submit(own, "Notes").await;
    bob.publish(mine).await;
    let carol = world.person(3, "carol");
    bob.add_member(own, &carol).await;
    let mut at_bob = bob.stream(1).await;

    let path = format!("/api/communities/{}/leave/", place.community);
    let left = bob.http.post(&path, &serde_json::json!({})).await;
    assert!(left.status < 300, "{} {}", left.status, left.text());
    alice.discuss(place, "Without bob").await;
    let discussion = carol.discuss(mine, "With bob").await;
    assert_eq!(at_bob.event().await["data"]["discussion"]["id"], discussion);
    world.end().await;
}
