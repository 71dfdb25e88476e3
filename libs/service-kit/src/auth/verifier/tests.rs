//! Tokens forged by hand in every way we could think of, and the honest ones next to them.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::auth::{Identity, Signer};
use crate::config::Secret;

mod claims;

const SECRET: &str = "a secret of more than thirty-two bytes";
const NOW: i64 = 1_800_000_000;

fn keys() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys")
}

fn config() -> AuthConfig {
    AuthConfig {
        secret: Some(Secret::new(SECRET)),
        ..AuthConfig::default()
    }
}

fn with_pem(name: &str) -> AuthConfig {
    AuthConfig {
        public_keys: vec![keys().join(name)],
        ..AuthConfig::default()
    }
}

fn private_key(name: &str) -> EncodingKey {
    let pem = std::fs::read(keys().join(name)).unwrap();
    if name.starts_with("rsa") {
        EncodingKey::from_rsa_pem(&pem).unwrap()
    } else if name.starts_with("ed") {
        EncodingKey::from_ed_pem(&pem).unwrap()
    } else {
        EncodingKey::from_ec_pem(&pem).unwrap()
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW as u64)
}

fn honest() -> Value {
    json!({ "sub": 7, "username": "alice", "iat": NOW - 10, "exp": NOW + 10, "aud": "crier" })
}

/// The honest claims with some replaced; null removes one.
fn changed(changes: &Value) -> Value {
    let mut claims = honest();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn encoded(part: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part.to_string())
}

/// A token with exactly this header and payload, signed with whatever key and algorithm the forger likes.
fn forged(header: &Value, payload: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", encoded(header), encoded(payload));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn hs256(payload: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    forged(&json!({ "alg": "HS256" }), payload, &key, Algorithm::HS256)
}

fn verify(token: &str) -> Result<Claims, TokenError> {
    Verifier::new(&config()).unwrap().verify(token, now())
}

fn identity(changes: &Value) -> Result<Identity, TokenError> {
    verify(&hs256(&changed(changes))).map(|claims| claims.identity)
}

fn user(id: i64) -> Identity {
    Identity::User {
        id,
        username: "alice".to_owned(),
    }
}

#[test]
fn an_honest_token_says_who_it_is() {
    let claims = verify(&hs256(&honest())).unwrap();
    assert_eq!(
        claims,
        Claims {
            identity: user(7),
            issued_at: NOW - 10,
            expires_at: NOW + 10,
        }
    );
}

#[test]
fn a_token_without_a_signature_is_refused() {
    for alg in ["none", "None", "NONE", ""] {
        let header = encoded(&json!({ "alg": alg, "typ": "JWT" }));
        let payload = encoded(&honest());
        for token in [
            format!("{header}.{payload}."),
            format!("{header}.{payload}.AAAA"),
        ] {
            assert_eq!(verify(&token), Err(TokenError::Algorithm), "{token}");
        }
    }
    let unsigned = hs256(&honest());
    let (message, _) = unsigned.rsplit_once('.').unwrap();
    assert_eq!(verify(&format!("{message}.")), Err(TokenError::Signature));
}

#[test]
fn a_token_under_another_key_is_refused() {
    let key = EncodingKey::from_secret(b"another secret of more than 32 bytes");
    let token = forged(
        &json!({ "alg": "HS256" }),
        &honest(),
        &key,
        Algorithm::HS256,
    );
    assert_eq!(verify(&token), Err(TokenError::Signature));
}

#[test]
fn a_changed_payload_is_refused() {
    let token = hs256(&honest());
    let parts: Vec<&str> = token.split('.').collect();
    let other = encoded(&changed(&json!({ "sub": 8 })));
    let forged = format!("{}.{other}.{}", parts[0], parts[2]);
    assert_eq!(verify(&forged), Err(TokenError::Signature));
}

