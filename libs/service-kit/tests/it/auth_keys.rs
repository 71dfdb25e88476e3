//! Keys from files: which are taken, which are refused and in which words; key sets; the bearer header.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crier_service_kit::auth::{AuthConfig, AuthConfigError, Signer, TokenError, Verifier, bearer};
use crier_service_kit::config::Secret;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

fn key_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/keys")
        .join(name)
}

fn file_with(content: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

fn sentence(config: &AuthConfig) -> String {
    let sentence = Verifier::new(config).unwrap_err().to_string();
    assert!(!sentence.contains('\n'), "{sentence}");
    sentence
}

fn with_pem(path: &Path) -> AuthConfig {
    AuthConfig {
        public_keys: vec![path.to_owned()],
        ..AuthConfig::default()
    }
}

#[test]
fn without_any_key_nothing_starts() {
    assert_eq!(
        sentence(&AuthConfig::default()),
        "no key to check tokens with: set auth.secret, auth.public_keys or auth.jwks_file"
    );
    assert!(matches!(
        Signer::new(&AuthConfig::default()),
        Err(AuthConfigError::NoSecret)
    ));
}

#[test]
fn a_short_secret_is_refused_and_not_shown() {
    for length in [0, 1, 31] {
        let config = AuthConfig {
            secret: Some(Secret::new("s".repeat(length))),
            ..AuthConfig::default()
        };
        let expected = format!("auth.secret has {length} bytes and needs at least 32");
        assert_eq!(sentence(&config), expected);
        assert_eq!(Signer::new(&config).unwrap_err().to_string(), expected);
    }
    let config = AuthConfig {
        secret: Some(Secret::new("s".repeat(32))),
        ..AuthConfig::default()
    };
    let verifier = Verifier::new(&config).unwrap();
    assert!(!format!("{config:?} {verifier:?}").contains("ssss"));
}

#[test]
fn an_empty_audience_is_refused() {
    let config = AuthConfig {
        secret: Some(Secret::new("s".repeat(32))),
        audience: String::new(),
        ..AuthConfig::default()
    };
    assert!(sentence(&config).starts_with("auth.audience is empty"));
}

#[test]
fn a_pem_file_must_hold_one_usable_public_key() {
    for (name, reason) in [
        ("rsa.key", "it holds a private key"),
        ("certificate.pem", "it holds a certificate"),
        ("rsa-1024.pem", "no such key is in it"),
        ("p521.pem", "no such key is in it"),
        ("README.md", "no such key is in it"),
    ] {
        let sentence = sentence(&with_pem(&key_file(name)));
        assert!(sentence.contains(name), "{sentence}");
        assert!(sentence.ends_with(reason), "{sentence}");
    }
    let two = [
        std::fs::read(key_file("rsa.pem")).unwrap(),
        std::fs::read(key_file("p256.pem")).unwrap(),
    ];
    let file = file_with(&two.concat());
    assert!(sentence(&with_pem(file.path())).ends_with("it holds several keys"));

    let missing = sentence(&with_pem(Path::new("/nowhere/key.pem")));
    assert!(
        missing.starts_with("the key file /nowhere/key.pem cannot be read"),
        "{missing}"
    );
}

#[test]
fn a_truncated_or_damaged_pem_file_is_refused_without_a_panic() {
    for name in ["rsa.pem", "p256.pem", "p384.pem", "ed25519.pem"] {
        let pem = std::fs::read_to_string(key_file(name)).unwrap();
        for cut in 0..pem.trim_end().len() {
            let file = file_with(&pem.as_bytes()[..cut]);
            assert!(
                Verifier::new(&with_pem(file.path())).is_err(),
                "{name} {cut}"
            );
        }
    }
    // An Ed25519 key of 3 bytes, well wrapped: the library would cut it to 32 and stop the process.
    let short = "-----BEGIN PUBLIC KEY-----\nMA0wBQYDK2VwAwQAAQID\n-----END PUBLIC KEY-----\n";
    let file = file_with(short.as_bytes());
    assert!(Verifier::new(&with_pem(file.path())).is_err());
}

fn public_jwk(pem: &str, algorithm: Algorithm, kid: &str) -> Value {
    let bytes = std::fs::read(key_file(pem)).unwrap();
    let key = match algorithm {
        Algorithm::RS256 => DecodingKey::from_rsa_pem(&bytes),
        _ => DecodingKey::from_ec_pem(&bytes),
    }
    .unwrap();
    let mut jwk =
        serde_json::to_value(Jwk::from_decoding_key(&key, Some(algorithm)).unwrap()).unwrap();
    jwk["kid"] = json!(kid);
    jwk
}

fn with_key_set(set: &Value) -> (AuthConfig, NamedTempFile) {
    let file = file_with(set.to_string().as_bytes());
    let config = AuthConfig {
        jwks_file: Some(file.path().to_owned()),
        issuer: Some("https://login.example".to_owned()),
        ..AuthConfig::default()
    };
    (config, file)
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn signed(kid: Option<&str>, key: &str, algorithm: Algorithm) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    let claims = json!({
        "sub": "7", "iat": 1_800_000_000, "exp": 1_800_000_001, "aud": "crier",
        "iss": "https://login.example",
    });
    let pem = std::fs::read(key_file(key)).unwrap();
    let key = match algorithm {
        Algorithm::RS256 => EncodingKey::from_rsa_pem(&pem),
        _ => EncodingKey::from_ec_pem(&pem),
    };
    jsonwebtoken::encode(&header, &claims, &key.unwrap()).unwrap()
}

#[test]
fn a_key_set_is_used_by_key_id_and_kind() {
    let mut for_encryption = public_jwk("rsa.pem", Algorithm::RS256, "enc");
    for_encryption["use"] = json!("enc");
    let mut other_strength = public_jwk("rsa.pem", Algorithm::RS256, "rs512");
    other_strength["alg"] = json!("RS512");
    let (config, _file) = with_key_set(&json!({ "keys": [
        for_encryption,
        other_strength,
        { "kty": "oct", "kid": "shared", "alg": "HS256", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0" },
        { "kty": "OKP", "kid": "short", "crv": "Ed25519", "x": "AQID" },
        { "kty": "EC", "kid": "off", "crv": "P-256", "x": "AQ", "y": "AQ" },
        { "kty": "EC", "kid": "k1", "crv": "secp256k1", "x": "AQ", "y": "AQ" },
        { "kty": "new", "kid": "new" },
        public_jwk("p256.pem", Algorithm::ES256, "one"),
        public_jwk("rsa.pem", Algorithm::RS256, "two"),
    ]}));
    let verifier = Verifier::new(&config).unwrap();
    let verify = |token: &str| verifier.verify(token, now()).map(|_| ());

    assert_eq!(
        verify(&signed(Some("one"), "p256.key", Algorithm::ES256)),
        Ok(())
    );
    assert_eq!(verify(&signed(None, "p256.key", Algorithm::ES256)), Ok(()));
    assert_eq!(
        verify(&signed(Some("two"), "rsa.key", Algorithm::RS256)),
        Ok(())
    );
    assert_eq!(
        verify(&signed(Some("gone"), "rsa.key", Algorithm::RS256)),
        Err(TokenError::UnknownKey)
    );
    assert_eq!(
        verify(&signed(Some("enc"), "rsa.key", Algorithm::RS256)),
        Err(TokenError::UnknownKey)
    );
    assert_eq!(
        verify(&signed(Some("two"), "rsa-other.key", Algorithm::RS256)),
        Err(TokenError::Signature)
    );
}

#[test]
fn a_key_set_needs_an_issuer_and_a_usable_key() {
    let good = json!({ "keys": [public_jwk("p256.pem", Algorithm::ES256, "one")] });
    let (config, _file) = with_key_set(&good);
    for issuer in [None, Some(String::new())] {
        let config = AuthConfig {
            issuer,
            ..config.clone()
        };
        assert!(sentence(&config).starts_with("auth.jwks_file needs auth.issuer"));
    }
    let (config, _file) = with_key_set(&json!({ "keys": [] }));
    assert!(sentence(&config).contains("holds no key for"));
    let (config, _file) = with_key_set(&json!([]));
    assert!(sentence(&config).contains("is not a JSON Web Key Set"));
}

#[test]
fn a_bearer_token_is_read_from_one_header_of_that_scheme() {
    let read = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        bearer(&headers).map(str::to_owned)
    };
    assert_eq!(read(&["Bearer abc"]).as_deref(), Some("abc"));
    assert_eq!(read(&["bearer   abc "]).as_deref(), Some("abc"));
    for nothing in [
        &[][..],
        &["abc"],
        &["Bearer"],
        &["Bearer "],
        &["Basic abc"],
        &["Bearerabc"],
        &["Bearer a", "Bearer b"],
    ] {
        assert_eq!(read(nothing), None, "{nothing:?}");
    }
}
