//! What the tests share: a database of each kind, a count of what ran on each, and a small world to begin with.

use std::future::Future;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use crier_domain::event::Audience;
use crier_domain::{ArticleId, CommunityId, Event, EventId, OutboxId, Snapshot, UserId};
use crier_store::{
    CommunityArticle, CommunityKind, DatabaseConfig, Locks, Role, Status, Store, Submitted,
};
use crier_testkit::{Postgres, TestDatabase};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, QueryResult, Statement};
use tempfile::TempDir;

/// Longer than any deadline inside a test: a hang fails by name too.
const LONGEST: Duration = Duration::from_secs(180);

/// Defines tests that run on both databases: `async fn name(db: &TestDb) { … }`.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($db:ident: &TestDb) $body:block)+) => {
        /// How many there are in this file.
        pub(crate) const COUNT: usize = [$(stringify!($name)),+].len();
        $(
            $(#[$meta])*
            mod $name {
                #[allow(unused_imports, reason = "a file may name all it needs by path")]
                use super::*;

                async fn run($db: &$crate::harness::TestDb) $body

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn sqlite() {
                    let db = $crate::harness::TestDb::sqlite().await;
                    $crate::harness::counted($crate::harness::Kind::Sqlite, run(&db)).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn postgres() {
                    let db = $crate::harness::TestDb::postgres().await;
                    $crate::harness::counted($crate::harness::Kind::Postgres, run(&db)).await;
                }
            }
        )+
    };
}
pub(crate) use on_both;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

static RAN: AtomicUsize = AtomicUsize::new(0);
static PASSED: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

/// Runs a test's body and counts it, passed or not. The last one prints the counts.
pub(crate) async fn counted(kind: Kind, test: impl Future<Output = ()>) {
    let done = tokio::time::timeout(LONGEST, catch(test)).await;
    if matches!(done, Ok(Ok(()))) {
        PASSED[kind as usize].fetch_add(1, Ordering::SeqCst);
    }
    if RAN.fetch_add(1, Ordering::SeqCst) + 1 == 2 * crate::ON_BOTH {
        let [sqlite, postgres] = [0, 1].map(|kind: usize| PASSED[kind].load(Ordering::SeqCst));
        let all = crate::ON_BOTH;
        let line = format!(
            "store tests passed: {sqlite}/{all} on SQLite, {postgres}/{all} on PostgreSQL\n"
        );
        // Past the harness, which keeps what tests print to itself.
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    match done {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(_) => panic!("the test hung"),
    }
}

async fn catch(test: impl Future<Output = ()>) -> std::thread::Result<()> {
    let mut test = pin!(test);
    std::future::poll_fn(move |cx| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| test.as_mut().poll(cx)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}

/// An empty database of one test.
pub(crate) struct TestDb {
    pub(crate) kind: Kind,
    url: String,
    _folder: Option<TempDir>,
    _postgres: Option<TestDatabase>,
}

impl TestDb {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            kind: Kind::Sqlite,
            url: format!("sqlite://{}", folder.path().join("crier.db").display()),
            _folder: Some(folder),
            _postgres: None,
        }
    }

    pub(crate) async fn postgres() -> Self {
        let database = Postgres::database().await;
        Self {
            kind: Kind::Postgres,
            url: database.url(),
            _folder: None,
            _postgres: Some(database),
        }
    }

    pub(crate) fn config(&self) -> DatabaseConfig {
        DatabaseConfig {
            // A busy machine is not what these tests are about.
            acquire_timeout: Duration::from_secs(60),
            statement_timeout: Duration::from_secs(60),
            ..DatabaseConfig::new(&self.url)
        }
    }

    /// A store of its own, as another process would have it.
    pub(crate) async fn open(&self) -> Store {
        Store::connect(&self.config()).await.unwrap()
    }

    /// A store with the schema.
    pub(crate) async fn store(&self) -> Store {
        let store = self.open().await;
        store.migrate().await.unwrap();
        store
    }

    /// A connection past the store.
    pub(crate) async fn raw(&self) -> Raw {
        Raw(Database::connect(&self.url).await.unwrap())
    }
}

/// SQL past the store.
pub(crate) struct Raw(DatabaseConnection);

impl Raw {
    pub(crate) async fn rows(&self, sql: &str) -> Vec<QueryResult> {
        let statement = Statement::from_string(self.0.get_database_backend(), sql);
        self.0.query_all_raw(statement).await.unwrap()
    }

