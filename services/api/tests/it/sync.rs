//! Bulk changes: every line for itself, while they come, however they end.

use std::time::Duration;

use crier_testkit::{HttpClient, wait_for};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::fixture::{Service, expect, signer};

/// Longer than any wait here.
const DEADLINE: Duration = Duration::from_secs(60);

/// A bulk change that is being sent.
struct Upload(BufReader<TcpStream>);

impl Upload {
    async fn begin(service: &Service) -> Self {
        let host = service.http.base().strip_prefix("http://").unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        // What the kernel holds for us is not what these tests are about.
        socket.set_send_buffer_size(64 * 1024).unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        let mut stream = socket.connect(host.parse().unwrap()).await.unwrap();
        let token = signer().sign_service(Duration::from_secs(600)).unwrap();
        let head = format!(
            "POST /api/sync HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        Self(BufReader::new(stream))
    }

    async fn send(&mut self, bytes: &[u8]) {
        let stream = self.0.get_mut();
        let head = format!("{:x}\r\n", bytes.len());
        for part in [head.as_bytes(), bytes, b"\r\n"] {
            stream.write_all(part).await.unwrap();
        }
    }

    async fn finish(&mut self) {
        let stream = self.0.get_mut();
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    }

    /// The next line of the answer; the lines of HTTP itself are passed over.
    async fn report(&mut self) -> Value {
        loop {
            let mut line = String::new();
            let read = timeout(DEADLINE, self.0.read_line(&mut line)).await;
            assert!(read.unwrap().unwrap() > 0, "the answer ended");
            if line.starts_with('{') {
                return serde_json::from_str(&line).unwrap();
            }
        }
    }

    /// The last line of the answer, and those before it that tell of refused lines.
    async fn rest(mut self) -> (Vec<Value>, Value) {
        let mut refused = Vec::new();
        loop {
            let report = self.report().await;
            if report.get("done").is_some() {
                return (refused, report);
            }
            if report.get("error").is_some() {
                refused.push(report);
            }
        }
    }
}

/// Sends it all in one go.
async fn sync(service: &Service, body: &[u8]) -> (Vec<Value>, Value) {
    let mut upload = Upload::begin(service).await;
    for piece in body.chunks(50_000) {
        upload.send(piece).await;
    }
    upload.finish().await;
    upload.rest().await
}

/// The backend, whose bodies are lines.
fn lines(service: &Service) -> HttpClient {
    let kind = "application/x-ndjson; charset=utf-8";
    service.backend().with_header("content-type", kind)
}

fn body(lines: &[Value]) -> Vec<u8> {
    let lines = lines.iter().map(|line| format!("{line}\n"));
    lines.collect::<String>().into_bytes()
}

fn user(id: i64) -> Value {
    json!({"kind": "user", "id": id, "username": format!("somebody {id}")})
}

fn community(id: i64) -> Value {
    json!({"kind": "community", "id": id, "name": "AI Research Group", "type": "private"})
}

fn member(community: i64, user: i64, role: Option<&str>) -> Value {
    json!({"kind": "membership", "community_id": community, "user_id": user, "role": role})
}

fn platform() -> Vec<Value> {
    vec![
        user(1),
        user(2),
        community(45),
        json!({"kind": "article", "id": 123, "title": "GPT-5 Architecture", "submitter_id": 2}),
        member(45, 1, Some("admin")),
        member(45, 2, Some("member")),
        member(45, 3, Some("member")),
        json!({"kind": "community_article", "community_id": 45, "article_id": 123, "status": "published", "id": 900}),
        json!({"kind": "subscription", "user_id": 3, "community_id": 45, "article_id": 123, "is_active": true}),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_may_be_sent_again_and_changes_nothing() {
    let (postgres, _database) = Service::on_postgres().await;
    for service in [Service::start().await, postgres] {
        let (refused, done) = sync(&service, &body(&platform())).await;
        assert_eq!(refused, [Value::Null; 0]);
        let expected = json!({"done": true, "lines": 9, "ok": 9, "failed": 0, "changed": 9});
        assert_eq!(done, expected);
        for number in 1..=3 {
            let person = service.person(number, "somebody");
            assert_eq!(person.follows().await, [900]);
        }
        let store = service.store().await;
        let unsent = store.count_unsent().await.unwrap();
        let (_, done) = sync(&service, &body(&platform())).await;
        let expected = json!({"done": true, "lines": 9, "ok": 9, "failed": 0, "changed": 0});
        assert_eq!(done["ok"], expected["ok"]);
        // The tokens' names are others than the file's.
        assert!(done["changed"].as_i64().unwrap() <= 2, "{done}");
        assert_eq!(store.count_unsent().await.unwrap(), unsent);
        service.end().await;
    }
}

#[tokio::test]
async fn a_bad_line_fails_alone_and_says_where_it_is() {
    let service = Service::start().await;
    let mut text = body(&[community(45)]);
    text.extend_from_slice(
        b"\n  \r\nno JSON\n{\"kind\":\"user\",\"id\":1,\"username\":\"\xff\"}\n",
    );
    text.extend(body(&[
        member(46, 7, Some("member")),
        member(45, 7, Some("owner")),
    ]));
    text.extend(format!("{{\"kind\":\"{}\"}}\n", "x".repeat(70_000)).into_bytes());
    text.extend(body(&[member(45, 8, Some("member"))]));
    text.extend(format!("{}\r\n", member(45, 9, Some("member"))).into_bytes());
    // Without an end.
    text.extend(member(45, 10, Some("admin")).to_string().into_bytes());
    let (refused, done) = sync(&service, &text).await;
    assert_eq!(
        done,
        json!({"done": true, "lines": 11, "ok": 4, "failed": 5, "changed": 4})
    );
    let mut told: Vec<(i64, &str)> = refused
        .iter()
        .map(|report| {
            (
                report["line"].as_i64().unwrap(),
                report["error"].as_str().unwrap(),
            )
        })
        .collect();
    told.sort_unstable();
    let expected = [
        (4, "not a JSON object"),
        (5, "invalid unicode"),
        (6, "there is no such community"),
        (7, "unknown variant `owner`"),
        (8, "longer than 64 KiB"),
    ];
    for ((line, error), (number, part)) in told.iter().zip(expected) {
        assert!(*line == number && error.contains(part), "{told:?}");
    }
    let members = service
        .person(10, "admin")
        .get("/api/communities/45/members")
        .await;
    let members = expect(&members, 200)["members"].as_array().unwrap().clone();
    let ids: Vec<i64> = members
        .iter()
        .map(|m| m["user_id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids, [8, 9, 10]);
    service.end().await;
}

#[tokio::test]
async fn later_lines_win_and_refer_to_earlier_ones() {
    let service = Service::start().await;
    let mut lines = platform();
    lines.extend([
        member(45, 3, Some("admin")),
        member(45, 3, Some("reviewer")),
        member(45, 2, None),
        member(45, 1, Some("member")),
        json!({"kind": "community", "id": 45, "name": "Renamed", "type": "hidden"}),
    ]);
    let (refused, done) = sync(&service, &body(&lines)).await;
    assert_eq!((refused.len(), &done["done"]), (0, &json!(true)));
    let carol = service.person(3, "carol");
    let page = carol.get("/api/communities/45").await;
    let page = expect(&page, 200);
    let found = ["name", "role", "type", "member_count"].map(|name| page[name].clone());
    assert_eq!(
        found,
        [
            json!("Renamed"),
            json!("reviewer"),
            json!("hidden"),
            json!(2)
        ]
    );
    expect(
        &service.person(2, "bob").get("/api/communities/45").await,
        404,
    );
    service.end().await;
}

#[tokio::test]
async fn what_came_before_the_connection_broke_stays() {
    let service = Service::start().await;
    let mut upload = Upload::begin(&service).await;
    upload
        .send(&body(&[community(45), member(45, 1, Some("admin"))]))
        .await;
    upload
        .send(br#"{"kind":"membership","community_id":45,"user_id":2,"#)
        .await;
    let alice = service.person(1, "alice");
    wait_for("the first lines to be made", async || {
        let answer = alice.get("/api/communities/45").await;
        (answer.status == 200).then_some(())
    })
    .await;
    let other = lines(&service).post("/api/sync", &user(1)).await;
    let refused = expect(&other, 429);
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("one is made at a time")
    );
    assert_eq!(other.header("retry-after"), "5");
    drop(upload);
    wait_for("the place to be free", async || {
        let answer = lines(&service).post("/api/sync", &user(5)).await;
        (answer.status == 200).then_some(())
    })
    .await;
    let page = alice.get("/api/communities/45").await;
    assert_eq!(expect(&page, 200)["member_count"], 1, "half a line is none");
    service.end().await;
}

#[tokio::test]
async fn how_far_it_has_come_is_told_while_nothing_comes() {
    let service = Service::start().await;
    let mut upload = Upload::begin(&service).await;
    upload
        .send(&body(&[community(45), member(46, 1, None)]))
        .await;
    let refused = upload.report().await;
    assert_eq!(
        refused,
        json!({"line": 2, "error": "there is no such community"})
    );
    assert_eq!(
        upload.report().await,
        json!({"lines": 2, "ok": 1, "failed": 1})
    );
    upload.send(&body(&[member(45, 1, Some("member"))])).await;
    let more = json!({"lines": 3, "ok": 2, "failed": 1});
    while upload.report().await != more {}
    // Told to stop, it stops where it is, and says so.
    let ending = tokio::spawn(service.end());
    let (_, done) = upload.rest().await;
    let expected = json!({"done": false, "lines": 3, "ok": 2, "failed": 1, "changed": 2,
        "error": "the service is stopping"});
    assert_eq!(done, expected);
    ending.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_last_does_not_wait_for_itself() {
    let service = Service::start().await;
    // Refusals beyond what sockets hold.
    let (_, done) = sync(&service, &b"no\n".repeat(400_000)).await;
    assert_eq!(
        (&done["done"], &done["failed"]),
        (&json!(true), &json!(400_000))
    );
    assert!(done["untold"].as_i64().unwrap() > 0, "{done}");
    service.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_grow_with_batches_and_not_with_lines() {
    let (postgres, _database) = Service::on_postgres().await;
    for service in [Service::start().await, postgres] {
        sync(&service, &body(&[community(45)])).await;
        let sent = async || {
            let metrics = service.http.get("/metrics").await.text();
            let line = metrics
                .lines()
                .find(|line| line.starts_with("store_statements_total"));
            line.unwrap()
                .rsplit(' ')
                .next()
                .unwrap()
                .parse::<u64>()
                .unwrap()
        };
        let mut costs = Vec::new();
        for (first, many) in [(10_000, 900_i64), (20_000, 900), (20_000, 900)] {
            let before = sent().await;
            let lines: Vec<Value> = (first..first + many)
                .map(|n| member(45, n, Some("member")))
                .collect();
            let (_, done) = sync(&service, &body(&lines)).await;
            assert_eq!(done["ok"], many);
            costs.push(sent().await - before);
        }
        // Ten batches; the last changes nothing.
        println!("{costs:?}");
        assert!(
            costs[0] < 10 * 15 && costs[1] < 10 * 15 && costs[2] < 10 * 8,
            "{costs:?}"
        );
        service.end().await;
    }
}

#[tokio::test]
async fn only_lines_of_json_are_taken_for_such() {
    let service = Service::start().await;
    let backend = service.backend();
    expect(&backend.post("/api/sync/", &user(1)).await, 415);
    let nothing = backend.call(http::Method::POST, "/api/sync/", None).await;
    expect(&nothing.unwrap(), 415);
    let sent = lines(&service).post("/api/sync/", &user(1)).await;
    let done = json!({"done": true, "lines": 1, "ok": 1, "failed": 0, "changed": 1});
    assert_eq!(*expect(&sent, 200), done);
    service.end().await;
}
