//! Who calls: JSON Web Tokens checked ([`Verifier`]) and, for tools and demos, made ([`Signer`]).
//!
//! The algorithm follows from the kind of key and never from the token: HS256 for the secret, RS256, ES256,
//! ES384 or EdDSA for a public key. There is no leeway: a token is refused in the second it expires.

use std::path::PathBuf;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde::Deserialize;

use crate::config::Secret;
use crate::problem::Problem;

mod claims;
mod keys;
mod signer;
mod verifier;

pub use signer::{SignError, Signer};
pub use verifier::Verifier;

/// An HS256 secret below this can be found by trying (RFC 7518, 3.2).
const SHORTEST_SECRET: usize = 32;

/// Longer tokens are refused unread.
pub const LONGEST_TOKEN: usize = 8 * 1024;

/// Which tokens count, and under which keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Shared secret for HS256, at least 32 bytes.
    pub secret: Option<Secret>,
    /// PEM files with one public key each: RSA, EC on P-256 or P-384, Ed25519.
    pub public_keys: Vec<PathBuf>,
    /// A JSON Web Key Set. Needs `issuer`: the keys of an identity provider sign for many applications.
    pub jwks_file: Option<PathBuf>,
    /// What a token's `aud` must hold.
    pub audience: String,
    /// What a token's `iss` must be; not looked at if absent.
    pub issuer: Option<String>,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            secret: None,
            public_keys: Vec::new(),
            jwks_file: None,
            audience: "crier".to_owned(),
            issuer: None,
        }
    }
}

impl AuthConfig {
    fn usable_issuer(&self) -> Option<&str> {
        self.issuer.as_deref().filter(|issuer| !issuer.is_empty())
    }

    fn usable_secret(&self) -> Result<Option<&Secret>, AuthConfigError> {
        match &self.secret {
            Some(secret) if secret.expose().len() < SHORTEST_SECRET => {
                Err(AuthConfigError::ShortSecret {
                    bytes: secret.expose().len(),
                })
            }
            other => Ok(other.as_ref()),
        }
    }
}

/// Why no [`Verifier`] or [`Signer`] can be made; each is one sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum AuthConfigError {
    /// Nothing to verify with.
    #[error("no key to check tokens with: set auth.secret, auth.public_keys or auth.jwks_file")]
    NoKey,
    /// Nothing to sign with.
    #[error("no secret to sign tokens with: set auth.secret")]
    NoSecret,
    /// An HS256 secret that could be guessed.
    #[error("auth.secret has {bytes} bytes and needs at least 32")]
    ShortSecret {
        /// Its length.
        bytes: usize,
    },
    /// `audience` is empty.
    #[error("auth.audience is empty; it must name what tokens are made for, such as crier")]
    NoAudience,
    /// A key set without an issuer.
    #[error(
        "auth.jwks_file needs auth.issuer: without it, tokens for other applications would count"
    )]
    NoIssuer,
    /// A key file cannot be read.
    #[error("the key file {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file as configured.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A PEM file with something else in it.
    #[error("{} is not one public key in PEM (RSA of 2048 to 4096 bits, EC on P-256 or P-384, Ed25519): {reason}", path.display())]
    NotPublicKey {
        /// The file as configured.
        path: PathBuf,
        /// What was found instead.
        reason: &'static str,
    },
    /// A key set that is not one.
    #[error("{} is not a JSON Web Key Set: {source}", path.display())]
    NotKeySet {
        /// The file as configured.
        path: PathBuf,
        /// Where reading it failed.
        #[source]
        source: serde_json::Error,
    },
    /// A key set in which nothing can be used.
    #[error("{} holds no key for RS256, ES256, ES384 or EdDSA signatures", path.display())]
    EmptyKeySet {
        /// The file as configured.
        path: PathBuf,
    },
}

/// A token that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who it stands for.
    pub identity: Identity,
    /// `iat`, seconds since 1970.
    pub issued_at: i64,
    /// `exp`, seconds since 1970; from this second on the token is void.
    pub expires_at: i64,
}

/// Whom a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A person.
    User {
        /// `sub`, always positive.
        id: i64,
        /// For display only; may be empty.
        username: String,
    },
    /// The application's own backend: scope `service`.
    Service {
        /// `sub`, or else `jti`: tells one backend from another, for limits. Not every token has one.
        subject: Option<String>,
    },
}

/// Why a token does not count. For the log: clients get the same answer for each of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The request brought none.
    #[error("no token")]
    Missing,
    /// Longer than [`LONGEST_TOKEN`].
    #[error("token longer than 8 KiB")]
    TooLong,
    /// Not three parts of base64 around JSON.
    #[error("malformed token")]
    Malformed,
    /// Signed in a way no configured key is for; `none` is such a way.
    #[error("algorithm without a key")]
    Algorithm,
    /// Its `kid` names a key that is not configured.
    #[error("unknown key id")]
    UnknownKey,
    /// Not signed with the key it claims.
    #[error("wrong signature")]
    Signature,
    /// `exp` has come.
    #[error("expired at {expired_at}")]
    Expired {
        /// Seconds since 1970.
        expired_at: i64,
    },
    /// `iat` or `nbf` is yet to come.
    #[error("{claim} is in the future")]
    Premature {
        /// Which of the two.
        claim: &'static str,
    },
    /// For someone else.
    #[error("other audience")]
    Audience,
    /// From someone else.
    #[error("other issuer")]
    Issuer,
    /// A claim that must be there is not.
    #[error("{claim} is missing")]
    MissingClaim {
        /// Its name.
        claim: &'static str,
    },
    /// A claim of the wrong type or outside its range.
    #[error("{claim} is invalid")]
    InvalidClaim {
        /// Its name.
        claim: &'static str,
    },
}

impl From<TokenError> for Problem {
    /// The same answer whatever was wrong: why a token failed is nobody's business but the operator's.
    fn from(_: TokenError) -> Self {
        Problem::unauthorized()
    }
}

/// The token in `Authorization: Bearer …`, if there is exactly one such header.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
