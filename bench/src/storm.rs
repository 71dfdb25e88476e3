//! A gateway dies with all its clients, and they come back to the other at once, each by its cursor, having missed
//! some events: how long until the last has read what it missed, and what that costs.
//!
//! Each client is a user of its own. The API service is ended before they come, so what they are told comes from the
//! other gateway and the log alone.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use crier_store::{DatabaseConfig, Store};
use crier_testkit::{Frame, HttpClient, NatsServer, SseClient};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::fleet::{mirror, settled};
use crate::platform::{Platform, Service, Settings};

/// The storm.
#[derive(Args, Clone)]
pub(crate) struct Arguments {
    /// Clients of the gateway that dies.
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// Communities among which they are divided.
    #[arg(long, default_value_t = 100)]
    communities: usize,
    /// Events of each community that they miss.
    #[arg(long, default_value_t = 10)]
    missed: usize,
}

const PATIENCE: Duration = Duration::from_secs(120);
/// Streams that are opened at once before the storm.
const PARALLEL: usize = 64;

/// A client between its two streams.
struct Client {
    token: String,
    last: String,
}

/// What a gateway has done so far.
struct Cost {
    at: Instant,
    cpu: Duration,
    requests: u64,
    snapshots: u64,
    pages: u64,
}

pub(crate) async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    println!(
        "## Storm: {} clients in {} communities come back at once, {} events missed by each\n",
        arguments.clients, arguments.communities, arguments.missed
    );
    enough_files(arguments.clients)?;
    let nats = NatsServer::start().await;
    let data = tempfile::tempdir()?;
    let database = format!("sqlite://{}", data.path().join("crier.db").display());
    let mut platform = Platform::start(Settings::new(&nats.url(), &database), 2).await?;
    fill(&platform, arguments).await?;
    let store = Store::connect(&DatabaseConfig::new(&database)).await?;
    settled(&store).await?;

    let clients = first_streams(&platform, arguments).await?;
    platform.gateways.remove(0).process.kill().await?;
    let clients: Vec<Client> = clients.into_iter().map(|(client, _)| client).collect();
    for number in 1..=arguments.missed {
        publish(&platform.backend()?, arguments.communities, number).await?;
    }
    settled(&store).await?;
    let Platform { api, gateways, .. } = platform;
    api.process.stop().await?;

    let [gateway] = gateways.try_into().ok().context("one is left")?;
    let before = cost(&gateway, &nats).await?;
    let mut coming = JoinSet::new();
    for client in clients {
        let (url, missed) = (gateway.url.clone(), arguments.missed);
        coming
            .spawn(async move { tokio::time::timeout(PATIENCE, client.come(&url, missed)).await });
    }
    let mut took = Vec::new();
    let mut sent_away = 0;
    while let Some(done) = coming.join_next().await {
        let came = done?.context("a client never had all")??;
        took.push(came.done.duration_since(before.at));
        sent_away += came.sent_away;
    }
    let after = cost(&gateway, &nats).await?;
    report(arguments, took, sent_away, &before, &after);
    gateway.process.stop().await
}

/// Each client is an open file here, and one of the gateway, which has the same limit.
fn enough_files(clients: usize) -> anyhow::Result<()> {
    let needed = u64::try_from(clients)? + 500;
    let limit = getrlimit(Resource::Nofile).current;
    ensure!(
        limit.is_none_or(|limit| limit >= needed),
        "{clients} clients need {needed} open files: ulimit -n {needed}, or fewer by --clients"
    );
    Ok(())
}

fn community(client: usize, arguments: &Arguments) -> usize {
    client % arguments.communities + 1
}

async fn fill(platform: &Platform, arguments: &Arguments) -> anyhow::Result<()> {
    let mut lines = String::new();
    for id in 1..=arguments.communities {
        writeln!(
            lines,
            r#"{{"kind":"community","id":{id},"name":"Group {id}","type":"private"}}"#
        )?;
    }
    for client in 0..arguments.clients {
        let (user, community) = (client + 1, community(client, arguments));
        writeln!(
            lines,
            r#"{{"kind":"membership","community_id":{community},"user_id":{user},"role":"member","username":"user {user}"}}"#
        )?;
    }
    mirror(&platform.api.url, &platform.service_token()?, lines).await
}

/// One event for each community.
async fn publish(backend: &HttpClient, communities: usize, number: usize) -> anyhow::Result<()> {
    let event =
        |community| json!({"type": "measured", "community_id": community, "data": {"n": number}});
    let events: Vec<Value> = (1..=communities).map(event).collect();
    for some in events.chunks(1_000) {
        let answer = backend.post("/api/events/", &some).await;
        ensure!(answer.status == 202, "events: {}", answer.text());
    }
    Ok(())
}

