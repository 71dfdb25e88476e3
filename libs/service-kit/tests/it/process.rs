//! What only a process of its own can show: signals, and the log on standard error.
//!
//! The test binary starts itself again with `CRIER_TEST_CHILD` set and one test named; that test is then the child.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crier_service_kit::shutdown;
use crier_service_kit::telemetry::{self, LogFormat, TelemetryConfig, TelemetryError};

use axum::Router;
use axum::routing::get;
use crier_service_kit::http::HttpLimits;

use crate::client::{LONG, Service};

const CHILD: &str = "CRIER_TEST_CHILD";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

fn start(test: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    let done = Command::new("kill")
        .args([format!("-{name}"), child.id().to_string()])
        .status()
        .unwrap();
    assert!(done.success());
}

/// The child's exit code; it is killed if it doesn't end.
fn exit_code(mut child: Child) -> Option<i32> {
    let deadline = Instant::now() + LONG;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("the child did not end");
}

/// What the child wrote on standard error before it ended well.
fn log_of(test: &str) -> String {
    let mut child = start(test);
    let mut log = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut log).unwrap();
    assert_eq!(exit_code(child), Some(0), "{log}");
    log
}

#[test]
fn the_first_signal_is_a_request_and_the_second_an_order() {
    if is_child() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let token = shutdown::signals().unwrap();
            println!("child: waiting");
            token.cancelled().await;
            println!("child: asked to stop");
            // Stops for nobody, as if it hung.
            tokio::time::sleep(2 * LONG).await;
        });
    } else {
        for (first, second, code) in [
            ("TERM", "TERM", 128 + 15),
            ("INT", "INT", 128 + 2),
            ("TERM", "INT", 128 + 2),
        ] {
            let mut child = start("process::the_first_signal_is_a_request_and_the_second_an_order");
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut wait_for = |wanted: &str| {
                let found = lines.find(|line| line.as_ref().unwrap().contains(wanted));
                assert!(found.is_some(), "the child ended before: {wanted}");
            };
            wait_for("child: waiting");
            signal(&child, first);
            wait_for("child: asked to stop");
            signal(&child, second);
            assert_eq!(exit_code(child), Some(code), "{first} {second}");
        }
    }
}

#[test]
fn json_logs_are_one_object_a_line_with_their_span() {
    if is_child() {
        let config = TelemetryConfig {
            log: "info,it::process=debug".to_owned(),
            format: LogFormat::Json,
            otlp_endpoint: None,
        };
        let _guard = telemetry::init(&config, "crier-test").unwrap();
        let again = telemetry::init(&config, "crier-test");
        assert!(matches!(again, Err(TelemetryError::AlreadySet)));
        let span = tracing::info_span!("work", community_id = 45);
        span.in_scope(|| tracing::debug!(seen = true, "a \"quoted\"\nline"));
        tracing::debug!(target: "elsewhere", "not logged");
    } else {
        let log = log_of("process::json_logs_are_one_object_a_line_with_their_span");
        let lines: Vec<serde_json::Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 1, "{log}");
        assert_eq!(lines[0]["message"], "a \"quoted\"\nline");
        assert_eq!(lines[0]["level"], "DEBUG");
        assert_eq!(lines[0]["seen"], true);
        assert_eq!(lines[0]["span"]["community_id"], 45);
    }
}

#[test]
fn the_access_log_is_one_line_that_stands_alone_and_shows_no_query() {
    if is_child() {
        let config = TelemetryConfig {
            // Not even the request's span is logged, only the access log.
            log: "off,crier::access=info".to_owned(),
            format: LogFormat::Json,
            otlp_endpoint: None,
        };
        let _guard = telemetry::init(&config, "crier-test").unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let router = Router::new()
                .route("/things/{id}", get(|| async { "thing" }))
                .route("/health/live", get(|| async { "live" }));
            let service = Service::layered(router, HttpLimits::default()).await;
            service.get("/health/live").await;
            let headers = ["X-Request-Id: mine"];
            let path = "/things/5?ticket=swordfish";
            service.call("GET", path, &headers).await;
        });
    } else {
        let log =
            log_of("process::the_access_log_is_one_line_that_stands_alone_and_shows_no_query");
        let lines: Vec<serde_json::Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 1, "{log}");
        let line = &lines[0];
        for (field, value) in [
            ("method", "GET"),
            ("path", "/things/5"),
            ("route", "/things/{id}"),
            ("request_id", "mine"),
            ("target", "crier::access"),
        ] {
            assert_eq!(line[field], value, "{line}");
        }
        assert_eq!(line["status"], 200);
        assert!(line["duration_ms"].as_f64().unwrap() > 0.0);
        assert_eq!(line["trace_id"].as_str().unwrap().len(), 32);
        assert!(!log.contains("swordfish"));
    }
}
