//! What of a backlog goes out next: no event in front of a change of its own community, none held up by another's.

use std::time::{Duration, Instant};

use crier_domain::{Epoch, OutboxId, Seq};
use crier_store::{OutboxChange, OutboxRow, Position, Store, Term};
use rand::RngExt;
use uuid::Uuid;

use crate::harness::{Kind, Raw, TestDb, on_both};

/// As the relay asks.
const BATCH: usize = 256;
const LONG: Duration = Duration::from_secs(600);
/// A statement that reads the whole backlog at each step takes a hundred times as long.
const SOON: Duration = Duration::from_secs(2);

/// A row as far as the rule looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    id: i64,
    community: Option<i64>,
    is_user: bool,
}

fn lines(rows: &[OutboxRow]) -> Vec<Line> {
    let line = |row: &OutboxRow| {
        let (community, is_user) = match &row.change {
            OutboxChange::User(_, community) => (community.map(i64::from), true),
            OutboxChange::Event(event) => (Some(event.community.get()), false),
        };
        Line {
            id: row.id.0,
            community,
            is_user,
        }
    };
    rows.iter().map(line).collect()
}

struct Backlog<'a> {
    db: &'a TestDb,
    store: Store,
    raw: Raw,
    term: Term,
}

impl Backlog<'_> {
    async fn new(db: &TestDb) -> Backlog<'_> {
        let store = db.store().await;
        let term = store.lease(Uuid::new_v4(), LONG).await.unwrap().unwrap();
        Backlog {
            db,
            raw: db.raw().await,
            store,
            term,
        }
    }

    /// Adds `n` users' rows, of the community that an expression in `i` says.
    async fn users(&self, n: i64, community: &str) {
        self.add(
            "user_id, community_id, created_at",
            &format!("i, {community}, 0"),
            n,
        )
        .await;
    }

    /// Adds `n` events, likewise.
    async fn events(&self, n: i64, community: &str) {
        let (uuid, body) = match self.db.kind {
            Kind::Sqlite => ("randomblob(16)", "x'7b7d'"),
            Kind::Postgres => ("gen_random_uuid()", "decode('7b7d', 'hex')"),
        };
        self.add(
            "event_id, community_id, audience, body, created_at",
            &format!("{uuid}, {community}, 'members', {body}, 0"),
            n,
        )
        .await;
    }

    async fn add(&self, columns: &str, values: &str, n: i64) {
        let sql = format!(
            "WITH RECURSIVE g (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < {n})
            INSERT INTO outbox ({columns}) SELECT {values} FROM g ORDER BY i"
        );
        self.raw.run(&sql).await;
    }

    /// All that is unsent, by id.
    async fn left(&self) -> Vec<Line> {
        let sql = "SELECT id, community_id, user_id FROM outbox WHERE sent_seq IS NULL ORDER BY id";
        let line = |row: &sea_orm::QueryResult| {
            let user: Option<i64> = row.try_get("", "user_id").unwrap();
            Line {
                id: row.try_get("", "id").unwrap(),
                community: row.try_get("", "community_id").unwrap(),
                is_user: user.is_some(),
            }
        };
        self.raw.rows(sql).await.iter().map(line).collect()
    }

    /// The next rows, and how long it took to find them.
    async fn next(&self, limit: usize) -> (Vec<Line>, Duration) {
        let begun = Instant::now();
        let rows = self.store.unsent(limit).await.unwrap();
        (lines(&rows), begun.elapsed())
    }

    /// Lets PostgreSQL make the plans that it keeps while it knows that there is next to nothing.
    async fn grow_used_to_little(&self) {
        if self.db.kind == Kind::Postgres {
            self.raw.run("VACUUM ANALYZE outbox").await;
        }
        for _ in 0..10 {
            self.next(BATCH).await;
            self.next(1).await;
        }
    }

    async fn send(&self, rows: &[Line]) {
        let sent: Vec<_> = rows.iter().map(|row| (OutboxId(row.id), Seq(7))).collect();
        let position = Position {
            epoch: Epoch::from_bits(1),
            seq: Seq(7),
        };
        let done = self.store.mark_sent(self.term, &sent, position).await;
        assert!(done.unwrap());
    }
}

