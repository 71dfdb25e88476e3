//! Making tokens: for `crier token` and the demo's login. Applications sign their own.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use super::{AuthConfig, AuthConfigError};

/// Signs HS256 tokens that a [`Verifier`](super::Verifier) of the same configuration accepts.
pub struct Signer {
    key: EncodingKey,
    audience: String,
    issuer: Option<String>,
    /// How much earlier than now tokens are said to be issued.
    backdated: Duration,
}

/// A token could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("the token could not be signed")]
pub struct SignError(#[source] jsonwebtoken::errors::Error);

#[derive(Serialize)]
struct Payload<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    iat: u64,
    exp: u64,
    aud: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
}

impl Signer {
    /// Takes the secret from `config`.
    ///
    /// # Errors
    /// [`AuthConfigError`] if there is none, or one that the verifier would refuse.
    pub fn new(config: &AuthConfig) -> Result<Self, AuthConfigError> {
        let secret = config.usable_secret()?.ok_or(AuthConfigError::NoSecret)?;
        Ok(Self {
            key: EncodingKey::from_secret(secret.expose().as_bytes()),
            audience: config.audience.clone(),
            issuer: config.usable_issuer().map(str::to_owned),
            backdated: Duration::ZERO,
        })
    }

    /// A token for one user, good from now for `ttl`, whole seconds of it.
    ///
    /// # Errors
    /// [`SignError`] if the library refuses; no input is known to make it do so.
    pub fn sign_user(&self, id: i64, username: &str, ttl: Duration) -> Result<String, SignError> {
        self.sign(Some(id.to_string()), Some(username), None, ttl)
    }

    /// Signs as if it were so much earlier: for services whose clocks are behind.
    #[must_use]
    pub fn backdated(self, by: Duration) -> Self {
        Self {
            backdated: by,
            ..self
        }
    }

    /// A token for the application's backend, good from now for `ttl`, whole seconds of it.
    ///
    /// # Errors
    /// As [`sign_user`](Self::sign_user).
    pub fn sign_service(&self, ttl: Duration) -> Result<String, SignError> {
        self.sign(None, None, Some("service"), ttl)
    }

    fn sign(
        &self,
        sub: Option<String>,
        username: Option<&str>,
        scope: Option<&'static str>,
        ttl: Duration,
    ) -> Result<String, SignError> {
        let iat = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .saturating_sub(self.backdated)
            .as_secs();
        let payload = Payload {
            sub,
            username,
            scope,
            iat,
            exp: iat.saturating_add(ttl.as_secs()),
            aud: &self.audience,
            iss: self.issuer.as_deref(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &payload, &self.key).map_err(SignError)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("audience", &self.audience)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}