    /// The first column of all rows, whole numbers.
    pub(crate) async fn numbers(&self, sql: &str) -> Vec<i64> {
        let rows = self.rows(sql).await;
        rows.iter()
            .map(|row| row.try_get_by_index(0).unwrap())
            .collect()
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let numbers = self.numbers(sql).await;
        assert_eq!(numbers.len(), 1, "{sql}");
        numbers[0]
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.0.execute_unprepared(sql).await.unwrap();
    }
}

/// A `UserId`, `CommunityId`, … by its number.
pub(crate) fn id<Id: TryFrom<i64, Error: std::fmt::Debug>>(number: i64) -> Id {
    Id::try_from(number).unwrap()
}

/// Users 1, 2, …, `n`, named `user 1` and so on.
pub(crate) async fn users(store: &Store, n: i64) -> Vec<UserId> {
    let mut users = Vec::new();
    for number in 1..=n {
        let user = id(number);
        store
            .ensure_user(user, &format!("user {number}"))
            .await
            .unwrap();
        users.push(user);
    }
    users
}

/// A community with this admin.
pub(crate) async fn community(store: &Store, admin: UserId, kind: CommunityKind) -> CommunityId {
    let tx = store.begin(Locks::new(), None).await.unwrap();
    let made = tx
        .create_community(admin, "AI Research Group", kind)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    made.id
}

pub(crate) async fn join(store: &Store, community: CommunityId, user: UserId, role: Role) {
    let tx = store
        .begin(Locks::new().exclusive(community), None)
        .await
        .unwrap();
    tx.add_member(community, user, role).await.unwrap();
    tx.commit().await.unwrap();
}

/// A submitted article, with nothing that publishing causes.
pub(crate) async fn submitted(
    store: &Store,
    community: CommunityId,
    submitter: UserId,
) -> CommunityArticle {
    let tx = store
        .begin(Locks::new().exclusive(community), None)
        .await
        .unwrap();
    let article = tx
        .create_article(submitter, "GPT-5 Architecture", "")
        .await
        .unwrap();
    let submitted = tx
        .submit_article(community, article.id, submitter)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    match submitted {
        Submitted::New(article) => article,
        Submitted::Already(_) => panic!("submitted twice"),
    }
}

/// A published article, with nothing that publishing causes.
pub(crate) async fn published(
    store: &Store,
    community: CommunityId,
    submitter: UserId,
) -> CommunityArticle {
    let article = submitted(store, community, submitter).await;
    let tx = store
        .begin(Locks::new().exclusive(community), None)
        .await
        .unwrap();
    let change = tx
        .set_status(community, article.article_id, Status::Published)
        .await
        .unwrap()
        .unwrap();
    tx.commit().await.unwrap();
    change.article
}

pub(crate) async fn subscribe(store: &Store, user: UserId, article: &CommunityArticle) {
    let tx = store
        .begin(Locks::new().exclusive(article.community_id), None)
        .await
        .unwrap();
    tx.subscribe(user, article).await.unwrap();
    tx.commit().await.unwrap();
}

/// The user's snapshot.
pub(crate) async fn snapshot(store: &Store, user: UserId) -> Snapshot {
    let snapshots = store.snapshots(&[user]).await.unwrap();
    assert_eq!(snapshots.len(), 1);
    snapshots.into_iter().next().unwrap().1
}

/// What the user follows in the community, with fences.
pub(crate) async fn followed(
    store: &Store,
    user: UserId,
    community: CommunityId,
) -> Vec<(ArticleId, OutboxId)> {
    let snapshot = snapshot(store, user).await;
    let membership = snapshot.communities.get(&community);
    membership.map_or_else(Vec::new, |membership| {
        membership.articles.iter().map(|(a, f)| (*a, *f)).collect()
    })
}

/// An event in a community, without an article.
pub(crate) fn event(community: CommunityId) -> Event {
    Event {
        id: EventId::new(),
        community,
        article: None,
        audience: Audience::Members,
        exclude: None,
        body: "{}".into(),
    }
}

/// Adds one event and commits.
pub(crate) async fn publish(store: &Store, community: CommunityId) -> (EventId, OutboxId) {
    let tx = store
        .begin(Locks::new().shared(community), None)
        .await
        .unwrap();
    let event = event(community);
    let row = tx.outbox_event(&event).await.unwrap();
    tx.commit().await.unwrap();
    (event.id, row)
}

/// Whether the future is ready at its first poll.
pub(crate) async fn ready_at_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    })
    .await
}
