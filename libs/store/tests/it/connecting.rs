//! What an operator reads when the database can't be opened.

use std::time::Duration;

use crier_store::{DatabaseConfig, Store, StoreError};
use crier_testkit::Postgres;

/// The sentence with which this address is refused.
async fn refusal(url: &str) -> String {
    let config = DatabaseConfig {
        acquire_timeout: Duration::from_secs(20),
        ..DatabaseConfig::new(url)
    };
    let error = match Store::connect(&config).await {
        Ok(store) => store.migrate().await.unwrap_err(),
        Err(error) => error,
    };
    let StoreError::Connect { sentence, .. } = &error else {
        panic!("{url}: {error:?}");
    };
    assert_eq!(error.to_string(), *sentence);
    assert!(
        !sentence.contains('\n') && !sentence.contains("hunter2"),
        "{sentence}"
    );
    sentence.clone()
}

#[tokio::test]
async fn a_file_that_is_no_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crier.db");
    std::fs::write(
        &path,
        "this is no database, and long enough to be looked at\n".repeat(200),
    )
    .unwrap();
    let sentence = refusal(&format!("sqlite://{}", path.display())).await;
    assert!(
        sentence.contains("crier.db is not a SQLite database"),
        "{sentence}"
    );
}

#[tokio::test]
async fn a_damaged_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crier.db");
    let url = format!("sqlite://{}", path.display());
    let store = Store::connect(&DatabaseConfig::new(&url)).await.unwrap();
    store.migrate().await.unwrap();
    store.close().await;
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100..].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let sentence = refusal(&url).await;
    assert!(sentence.contains("damaged"), "{sentence}");
}

#[tokio::test]
async fn a_folder_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none/crier.db");
    let sentence = refusal(&format!("sqlite://{}", path.display())).await;
    assert!(sentence.contains("its folder must exist"), "{sentence}");
}

#[tokio::test]
async fn addresses_that_are_none() {
    for url in ["", "mysql://localhost/crier", "crier.db"] {
        let sentence = refusal(url).await;
        assert!(sentence.contains("must begin with"), "{sentence}");
    }
    let sentence = refusal("sqlite::memory:").await;
    assert!(sentence.contains("name a file"), "{sentence}");
    let sentence = refusal("postgres://crier:hunter2@localhost:port/crier").await;
    assert!(sentence.contains("can't be read"), "{sentence}");
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    // Bound and dropped: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let sentence = refusal(&format!("postgres://crier:hunter2@127.0.0.1:{port}/crier")).await;
    assert!(
        sentence.contains(&format!("127.0.0.1:{port} can't be reached")),
        "{sentence}"
    );
}

#[tokio::test]
async fn a_server_that_does_not_answer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = DatabaseConfig {
        acquire_timeout: Duration::from_millis(300),
        ..DatabaseConfig::new(format!(
            "postgres://crier@{}/crier",
            listener.local_addr().unwrap()
        ))
    };
    let error = Store::connect(&config).await.unwrap_err();
    assert!(
        error.to_string().contains("did not answer within"),
        "{error}"
    );
}

#[tokio::test]
async fn a_user_or_a_database_that_the_server_does_not_know() {
    let database = Postgres::database().await;
    let url = database.url();
    let sentence = refusal(&url.replace("crier@", "stranger:hunter2@")).await;
    assert!(sentence.contains("refused user stranger"), "{sentence}");
    let sentence = refusal(&url.replace("/test_", "/nothing_")).await;
    assert!(sentence.contains("has no database nothing_"), "{sentence}");
}