/// That `answer` may go out next, in this order, and that it is as much as may be.
fn check(all: &[Line], answer: &[Line], limit: usize) {
    let users = answer.iter().filter(|row| row.is_user).count();
    assert!(answer[..users].iter().all(|row| row.is_user), "users first");
    let unsent_users = all.iter().filter(|row| row.is_user).count();
    assert_eq!(users, limit.min(unsent_users));
    let events = &answer[users..];
    assert!(events.len() <= limit && events.is_sorted_by_key(|row| row.id));
    let waits = |event: &Line| {
        all.iter().any(|user| {
            let in_front = user.is_user && user.id < event.id && user.community == event.community;
            in_front && !answer.contains(user)
        })
    };
    let mut skipped = Vec::new();
    for event in all.iter().filter(|row| !row.is_user) {
        if answer.contains(event) {
            assert!(!waits(event), "{event:?} passes a change of its community");
            let before = skipped.contains(&event.community);
            assert!(!before, "{event:?} passes an event of its community");
        } else {
            skipped.push(event.community);
            let room = events.len() < limit;
            assert!(waits(event) || !room, "{event:?} waits for nothing");
        }
    }
}

/// A few users' rows and events each of community 1 to `communities` or, of the former, of none: as a number, users,
/// events.
fn turns(communities: i64) -> Vec<(i64, i64, i64)> {
    let mut rng = rand::rng();
    let mut turn = || {
        let community = rng.random_range(0..=communities);
        (community, rng.random_range(0..4), rng.random_range(0..4))
    };
    (0..20).map(|_| turn()).collect()
}

on_both! {
    async fn is_what_the_rule_allows_until_nothing_is_left(db: &TestDb) {
        let backlog = Backlog::new(db).await;
        for round in 0..30 {
            let limit = [1, 3, 4, 10, 70][round % 5];
            // No more communities than one answer looks at.
            for (community, users, events) in turns(i64::try_from(limit.min(4)).unwrap()) {
                let place = if community == 0 { "NULL".to_owned() } else { community.to_string() };
                if users > 0 {
                    backlog.users(users, &place).await;
                }
                if events > 0 {
                    backlog.events(events, &community.max(1).to_string()).await;
                }
            }
            loop {
                let left = backlog.left().await;
                if left.is_empty() {
                    break;
                }
                let (answer, _) = backlog.next(limit).await;
                assert!(!answer.is_empty(), "{left:?}");
                check(&left, &answer, limit);
                backlog.send(&answer).await;
            }
        }
    }

    /// Also by a change of the event's own community that stands behind the bulk.
    async fn of_a_bulk_change_holds_up_no_event_of_another_community(db: &TestDb) {
        let backlog = Backlog::new(db).await;
        backlog.users(1, "NULL").await;
        backlog.grow_used_to_little().await;
        backlog.users(100_000, "1").await;
        backlog.events(10_000, "1").await;
        backlog.users(3, "2").await;
        backlog.events(1, "2").await;
        backlog.users(1, "NULL").await;
        for pass in 0..3 {
            let (answer, took) = backlog.next(BATCH).await;
            assert!(took < SOON, "took {took:?}");
            let passes = |row: &Line| !row.is_user && row.community == Some(2);
            assert_eq!(answer.iter().filter(|row| passes(row)).count(), usize::from(pass == 0));
            let nobodys = answer.iter().filter(|row| row.community.is_none()).count();
            assert_eq!(nobodys, if pass == 0 { 2 } else { 0 }, "snapshots that somebody waits for");
            assert_eq!(answer.iter().filter(|row| row.is_user).count(), BATCH);
            backlog.send(&answer).await;
        }
    }

    async fn over_many_communities_holds_up_no_event_for_more_than_its_own(db: &TestDb) {
        let backlog = Backlog::new(db).await;
        // A hundred for each of a thousand, in turn, and one event of some.
        backlog.users(1, "NULL").await;
        backlog.grow_used_to_little().await;
        backlog.users(100_000, "i % 1000 + 1").await;
        backlog.events(4, "i * 200").await;
        let mut passes = 0;
        loop {
            let (answer, took) = backlog.next(BATCH).await;
            assert!(took < SOON, "took {took:?}");
            let events = answer.iter().filter(|row| !row.is_user).count();
            backlog.send(&answer).await;
            passes += 1;
            if events > 0 {
                break;
            }
        }
        // 400 users' rows in front of them, of which half a batch goes out in each pass.
        assert!(passes <= 4, "{passes} passes");
    }

    async fn of_events_alone_is_read_a_batch_at_a_time(db: &TestDb) {
        let backlog = Backlog::new(db).await;
        backlog.grow_used_to_little().await;
        backlog.events(100_000, "i % 7 + 1").await;
        let (answer, took) = backlog.next(BATCH).await;
        assert_eq!(answer.len(), BATCH);
        assert!(answer.windows(2).all(|pair| pair[0].id + 1 == pair[1].id), "the oldest");
        assert!(took < SOON, "took {took:?}");
        // Behind more users' rows than one pass takes.
        backlog.users(BATCH as i64, "9").await;
        let (answer, took) = backlog.next(BATCH).await;
        assert_eq!(answer.len(), 2 * BATCH);
        assert!(took < SOON, "took {took:?}");
    }
}
