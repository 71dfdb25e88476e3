//! Checking tokens.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, crypto};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::claims::{Expected, RawClaims};
use super::keys::{self, Key};
use super::{AuthConfig, AuthConfigError, Claims, LONGEST_TOKEN, TokenError};

/// Checks tokens against the configured keys. Made once; the keys are in memory.
pub struct Verifier {
    keys: Vec<Key>,
    audience: String,
    issuer: Option<String>,
}

/// The part of a token's header that decides which key is tried.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

impl Verifier {
    /// Reads every key file that `config` names.
    ///
    /// # Errors
    /// [`AuthConfigError`], one sentence.
    pub fn new(config: &AuthConfig) -> Result<Self, AuthConfigError> {
        if config.audience.is_empty() {
            return Err(AuthConfigError::NoAudience);
        }
        if config.jwks_file.is_some() && config.usable_issuer().is_none() {
            return Err(AuthConfigError::NoIssuer);
        }
        Ok(Self {
            keys: keys::load(config)?,
            audience: config.audience.clone(),
            issuer: config.usable_issuer().map(str::to_owned),
        })
    }

    /// Whom `token` stands for at the time `now`.
    ///
    /// # Errors
    /// [`TokenError`], for the log alone.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Claims, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        if token.len() > LONGEST_TOKEN {
            return Err(TokenError::TooLong);
        }
        let parts = Parts::of(token)?;
        self.check_signature(&parts)?;
        let claims: RawClaims = decoded(parts.payload)?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        claims.check(&Expected {
            audience: &self.audience,
            issuer: self.issuer.as_deref(),
            now: i64::try_from(now).unwrap_or(i64::MAX),
        })
    }

    /// Finds a key of the kind the token names that has signed it.
    fn check_signature(&self, parts: &Parts<'_>) -> Result<(), TokenError> {
        let header: Header = decoded(parts.header)?;
        // "crit" lists extensions that must be understood, and none is (RFC 7515, 4.1.11).
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        // `none` is no algorithm, and neither is one without a key: both end here.
        let named: Algorithm = header.alg.parse().map_err(|_| TokenError::Algorithm)?;
        let mut refusal = TokenError::Algorithm;
        for key in self.keys.iter().filter(|key| key.algorithm == named) {
            if let (Some(wanted), Some(id)) = (&header.kid, &key.id)
                && wanted != id
            {
                if refusal == TokenError::Algorithm {
                    refusal = TokenError::UnknownKey;
                }
                continue;
            }
            let message = parts.message.as_bytes();
            match crypto::verify(parts.signature, message, &key.decoding, key.algorithm) {
                Ok(true) => return Ok(()),
                Ok(false) => refusal = TokenError::Signature,
                // The key was tried out when it was loaded: it is the signature that is not base64.
                Err(_) => return Err(TokenError::Malformed),
            }
        }
        Err(refusal)
    }
}

/// The three parts of a compact token, and the two that are signed.
struct Parts<'a> {
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
    message: &'a str,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Self, TokenError> {
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        if payload.contains('.') {
            return Err(TokenError::Malformed);
        }
        Ok(Self {
            header,
            payload,
            signature,
            message,
        })
    }
}

fn decoded<T: DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let json = BASE64_URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.keys.iter().map(|key| key.algorithm).collect();
        f.debug_struct("Verifier")
            .field("algorithms", &algorithms)
            .field("audience", &self.audience)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
