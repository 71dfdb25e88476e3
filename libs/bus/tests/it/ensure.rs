//! The stream: made, mended, refused.

use std::time::{Duration, Instant};

use async_nats::jetstream::{self, stream};
use crier_bus::{EnsureError, LogConfig, Outage};
use crier_domain::subject::STREAM;
use crier_testkit::{NatsOptions, NatsServer};
use serde_json::{Value, json};

use crate::support::connect;

/// The stream's settings as the server tells them.
async fn settings(nats: &NatsServer) -> Value {
    let jsz = nats.monitor("/jsz?streams=true&config=true").await;
    jsz["account_details"][0]["stream_detail"][0]["config"].clone()
}

/// JetStream without the bus, for streams that it would not make.
async fn foreign(nats: &NatsServer) -> jetstream::Context {
    jetstream::new(async_nats::connect(nats.url()).await.unwrap())
}

#[tokio::test]
async fn the_stream_is_made_as_designed() {
    let nats = NatsServer::start().await;
    let log = connect(&nats).await.log();
    log.ensure(&LogConfig::default()).await.unwrap();
    let found = settings(&nats).await;
    for (setting, needed) in [
        ("name", json!("CRIER")),
        ("subjects", json!(["community.>", "user.>", "mark"])),
        ("storage", json!("file")),
        ("retention", json!("limits")),
        ("discard", json!("old")),
        ("num_replicas", json!(1)),
        ("max_age", json!(0)),
        ("max_bytes", json!(-1)),
        ("max_msgs", json!(-1)),
        ("max_msgs_per_subject", json!(-1)),
        ("max_msg_size", json!(-1)),
        ("max_consumers", json!(-1)),
        ("allow_direct", json!(true)),
        ("allow_msg_ttl", json!(true)),
        ("republish", json!({"src": ">", "dest": "live.>"})),
        ("duplicate_window", json!(120_000_000_000_u64)),
    ] {
        assert_eq!(found[setting], needed, "{setting}");
    }
    for absent in ["subject_delete_marker_ttl", "discard_new_per_subject"] {
        assert!(found.get(absent).is_none(), "{absent}");
    }
}

#[tokio::test]
async fn many_at_once_and_again_make_one_stream_and_change_nothing() {
    let nats = NatsServer::start().await;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let log = connect(&nats).await.log();
        all.spawn(async move { log.ensure(&LogConfig::default()).await });
    }
    for result in all.join_all().await {
        result.unwrap();
    }
    let before = settings(&nats).await;
    let log = connect(&nats).await.log();
    log.ensure(&LogConfig::default()).await.unwrap();
    assert_eq!(settings(&nats).await, before);
}

#[tokio::test]
async fn drift_is_mended() {
    let nats = NatsServer::start().await;
    let log = connect(&nats).await.log();
    log.ensure(&LogConfig::default()).await.unwrap();
    let before = settings(&nats).await;
    let other = foreign(&nats).await;
    let mut drifted = other
        .get_stream(STREAM)
        .await
        .unwrap()
        .get_info()
        .await
        .unwrap()
        .config;
    drifted.max_age = Duration::from_secs(3600);
    drifted.max_bytes = 1 << 20;
    drifted.republish = None;
    drifted.allow_direct = false;
    other.update_stream(drifted).await.unwrap();
    assert_ne!(settings(&nats).await, before);
    log.ensure(&LogConfig::default()).await.unwrap();
    assert_eq!(settings(&nats).await, before);
    let wider = LogConfig {
        duplicate_window: Duration::from_secs(300),
        ..LogConfig::default()
    };
    log.ensure(&wider).await.unwrap();
    assert_eq!(
        settings(&nats).await["duplicate_window"],
        300_000_000_000_u64
    );
}

#[tokio::test]
async fn a_foreign_stream_of_the_name_is_refused_and_left_alone() {
    let nats = NatsServer::start().await;
    let other = foreign(&nats).await;
    let stream = stream::Config {
        name: STREAM.to_owned(),
        subjects: vec!["orders.>".to_owned()],
        storage: stream::StorageType::Memory,
        ..Default::default()
    };
    other.create_stream(stream).await.unwrap();
    let before = settings(&nats).await;
    let error = connect(&nats)
        .await
        .log()
        .ensure(&LogConfig::default())
        .await;
    let error = error.unwrap_err();
    assert!(matches!(error, EnsureError::Foreign(_)), "{error:?}");
    assert!(
        error.to_string().contains("subjects is orders.>"),
        "{error}"
    );
    assert_eq!(settings(&nats).await, before);
}

#[tokio::test]
async fn subjects_that_another_stream_has_are_refused_with_the_servers_word() {
    let nats = NatsServer::start().await;
    let other = foreign(&nats).await;
    let stream = stream::Config {
        name: "USERS".to_owned(),
        subjects: vec!["user.>".to_owned()],
        ..Default::default()
    };
    other.create_stream(stream).await.unwrap();
    let error = connect(&nats)
        .await
        .log()
        .ensure(&LogConfig::default())
        .await;
    let error = error.unwrap_err();
    assert!(matches!(error, EnsureError::Refused(_)), "{error:?}");
    assert!(error.to_string().contains("overlap"), "{error}");
}

#[tokio::test]
async fn replicas_without_a_cluster_are_refused() {
    let nats = NatsServer::start().await;
    let three = LogConfig {
        replicas: 3,
        ..LogConfig::default()
    };
    let error = connect(&nats).await.log().ensure(&three).await.unwrap_err();
    assert!(matches!(error, EnsureError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn without_jetstream_nobody_answers() {
    let config = "accounts { PLAIN { users: [ { user: u, password: p } ] } }".to_owned();
    let nats = NatsServer::with(NatsOptions {
        config,
        ..NatsOptions::default()
    })
    .await;
    let config = crier_bus::NatsConfig::at(nats.url_as("u", "p"));
    let bus = crier_bus::Bus::connect(&config, "test").await.unwrap();
    let started = Instant::now();
    let error = bus.log().ensure(&LogConfig::default()).await.unwrap_err();
    assert!(
        matches!(
            error,
            EnsureError::Unavailable(Outage::NoResponders | Outage::Server(_))
        ),
        "{error:?}"
    );
    assert!(started.elapsed() < crier_testkit::DEADLINE);
}
