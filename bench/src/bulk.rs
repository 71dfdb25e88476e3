//! Bulk changes: a mirror of 100,000 memberships, and an article published to 10,000. How fast they are, whether memory
//! stays flat, and what they do to comments that are written in the middle of them.

mod talk;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use crier_store::{DatabaseConfig, Store};
use crier_testkit::{NatsServer, Postgres};
use serde_json::json;
use tokio::sync::watch;

use crate::fleet::{mirror, settled};
use crate::platform::{Platform, Settings};
use talk::Talk;

/// The load.
#[derive(Args, Clone)]
pub(crate) struct Arguments {
    /// Memberships in the file, 100 in each community.
    #[arg(long, default_value_t = 100_000)]
    memberships: i64,
    /// Admins of the community whose article is published.
    #[arg(long, default_value_t = 10_000)]
    admins: i64,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            memberships: 100_000,
            admins: 10_000,
        }
    }
}

/// Nothing of the mirrored file is in it.
const QUIET: i64 = 1;
/// The mirrored file adds members to it.
const BUSY: i64 = 2;
/// Has as many admins as there are to be.
const LARGE: i64 = 3;
/// The first of those that the file makes.
const FIRST: i64 = 1_000;
const MEMBERS_EACH: i64 = 100;
/// Members of the busy community that the file adds, spread over all of it.
const BUSY_EVERY: i64 = 50;
/// Speaks in the quiet and in the busy community.
const AUTHOR: i64 = 900_001;
/// Listens there.
const READER: i64 = 900_002;

pub(crate) async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    println!("## Bulk changes, and comments in the middle of them\n");
    let data = tempfile::tempdir()?;
    let sqlite = format!("sqlite://{}", data.path().join("crier.db").display());
    on(arguments, "SQLite", &sqlite).await?;
    let postgres = Postgres::durable().await;
    on(arguments, "PostgreSQL", &postgres.url()).await
}

async fn on(arguments: &Arguments, name: &str, database: &str) -> anyhow::Result<()> {
    println!("### {name}\n");
    let fleet = Fleet::start(database).await?;
    fleet.introduce().await?;
    let platform = &fleet.platform;
    let mut talk = Talk::begin(
        &platform.api.url,
        &platform.gateways[0].url,
        &platform.signer,
        [QUIET, BUSY],
    )
    .await?;

    let (stop, stopped) = watch::channel(false);
    let calm = tokio::spawn(async move {
        let calm = talk.until(stopped).await;
        (talk, calm)
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    stop.send_replace(true);
    let (mut talk, calm) = calm.await?;
    let calm = calm?;

    let (stop, stopped) = watch::channel(false);
    let during = tokio::spawn(async move {
        let during = talk.until(stopped).await;
        (talk, during)
    });
    let first = fleet.mirror(file(arguments)?).await?;
    stop.send_replace(true);
    let (mut talk, during) = during.await?;
    let during = during?;
    let again = fleet.mirror(file(arguments)?).await?;

    println!(
        "| mirror of {} memberships | seconds | lines a second | resident before | at most |",
        arguments.memberships
    );
    println!("|---|---|---|---|---|");
    for (what, run) in [("first time", &first), ("the same again", &again)] {
        let seconds = run.took.as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "a few hundred thousand lines")]
        let rate = run.lines as f64 / seconds;
        println!(
            "| {what} | {seconds:.1} | {rate:.0} | {} MiB | {} MiB |",
            run.before >> 20,
            run.most >> 20
        );
    }
    println!(
        "\n| comment written → frame read, milliseconds | n | p50 | p99 | max |\n|---|---|---|---|---|"
    );
    calm.print("before the mirror");
    during.quiet.print("during it, another community");
    during.busy.print("during it, a community that it changes");

    let (stop, stopped) = watch::channel(false);
    let during = tokio::spawn(async move {
        let during = talk.until(stopped).await;
        (talk, during)
    });
    let published = fleet.publish(arguments).await?;
    stop.send_replace(true);
    let (_, during) = during.await?;
    during?
        .quiet
        .print("while an article is published to many, another community");
    println!(
        "\n| article published to {} admins | ms |\n|---|---|",
        arguments.admins
    );
    for (number, (call, settled)) in published.iter().enumerate() {
        println!("| {}: the call | {} |", number + 1, call.as_millis());
        println!(
            "| {}: until all their snapshots are in the log | {} |",
            number + 1,
            settled.as_millis()
        );
    }
    println!();
    fleet.end().await
}

