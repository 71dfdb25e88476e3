//! The data of a measurement: 1,000 communities with an article each, one with 1,000 articles, and members of all of
//! them; the API service over it as its users run it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use crier_service_kit::auth::Signer;
use crier_store::{DatabaseConfig, Store};
use crier_testkit::{HttpClient, NatsServer};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use uuid::Uuid;

use super::bare::Call;
use super::{Arguments, Spread};
use crate::fleet::{mirror, settled};
use crate::platform::{Service, Settings, signer};

/// Places to write at, of each spread: communities with one article, articles of one community.
pub(crate) const PLACES: i64 = 1_000;
/// The community that has as many articles as there are others.
pub(super) const LARGE: i64 = PLACES + 1;
/// Submits everything and writes the first comments.
const ADMIN: i64 = 1_000_000;
const PARALLEL: usize = 16;
const CALLS_COUNTED: i64 = 5;

/// Which database, and where.
pub(super) enum Database {
    Postgres(String),
    Sqlite(PathBuf),
}

impl Database {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "PostgreSQL",
            Self::Sqlite(_) => "SQLite",
        }
    }

    fn url(&self) -> String {
        match self {
            Self::Postgres(url) => url.clone(),
            Self::Sqlite(file) => format!("sqlite://{}", file.display()),
        }
    }
}

/// A place to write at. The article and the community article have the same id.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) community: i64,
    pub(super) article: i64,
}

impl Place {
    /// The place with this number, from 0.
    pub(super) fn new(spread: Spread, number: i64) -> Self {
        let number = number % PLACES + 1;
        match spread {
            Spread::Many => Self {
                community: number,
                article: number,
            },
            Spread::One => Self {
                community: LARGE,
                article: PLACES + number,
            },
        }
    }
}

/// Everything set up and running.
pub(super) struct World {
    pub(super) database: Database,
    api: Option<Service>,
    settings: Settings,
    signer: Signer,
    /// The discussion under article 1, 2, … of the communities with one article each.
    discussions: Vec<i64>,
    _nats: NatsServer,
}

impl World {
    pub(super) async fn prepare(arguments: &Arguments, database: Database) -> anyhow::Result<Self> {
        let nats = NatsServer::start().await;
        // As many as pgbench gets, and what the relay and reading keep for themselves.
        let settings = Settings::new(&nats.url(), &database.url())
            .with("CRIER_DATABASE__MAX_CONNECTIONS", "36");
        let mut world = Self {
            database,
            api: Some(settings.start_api().await?),
            settings,
            signer: signer()?,
            discussions: Vec::new(),
            _nats: nats,
        };
        world.fill(arguments).await?;
        Ok(world)
    }

    /// Leaves the machine to the bare database, and goes on.
    pub(super) async fn aside<T>(
        &mut self,
        bare: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        if let Some(api) = self.api.take() {
            api.process.stop().await?;
        }
        let done = bare(self).await?;
        self.api = Some(self.settings.start_api().await?);
        Ok(done)
    }

    /// Until the relay has published everything.
    pub(super) async fn settled(&self) -> anyhow::Result<()> {
        let store = Store::connect(&DatabaseConfig::new(self.database.url())).await?;
        settled(&store).await
    }

    fn url(&self) -> anyhow::Result<&str> {
        let api = self.api.as_ref();
        Ok(&api.context("the service is stopped")?.url)
    }

    /// Users for the API's calls and for the bare database's, for one more connection each.
    async fn fill(&mut self, arguments: &Arguments) -> anyhow::Result<()> {
        let users = i64::try_from(2 * arguments.connections + 2)?;
        let mut lines = String::new();
        writeln!(
            lines,
            r#"{{"kind":"user","id":{ADMIN},"username":"admin"}}"#
        )?;
        for user in 1..=users {
            writeln!(
                lines,
                r#"{{"kind":"user","id":{user},"username":"user {user}"}}"#
            )?;
        }
        for id in 1..=LARGE {
            writeln!(
                lines,
                r#"{{"kind":"community","id":{id},"name":"Group {id}","type":"private"}}"#
            )?;
        }
        for place in [Spread::Many, Spread::One]
            .iter()
            .flat_map(|spread| (0..PLACES).map(|number| Place::new(*spread, number)))
        {
            let Place { community, article } = place;
            writeln!(
                lines,
                r#"{{"kind":"article","id":{article},"title":"Paper {article}","submitter_id":{ADMIN}}}"#
            )?;
            writeln!(
                lines,
                r#"{{"kind":"community_article","id":{article},"community_id":{community},"article_id":{article},"status":"published"}}"#
            )?;
        }
        for community in 1..=LARGE {
            for user in (1..=users).chain([ADMIN]) {
                writeln!(
                    lines,
                    r#"{{"kind":"membership","community_id":{community},"user_id":{user},"role":"member"}}"#
                )?;
            }
        }
        let token = self.signer.sign_service(Duration::from_secs(3600))?;
        mirror(self.url()?, &token, lines).await?;
        let admin = self.client(ADMIN)?;
        self.discussions = stream::iter((0..PLACES).map(|number| discuss(&admin, number)))
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        Ok(())
    }

    /// The calls of one user, over a connection of their own.
    pub(super) fn client(&self, user: i64) -> anyhow::Result<HttpClient> {
        let name = format!("user {user}");
        let token = self
            .signer
            .sign_user(user, &name, Duration::from_secs(3600))?;
        Ok(HttpClient::new(self.url()?).with_token(token))
    }

    /// Where a comment at this place goes.
    pub(super) fn discussion(&self, spread: Spread, number: i64) -> i64 {
        let at = match spread {
            Spread::Many => number % PLACES,
            Spread::One => 0,
        };
        usize::try_from(at).map_or(0, |at| self.discussions[at])
    }

    /// How many statements one such call sends.
    pub(super) async fn statements(&mut self, call: Call) -> anyhow::Result<u64> {
        let length = Duration::from_secs(10);
        let url = self.database.url();
        // Another holds the lease, so that the service's relay sends none of its own but for asking now and then.
        self.aside(async |_| {
            let store = Store::connect(&DatabaseConfig::new(url)).await?;
            let lease = store.lease(Uuid::new_v4(), length).await?;
            lease.context("nobody else leads")
        })
        .await?;
        let user = self.client(ADMIN)?;
        let mut fewest = u64::MAX;
        for number in 0..CALLS_COUNTED {
            let before = self.sent().await?;
            // Each time another place, so that a subscribe is a new one.
            let place = Place::new(Spread::One, PLACES - 1 - number);
            super::load::call(&user, call, place, self.discussion(Spread::One, 0)).await?;
            fewest = fewest.min(self.sent().await? - before);
        }
        Ok(fewest)
    }

    /// The service's own count.
    async fn sent(&self) -> anyhow::Result<u64> {
        let api = self.api.as_ref().context("the service is stopped")?;
        api.metric("store_statements_total ").await
    }

    pub(super) async fn end(self) -> anyhow::Result<()> {
        self.api.context("it runs")?.process.stop().await
    }
}

async fn discuss(admin: &HttpClient, number: i64) -> anyhow::Result<i64> {
    let place = Place::new(Spread::Many, number);
    let path = format!(
        "/api/articles/{}/discussions/?community_id={}",
        place.article, place.community
    );
    let body = json!({"topic": "Measured", "content": "…"});
    let answer = admin.post(&path, &body).await;
    ensure!(answer.status == 201, "discussion: {}", answer.text());
    answer.json["id"].as_i64().context("an id")
}
