//! The bare database's side: the statements that the API service sends for a call, and nothing else. That they are as
//! many as the service's is checked before each measurement.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use crier_testkit::tools;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, Row as _, SqliteConnection};
use tokio::process::Command;

use super::load::ROUND;
use super::world::{Database, LARGE, PLACES, Place, World};
use super::{Arguments, Spread};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Subscribe,
    Comment,
    Status,
}

impl Call {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Comment => "comment",
            Self::Status => "status",
        }
    }
}

/// A comment of about the length that people write.
pub(super) const COMMENT: &str =
    "A comment of about the length that people write when they agree with each other.";

/// SQLite answers reads on four connections, as the store has them.
const SQLITE_READERS: usize = 4;

const RECOGNISE: &str = "SELECT id, username, not_before, created_at FROM users WHERE id = :user";
const ACCESS: &str = "SELECT c.kind, m.role FROM communities c
    LEFT JOIN memberships m ON m.community_id = c.id AND m.user_id = :user
    WHERE c.id = :community AND (c.kind <> 'hidden' OR m.user_id IS NOT NULL)";
const COMMUNITY_ARTICLE: &str =
    "SELECT ca.id, ca.community_id, ca.article_id, a.slug, a.title, ca.status, ca.submitter_id
    FROM community_articles ca JOIN articles a ON a.id = ca.article_id
    JOIN communities c ON c.id = ca.community_id
    LEFT JOIN memberships m ON m.community_id = ca.community_id AND m.user_id = :user
    WHERE ca.id = :article AND ((c.kind = 'public' OR m.user_id IS NOT NULL) AND (ca.status = 'published'
        OR ca.submitter_id = :user OR a.submitter_id = :user OR m.role IN ('reviewer', 'moderator', 'admin')))";
const SUBSCRIPTION: &str =
    "SELECT id, user_id, community_article_id, community_id, article_id, is_active, subscribed_at
    FROM subscriptions WHERE user_id = :user AND community_article_id = :article";
const ROOM: &str = "SELECT (SELECT COUNT(*) FROM memberships WHERE user_id = :user)
    + (SELECT COUNT(*) FROM subscriptions WHERE user_id = :user AND is_active) AS n";
const USER_ROW: &str = "INSERT INTO outbox (user_id, community_id, created_at)
    VALUES (:user, :community, 1700000000000) RETURNING id AS fence";
const SUBSCRIBE: &str =
    "INSERT INTO subscriptions (user_id, community_article_id, community_id, article_id, is_active, fence,
        subscribed_at)
    VALUES (:user, :article, :community, :article, TRUE, :fence, 1700000000000)
    ON CONFLICT (user_id, community_article_id) DO UPDATE SET is_active = TRUE, ended_by = NULL,
        fence = excluded.fence, subscribed_at = excluded.subscribed_at
    RETURNING id, user_id, community_article_id, community_id, article_id, is_active, subscribed_at";
const COMMUNITY_OF_DISCUSSION: &str =
    "SELECT d.community_id FROM discussions d JOIN communities c ON c.id = d.community_id
    WHERE d.id = :discussion AND (c.kind <> 'hidden' OR EXISTS (
        SELECT 1 FROM memberships m WHERE m.community_id = c.id AND m.user_id = :user))";
const DISCUSSION: &str =
    "SELECT d.community_id, d.article_id FROM discussions d WHERE d.id = :discussion {key_share}";
const COMMENT_ROW: &str =
    "INSERT INTO comments (discussion_id, parent_id, depth, author_id, content, created_at, updated_at)
    VALUES (:discussion, NULL, 1, :user, {comment}, 1700000000000, 1700000000000)
    RETURNING id, discussion_id, parent_id, depth, author_id, content, created_at, updated_at,
        (SELECT username FROM users WHERE id = :user) AS username";
const EVENT_ROW: &str = "INSERT INTO outbox (event_id, community_id, article_id, audience, exclude_user, body,
        traceparent, created_at)
    VALUES ({uuid}, :community, :article, 'subscribers', :user, {body}, {traceparent}, 1700000000000) RETURNING id";
const LOCK_SHARED: &str = "{lock_shared}";
const LOCK_EXCLUSIVE: &str = "{lock}";