/// A community for each hundred of the memberships, with all that they need; a few go to the busy community.
fn file(arguments: &Arguments) -> anyhow::Result<String> {
    let mut lines = String::new();
    let communities = arguments.memberships / MEMBERS_EACH;
    for number in 0..communities {
        let community = FIRST + number;
        writeln!(
            lines,
            r#"{{"kind":"community","id":{community},"name":"Group {community}","type":"private"}}"#
        )?;
    }
    for number in 0..arguments.memberships {
        // Everybody is in ten of them.
        let user = FIRST + number % (arguments.memberships / 10).max(1);
        let community = if number % BUSY_EVERY == 0 {
            BUSY
        } else {
            FIRST + number / MEMBERS_EACH
        };
        if number < arguments.memberships / 10 {
            writeln!(
                lines,
                r#"{{"kind":"user","id":{user},"username":"user {user}"}}"#
            )?;
        }
        writeln!(
            lines,
            r#"{{"kind":"membership","community_id":{community},"user_id":{user},"role":"member"}}"#
        )?;
    }
    Ok(lines)
}

/// An API service and a gateway as processes.
struct Fleet {
    platform: Platform,
    /// Looks at the outbox.
    store: Store,
    _nats: NatsServer,
}

/// One mirror.
struct Run {
    took: Duration,
    lines: usize,
    /// Resident bytes of the API service before.
    before: u64,
    /// And at most.
    most: u64,
}

impl Fleet {
    async fn start(database: &str) -> anyhow::Result<Self> {
        let nats = NatsServer::start().await;
        Ok(Self {
            platform: Platform::start(Settings::new(&nats.url(), database), 1).await?,
            store: Store::connect(&DatabaseConfig::new(database)).await?,
            _nats: nats,
        })
    }

    /// The communities in which there is talk, and the two who talk.
    async fn introduce(&self) -> anyhow::Result<()> {
        let mut lines = String::new();
        for (id, name) in [(AUTHOR, "author"), (READER, "reader")] {
            writeln!(lines, r#"{{"kind":"user","id":{id},"username":"{name}"}}"#)?;
        }
        for community in [QUIET, BUSY, LARGE] {
            writeln!(
                lines,
                r#"{{"kind":"community","id":{community},"name":"Group {community}","type":"private"}}"#
            )?;
            for user in [AUTHOR, READER] {
                writeln!(
                    lines,
                    r#"{{"kind":"membership","community_id":{community},"user_id":{user},"role":"member"}}"#
                )?;
            }
            writeln!(
                lines,
                r#"{{"kind":"article","id":{community},"title":"Paper {community}","submitter_id":{READER}}}"#
            )?;
            // Its submitter follows it.
            writeln!(
                lines,
                r#"{{"kind":"community_article","id":{community},"community_id":{community},"article_id":{community},"status":"published"}}"#
            )?;
        }
        let token = self.platform.service_token()?;
        mirror(&self.platform.api.url, &token, lines).await
    }

    /// Mirrors the lines, and watches the service's memory meanwhile.
    async fn mirror(&self, lines: String) -> anyhow::Result<Run> {
        let token = self.platform.service_token()?;
        let api = &self.platform.api;
        let before = api.process.resident()?;
        let count = lines.lines().count();
        let begun = Instant::now();
        let mirrored = mirror(&api.url, &token, lines);
        tokio::pin!(mirrored);
        let mut most = before;
        loop {
            tokio::select! {
                done = &mut mirrored => {
                    done?;
                    break;
                }
                () = tokio::time::sleep(Duration::from_millis(50)) => most = most.max(api.process.resident()?),
            }
        }
        Ok(Run {
            took: begun.elapsed(),
            lines: count,
            before,
            most,
        })
    }

    /// Publishes three articles one after the other where everybody is an admin. The call's time, and the time from
    /// then until the relay has nothing left.
    async fn publish(&self, arguments: &Arguments) -> anyhow::Result<Vec<(Duration, Duration)>> {
        let mut lines = String::new();
        for number in 0..arguments.admins {
            let user = FIRST + number;
            writeln!(
                lines,
                r#"{{"kind":"user","id":{user},"username":"user {user}"}}"#
            )?;
            writeln!(
                lines,
                r#"{{"kind":"membership","community_id":{LARGE},"user_id":{user},"role":"admin"}}"#
            )?;
        }
        for article in 101..=103 {
            writeln!(
                lines,
                r#"{{"kind":"article","id":{article},"title":"Paper {article}","submitter_id":{FIRST}}}"#
            )?;
            writeln!(
                lines,
                r#"{{"kind":"community_article","id":{article},"community_id":{LARGE},"article_id":{article},"status":"approved"}}"#
            )?;
        }
        self.mirror(lines).await?;
        settled(&self.store).await?;
        let admin = self.platform.person(FIRST)?;
        let mut took = Vec::new();
        for article in 101..=103 {
            let path = format!("/api/communities/{LARGE}/articles/{article}/manage/publish");
            let begun = Instant::now();
            let answer = admin.post(&path, &json!({})).await;
            let call = begun.elapsed();
            ensure!(answer.status == 200, "publish: {}", answer.text());
            let begun = Instant::now();
            settled(&self.store).await?;
            took.push((call, begun.elapsed()));
        }
        Ok(took)
    }

    async fn end(self) -> anyhow::Result<()> {
        self.platform.end().await
    }
}