/// All clients at the first gateway, each with the id of an event that it has read there.
async fn first_streams(
    platform: &Platform,
    arguments: &Arguments,
) -> anyhow::Result<Vec<(Client, SseClient)>> {
    let url = &platform.gateways[0].url;
    let opened = (1..=arguments.clients).map(async |user| {
        let token = platform.token(i64::try_from(user)?)?;
        let mut stream = open(url, &token, "").await?;
        let ready = next(&mut stream).await?;
        ensure!(ready.event.as_deref() == Some("ready"), "{ready:?}");
        anyhow::Ok((token, stream))
    });
    let opened: Vec<_> = stream::iter(opened)
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    publish(&platform.backend()?, arguments.communities, 0).await?;
    let mut clients = Vec::new();
    for (token, mut stream) in opened {
        while number(&next(&mut stream).await?).is_none() {}
        let last = stream.last_event_id().to_owned();
        clients.push((Client { token, last }, stream));
    }
    Ok(clients)
}

/// A client that has all it missed.
struct Came {
    done: Instant,
    /// How often it was told to come again.
    sent_away: usize,
}

impl Client {
    /// Comes back, again if it is sent away, and reads until it has all that it missed, in order and nothing else.
    async fn come(mut self, url: &str, missed: usize) -> anyhow::Result<Came> {
        let mut stream = open(url, &self.token, &self.last).await?;
        let mut read = 0;
        let mut sent_away = 0;
        while read < missed {
            let frame = next(&mut stream).await?;
            match frame.event.as_deref() {
                Some("bye") => {
                    sent_away += 1;
                    if !stream.last_event_id().is_empty() {
                        stream.last_event_id().clone_into(&mut self.last);
                    }
                    let retry = frame.retry.context("a time to come again")?;
                    tokio::time::sleep(Duration::from_millis(retry)).await;
                    stream = open(url, &self.token, &self.last).await?;
                }
                Some("reset") => bail!("{frame:?}"),
                _ => {}
            }
            if let Some(number) = number(&frame) {
                read += 1;
                ensure!(number == read, "{number} instead of {read}");
            }
        }
        let done = Instant::now();
        // It stays, as the others come.
        tokio::spawn(async move { while stream.next_frame(PATIENCE).await.is_some() {} });
        Ok(Came { done, sent_away })
    }
}

async fn open(url: &str, token: &str, last: &str) -> anyhow::Result<SseClient> {
    let authorization = format!("Bearer {token}");
    let mut headers = vec![("authorization", authorization.as_str())];
    if !last.is_empty() {
        headers.push(("last-event-id", last));
    }
    SseClient::connect(&format!("{url}/events"), &headers).await
}

async fn next(stream: &mut SseClient) -> anyhow::Result<Frame> {
    let frame = stream.next_frame(PATIENCE).await;
    frame.context("the stream ended")
}

/// The number of an event of ours.
fn number(frame: &Frame) -> Option<usize> {
    let number = frame.json()["data"]["n"].as_u64()?;
    usize::try_from(number).ok()
}

async fn cost(gateway: &Service, nats: &NatsServer) -> anyhow::Result<Cost> {
    let connections = nats.monitor("/connz").await;
    let connections = connections["connections"].as_array().cloned();
    // The other gateway is dead, and the API service has gone.
    let ours = connections.context("connections are listed")?;
    let ours = ours.iter().filter(|connection| {
        let name = connection["name"].as_str().unwrap_or_default();
        name.starts_with("crier-gateway")
    });
    // What the server had from it: each is a request, for a gateway publishes nothing else.
    let requests = ours.filter_map(|connection| connection["in_msgs"].as_u64());
    Ok(Cost {
        requests: requests.sum(),
        // The metrics are brought up to date once a second.
        snapshots: settled_metric(gateway, "gateway_snapshots_total ").await?,
        pages: settled_metric(gateway, "gateway_pages_total ").await?,
        cpu: gateway.process.cpu()?,
        at: Instant::now(),
    })
}

async fn settled_metric(gateway: &Service, name: &str) -> anyhow::Result<u64> {
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    gateway.metric(name).await
}

fn report(
    arguments: &Arguments,
    mut took: Vec<Duration>,
    sent_away: usize,
    before: &Cost,
    after: &Cost,
) {
    took.sort_unstable();
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)].as_secs_f64();
    println!("| | |\n|---|---|");
    println!(
        "| half of the clients have all they missed after | {:.2} s |",
        at(50)
    );
    println!("| 99 of 100 | {:.2} s |", at(99));
    println!("| the last | {:.2} s |", at(100));
    println!("| sent away at first (`bye`), to come again | {sent_away} times |");
    println!(
        "| CPU of the gateway | {:.2} s |",
        (after.cpu - before.cpu).as_secs_f64()
    );
    println!(
        "| requests to NATS ({} users, {} communities) | {} |",
        arguments.clients,
        arguments.communities,
        after.requests - before.requests
    );
    println!(
        "| – snapshots read | {} |",
        after.snapshots - before.snapshots
    );
    println!(
        "| – pages of the past read | {} |",
        after.pages - before.pages
    );
    println!("| database statements | 0: the API service was ended before |\n");
}
