//! What a token says, read strictly and held against the clock and the configuration.

use serde::Deserialize;
use serde_json::Value;

use super::{Claims, Identity, TokenError};

const SERVICE_SCOPE: &str = "service";

/// Whole seconds beyond this lose precision in the floating point numbers that some issuers write.
const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;

/// The claims as they stand in the token; `null` counts as absent.
#[derive(Deserialize)]
pub(super) struct RawClaims {
    sub: Option<Value>,
    jti: Option<Value>,
    username: Option<Value>,
    scope: Option<Value>,
    exp: Option<Value>,
    iat: Option<Value>,
    nbf: Option<Value>,
    aud: Option<Value>,
    iss: Option<Value>,
}

/// What the claims are held against.
pub(super) struct Expected<'a> {
    pub(super) audience: &'a str,
    pub(super) issuer: Option<&'a str>,
    /// Seconds since 1970.
    pub(super) now: i64,
}

impl RawClaims {
    pub(super) fn check(self, expected: &Expected<'_>) -> Result<Claims, TokenError> {
        let expires_at = seconds("exp", self.exp.as_ref())?;
        if expected.now >= expires_at {
            return Err(TokenError::Expired {
                expired_at: expires_at,
            });
        }
        let issued_at = seconds("iat", self.iat.as_ref())?;
        if issued_at > expected.now {
            return Err(TokenError::Premature { claim: "iat" });
        }
        if self.nbf.is_some() && seconds("nbf", self.nbf.as_ref())? > expected.now {
            return Err(TokenError::Premature { claim: "nbf" });
        }
        check_audience(self.aud.as_ref(), expected.audience)?;
        if let Some(issuer) = expected.issuer {
            match &self.iss {
                None => return Err(TokenError::MissingClaim { claim: "iss" }),
                Some(Value::String(found)) if found == issuer => {}
                Some(_) => return Err(TokenError::Issuer),
            }
        }
        Ok(Claims {
            identity: self.identity()?,
            issued_at,
            expires_at,
        })
    }

    fn identity(self) -> Result<Identity, TokenError> {
        let scope = text("scope", self.scope)?;
        if scope.split(' ').any(|scope| scope == SERVICE_SCOPE) {
            let subject = name(self.sub).or_else(|| name(self.jti));
            return Ok(Identity::Service { subject });
        }
        Ok(Identity::User {
            id: user_id(self.sub.as_ref())?,
            username: text("username", self.username)?,
        })
    }
}

/// What a backend calls itself, whatever it is: only told apart from others, never trusted with anything.
fn name(value: Option<Value>) -> Option<String> {
    match value {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    }
}

/// A NumericDate. Fractions are legal (RFC 7519) and cut off, which ends a token early, not late.
fn seconds(claim: &'static str, value: Option<&Value>) -> Result<i64, TokenError> {
    let value = value.ok_or(TokenError::MissingClaim { claim })?;
    let whole = value.as_i64().or_else(|| {
        value
            .as_f64()
            .filter(|seconds| seconds.abs() < LARGEST_EXACT)
            .map(|seconds| seconds.floor() as i64)
    });
    whole.ok_or(TokenError::InvalidClaim { claim })
}

/// A positive number, or the same in decimal digits: many libraries insist on `sub` being a string.
fn user_id(sub: Option<&Value>) -> Result<i64, TokenError> {
    let id = match sub {
        None => return Err(TokenError::MissingClaim { claim: "sub" }),
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(digits))
            if !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            digits.parse().ok()
        }
        Some(_) => None,
    };
    id.filter(|id| *id > 0)
        .ok_or(TokenError::InvalidClaim { claim: "sub" })
}

fn text(claim: &'static str, value: Option<Value>) -> Result<String, TokenError> {
    match value {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(TokenError::InvalidClaim { claim }),
    }
}

fn check_audience(aud: Option<&Value>, expected: &str) -> Result<(), TokenError> {
    let named = match aud {
        None => return Err(TokenError::MissingClaim { claim: "aud" }),
        Some(Value::String(one)) => one == expected,
        Some(Value::Array(several)) => several.iter().any(|one| one == expected),
        Some(_) => return Err(TokenError::InvalidClaim { claim: "aud" }),
    };
    if named {
        Ok(())
    } else {
        Err(TokenError::Audience)
    }
}
