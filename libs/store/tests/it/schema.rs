//! Migrations: up, again, at the same time, and refused.

use crier_store::StoreError;

use crate::harness::{Kind, on_both, users};

on_both! {
    async fn going_up_twice_changes_nothing(db: &TestDb) {
        let store = db.store().await;
        users(&store, 1).await;
        store.migrate().await.unwrap();
        assert!(store.find_user(crate::harness::id(1)).await.unwrap().is_some());
        let raw = db.raw().await;
        assert_eq!(raw.number("SELECT COUNT(*) FROM seaql_migrations").await, 3);
        assert_eq!(raw.number("SELECT COUNT(*) FROM relay").await, 1);
    }

    async fn several_processes_may_go_up_at_once(db: &TestDb) {
        let (a, b, c) = (db.open().await, db.open().await, db.open().await);
        let (a, b, c) = tokio::join!(a.migrate(), b.migrate(), c.migrate());
        a.unwrap();
        b.unwrap();
        c.unwrap();
    }

    async fn a_newer_schema_is_refused_by_name_and_left_alone(db: &TestDb) {
        let store = db.open().await;
        let raw = db.raw().await;
        raw.run("CREATE TABLE seaql_migrations (version VARCHAR NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)").await;
        raw.run("INSERT INTO seaql_migrations VALUES ('m9999_from_the_future', 1)").await;
        let error = store.migrate().await.unwrap_err();
        assert!(matches!(&error, StoreError::NewerSchema(names) if names == &["m9999_from_the_future"]), "{error:?}");
        assert!(error.to_string().contains("m9999_from_the_future"));
        assert_eq!(raw.number("SELECT COUNT(*) FROM seaql_migrations").await, 1, "nothing was applied");
    }

    async fn ids_may_be_given_and_huge(db: &TestDb) {
        let _store = db.store().await;
        let raw = db.raw().await;
        raw.run("INSERT INTO users (id, username, created_at) VALUES (9223372036854775807, 'far', 0)").await;
        raw.run("INSERT INTO communities (id, name, kind) VALUES (9007199254740993, 'big', 'hidden')").await;
        raw.run(
            "INSERT INTO memberships (community_id, user_id, role, fence, joined_at)
            VALUES (9007199254740993, 9223372036854775807, 'admin', 9007199254740995, 0)",
        ).await;
        let snapshot = crate::harness::snapshot(&_store, crate::harness::id(i64::MAX)).await;
        let text = String::from_utf8(snapshot.encode()).unwrap();
        let expected = r#"{"not_before":0,"communities":{"9007199254740993":{"since":9007199254740995,"articles":{}}}}"#;
        assert_eq!(text, expected);
    }

    async fn sqlite_writes_ahead_and_in_full(db: &TestDb) {
        if db.kind == Kind::Sqlite {
            let _store = db.store().await;
            let raw = db.raw().await;
            let mode: String = raw.rows("PRAGMA journal_mode").await[0].try_get_by_index(0).unwrap();
            assert_eq!(mode, "wal");
        }
    }
}
