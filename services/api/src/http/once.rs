//! `Idempotency-Key`: the header with which a caller says that a call may be a repetition.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use crier_service_kit::problem::{Problem, ValidBytes};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::describe::{Describe, Operation};
use crate::app::once::Key;
use crate::state::State;

/// The header's name.
const HEADER: &str = "Idempotency-Key";
/// The longest key.
const LONGEST: usize = 255;

/// A request whose answer is kept if it came with a key, and its body.
pub(super) struct Once<B>(pub(super) Option<Key>, pub(super) B);

/// The body of a call that takes none; what comes is not looked at.
pub(super) struct NoBody;

impl<B: FromRequest<Arc<State>, Rejection = Problem>> FromRequest<Arc<State>> for Once<B> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Arc<State>) -> Result<Self, Problem> {
        let Some(text) = key(request.headers())? else {
            return Ok(Self(None, B::from_request(request, state).await?));
        };
        let (parts, body) = request.into_parts();
        let unread = Request::from_parts(parts.clone(), body);
        let ValidBytes(body) = ValidBytes::from_request(unread, state).await?;
        let request = hash(&parts, &body);
        let read = Request::from_parts(parts, Body::from(body));
        let body = B::from_request(read, state).await?;
        Ok(Self(Some(Key { text, request }), body))
    }
}

impl FromRequest<Arc<State>> for NoBody {
    type Rejection = Problem;

    async fn from_request(_: Request, _: &Arc<State>) -> Result<Self, Problem> {
        Ok(Self)
    }
}

/// The key, as it was written. The draft has it in quotes; they are then part of it.
fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut all = headers.get_all(HEADER).iter();
    let Some(key) = all.next() else {
        return Ok(None);
    };
    let refused = || {
        Problem::bad_request(format!(
            "{HEADER} must be given once, with 1 to {LONGEST} printable ASCII characters."
        ))
    };
    let printable = |byte: &u8| (b' '..=b'~').contains(byte);
    let fits = (1..=LONGEST).contains(&key.len()) && key.as_bytes().iter().all(printable);
    match (key.to_str(), all.next()) {
        (Ok(key), None) if fits => Ok(Some(key.to_owned())),
        _ => Err(refused()),
    }
}

/// Which request it is. The lines can't run into each other: neither a method nor a path holds a line's end.
fn hash(parts: &Parts, body: &[u8]) -> [u8; 32] {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut hash = Sha256::new();
    hash.update(format!("{}\n{path}\n", parts.method));
    hash.update(body);
    hash.finalize().into()
}

impl<B: Describe> Describe for Once<B> {
    fn describe(operation: &mut Operation<'_>) {
        operation.reads_header(
            HEADER,
            "For a call that may be repeated: one with the same key within 24 hours makes nothing new, and gets the \
             first one's answer. For another call, a key that was used is answered 422.",
            &json!({"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[ -~]+$"}),
        );
        operation.refuses(&[400, 413, 422]);
        B::describe(operation);
    }
}

impl Describe for NoBody {
    fn describe(_: &mut Operation<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let values = values.iter().map(|value| {
            let value = http::HeaderValue::from_bytes(value).unwrap();
            (http::HeaderName::from_static("idempotency-key"), value)
        });
        values.collect()
    }

    #[test]
    fn a_key_is_printable_and_short_and_given_once() {
        assert_eq!(key(&headers(&[])).unwrap(), None);
        for good in [
            "x",
            "8e03978e-40d5-43dd-bc93-6894a57f9324",
            "\"a b~\"",
            &"k".repeat(255),
        ] {
            assert_eq!(
                key(&headers(&[good.as_bytes()])).unwrap().as_deref(),
                Some(good)
            );
        }
        let long = "k".repeat(256);
        let bad: [&[&[u8]]; 6] = [
            &[b""],
            &[b"a\tb"],
            &["ä".as_bytes()],
            &[b"\xff"],
            &[long.as_bytes()],
            &[b"a", b"a"],
        ];
        for bad in bad {
            assert_eq!(key(&headers(bad)).unwrap_err().status(), 400, "{bad:?}");
        }
    }

    #[test]
    fn requests_differ_by_method_path_query_and_body() {
        let parts = |method: &str, uri: &str| {
            let request = Request::builder().method(method).uri(uri).body(()).unwrap();
            request.into_parts().0
        };
        let first = hash(&parts("POST", "/a?b=1"), b"{}");
        assert_eq!(hash(&parts("POST", "/a?b=1"), b"{}"), first);
        for (method, uri, body) in [
            ("PUT", "/a?b=1", "{}"),
            ("POST", "/a", "{}"),
            ("POST", "/a?b=2", "{}"),
            ("POST", "/a?b=1", "{} "),
        ] {
            assert_ne!(
                hash(&parts(method, uri), body.as_bytes()),
                first,
                "{method} {uri} {body}"
            );
        }
    }
}
