//! One service of a test's own, the people who call it, and places for them to meet.

use std::sync::OnceLock;
use std::time::Duration;

use crier_api::config::{ApiConfig, Config, CursorConfig, DatabaseGroup, LimitsConfig, RelayGroup};
use crier_bus::NatsConfig;
use crier_domain::Keys;
use crier_service_kit::auth::{AuthConfig, Signer};
use crier_service_kit::config::Secret;
use crier_service_kit::telemetry::{self, TelemetryConfig, TelemetryGuard};
use crier_store::{DatabaseConfig, Store};
use crier_testkit::{Answer, HttpClient, Postgres, TestDatabase};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const SECRET: &str = "a secret that only the tests of this crate use";

/// Nobody listens there.
const NO_NATS: &str = "nats://127.0.0.1:1";

/// A running service.
pub(crate) struct Service {
    pub(crate) http: HttpClient,
    pub(crate) keys: Keys,
    config: Config,
    stop: CancellationToken,
    task: JoinHandle<Result<(), crier_api::ApiError>>,
    dir: TempDir,
}

/// The settings of a service in this folder, without NATS.
pub(crate) fn config(dir: &TempDir) -> Config {
    Config {
        api: ApiConfig {
            listen: "127.0.0.1:0".to_owned(),
            request_timeout: Duration::from_secs(30).into(),
            concurrency: 64,
            shutdown_deadline: Duration::from_secs(10).into(),
            demo: false,
            gateways: Vec::new(),
        },
        database: DatabaseGroup {
            url: Secret::new(format!(
                "sqlite://{}",
                dir.path().join("crier.db").display()
            )),
            max_connections: 4,
            acquire_timeout: Duration::from_secs(20).into(),
            statement_timeout: Duration::from_secs(20).into(),
            migrate_on_start: None,
        },
        nats: NatsConfig::at(NO_NATS),
        auth: AuthConfig {
            secret: Some(Secret::new(SECRET)),
            ..AuthConfig::default()
        },
        cursor: CursorConfig {
            keys: vec![Secret::new(Keys::random_base64())],
        },
        relay: RelayGroup {
            retention: Duration::from_secs(72 * 3600).into(),
            // A wake-up that is lost shall show.
            sweep: Duration::from_secs(3600).into(),
            replicas: 1,
        },
        limits: LimitsConfig::none(),
    }
}

impl Service {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(&dir);
        change(&mut config);
        Self::at(dir, config).await
    }

    /// On a PostgreSQL database of its own, which has to be kept for as long as the service runs.
    pub(crate) async fn on_postgres() -> (Self, TestDatabase) {
        let database = Postgres::database().await;
        let url = Secret::new(database.url());
        let service = Self::with(|config| {
            config.database.url = url;
            config.database.max_connections = 16;
            config.database.migrate_on_start = Some(true);
        });
        (service.await, database)
    }

    async fn at(dir: TempDir, config: Config) -> Self {
        trace();
        let api = crier_api::build(config.clone()).await.unwrap();
        let http = HttpClient::new(format!("http://{}", api.local_addr()));
        let stop = CancellationToken::new();
        let task = tokio::spawn(api.run(stop.clone()));
        let keys = config.cursor.read().unwrap();
        Self {
            http,
            keys,
            config,
            stop,
            task,
            dir,
        }
    }

    /// Stops it in order; what broke while it ran fails the test. Gives what a next life needs.
    pub(crate) async fn end(self) -> (TempDir, Config) {
        assert!(!self.task.is_finished(), "the service ended by itself");
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
        (self.dir, self.config)
    }

    /// Stops it and starts another with the same data.
    pub(crate) async fn restart(self) -> Self {
        let (dir, config) = self.end().await;
        Self::at(dir, config).await
    }

    /// The same database, for what no call shows.
    pub(crate) async fn store(&self) -> Store {
        let url = self.config.database.url.expose();
        Store::connect(&DatabaseConfig::new(url)).await.unwrap()
    }

    /// A person with a valid token.
    pub(crate) fn person(&self, id: i64, name: &str) -> Person {
        let token = signer().sign_user(id, name, Duration::from_secs(600));
        Person {
            id,
            http: self.http.with_token(token.unwrap()),
        }
    }

    /// The application's own backend.
    pub(crate) fn backend(&self) -> HttpClient {
        let token = signer().sign_service(Duration::from_secs(600));
        self.http.with_token(token.unwrap())
    }

    /// A person whom the service knows.
    pub(crate) async fn known(&self, id: i64, name: &str) -> Person {
        let person = self.person(id, name);
        expect(&person.get("/api/communities/").await, 200);
        person
    }
}

