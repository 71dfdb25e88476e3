//! What the databases do for the questions that grow with the platform, on 1,000,000 subscriptions of 10,000 users:
//! index searches, of no more than the answer needs.
//!
//! `cargo test -p crier-store plans -- --nocapture` prints the plans.

use crier_testkit::Postgres;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement,
};

use crate::auto_subscriptions::Cause;
use crate::config::DatabaseConfig;
use crate::relay::SNAPSHOTS;
use crate::sql::dialect;
use crate::store::Store;
use crate::subscriptions::FOLLOWED;

/// Who follows this article in this community: the question that the system which Crier replaces asked for every
/// event. Crier doesn't ask it, but whoever looks after the data does.
const SUBSCRIBERS: &str = "SELECT user_id FROM subscriptions
    WHERE community_article_id = $1 AND community_id = $2 AND is_active";

/// Each user is in 10 of 1,000 communities, every twentieth as an admin of one, and follows 10 articles in each; each
/// article has 100 followers. One more community has 3,000 admins and an article that nobody follows yet.
const FILL: &[&str] = &[
    "INSERT INTO users (id, username, created_at) SELECT i + 1, 'user', 0 FROM n WHERE i < 10000",
    "INSERT INTO communities (id, name, kind) SELECT i + 1, 'community', 'private' FROM n WHERE i < 1000",
    "INSERT INTO articles (id, title, slug, abstract, submitter_id)
        SELECT i + 1, 'article', CAST(i AS TEXT), '', 1 FROM n WHERE i < 10000",
    "INSERT INTO community_articles (id, community_id, article_id, status, submitter_id, created_at)
        SELECT i + 1, i / 10 + 1, i + 1, 'published', 1, 0 FROM n WHERE i < 10000",
    "INSERT INTO memberships (community_id, user_id, role, fence, joined_at)
        SELECT (i / 10 + i % 10 * 97) % 1000 + 1, i / 10 + 1,
            CASE WHEN i % 200 = 0 THEN 'admin' ELSE 'member' END, 1, 0 FROM n WHERE i < 100000",
    "INSERT INTO subscriptions (user_id, community_article_id, community_id, article_id, is_active, fence,
            subscribed_at)
        SELECT u + 1, c * 10 + a + 1, c + 1, c * 10 + a + 1, TRUE, 2, 0 FROM (
            SELECT i / 100 AS u, (i / 100 + i / 10 % 10 * 97) % 1000 AS c, i % 10 AS a FROM n) s",
    "INSERT INTO communities (id, name, kind) SELECT 1001, 'large', 'private' FROM n WHERE i = 0",
    "INSERT INTO articles (id, title, slug, abstract, submitter_id)
        SELECT 10001, 'article', 'new', '', 1 FROM n WHERE i = 0",
    "INSERT INTO community_articles (id, community_id, article_id, status, submitter_id, created_at)
        SELECT 10001, 1001, 10001, 'published', 1, 0 FROM n WHERE i = 0",
    "INSERT INTO memberships (community_id, user_id, role, fence, joined_at)
        SELECT 1001, i + 1, 'admin', 1, 0 FROM n WHERE i < 3000",
];

/// The numbers from 0 on, for [`FILL`].
const NUMBERS: &str =
    "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999999)";

/// A question, with its values as they are written and how many rows its answer has.
struct Question {
    what: &'static str,
    sql: String,
    values: Vec<String>,
    rows: u64,
}