/// Before the transaction, and in it.
fn script(call: Call) -> (&'static [&'static str], &'static [&'static str]) {
    match call {
        Call::Subscribe => (
            &[RECOGNISE, ACCESS],
            &[
                LOCK_EXCLUSIVE,
                ACCESS,
                COMMUNITY_ARTICLE,
                SUBSCRIPTION,
                ROOM,
                USER_ROW,
                SUBSCRIBE,
            ],
        ),
        Call::Comment => (
            &[RECOGNISE, COMMUNITY_OF_DISCUSSION, ACCESS],
            &[LOCK_SHARED, ACCESS, DISCUSSION, COMMENT_ROW, EVENT_ROW],
        ),
        Call::Status => (&[RECOGNISE, ACCESS, COMMUNITY_ARTICLE, SUBSCRIPTION], &[]),
    }
}

/// The words in which the two databases differ, put in. The lock is PostgreSQL's alone.
fn dialect(statement: &str, postgres: bool) -> Option<String> {
    let body = format!("'{}'", "x".repeat(450));
    let key_share = if postgres { "FOR KEY SHARE OF d" } else { "" };
    let (uuid, body, lock) = if postgres {
        let lock = |shared| {
            format!(
                "SELECT set_config('lock_timeout', '10000', true), set_config('statement_timeout', '10000', true), \
                pg_advisory_xact_lock{shared}(1129466181, CAST(:community AS int))"
            )
        };
        (
            "gen_random_uuid()",
            format!("convert_to({body}, 'UTF8')"),
            Some((lock(""), lock("_shared"))),
        )
    } else {
        ("randomblob(16)", format!("CAST({body} AS BLOB)"), None)
    };
    let statement = match (statement, lock) {
        (LOCK_EXCLUSIVE, lock) => lock?.0,
        (LOCK_SHARED, lock) => lock?.1,
        (other, _) => other.to_owned(),
    };
    let traceparent = "'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'";
    Some(
        statement
            .replace("{uuid}", uuid)
            .replace("{key_share}", key_share)
            .replace("{body}", &body)
            .replace("{comment}", &format!("'{COMMENT}'"))
            .replace("{traceparent}", traceparent),
    )
}

/// How many statements a call is here.
pub(super) fn statements(world: &World, call: Call) -> u64 {
    let (before, within) = script(call);
    let postgres = matches!(world.database, Database::Postgres(_));
    let all = before.iter().chain(within);
    all.filter(|statement| dialect(statement, postgres).is_some())
        .count() as u64
}

/// Calls a second of the database without the service.
pub(super) async fn run(
    world: &World,
    arguments: &Arguments,
    call: Call,
    spread: Spread,
    round: usize,
) -> anyhow::Result<f64> {
    match &world.database {
        Database::Postgres(url) => pgbench(url, world, arguments, call, spread, round).await,
        Database::Sqlite(file) => sqlite(file, world, arguments, call, spread, round).await,
    }
}

/// pgbench with as many connections as the service had, each of a user that the service did not use.
async fn pgbench(
    url: &str,
    world: &World,
    arguments: &Arguments,
    call: Call,
    spread: Spread,
    round: usize,
) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("call.sql");
    std::fs::write(
        &file,
        pgbench_script(world, call, spread, round, arguments.connections)?,
    )?;
    let connections = arguments.connections.to_string();
    let done = Command::new(tools::postgres_bin().join("pgbench"))
        .args([
            "--no-vacuum",
            "--protocol=prepared",
            "--client",
            &connections,
        ])
        .args([
            "--time",
            &arguments.seconds.to_string(),
            "--define",
            "n=0",
            "--file",
        ])
        .arg(&file)
        .arg(url)
        .output()
        .await
        .context("pgbench can't be run")?;
    let said = String::from_utf8_lossy(&done.stdout);
    let tps = said.lines().find_map(|line| line.strip_prefix("tps = "));
    let Some(tps) = tps.filter(|_| done.status.success()) else {
        bail!("pgbench: {said}{}", String::from_utf8_lossy(&done.stderr));
    };
    Ok(tps.split(' ').next().unwrap_or_default().parse()?)
}