/// Has all tests of this process make spans, which then have ids, and log nothing.
fn trace() {
    static TELEMETRY: OnceLock<TelemetryGuard> = OnceLock::new();
    TELEMETRY.get_or_init(|| {
        let config = TelemetryConfig {
            log: "off".to_owned(),
            ..TelemetryConfig::default()
        };
        telemetry::init(&config, "test").unwrap()
    });
}

/// Makes tokens that the service takes.
pub(crate) fn signer() -> Signer {
    let config = AuthConfig {
        secret: Some(Secret::new(SECRET)),
        ..AuthConfig::default()
    };
    Signer::new(&config).unwrap()
}

/// Someone with a token.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) id: i64,
    pub(crate) http: HttpClient,
}

impl Person {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.http.get(path).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.http.post(path, &body).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.http.put(path, &body).await
    }

    pub(crate) async fn create_community(&self, kind: &str) -> i64 {
        let body = json!({"name": "AI Research Group", "type": kind});
        id(&self.post("/api/communities/", body).await, 201)
    }

    pub(crate) async fn put_member(&self, community: i64, member: &Person, role: &str) {
        let path = format!("/api/communities/{community}/members/{}/", member.id);
        expect(&self.put(&path, json!({ "role": role })).await, 200);
    }

    pub(crate) async fn manage_member(&self, community: i64, member: i64, action: &str) -> Answer {
        let path = format!("/api/communities/{community}/manage-member/{member}/{action}");
        self.post(&path, json!({})).await
    }

    /// Makes an article and submits it.
    pub(crate) async fn submit(&self, community: i64, title: &str) -> Place {
        let article = self.post("/api/articles/", json!({ "title": title })).await;
        let article = id(&article, 201);
        let path = format!("/api/communities/{community}/articles/{article}/submit/");
        let community_article = id(&self.post(&path, json!({})).await, 201);
        Place {
            community,
            article,
            community_article,
        }
    }

    pub(crate) async fn manage(&self, place: Place, action: &str) -> Answer {
        let (community, article) = (place.community, place.article);
        let path = format!("/api/communities/{community}/articles/{article}/manage/{action}/");
        self.post(&path, json!({})).await
    }

    pub(crate) async fn publish(&self, place: Place) {
        expect(&self.manage(place, "publish").await, 200);
    }

    pub(crate) async fn subscribe(&self, place: Place) -> Answer {
        let path = "/api/discussions/subscribe/";
        self.post(path, place.target()).await
    }

    pub(crate) async fn discuss(&self, place: Place, topic: &str) -> Answer {
        let body = json!({"topic": topic, "content": "What do you think?"});
        self.post(&place.discussions(), body).await
    }

    pub(crate) async fn comment(&self, discussion: i64, content: &str) -> Answer {
        let path = format!("/api/discussions/{discussion}/comments/");
        self.post(&path, json!({ "content": content })).await
    }

    /// The ids of the community articles that this person follows.
    pub(crate) async fn follows(&self) -> Vec<i64> {
        let answer = self.get("/api/discussions/user-subscriptions/").await;
        let communities = expect(&answer, 200)["communities"].as_array().unwrap();
        let articles = communities
            .iter()
            .flat_map(|community| community["articles"].as_array().unwrap());
        articles
            .map(|article| article["community_article_id"].as_i64().unwrap())
            .collect()
    }
}

/// An article in a community.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) community: i64,
    pub(crate) article: i64,
    pub(crate) community_article: i64,
}

impl Place {
    /// What subscribing takes.
    pub(crate) fn target(self) -> Value {
        json!({
            "community_article_id": self.community_article,
            "community_id": self.community,
        })
    }

    /// Where its discussions are.
    pub(crate) fn discussions(self) -> String {
        let (article, community) = (self.article, self.community);
        format!("/api/articles/{article}/discussions/?community_id={community}")
    }
}

/// The body of an answer that must have this status.
pub(crate) fn expect(answer: &Answer, status: u16) -> &Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    &answer.json
}

/// The `id` in an answer that must have this status.
pub(crate) fn id(answer: &Answer, status: u16) -> i64 {
    expect(answer, status)["id"].as_i64().unwrap()
}

/// The names in an object, in order of their letters.
pub(crate) fn names(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names
}
