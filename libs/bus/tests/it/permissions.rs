//! The permissions that a deployment grants: what a gateway needs is enough, and doesn't let it write.

use crier_bus::{Bus, Live, LiveCapacity, LogConfig, NatsConfig, PublishError, Spine};
use crier_domain::Seq;
use crier_domain::rpc::SnapshotReply;
use crier_testkit::{DEADLINE, NatsOptions, NatsServer, wait_for};
use tokio_util::sync::CancellationToken;

use crate::support::{community, event, snapshot, user};

/// As in the deployment's configuration: the API's relay alone writes the log, and nobody `live.>`.
const USERS: &str = r#"
authorization {
  users: [
    { user: api, password: a, permissions: {
        publish: { allow: [
          "community.>", "user.>", "mark",
          "$JS.API.STREAM.INFO.CRIER", "$JS.API.STREAM.CREATE.CRIER", "$JS.API.STREAM.UPDATE.CRIER",
          "$JS.API.STREAM.PURGE.CRIER", "$JS.API.STREAM.MSG.GET.CRIER", "$JS.API.DIRECT.GET.CRIER"
        ] }
        subscribe: { allow: [ "_INBOX.>", "api.snapshot" ] }
        allow_responses: true
    } }
    { user: gateway, password: g, permissions: {
        publish: { allow: [
          "api.snapshot",
          "$JS.API.STREAM.INFO.CRIER", "$JS.API.STREAM.MSG.GET.CRIER", "$JS.API.DIRECT.GET.CRIER",
          "$JS.API.CONSUMER.CREATE.CRIER.*", "$JS.API.CONSUMER.MSG.NEXT.CRIER.*",
          "$JS.API.CONSUMER.DELETE.CRIER.*"
        ] }
        subscribe: { allow: [ "_INBOX.>", "live.community.>" ] }
    } }
  ]
}
"#;

async fn connect_as(nats: &NatsServer, user: &str, password: &str) -> Bus {
    let config = NatsConfig::at(nats.url_as(user, password));
    Bus::connect(&config, user).await.unwrap()
}

#[tokio::test]
async fn each_service_can_do_its_part_and_no_more() {
    let nats = NatsServer::with(NatsOptions {
        config: USERS.to_owned(),
        ..NatsOptions::default()
    })
    .await;
    let api = connect_as(&nats, "api", "a").await;
    let gateway = connect_as(&nats, "gateway", "g").await;
    let log = api.log();
    log.ensure(&LogConfig::default()).await.unwrap();
    log.ensure(&LogConfig::default()).await.unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let (api, stop) = (api.clone(), stop.clone());
        async move {
            let handler = |_| async { Ok::<_, std::io::Error>(SnapshotReply::Pending) };
            api.serve_snapshots(handler, 4, stop).await
        }
    });

    let (live, mut copies) = Live::new(&gateway, LiveCapacity::default());
    live.add(community(1));
    let mut spine = Spine::start(&gateway, Seq::ZERO).await.unwrap();
    wait_for("the interest", async || {
        let subjects = nats.subsz().await;
        subjects
            .to_string()
            .contains("live.community.1.>")
            .then_some(())
    })
    .await;
    log.publish(&snapshot(7, "{}"), Seq(0))
        .await
        .unwrap()
        .await
        .unwrap();
    log.publish(&event(1, "x"), Seq(1))
        .await
        .unwrap()
        .await
        .unwrap();
    log.purge_snapshots(user(7), Seq(1)).await.unwrap();
    for seq in [Seq(1), Seq(2)] {
        let item = tokio::time::timeout(DEADLINE, spine.next()).await.unwrap();
        assert_eq!(item.unwrap().seq, seq);
    }
    let copy = tokio::time::timeout(DEADLINE, copies.recv()).await.unwrap();
    assert_eq!(copy.unwrap().seq, Seq(2));
    let read = gateway.log();
    assert_eq!(read.snapshot(user(7)).await.unwrap().unwrap().seq, Seq(1));
    assert_eq!(read.direct(Seq(2)).await.unwrap().unwrap().payload, "x");
    wait_for("an answer", async || {
        let reply = gateway.request_snapshot(user(7)).await.ok()?;
        (reply == SnapshotReply::Pending).then_some(())
    })
    .await;

    // Not even a forged copy, and no word in the log.
    let forged = read
        .publish(&event(1, "forged"), Seq(2))
        .await
        .unwrap()
        .await;
    assert!(
        matches!(forged, Err(PublishError::Unavailable(_))),
        "{forged:?}"
    );
    assert_eq!(log.tail().await.unwrap(), Seq(2));
    drop(spine);
    wait_for("no consumer", async || {
        let jsz = nats.monitor("/jsz").await;
        (jsz["consumers"] == 0).then_some(())
    })
    .await;
    stop.cancel();
    serving.await.unwrap().unwrap();
}
