//! Crier as its users run it: an API service, gateways, a nats-server with JetStream, SQLite. Every connection is a
//! user of its own, in five communities, with three subscriptions.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use crier_domain::Keys;
use crier_service_kit::auth::{AuthConfig, Signer};
use crier_service_kit::config::Secret;
use crier_store::{DatabaseConfig, Store};
use crier_testkit::{HttpClient, NatsServer};

use super::{About, Parts, Publisher, Server};
use crate::fleet::{Process, mirror, settled};

pub(super) const SECRET: &str = "a secret that measures and protects nothing";
/// Submits all articles, and reads nothing.
const SUBMITTER: i64 = 9_000_000;
/// Communities of one reader beside the one that all are in.
const OWN: i64 = 4;
/// Of these, followed.
const OWN_FOLLOWED: i64 = 2;
/// Articles of the community that all are in, beside the first: nobody follows them at first.
pub(crate) const MORE: usize = 10;
const TTL: Duration = Duration::from_secs(4 * 3600);

/// The gateway's default.
pub(crate) const HEARTBEAT: &str = "25s";

/// Who is there. Community 1 is everybody's, with article 1, which all follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct World {
    pub(crate) readers: usize,
    /// Communities beside the first, among which the readers are divided; none, or four at least.
    pub(crate) communities: usize,
    pub(crate) gateways: usize,
    /// Each gateway's readers have communities that no other gateway's have.
    pub(crate) apart: bool,
    /// As the gateway's setting has it.
    pub(crate) heartbeat: &'static str,
}

/// An API service, gateways and what they need.
pub(crate) struct Crier {
    pub(crate) nats: NatsServer,
    pub(crate) api: Process,
    pub(crate) gateways: Vec<Process>,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) http: HttpClient,
    pub(crate) heads: Vec<String>,
    world: World,
    service: String,
    store: Store,
    _data: tempfile::TempDir,
}

pub(super) async fn start(connections: usize) -> anyhow::Result<Server> {
    let world = World {
        readers: connections,
        communities: (connections / 10).max(4),
        gateways: 1,
        apart: false,
        heartbeat: HEARTBEAT,
    };
    let crier = Crier::start(world).await?;
    Ok(Server::crier(crier))
}

impl Server {
    /// Crier with one figure for all its gateways.
    pub(crate) fn crier(crier: Crier) -> Self {
        Self {
            about: About {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                settings: "one gateway, defaults; each connection is a user of its own with a token (HS256), in 5 communities, with 3 subscriptions",
            },
            addresses: crier.addresses.clone(),
            heads: crier.heads.clone(),
            marker: "event: ready",
            pids: crier.gateway_pids(),
            beside: vec![
                ("API and relay", crier.api.pid().into_iter().collect()),
                ("NATS", vec![crier.nats.pid()]),
            ],
            certificate: None,
            publisher: Publisher::Crier(crier.http.clone()),
            parts: Parts::Crier(Box::new(crier)),
        }
    }
}

impl Crier {
    pub(crate) async fn start(world: World) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let database = format!("sqlite://{}", data.path().join("crier.db").display());
        let nats = NatsServer::start().await;
        let (keys, nats_url) = (format!("[\"{}\"]", Keys::random_base64()), nats.url());
        let settings = [
            ("CRIER_AUTH__SECRET", SECRET),
            ("CRIER_CURSOR__KEYS", keys.as_str()),
            ("CRIER_NATS__URL", nats_url.as_str()),
            ("CRIER_DATABASE__URL", database.as_str()),
            ("CRIER_DATABASE__MIGRATE_ON_START", "true"),
            ("CRIER_API__LISTEN", "127.0.0.1:0"),
            ("CRIER_GATEWAY__LISTEN", "127.0.0.1:0"),
            ("CRIER_GATEWAY__MAX_CONNECTIONS", "19500"),
            ("CRIER_GATEWAY__HEARTBEAT", world.heartbeat),
        ];
        let mut api = Process::start(&["api"], &settings)?;
        let api_url = api.url("crier api on").await?;
        let (mut gateways, mut addresses) = (Vec::new(), Vec::new());
        for _ in 0..world.gateways {
            let mut gateway = Process::start(&["gateway"], &settings)?;
            let url = gateway.url("crier gateway on").await?;
            ready(&url).await?;
            addresses.push(url.rsplit('/').next().unwrap_or_default().parse()?);
            gateways.push(gateway);
        }
        let auth = AuthConfig {
            secret: Some(Secret::new(SECRET)),
            ..AuthConfig::default()
        };
        let signer = Signer::new(&auth)?;
        let service = signer.sign_service(TTL)?;
        mirror(&api_url, &service, world.lines()?).await?;
        let store = Store::connect(&DatabaseConfig::new(&database)).await?;
        settled(&store).await?;
        Ok(Self {
            heads: world.heads(&signer)?,
            http: HttpClient::new(&api_url).with_token(&*service),
            world,
            service,
            nats,
            api,
            gateways,
            addresses,
            store,
            _data: data,
        })
    }

    pub(crate) fn gateway_pids(&self) -> Vec<u32> {
        self.gateways.iter().filter_map(Process::pid).collect()
    }

    /// The first readers follow another of the [`MORE`] articles of the community that all are in.
    pub(crate) async fn follow_one_more(&self, readers: usize, which: usize) -> anyhow::Result<()> {
        let mut lines = String::new();
        for reader in 0..readers {
            let article = self.world.more(which);
            writeln!(lines, "{}", subscription(reader + 1, 1, article))?;
        }
        mirror(self.http.base(), &self.service, lines).await?;
        self.settled().await
    }

    /// Until the relay has published everything.
    pub(crate) async fn settled(&self) -> anyhow::Result<()> {
        settled(&self.store).await
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        for gateway in self.gateways {
            gateway.stop().await?;
        }
        self.api.stop().await
    }
}