fn questions() -> Vec<Question> {
    let question = |what, sql: &str, values: &[&str], rows| Question {
        what,
        sql: sql.to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        rows,
    };
    let many =
        "'[3100,3500,3900,4300,4700,5100,5500,5900,6300,6700,7100,7500,7900,8300,8700,9100]'";
    let lacking = |what, cause: &Cause, rows| Question {
        what,
        sql: cause.lacking(),
        values: vec![format!("'{}'", cause.list())],
        rows,
    };
    let activate = |what, cause: &Cause, who: &[(i64, i64)]| {
        let fences: Vec<String> = who.iter().map(|(c, u)| format!("[{c},{u},9]")).collect();
        let fences = format!("'[{}]'", fences.join(","));
        let list = format!("'{}'", cause.list());
        Question {
            what,
            sql: cause.activate(),
            values: vec![list, fences, "0".to_owned()],
            rows: 0,
        }
    };
    let admins: Vec<(i64, i64)> = (1..=3_000).map(|user| (1_001, user)).collect();
    let published = |community: i64, article: i64| {
        let (community, article) = (community.try_into(), article.try_into());
        Cause::Published(vec![(community.unwrap(), article.unwrap())])
    };
    let (known, new) = (published(78, 777), published(1_001, 10_001));
    let promoted = (78.try_into().unwrap(), 4_711.try_into().unwrap());
    let promoted = Cause::Promoted(vec![promoted]);
    vec![
        question("what a user follows", FOLLOWED, &["4711", "0", "50"], 100),
        question("a user's snapshot", SNAPSHOTS, &["'[4711]'"], 111),
        question("the snapshots of 16 users", SNAPSHOTS, &[many], 1_776),
        question("who follows an article", SUBSCRIBERS, &["777", "78"], 100),
        lacking("who lacks a published article", &known, 0),
        lacking("who of 3,000 lacks a new article", &new, 3_000),
        activate("3,000 follow a new article", &new, &admins),
        lacking("what a new admin lacks", &promoted, 0),
        activate("a new admin follows", &promoted, &[(78, 4_711)]),
    ]
}

/// A database with the schema; one connection, so that its settings and what it prepares stay.
async fn empty(url: &str) -> (Store, DatabaseConnection) {
    let store = Store::connect(&DatabaseConfig::new(url)).await.unwrap();
    store.migrate().await.unwrap();
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    let db = Database::connect(options).await.unwrap();
    // The rows fit together; to ask for each whether they do takes longer than all the rest.
    let unchecked = match db.get_database_backend() {
        DbBackend::Postgres => "SET session_replication_role = replica",
        _ => "PRAGMA foreign_keys = OFF",
    };
    db.execute_unprepared(unchecked).await.unwrap();
    (store, db)
}

async fn fill(db: &DatabaseConnection) {
    for rows in FILL {
        // INSERT … WITH: both databases know it in this order.
        let (into, select) = rows.split_once("SELECT").unwrap();
        let sql = format!("{into} {NUMBERS} SELECT{select}");
        db.execute_unprepared(&sql).await.unwrap();
    }
}

/// One column of all rows, as lines.
async fn lines(db: &DatabaseConnection, sql: &str, column: &str) -> Vec<String> {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let rows = db.query_all_raw(statement).await.unwrap();
    let line = |row: &sea_orm::QueryResult| row.try_get("", column).unwrap();
    rows.iter().map(line).collect()
}

/// The number behind this word.
fn number(line: &str, word: &str) -> Option<u64> {
    let (_, behind) = line.split_once(word)?;
    let digits = behind.split(|c: char| !c.is_ascii_digit()).next();
    digits?.parse().ok()
}

/// The pages that a plan's root touched, and the rows that it gave.
fn cost(plan: &[String]) -> (u64, u64) {
    let actual = plan.first().and_then(|root| root.split_once("(actual"));
    let rows = number(actual.unwrap().1, "rows=").unwrap();
    let buffers = plan.iter().find(|line| line.contains("Buffers:")).unwrap();
    let pages = ["hit=", "read="].map(|word| number(buffers, word).unwrap_or_default());
    (pages.iter().sum(), rows)
}

/// Prepares every question, with one plan for all values.
async fn prepare(db: &DatabaseConnection, questions: &[Question]) {
    let generic = "SET plan_cache_mode = force_generic_plan";
    db.execute_unprepared(generic).await.unwrap();
    for (number, question) in questions.iter().enumerate() {
        let sql = dialect(DbBackend::Postgres, &question.sql);
        let prepare = format!("PREPARE question{number} AS {sql}");
        db.execute_unprepared(&prepare).await.unwrap();
        explain(db, number, question).await;
    }
}