#[test]
fn another_strength_of_the_same_algorithm_is_refused() {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    for (alg, algorithm) in [("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)] {
        let token = forged(&json!({ "alg": alg }), &honest(), &key, algorithm);
        assert_eq!(verify(&token), Err(TokenError::Algorithm));
    }
}

#[test]
fn the_public_key_is_no_hmac_secret() {
    let pem = std::fs::read(keys().join("rsa.pem")).unwrap();
    let verifier = Verifier::new(&with_pem("rsa.pem")).unwrap();
    for stolen in [pem.as_slice(), pem.trim_ascii()] {
        let key = EncodingKey::from_secret(stolen);
        for alg in ["HS256", "RS256"] {
            let token = forged(&json!({ "alg": alg }), &honest(), &key, Algorithm::HS256);
            let refusal = verifier.verify(&token, now()).unwrap_err();
            assert!(
                matches!(refusal, TokenError::Algorithm | TokenError::Signature),
                "{refusal}"
            );
        }
    }
}

#[test]
fn every_kind_of_public_key_works_and_only_for_its_algorithm() {
    let kinds = [
        ("rsa", "RS256", Algorithm::RS256),
        ("p256", "ES256", Algorithm::ES256),
        ("p384", "ES384", Algorithm::ES384),
        ("ed25519", "EdDSA", Algorithm::EdDSA),
    ];
    for (name, alg, algorithm) in kinds {
        let token = forged(
            &json!({ "alg": alg }),
            &honest(),
            &private_key(&format!("{name}.key")),
            algorithm,
        );
        for (other, ..) in kinds {
            let verifier = Verifier::new(&with_pem(&format!("{other}.pem"))).unwrap();
            let result = verifier.verify(&token, now());
            if other == name {
                assert_eq!(result.unwrap().identity, user(7), "{name}");
            } else {
                assert_eq!(result, Err(TokenError::Algorithm), "{name} under {other}");
            }
        }
        assert_eq!(verify(&token), Err(TokenError::Algorithm), "{name}");
    }
    let token = forged(
        &json!({ "alg": "RS256" }),
        &honest(),
        &private_key("rsa-other.key"),
        Algorithm::RS256,
    );
    let verifier = Verifier::new(&with_pem("rsa.pem")).unwrap();
    assert_eq!(verifier.verify(&token, now()), Err(TokenError::Signature));
}

#[test]
fn rubbish_is_malformed() {
    let good = hs256(&honest());
    let parts: Vec<&str> = good.split('.').collect();
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let critical = json!({ "alg": "HS256", "crit": ["exp"] });
    for token in [
        "x".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        format!("{}.{}", parts[0], parts[1]),
        format!("{good}.{}", parts[2]),
        format!("{good}="),
        format!(" {good}"),
        forged(&critical, &honest(), &key, Algorithm::HS256),
        forged(&json!({}), &honest(), &key, Algorithm::HS256),
        forged(&json!({ "alg": 5 }), &honest(), &key, Algorithm::HS256),
        hs256(&json!("just text")),
        hs256(&json!(null)),
    ] {
        assert_eq!(verify(&token), Err(TokenError::Malformed), "{token}");
    }
    assert_eq!(verify(""), Err(TokenError::Missing));
}

#[test]
fn a_huge_token_is_not_even_read() {
    let padding = "x".repeat(5_000);
    let fits = hs256(&changed(&json!({ "username": padding })));
    assert!(fits.len() <= LONGEST_TOKEN && verify(&fits).is_ok());
    let padding = "x".repeat(8_000);
    let huge = hs256(&changed(&json!({ "username": padding })));
    assert_eq!(verify(&huge), Err(TokenError::TooLong));
}

#[test]
fn what_the_signer_makes_the_verifier_takes() {
    let config = AuthConfig {
        issuer: Some("crier".to_owned()),
        ..config()
    };
    let signer = Signer::new(&config).unwrap();
    let verifier = Verifier::new(&config).unwrap();
    let now = SystemTime::now();
    let minute = Duration::from_secs(60);

    let token = signer.sign_user(7, "alice", minute).unwrap();
    let claims = verifier.verify(&token, now).unwrap();
    assert_eq!(claims.identity, user(7));
    assert_eq!(claims.expires_at - claims.issued_at, 60);
    let later = now + Duration::from_secs(61);
    assert!(matches!(
        verifier.verify(&token, later),
        Err(TokenError::Expired { .. })
    ));

    let token = signer.sign_service(minute).unwrap();
    let claims = verifier.verify(&token, now).unwrap();
    assert_eq!(claims.identity, Identity::Service { subject: None });
}

proptest! {
    #[test]
    fn no_token_makes_the_verifier_panic(token in "[A-Za-z0-9_.-]{0,200}") {
        prop_assert!(verify(&token).is_err());
    }

    #[test]
    fn no_claims_make_the_verifier_panic(sub in any::<f64>(), exp in any::<f64>(), text in ".{0,20}") {
        let _ = verify(&hs256(&changed(&json!({ "sub": sub, "exp": exp, "scope": text }))));
    }
}
