//! Databases that come and go, and a cluster that is killed.

use crier_testkit::Postgres;

fn cell(text: &str) -> Vec<Vec<Option<String>>> {
    vec![vec![Some(text.to_owned())]]
}

#[tokio::test]
async fn each_database_is_empty_its_own_and_gone_when_dropped() {
    let (one, two) = (Postgres::database().await, Postgres::database().await);
    assert_ne!(one.url(), two.url());
    for database in [&one, &two] {
        database
            .query("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, NULL)")
            .await;
        let rows = database.query("SELECT a, b FROM t").await;
        assert_eq!(rows, [[Some("1".to_owned()), None]]);
    }
    let name = one
        .query("SELECT current_database()")
        .await
        .remove(0)
        .remove(0)
        .expect("a name");
    assert!(one.url().contains(&format!("/{name}?host=/")));
    let exists = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(two.query(&exists).await, cell("1"));
    drop(one);
    assert_eq!(two.query(&exists).await, cell("0"));
}

#[tokio::test]
#[should_panic(expected = "relation \"nowhere\" does not exist")]
async fn a_statement_that_fails_says_why() {
    Postgres::database()
        .await
        .query("SELECT * FROM nowhere")
        .await;
}

#[tokio::test]
async fn a_dedicated_cluster_keeps_what_was_committed_before_it_was_killed() {
    let postgres = Postgres::dedicated().await;
    let (url, pid) = (postgres.url(), postgres.pid());
    postgres
        .query("CREATE TABLE t (a int); INSERT INTO t VALUES (7)")
        .await;
    postgres.kill().await;
    postgres.start_again().await;
    assert_eq!(postgres.query("SELECT a FROM t").await, cell("7"));
    assert_eq!(postgres.url(), url);
    assert_ne!(postgres.pid(), pid);
}