/// Until the gateway follows the log: before, it takes no streams.
async fn ready(url: &str) -> anyhow::Result<()> {
    let http = HttpClient::new(url);
    let ready = async {
        while http.get("/health/ready").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ready = tokio::time::timeout(Duration::from_secs(30), ready).await;
    ready.context("the gateway does not follow the log")
}

impl World {
    /// The four communities of a reader beside the first, by numbers that readers of other gateways may share.
    fn communities_of(self, reader: usize) -> Vec<i64> {
        if self.communities == 0 {
            return Vec::new();
        }
        let (parts, part) = if self.apart {
            (self.gateways, reader % self.gateways)
        } else {
            (1, 0)
        };
        let each = self.communities / parts;
        let own = usize::try_from(OWN).unwrap_or_default();
        (0..own)
            .filter_map(|number| {
                i64::try_from(2 + part * each + (reader / parts * own + number) % each).ok()
            })
            .collect()
    }

    /// A community that nobody is in.
    pub(crate) fn quiet(self) -> usize {
        self.communities + 2
    }

    /// An article of the first community that nobody follows at first.
    fn more(self, which: usize) -> i64 {
        i64::try_from(self.quiet() + 1 + which).unwrap_or_default()
    }

    fn lines(self) -> anyhow::Result<String> {
        let mut lines = String::new();
        writeln!(
            lines,
            r#"{{"kind":"user","id":{SUBMITTER},"username":"submitter"}}"#
        )?;
        for id in 1..=self.quiet() {
            writeln!(
                lines,
                r#"{{"kind":"community","id":{id},"name":"Group {id}","type":"private"}}
{{"kind":"article","id":{id},"title":"Paper {id}","submitter_id":{SUBMITTER}}}
{{"kind":"community_article","id":{id},"community_id":{id},"article_id":{id},"status":"published"}}"#
            )?;
        }
        for id in (0..MORE).map(|which| self.more(which)) {
            writeln!(
                lines,
                r#"{{"kind":"article","id":{id},"title":"Paper {id}","submitter_id":{SUBMITTER}}}
{{"kind":"community_article","id":{id},"community_id":1,"article_id":{id},"status":"published"}}"#
            )?;
        }
        for reader in 0..self.readers {
            let user = reader + 1;
            writeln!(
                lines,
                r#"{{"kind":"user","id":{user},"username":"reader {user}"}}"#
            )?;
            let own = self.communities_of(reader);
            for community in [1].iter().chain(&own) {
                writeln!(
                    lines,
                    r#"{{"kind":"membership","community_id":{community},"user_id":{user},"role":"member"}}"#
                )?;
            }
            let followed = own.iter().take(usize::try_from(OWN_FOLLOWED)?);
            for community in [1].iter().chain(followed) {
                writeln!(lines, "{}", subscription(user, *community, *community))?;
            }
        }
        Ok(lines)
    }

    /// Users come in no order, as they do in life; but apart, the order says which gateway each comes to.
    fn heads(self, signer: &Signer) -> anyhow::Result<Vec<String>> {
        let mut heads = Vec::with_capacity(self.readers);
        let mut users: Vec<usize> = (1..=self.readers).collect();
        if !self.apart {
            let hasher = BuildHasherDefault::<DefaultHasher>::new();
            users.sort_by_cached_key(|user| hasher.hash_one(user));
        }
        for user in users {
            let token = signer.sign_user(i64::try_from(user)?, "reader", TTL);
            let token = token.context("a token")?;
            heads.push(format!(
                "GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\nAuthorization: Bearer {token}\r\n\r\n"
            ));
        }
        Ok(heads)
    }
}

fn subscription(user: usize, community: i64, article: i64) -> String {
    format!(
        r#"{{"kind":"subscription","user_id":{user},"community_id":{community},"article_id":{article},"is_active":true}}"#
    )
}