/// Asks a prepared question, and how.
async fn explain(db: &DatabaseConnection, number: usize, question: &Question) -> Vec<String> {
    let values = question.values.join(", ");
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS) EXECUTE question{number} ({values})");
    db.execute_unprepared("BEGIN").await.unwrap();
    let plan = lines(db, &explain, "QUERY PLAN").await;
    db.execute_unprepared("ROLLBACK").await.unwrap();
    plan
}

#[tokio::test]
async fn postgres_searches_indexes() {
    let database = Postgres::database().await;
    let (store, db) = empty(&database.url()).await;
    let questions = questions();
    // As a service does that an application mirrors its data into: its plans are made for empty tables, and kept.
    prepare(&db, &questions).await;
    fill(&db).await;
    // What is planned now is planned without statistics.
    let custom = "SET plan_cache_mode = force_custom_plan";
    db.execute_unprepared(custom).await.unwrap();
    all_is_searched(&db, &questions, "without statistics").await;
    store.analyse().await.unwrap();
    all_is_searched(&db, &questions, "analysed").await;
    let generic = "SET plan_cache_mode = force_generic_plan";
    db.execute_unprepared(generic).await.unwrap();
    all_is_searched(&db, &questions, "planned when empty, then analysed").await;
}

/// Whether PostgreSQL does no more than the answers need.
async fn all_is_searched(db: &DatabaseConnection, questions: &[Question], state: &str) {
    for (number, question) in questions.iter().enumerate() {
        let plan = explain(db, number, question).await;
        let what = format!("{} ({state})", question.what);
        println!("\nPostgreSQL, {what}\n{}", plan.join("\n"));
        check(&what, question, &plan);
    }
}

fn check(what: &str, question: &Question, plan: &[String]) {
    for table in ["subscriptions", "memberships", "users"] {
        let scan = format!("Seq Scan on {table}");
        let scans = plan.iter().any(|line| line.contains(&scan));
        assert!(!scans, "{what} walks all {table}");
    }
    let (pages, found) = cost(plan);
    assert_eq!(found, question.rows, "{what}");
    // To compare each of 3,000 with all would be nine million.
    let removed = plan
        .iter()
        .filter_map(|line| number(line, "Rows Removed by Join Filter: "));
    let removed: u64 = removed.sum();
    assert!(removed < 1_000_000, "{what} compares {removed} pairs");
    if question.sql.starts_with("INSERT") {
        return;
    }
    // A row of the answer may stand on a page of its own in each of four tables, behind three of an index.
    assert!(
        pages < 16 * question.rows.max(100),
        "{what} touches {pages} pages for {} rows",
        question.rows
    );
}

#[tokio::test]
async fn sqlite_searches_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("crier.db").display());
    let (_store, db) = empty(&url).await;
    fill(&db).await;
    for state in ["", "ANALYZE"] {
        db.execute_unprepared(state).await.unwrap();
        for Question {
            what,
            sql,
            values,
            rows,
        } in questions()
        {
            let mut sql = dialect(DbBackend::Sqlite, &sql);
            for (i, value) in values.iter().enumerate() {
                sql = sql.replace(&format!("${}", i + 1), value);
            }
            let plan = lines(&db, &format!("EXPLAIN QUERY PLAN {sql}"), "detail").await;
            println!("\nSQLite, {what} ({state})\n{}", plan.join("\n"));

            // A list that was given is read (`e`), and one is walked (`x`, `f`, or `m` who are made of `f`). All else is searched.
            let scans: Vec<&String> = plan
                .iter()
                .filter(|step| step.starts_with("SCAN") && !step.starts_with("SCAN e "))
                .collect();
            let given = ["SCAN x", "SCAN f", "SCAN m"];
            let fine = scans.len() <= 1 && scans.iter().all(|step| given.contains(&step.as_str()));
            assert!(fine, "{what} ({state}): {scans:?}");
            if sql.starts_with("INSERT") {
                continue;
            }
            let count = Statement::from_string(
                DbBackend::Sqlite,
                format!("SELECT count(*) AS n FROM ({sql})"),
            );
            let found: i64 = db
                .query_one_raw(count)
                .await
                .unwrap()
                .unwrap()
                .try_get("", "n")
                .unwrap();
            assert_eq!(found.unsigned_abs(), rows, "{what}");
        }
    }
}
