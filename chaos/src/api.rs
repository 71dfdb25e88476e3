//! Calls of the API, each written into the journal.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use crier_oracle::journal::Caller;
use crier_service_kit::auth::{AuthConfig, Signer};
use crier_service_kit::config::Secret;
use crier_testkit::{Answer, HttpClient};
use http::Method;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::Value;

use crate::clock::CLOCK_STEP;
use crate::recorder::Recorder;
use crate::system::SECRET;

const TOKENS_LAST: Duration = Duration::from_secs(24 * 3600);

/// How often a call is made that has to come through, and how long is waited in between.
const TRIES: u32 = 300;
const BETWEEN_TRIES: std::ops::Range<u64> = 100..400;

/// All replicas of the API, with the tokens of all users.
pub(crate) struct Api {
    replicas: Vec<HttpClient>,
    signer: Signer,
    pub(crate) recorder: Recorder,
}

/// A call to be made.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) who: Caller,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Value,
    /// An `Idempotency-Key`.
    pub(crate) key: Option<String>,
}

impl Request {
    pub(crate) fn new(who: Caller, method: Method, path: impl Into<String>, body: Value) -> Self {
        Self {
            who,
            method,
            path: path.into(),
            body,
            key: None,
        }
    }
}

impl Api {
    pub(crate) fn new(
        urls: impl Iterator<Item = String>,
        recorder: Recorder,
    ) -> anyhow::Result<Arc<Self>> {
        let auth = AuthConfig {
            secret: Some(Secret::new(SECRET)),
            ..AuthConfig::default()
        };
        Ok(Arc::new(Self {
            replicas: urls.map(HttpClient::new).collect(),
            // A service whose clock is behind rightly refuses what is issued in its future.
            signer: Signer::new(&auth)?.backdated(2 * CLOCK_STEP),
            recorder,
        }))
    }

    pub(crate) fn token(&self, who: Caller) -> anyhow::Result<String> {
        Ok(match who {
            Caller::User(id) => self
                .signer
                .sign_user(id, &format!("user{id}"), TOKENS_LAST)?,
            Caller::Service => self.signer.sign_service(TOKENS_LAST)?,
        })
    }

    /// Makes the call once, of any replica. None if there is no answer.
    pub(crate) async fn call(&self, request: &Request, rng: &mut StdRng) -> Option<Answer> {
        let replica = self
            .replicas
            .get(rng.random_range(0..self.replicas.len()))?;
        let mut http = replica.with_token(self.token(request.who).ok()?);
        if let Some(key) = &request.key {
            http = http.with_header("idempotency-key", key);
        }
        let body = (!request.body.is_null()).then(|| request.body.to_string().into());
        let (method, path) = (request.method.clone(), request.path.as_str());
        let number = self
            .recorder
            .call(request.who, method.as_str(), path, &request.body);
        let answer = http.call(method, path, body).await.ok();
        if let Some(answer) = &answer {
            self.recorder.answered(number, answer.status, &answer.json);
        }
        answer
    }

    /// Makes the call again and again until it is answered, and not by "try later".
    pub(crate) async fn until_answered(
        &self,
        request: &Request,
        rng: &mut StdRng,
    ) -> anyhow::Result<Answer> {
        for _ in 0..TRIES {
            let answer = self.call(request, rng).await;
            if let Some(answer) =
                answer.filter(|answer| answer.status < 500 && answer.status != 429)
            {
                return Ok(answer);
            }
            let pause = Duration::from_millis(rng.random_range(BETWEEN_TRIES));
            tokio::time::sleep(pause).await;
        }
        anyhow::bail!("{} {} is never answered", request.method, request.path)
    }

    /// As [`until_answered`](Self::until_answered), for what has to be granted.
    pub(crate) async fn granted(
        &self,
        request: &Request,
        rng: &mut StdRng,
    ) -> anyhow::Result<Value> {
        let answer = self.until_answered(request, rng).await?;
        ensure!(
            answer.status < 300,
            "{} {} → {}: {}",
            request.method,
            request.path,
            answer.status,
            answer.text()
        );
        Ok(answer.json)
    }
}
