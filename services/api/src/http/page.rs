//! The demo page, embedded in the binary. Served under `demo` alone.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use crier_service_kit::problem::Problem;

use crate::state::State;

/// One file of the page.
pub(super) struct File {
    pub(super) path: &'static str,
    kind: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! web {
    ($path:literal, $file:literal, $kind:ident) => {
        File {
            path: $path,
            kind: $kind,
            text: include_str!(concat!("../../../../web/", $file)),
        }
    };
}

/// Every file of the folder `web`; a test holds the two against each other.
pub(super) const FILES: &[File] = &[
    web!("/", "index.html", HTML),
    web!("/api.js", "api.js", SCRIPT),
    web!("/app.js", "app.js", SCRIPT),
    web!("/article.js", "article.js", SCRIPT),
    web!("/communities.js", "communities.js", SCRIPT),
    web!("/crier.js", "crier.js", SCRIPT),
    web!("/dom.js", "dom.js", SCRIPT),
    web!("/frames.js", "frames.js", SCRIPT),
    web!("/style.css", "style.css", STYLE),
    web!("/thread.js", "thread.js", SCRIPT),
];

pub(super) async fn serve(
    extract::State(state): extract::State<Arc<State>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let file = FILES.iter().find(|file| file.path == uri.path());
    let (Some(file), Some(demo)) = (file, &state.demo) else {
        return Problem::not_found("There is nothing at this path.").into_response();
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let headers = [
        (CONTENT_TYPE, file.kind.to_owned()),
        // The next build's page must not meet this one's modules.
        (CACHE_CONTROL, "no-cache".to_owned()),
        (CONTENT_SECURITY_POLICY, policy(&demo.gateways, host)),
        (REFERRER_POLICY, "no-referrer".to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (headers, file.text).into_response()
}

/// The page may load what it is made of and talk to this service and the gateways, nothing else.
fn policy(gateways: &[String], host: Option<&str>) -> String {
    let mut policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
        base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'"
            .to_owned();
    for gateway in gateways {
        for origin in [Some(gateway.clone()), beside(gateway, host)]
            .into_iter()
            .flatten()
        {
            if is_origin(&origin) {
                let _ = write!(policy, " {origin}");
            }
        }
    }
    policy
}

/// A gateway on this machine, under the name by which the page was reached: whoever opens the page as
/// `localhost` reaches the gateways so as well.
fn beside(gateway: &str, host: Option<&str>) -> Option<String> {
    let (scheme, authority) = gateway.split_once("://")?;
    let (name, port) = authority.rsplit_once(':')?;
    let host = host?;
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let is_local = ["127.0.0.1", "localhost", "[::1]"].contains(&name);
    (is_local && host != name).then(|| format!("{scheme}://{host}:{port}"))
}

/// Nothing in it that would end the directive: `Host` is the client's to choose.
fn is_origin(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]/".contains(&byte);
    text.contains("://") && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web");
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| format!("/{}", entry.file_name().to_string_lossy()))
            .filter(|name| {
                [".html", ".js", ".css"]
                    .iter()
                    .any(|end| name.ends_with(end))
            })
            .map(|name| {
                if name == "/index.html" {
                    "/".to_owned()
                } else {
                    name
                }
            })
            .collect();
        found.sort_unstable();
        let mut served: Vec<&str> = FILES.iter().map(|file| file.path).collect();
        served.sort_unstable();
        assert_eq!(found, served);
    }

    #[test]
    fn the_page_may_reach_the_gateways_and_nothing_else() {
        let gateways = ["http://127.0.0.1:8001".to_owned()];
        let ends = |host, end: &str| {
            let policy = policy(&gateways, host);
            assert!(
                policy.ends_with(&format!("connect-src 'self' {end}")),
                "{policy}"
            );
        };
        ends(None, "http://127.0.0.1:8001");
        ends(Some("127.0.0.1:8000"), "http://127.0.0.1:8001");
        ends(
            Some("localhost:8000"),
            "http://127.0.0.1:8001 http://localhost:8001",
        );
        ends(
            Some("[::1]:8000"),
            "http://127.0.0.1:8001 http://[::1]:8001",
        );
        ends(Some("x; script-src *"), "http://127.0.0.1:8001");
    }
}
