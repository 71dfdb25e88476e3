//! The relay's side: lease and terms, the backlog's order, marks.

use std::time::Duration;

use crier_domain::{Audience, Epoch, Event, EventId, OutboxId, Seq, UserId};
use crier_store::{CommunityKind, Locks, OutboxChange, OutboxRow, Position, Store, Term};
use uuid::Uuid;

use crate::harness::{self, event, id, on_both, publish, users};

const LONG: Duration = Duration::from_secs(600);

fn at(seq: u64) -> Position {
    Position {
        epoch: Epoch::from_bits(0xfeed_beef_feed_beef),
        seq: Seq(seq),
    }
}

async fn lead(store: &Store) -> Term {
    store.lease(Uuid::new_v4(), LONG).await.unwrap().unwrap()
}

fn ids(rows: &[OutboxRow]) -> Vec<i64> {
    rows.iter().map(|row| row.id.0).collect()
}

on_both! {
    async fn one_holds_the_lease_and_terms_grow(db: &TestDb) {
        let store = db.store().await;
        let (a, b) = (Uuid::new_v4(), Uuid::new_v4());
        let first = store.lease(a, LONG).await.unwrap().unwrap();
        assert_eq!(store.lease(a, LONG).await.unwrap(), Some(first), "renewed under the same term");
        assert_eq!(store.lease(b, LONG).await.unwrap(), None, "held");
        // Runs out at once.
        assert_eq!(store.lease(a, Duration::ZERO).await.unwrap(), Some(first));
        let second = store.lease(b, LONG).await.unwrap().unwrap();
        assert!(second > first);
        assert_eq!(store.lease(a, LONG).await.unwrap(), None);
        store.release(first).await.unwrap();
        assert_eq!(store.lease(a, LONG).await.unwrap(), None, "a stale release frees nothing");
        store.release(second).await.unwrap();
        let third = store.lease(a, LONG).await.unwrap().unwrap();
        assert!(third > second);
        store.release(third).await.unwrap();
        assert!(store.lease(a, LONG).await.unwrap().unwrap() > third, "released, even its own is new");
    }

    async fn a_lease_from_before_the_clock_was_set_back_holds_nobody_up(db: &TestDb) {
        let store = db.store().await;
        // As it looks when the database's clock stepped back: it ends later than one that were taken now.
        let before = store.lease(Uuid::new_v4(), LONG * 3).await.unwrap().unwrap();
        let after = store.lease(Uuid::new_v4(), LONG).await.unwrap().unwrap();
        assert!(after > before);
        assert_eq!(store.lease(Uuid::new_v4(), LONG).await.unwrap(), None, "an ordinary one is respected");
    }

    async fn an_own_lease_that_ran_out_untaken_goes_on(db: &TestDb) {
        let store = db.store().await;
        let a = Uuid::new_v4();
        let first = store.lease(a, Duration::ZERO).await.unwrap();
        assert_eq!(store.lease(a, LONG).await.unwrap(), first);
    }

    async fn of_many_who_ask_at_once_one_leads(db: &TestDb) {
        let store = db.store().await;
        let asking: Vec<_> = (0..16)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.lease(Uuid::new_v4(), LONG).await.unwrap() })
            })
            .collect();
        let mut leaders = 0;
        for answer in asking {
            leaders += usize::from(answer.await.unwrap().is_some());
        }
        assert_eq!(leaders, 1);
    }

    async fn a_stale_term_writes_nothing(db: &TestDb) {
        let store = db.store().await;
        users(&store, 1).await;
        let community = harness::community(&store, id(1), CommunityKind::Private).await;
        let (event, row) = publish(&store, community).await;
        let stale = store.lease(Uuid::new_v4(), Duration::ZERO).await.unwrap().unwrap();
        let term = lead(&store).await;
        assert!(store.mark_sent(term, &[], at(5)).await.unwrap());
        let before = store.unsent(100).await.unwrap();
        assert!(!store.mark_sent(stale, &[(row, Seq(9))], at(9)).await.unwrap());
        assert!(!store.mark_found(stale, &[(event, Seq(9))], at(9)).await.unwrap());
        assert!(!store.bury(stale, row, "too large").await.unwrap());
        assert!(!store.tidy(stale, Duration::ZERO).await.unwrap());
        assert_eq!(store.unsent(100).await.unwrap(), before);
        assert_eq!(store.relay_position().await.unwrap(), Some(at(5)));
        assert_eq!(db.raw().await.number("SELECT COUNT(*) FROM dead_letters").await, 0);
    }

    async fn an_event_comes_out_as_it_went_in(db: &TestDb) {
        let store = db.store().await;
        users(&store, 1).await;
        let community = harness::community(&store, id(1), CommunityKind::Private).await;
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
        let events: Vec<Event> = [
            Audience::Subscribers,
            Audience::Members,
            Audience::Users(vec![id(3), id(i64::MAX)]),
            Audience::Users(Vec::new()),
        ]
        .into_iter()
        .map(|audience| Event {
            article: matches!(audience, Audience::Subscribers).then(|| id(77)),
            exclude: matches!(audience, Audience::Members).then(|| id(1)),
            audience,
            body: "{\"ü\":\"\\u0000\"}".into(),
            ..event(community)
        })
        .collect();
        let tx = store.begin(Locks::new().shared(community), Some(trace.clone())).await.unwrap();
        let mut fences = Vec::new();
        for event in &events {
            fences.push(tx.outbox_event(event).await.unwrap());
        }
        tx.commit().await.unwrap();
        let rows = store.unsent(100).await.unwrap();
        assert_eq!(rows[0].traceparent, None);
        assert_eq!(rows[0].change, OutboxChange::User(id(1), Some(community)));
        for ((row, event), fence) in rows[1..].iter().zip(&events).zip(fences) {
            let expected = OutboxRow { id: fence, traceparent: Some(trace.clone()), change: OutboxChange::Event(event.clone()) };
            assert_eq!(*row, expected);
        }
    }

    async fn exactly_what_was_sent_is_marked(db: &TestDb) {
        let store = db.store().await;
        users(&store, 3).await;
        let community = harness::community(&store, id(1), CommunityKind::Private).await;
        for _ in 0..3 {
            publish(&store, community).await;
            let tx = store.begin(Locks::new().exclusive(community), None).await.unwrap();
            for user in [3, 1] {
                tx.outbox_user(id(user), community).await.unwrap();
            }
            tx.commit().await.unwrap();
        }
        let all = ids(&store.unsent(100).await.unwrap());
        let term = lead(&store).await;
        let sent: Vec<_> = [all[0], all[4], all[8]].iter().map(|row| (OutboxId(*row), Seq(7))).collect();
        assert!(store.mark_sent(term, &sent, at(7)).await.unwrap());
        let left: Vec<i64> = all.iter().filter(|row| !sent.contains(&(OutboxId(**row), Seq(7)))).copied().collect();
        assert_eq!(ids(&store.unsent(100).await.unwrap()), left);
        assert_eq!(store.relay_position().await.unwrap(), Some(at(7)));
    }

    async fn events_found_in_the_log_are_marked_by_their_id(db: &TestDb) {
        let store = db.store().await;
        users(&store, 1).await;
        let community = harness::community(&store, id(1), CommunityKind::Private).await;
        let (first, first_row) = publish(&store, community).await;
        let (_, second_row) = publish(&store, community).await;
        let (third, third_row) = publish(&store, community).await;
        let term = lead(&store).await;
        let max = u64::try_from(i64::MAX).unwrap();
        assert!(store.mark_sent(term, &[(third_row, Seq(1))], at(1)).await.unwrap());
        let found = [(first, Seq(max)), (third, Seq(8)), (EventId::new(), Seq(9))];
        assert!(store.mark_found(term, &found, at(9)).await.unwrap());
        let left = ids(&store.unsent(100).await.unwrap());
        assert!(left.contains(&second_row.0) && !left.contains(&first_row.0));
        let raw = db.raw().await;
        assert_eq!(raw.number(&format!("SELECT sent_seq FROM outbox WHERE id = {first_row}")).await, i64::MAX);
        assert_eq!(raw.number(&format!("SELECT sent_seq FROM outbox WHERE id = {third_row}")).await, 1, "marked before");
        assert!(store.mark_found(term, &[], at(10)).await.unwrap());
        assert_eq!(store.relay_position().await.unwrap(), Some(at(10)));
    }

    /// More than are made unsent in one transaction.
    async fn a_new_epoch_makes_unsent_what_was_lost_and_nothing_else(db: &TestDb) {
        let store = db.store().await;
        let raw = db.raw().await;
        let (bytes, uuid) = if db.kind == harness::Kind::Sqlite { ("x'00'", "randomblob(16)") } else { ("'\\x00'", "gen_random_uuid()") };
        raw.run(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000)
            INSERT INTO outbox (event_id, community_id, audience, body, created_at, sent_seq, sent_at)
            SELECT {uuid}, 45, 'members', {bytes}, 1, i, 1 FROM n"
        ))
        .await;
        raw.run("INSERT INTO outbox (user_id, created_at, sent_seq, sent_at) VALUES (7, 1, 25001, 1)").await;
        let stale = store.lease(Uuid::new_v4(), Duration::ZERO).await.unwrap().unwrap();
        let term = lead(&store).await;
        assert!(store.mark_sent(term, &[], at(25_001)).await.unwrap());
        let next = Position { epoch: Epoch::from_bits(1), seq: Seq(1_001) };
        assert!(!store.begin_epoch(stale, next, Seq(1_000)).await.unwrap());
        assert_eq!(store.relay_position().await.unwrap(), Some(at(25_001)));
        assert_eq!(store.count_unsent().await.unwrap(), 0);
        for _ in 0..2 {
            assert!(store.begin_epoch(term, next, Seq(1_000)).await.unwrap());
            assert_eq!(store.relay_position().await.unwrap(), Some(next));
            assert_eq!(store.count_unsent().await.unwrap(), 24_000);
        }
        let kept = raw.numbers("SELECT sent_seq FROM outbox WHERE sent_at IS NOT NULL ORDER BY sent_seq").await;
        assert_eq!((kept.len(), kept[999], kept[1_000]), (1_001, 1_000, 25_001), "what survived, and permissions");
        let first = raw.number("SELECT MIN(id) FROM outbox WHERE sent_seq IS NULL").await;
        assert_eq!(ids(&store.unsent(1).await.unwrap()), [first], "in their order");
    }

    async fn what_is_refused_for_good_is_kept(db: &TestDb) {
        let store = db.store().await;
        users(&store, 1).await;
        let community = harness::community(&store, id(1), CommunityKind::Private).await;
        let (_, row) = publish(&store, community).await;
        let term = lead(&store).await;
        for _ in 0..2 {
            assert!(store.bury(term, row, "maximum payload\0 exceeded").await.unwrap());
        }
        let raw = db.raw().await;
        let rows = raw.rows("SELECT outbox_id, community_id, reason, created_at FROM dead_letters").await;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].try_get::<i64>("", "outbox_id").unwrap(), row.0);
        assert_eq!(rows[0].try_get::<String>("", "reason").unwrap(), "maximum payload exceeded");
        assert!(rows[0].try_get::<i64>("", "created_at").unwrap() > 1_700_000_000_000);
        assert!(ids(&store.unsent(100).await.unwrap()).contains(&row.0), "a stand-in is due");
    }

    async fn what_is_remembered_of_calls_is_forgotten_in_time(db: &TestDb) {
        let store = db.store().await;
        let raw = db.raw().await;
        let bytes = if db.kind == harness::Kind::Sqlite { "x'00'" } else { "'\\x00'" };
        let uuid = if db.kind == harness::Kind::Sqlite { "randomblob(16)" } else { "gen_random_uuid()" };
        for (expires, key) in [("1", "old"), ("9000000000000", "new")] {
            raw.run(&format!("INSERT INTO event_ids VALUES ({uuid}, {bytes}, {expires})")).await;
            raw.run(&format!("INSERT INTO idempotency_keys VALUES (1, '{key}', {bytes}, {bytes}, {expires})")).await;
        }
        let term = lead(&store).await;
        assert!(store.tidy(term, LONG).await.unwrap());
        for table in ["event_ids", "idempotency_keys"] {
            let left = raw.numbers(&format!("SELECT expires_at FROM {table}")).await;
            assert_eq!(left, [9_000_000_000_000], "{table}");
        }
    }

    async fn old_sent_rows_are_deleted_and_no_others(db: &TestDb) {
        let store = db.store().await;
        users(&store, 1).await;
        let community = harness::community(&store, id(1), CommunityKind::Private).await;
        let (_, sent) = publish(&store, community).await;
        let (_, kept) = publish(&store, community).await;
        let term = lead(&store).await;
        store.mark_sent(term, &[(sent, Seq(1))], at(1)).await.unwrap();
        let raw = db.raw().await;
        assert!(store.tidy(term, LONG).await.unwrap());
        assert_eq!(raw.numbers("SELECT id FROM outbox WHERE sent_seq IS NOT NULL").await, [sent.0], "too young");
        raw.run("UPDATE outbox SET sent_at = sent_at - 1000 WHERE sent_seq IS NOT NULL").await;
        assert!(store.tidy(term, Duration::from_millis(500)).await.unwrap());
        assert!(raw.numbers("SELECT id FROM outbox WHERE sent_seq IS NOT NULL").await.is_empty());
        assert!(ids(&store.unsent(100).await.unwrap()).contains(&kept.0));
        let next = publish(&store, community).await.1;
        assert!(next > kept);
    }

    async fn an_id_is_never_given_twice(db: &TestDb) {
        let store = db.store().await;
        users(&store, 1).await;
        let community = harness::community(&store, id(1), CommunityKind::Private).await;
        let (_, last) = publish(&store, community).await;
        db.raw().await.run("DELETE FROM outbox").await;
        assert!(publish(&store, community).await.1 > last, "fences would lie");
    }

    async fn one_waiting_snapshot_is_enough(db: &TestDb) {
        let store = db.store().await;
        for _ in 0..3 {
            store.ensure_snapshot_pending(id(9)).await.unwrap();
        }
        let rows = store.unsent(100).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.change.clone()).collect::<Vec<_>>(), [OutboxChange::User(id(9), None)]);
        let term = lead(&store).await;
        store.mark_sent(term, &[(rows[0].id, Seq(1))], at(1)).await.unwrap();
        store.ensure_snapshot_pending(id(9)).await.unwrap();
        assert_eq!(store.count_unsent().await.unwrap(), 1);
    }

    /// More than either database takes as bound values.
    async fn any_number_of_rows_at_once(db: &TestDb) {
        const MANY: i64 = 70_000;
        let store = db.store().await;
        let people: Vec<UserId> = (1..=MANY).map(id).collect();
        let raw = db.raw().await;
        raw.run(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})
            INSERT INTO outbox (user_id, created_at) SELECT i, 1 FROM n"
        ))
        .await;
        let rows = raw.numbers("SELECT id FROM outbox ORDER BY id").await;
        assert_eq!(rows.len(), people.len());
        let snapshots = store.snapshots(&people).await.unwrap();
        assert_eq!(snapshots.iter().map(|(user, _)| *user).collect::<Vec<_>>(), people);
        let term = lead(&store).await;
        let sent: Vec<_> = rows.iter().map(|row| (OutboxId(*row), Seq(3))).collect();
        assert!(store.mark_sent(term, &sent, at(3)).await.unwrap());
        assert_eq!(store.count_unsent().await.unwrap(), 0);
        let found: Vec<_> = (0..MANY).map(|_| (EventId::new(), Seq(4))).collect();
        assert!(store.mark_found(term, &found, at(4)).await.unwrap());
    }
}
