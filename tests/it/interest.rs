//! Gateways subscribe to the communities of the people they hold, and to no others: the server says so.

use std::collections::BTreeSet;

use crier_testkit::wait_for;

use crate::people::group;
use crate::world::World;

/// The `live.` subjects that the gateway at this address has subscribed to, as the server lists them.
async fn subscribed(world: &World, gateway: usize) -> BTreeSet<String> {
    let address = world
        .gateway_url(gateway)
        .trim_start_matches("http://")
        .to_owned();
    let connections = world.nats().connz().await;
    let connections = connections["connections"].as_array().unwrap();
    let own = connections
        .iter()
        .find(|connection| {
            connection["name"]
                .as_str()
                .is_some_and(|name| name.ends_with(&address))
        })
        .unwrap_or_else(|| panic!("no connection named after {address} in {connections:?}"));
    let everything = world.nats().subsz().await;
    let list = everything["subscriptions_list"].as_array().unwrap();
    list.iter()
        .filter(|subscription| subscription["cid"] == own["cid"])
        .filter_map(|subscription| subscription["subject"].as_str())
        .filter(|subject| subject.starts_with("live."))
        .map(str::to_owned)
        .collect()
}

async fn wait_until_subscribed(world: &World, gateway: usize, subjects: &[String]) {
    let wanted: BTreeSet<String> = subjects.iter().cloned().collect();
    wait_for("the gateway's subscriptions", async || {
        (subscribed(world, gateway).await == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_a_member_has_no_subscription() {
    let world = World::start().await;
    let (alice, bob, _, place) = group(&world).await;
    let dave = world.person(4, "dave");
    let other = dave.create_community("Elsewhere", "hidden").await;
    let (ours, theirs) = (
        format!("live.community.{}.>", place.community),
        format!("live.community.{other}.>"),
    );

    assert_eq!(subscribed(&world, 0).await, BTreeSet::new());
    let at_alice = alice.stream(0).await;
    let at_bob = bob.stream(0).await;
    let at_dave = dave.stream(1).await;
    wait_until_subscribed(&world, 0, std::slice::from_ref(&ours)).await;
    wait_until_subscribed(&world, 1, std::slice::from_ref(&theirs)).await;

    // A member who joins while connected brings the interest along.
    dave.add_member(other, &bob).await;
    wait_until_subscribed(&world, 0, &[ours.clone(), theirs]).await;
    // And takes it away again: bob leaves, alice stays.
    dave.manage_member(other, &bob, "remove").await;
    wait_until_subscribed(&world, 0, std::slice::from_ref(&ours)).await;

    // One of two members leaving changes nothing; the last one's leaving does.
    drop(at_bob);
    drop(at_dave);
    wait_until_subscribed(&world, 1, &[]).await;
    assert_eq!(subscribed(&world, 0).await, BTreeSet::from([ours]));
    drop(at_alice);
    wait_until_subscribed(&world, 0, &[]).await;
    world.end().await;
}
