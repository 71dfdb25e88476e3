//! A small HTTP client for JSON calls with a bearer token.

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use hyper::{HeaderMap, Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde_json::Value;

use crate::DEADLINE;

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as JSON; `Null` when it is empty or something else.
    pub json: Value,
    /// The body as it came.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// Calls of one user to one server. Cloning shares the connections.
#[derive(Clone, Debug)]
pub struct HttpClient {
    base: String,
    token: Option<String>,
    headers: Vec<(&'static str, String)>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl HttpClient {
    /// A client without a token. `base` is prefixed to each path: `http://127.0.0.1:8000`.
    pub fn new(base: impl Into<String>) -> Self {
        let base = base.into().trim_end_matches('/').to_owned();
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self {
            base,
            token: None,
            headers: Vec::new(),
            client,
        }
    }

    /// The same server with `Authorization: Bearer <token>`.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self {
            token: Some(token.into()),
            ..self.clone()
        }
    }

    /// The same, with one more header in every call.
    #[must_use]
    pub fn with_header(&self, name: &'static str, value: impl Into<String>) -> Self {
        let mut with = self.clone();
        with.headers.push((name, value.into()));
        with
    }

    /// The address that paths are appended to.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// GET. Panics when there is no answer; so do the next three.
    pub async fn get(&self, path: &str) -> Answer {
        self.answered(Method::GET, path, None).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Answer {
        self.answered(Method::POST, path, Some(json(body))).await
    }

    /// PUT with a JSON body.
    pub async fn put(&self, path: &str, body: &impl Serialize) -> Answer {
        self.answered(Method::PUT, path, Some(json(body))).await
    }

    /// DELETE without a body.
    pub async fn delete(&self, path: &str) -> Answer {
        self.answered(Method::DELETE, path, None).await
    }

    /// Any call; a body, when given, is sent as it is and called JSON, unless the client
    /// has a `content-type` of its own.
    ///
    /// # Errors
    /// When the server can't be reached or does not answer within [`DEADLINE`].
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let has_own = |name: &HeaderName| self.headers.iter().any(|(own, _)| *own == name.as_str());
        if body.is_some() && !has_own(&CONTENT_TYPE) {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        self.send(request.body(Full::new(body.unwrap_or_default()))?)
            .await
    }

    /// A request that the caller has built whole, with an absolute address and headers of its own.
    ///
    /// # Errors
    /// When the server can't be reached or does not answer within [`DEADLINE`].
    pub async fn send(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
        let whole = async {
            let response = self.client.request(request).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            let json = serde_json::from_slice(&body).unwrap_or_default();
            anyhow::Ok(Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                json,
                body,
            })
        };
        tokio::time::timeout(DEADLINE, whole)
            .await
            .context("no answer in time")?
    }

    async fn answered(&self, method: Method, path: &str, body: Option<Bytes>) -> Answer {
        let answer = self.call(method.clone(), path, body).await;
        answer.unwrap_or_else(|error| panic!("{method} {}{path}: {error:#}", self.base))
    }
}

fn json(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body)
        .expect("a value that serializes")
        .into()
}
