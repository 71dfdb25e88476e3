//! Checking tokens.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::errors::ErrorKind;
use serde::Deserialize;
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
        let header = header(token)?;
        let claims = self.signed_claims(token, &header)?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        claims.check(&Expected {
            audience: &self.audience,
            issuer: self.issuer.as_deref(),
            now: i64::try_from(now).unwrap_or(i64::MAX),
        })
    }

    /// The claims, once a key of the right kind has been found to have signed them.
    fn signed_claims(&self, token: &str, header: &Header) -> Result<RawClaims, TokenError> {
        let mut refusal = TokenError::Algorithm;
        // `none` is no algorithm, and neither is one without a key: both end here.
        let named: Algorithm = header.alg.parse().map_err(|_| TokenError::Algorithm)?;
        for key in self.keys.iter().filter(|key| key.algorithm == named) {
            if let (Some(wanted), Some(id)) = (&header.kid, &key.id)
                && wanted != id
            {
                if refusal == TokenError::Algorithm {
                    refusal = TokenError::UnknownKey;
                }
                continue;
            }
            match jsonwebtoken::decode::<RawClaims>(token, &key.decoding, &key.validation) {
                Ok(data) => return Ok(data.claims),
                Err(error) => match error.kind() {
                    ErrorKind::InvalidSignature => refusal = TokenError::Signature,
                    _ => return Err(TokenError::Malformed),
                },
            }
        }
        Err(refusal)
    }
}

fn header(token: &str) -> Result<Header, TokenError> {
    let (encoded, _) = token.split_once('.').ok_or(TokenError::Malformed)?;
    let header: Header = BASE64_URL_SAFE_NO_PAD
        .decode(encoded)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or(TokenError::Malformed)?;
    // "crit" lists extensions that must be understood, and none is (RFC 7515, 4.1.11).
    if header.crit.is_some() {
        return Err(TokenError::Malformed);
    }
    Ok(header)
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