fn pgbench_script(
    world: &World,
    call: Call,
    spread: Spread,
    round: usize,
    connections: usize,
) -> anyhow::Result<String> {
    let first = i64::try_from(round)? * ROUND;
    let mut text = format!(
        "\\set user {connections} + 1 + :client_id\n\\set number ({first} + :n + :user * 31) % {PLACES} + 1\n\
        \\set n :n + 1\n"
    );
    match spread {
        Spread::Many => text.push_str("\\set community :number\n\\set article :number\n"),
        Spread::One => text.push_str(&format!(
            "\\set community {LARGE}\n\\set article {PLACES} + :number\n"
        )),
    }
    match (call, spread) {
        // The first thousand discussions there are; members of all communities may write in any of them.
        (Call::Comment, Spread::Many) => {
            text.push_str("\\set discussion :number\n\\set community :number\n");
        }
        (Call::Comment, Spread::One) => text.push_str(&format!(
            "\\set discussion {}\n\\set community 1\n\\set article 1\n",
            world.discussion(Spread::One, 0)
        )),
        _ => {}
    }
    let (before, within) = script(call);
    let mut push = |statement: &str| {
        if let Some(statement) = dialect(statement, true) {
            let end = if statement.contains("AS fence") {
                "\\gset"
            } else {
                ";"
            };
            text.push_str(&format!("{}{end}\n", statement.replace('\n', " ")));
        }
    };
    before.iter().for_each(|statement| push(statement));
    if !within.is_empty() {
        push("BEGIN");
        within.iter().for_each(|statement| push(statement));
        push("COMMIT");
    }
    Ok(text)
}

/// SQLite has one writer: one loop for calls that write, and for reads as many as the store has connections.
async fn sqlite(
    file: &PathBuf,
    world: &World,
    arguments: &Arguments,
    call: Call,
    spread: Spread,
    round: usize,
) -> anyhow::Result<f64> {
    let loops = if script(call).1.is_empty() {
        SQLITE_READERS
    } else {
        1
    };
    let begun = Instant::now();
    let until = begun + Duration::from_secs(arguments.seconds);
    let mut tasks = Vec::new();
    for number in 0..loops {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10));
        let mut connection = options.connect().await?;
        let first = i64::try_from(round)? * ROUND;
        let users = i64::try_from(arguments.connections)?;
        let discussions: Vec<i64> = (0..PLACES).map(|at| world.discussion(spread, at)).collect();
        tasks.push(tokio::spawn(async move {
            let mut done = 0_u32;
            while Instant::now() < until {
                let turn = i64::from(done) + i64::try_from(number)?;
                // User by user and, when all had their turn, the next place.
                let user = users + 1 + turn % users;
                let at = first + turn / users + user * 31;
                ensure!(
                    call != Call::Subscribe || turn / users < ROUND,
                    "a round needs more than {ROUND} places: measure fewer seconds"
                );
                let place = match (call, spread) {
                    // One discussion, of the first community.
                    (Call::Comment, Spread::One) => Place::new(Spread::Many, 0),
                    _ => Place::new(spread, at),
                };
                let discussion = discussions[usize::try_from(at % PLACES)?];
                once(&mut connection, call, user, place, discussion).await?;
                done += 1;
            }
            anyhow::Ok(done)
        }));
    }
    let mut all = 0.0;
    for task in tasks {
        all += f64::from(task.await??);
    }
    Ok(all / begun.elapsed().as_secs_f64())
}

async fn once(
    connection: &mut SqliteConnection,
    call: Call,
    user: i64,
    place: Place,
    discussion: i64,
) -> anyhow::Result<()> {
    let (before, within) = script(call);
    let mut fence = 0_i64;
    for statement in before {
        fetch(
            connection,
            statement,
            [user, place.community, place.article, discussion, fence],
        )
        .await?;
    }
    if within.is_empty() {
        return Ok(());
    }
    connection.execute("BEGIN IMMEDIATE").await?;
    for statement in within {
        let binds = [user, place.community, place.article, discussion, fence];
        if let Some(given) = fetch(connection, statement, binds).await? {
            fence = given;
        }
    }
    connection.execute("COMMIT").await?;
    Ok(())
}

/// Runs one statement to its end; gives the fence if it makes one.
async fn fetch(
    connection: &mut SqliteConnection,
    statement: &'static str,
    binds: [i64; 5],
) -> anyhow::Result<Option<i64>> {
    let Some(sql) = sqlite_text(statement) else {
        return Ok(None);
    };
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for bind in binds {
        query = query.bind(bind);
    }
    let rows = query.fetch_all(connection).await?;
    let fence = rows.first().filter(|_| statement == USER_ROW);
    Ok(fence.map(|row| row.get(0)))
}

/// The statement as SQLite takes it, with numbers for names.
fn sqlite_text(statement: &'static str) -> Option<String> {
    let mut sql = dialect(statement, false)?;
    for (number, name) in [":user", ":community", ":article", ":discussion", ":fence"]
        .iter()
        .enumerate()
    {
        sql = sql.replace(name, &format!("${}", number + 1));
    }
    Some(sql)
}
