//! Two pages of one headless browser.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use crier_testkit::Browser;
use serde_json::json;

const PAGE: &str = r##"<!doctype html><title>here</title><p id="who"></p><script>
    document.querySelector("#who").textContent = document.cookie || "nobody";
    document.cookie = "who=me";
    setTimeout(() => { document.title = "later"; undefinedFunction(); }, 20);
</script>"##;

#[tokio::test]
async fn pages_run_scripts_and_share_nothing() {
    let routes = Router::new().route("/", get(async || Html(PAGE)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("its number"));
    tokio::spawn(async move { axum::serve(listener, routes).await });

    let browser = Browser::launch().await;
    for _ in 0..2 {
        let page = browser.page().await;
        page.goto(&url).await;
        assert_eq!(
            page.eval("document.querySelector('#who').textContent")
                .await,
            "nobody"
        );
        assert_eq!(
            page.eval("Promise.resolve({ a: [1, null] })").await,
            json!({ "a": [1, null] })
        );
        assert_eq!(
            page.wait_for_js("document.title === 'later' && document.title")
                .await,
            "later"
        );
        page.goto(&url).await;
        assert_eq!(
            page.eval("document.querySelector('#who').textContent")
                .await,
            "who=me"
        );
        assert!(page.errors()[0].contains("undefinedFunction is not defined"));

        let folder = tempfile::tempdir().expect("a folder");
        let image = folder.path().join("page.png");
        page.screenshot(&image).await;
        assert!(
            std::fs::read(&image)
                .expect("a file")
                .starts_with(b"\x89PNG")
        );
    }
}

#[tokio::test]
#[should_panic(expected = "net::ERR_CONNECTION_REFUSED")]
async fn an_address_that_does_not_answer_says_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("its number"));
    drop(listener);
    Browser::launch().await.page().await.goto(&url).await;
}
