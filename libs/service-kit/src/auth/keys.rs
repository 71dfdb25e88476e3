//! From configured files to keys, each bound to its one algorithm.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};

use super::{AuthConfig, AuthConfigError};

const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// A key and the only thing it may be used for.
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) id: Option<String>,
    pub(super) decoding: DecodingKey,
}

/// Every key `config` names; at least one.
pub(super) fn load(config: &AuthConfig) -> Result<Vec<Key>, AuthConfigError> {
    let mut keys = Vec::new();
    if let Some(secret) = config.usable_secret()? {
        keys.push(Key {
            algorithm: Algorithm::HS256,
            id: None,
            decoding: DecodingKey::from_secret(secret.expose().as_bytes()),
        });
    }
    for path in &config.public_keys {
        keys.push(public_key(path)?);
    }
    if let Some(path) = &config.jwks_file {
        keys.extend(key_set(path)?);
    }
    if keys.is_empty() {
        return Err(AuthConfigError::NoKey);
    }
    Ok(keys)
}

fn read(path: &Path) -> Result<Vec<u8>, AuthConfigError> {
    fs::read(path).map_err(|source| AuthConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn public_key(path: &Path) -> Result<Key, AuthConfigError> {
    let pem = read(path)?;
    let refused = |reason| AuthConfigError::NotPublicKey {
        path: path.to_owned(),
        reason,
    };
    let text = String::from_utf8_lossy(&pem);
    if text.contains("PRIVATE KEY-----") {
        return Err(refused("it holds a private key"));
    }
    if text.contains("CERTIFICATE-----") {
        return Err(refused("it holds a certificate"));
    }
    if text.matches("-----BEGIN ").count() > 1 {
        return Err(refused("it holds several keys"));
    }
    DecodingKey::from_rsa_pem(&pem)
        .or_else(|_| DecodingKey::from_ec_pem(&pem))
        .or_else(|_| DecodingKey::from_ed_pem(&pem))
        .and_then(|key| Jwk::from_decoding_key(&key, None))
        .ok()
        .and_then(|jwk| from_jwk(&jwk))
        .ok_or_else(|| refused("no such key is in it"))
}

fn key_set(path: &Path) -> Result<Vec<Key>, AuthConfigError> {
    let set: JwkSet =
        serde_json::from_slice(&read(path)?).map_err(|source| AuthConfigError::NotKeySet {
            path: path.to_owned(),
            source,
        })?;
    // Providers publish keys for encryption and for other algorithms next to the ones that matter here.
    let keys: Vec<Key> = set.keys.iter().filter_map(from_jwk).collect();
    if keys.is_empty() {
        return Err(AuthConfigError::EmptyKeySet {
            path: path.to_owned(),
        });
    }
    Ok(keys)
}

/// The key, if it is a public one for signatures of a kind that is accepted.
fn from_jwk(jwk: &Jwk) -> Option<Key> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if has_rsa_size(&rsa.n) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => Algorithm::ES256,
            EllipticCurve::P384 => Algorithm::ES384,
            _ => return None,
        },
        // The library cuts the key to 32 bytes without looking whether there are so many.
        AlgorithmParameters::OctetKeyPair(pair)
            if pair.curve == EllipticCurve::Ed25519 && decoded_len(&pair.x) == Some(32) =>
        {
            Algorithm::EdDSA
        }
        _ => return None,
    };
    let for_signatures = !matches!(
        jwk.common.public_key_use,
        Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_))
    );
    let as_declared = jwk
        .common
        .key_algorithm
        .is_none_or(|declared| declared == algorithm.into());
    if !for_signatures || !as_declared {
        return None;
    }
    let decoding = DecodingKey::from_jwk(jwk).ok()?;
    // Tries the key out: a point that is not on its curve shows here, not with the first token.
    crypto::verify("", b"", &decoding, algorithm).ok()?;
    Some(Key {
        algorithm,
        id: jwk.common.key_id.clone(),
        decoding,
    })
}

fn has_rsa_size(modulus: &str) -> bool {
    BASE64_URL_SAFE_NO_PAD.decode(modulus).is_ok_and(|bytes| {
        let leading_zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        RSA_MODULUS_BYTES.contains(&(bytes.len() - leading_zeros))
    })
}

fn decoded_len(base64: &str) -> Option<usize> {
    BASE64_URL_SAFE_NO_PAD
        .decode(base64)
        .ok()
        .map(|bytes| bytes.len())
}
