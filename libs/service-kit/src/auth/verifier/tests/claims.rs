//! Each claim on its own: missing, of the wrong type, too early, too late, for someone else.

use super::*;

#[test]
fn there_is_no_leeway() {
    let expiring = |exp: i64| identity(&json!({ "exp": exp }));
    assert_eq!(expiring(NOW + 1), Ok(user(7)));
    for past in [NOW, NOW - 1, 0, -1] {
        assert_eq!(
            expiring(past),
            Err(TokenError::Expired { expired_at: past })
        );
    }
    assert_eq!(identity(&json!({ "iat": NOW })), Ok(user(7)));
    assert_eq!(
        identity(&json!({ "iat": NOW + 1 })),
        Err(TokenError::Premature { claim: "iat" })
    );
    assert_eq!(
        identity(&json!({ "nbf": NOW + 1 })),
        Err(TokenError::Premature { claim: "nbf" })
    );
    assert_eq!(identity(&json!({ "nbf": NOW })), Ok(user(7)));
}

#[test]
fn times_may_have_fractions_and_nothing_else() {
    let exp = NOW as f64 + 1.9;
    let token = hs256(&changed(&json!({ "exp": exp })));
    assert_eq!(verify(&token).unwrap().expires_at, NOW + 1);
    for bad in [json!("1900000000"), json!(1e300), json!(true), json!([1])] {
        assert_eq!(
            identity(&json!({ "exp": bad })),
            Err(TokenError::InvalidClaim { claim: "exp" })
        );
    }
}

#[test]
fn the_audience_must_name_us() {
    for aud in [json!("crier"), json!(["other", "crier"])] {
        assert_eq!(identity(&json!({ "aud": aud })), Ok(user(7)));
    }
    for aud in [
        json!("other"),
        json!("crier2"),
        json!(["other"]),
        json!([]),
        json!(""),
    ] {
        assert_eq!(identity(&json!({ "aud": aud })), Err(TokenError::Audience));
    }
    assert_eq!(
        identity(&json!({ "aud": 5 })),
        Err(TokenError::InvalidClaim { claim: "aud" })
    );
}

#[test]
fn what_must_be_there_is_missed() {
    for claim in ["sub", "exp", "iat", "aud"] {
        assert_eq!(
            identity(&json!({ claim: null })),
            Err(TokenError::MissingClaim { claim }),
            "{claim}"
        );
    }
    assert_eq!(
        identity(&json!({ "username": null })),
        Ok(Identity::User {
            id: 7,
            username: String::new()
        })
    );
}

#[test]
fn the_subject_is_a_positive_whole_number() {
    for sub in [json!(12), json!("12")] {
        assert_eq!(identity(&json!({ "sub": sub })), Ok(user(12)));
    }
    assert_eq!(identity(&json!({ "sub": i64::MAX })), Ok(user(i64::MAX)));
    for sub in [
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1.0),
        json!(u64::MAX),
        json!("0"),
        json!("-1"),
        json!("+1"),
        json!("007"),
        json!("1.0"),
        json!(" 1"),
        json!("alice"),
        json!(""),
        json!("9223372036854775808"),
        json!(true),
        json!([1]),
        json!({ "id": 1 }),
    ] {
        assert_eq!(
            identity(&json!({ "sub": sub })),
            Err(TokenError::InvalidClaim { claim: "sub" }),
            "{sub}"
        );
    }
}

#[test]
fn the_scope_service_is_a_word_of_its_own() {
    for scope in ["service", "read service", "service write"] {
        let token = json!({ "scope": scope, "sub": null });
        assert_eq!(identity(&token), Ok(Identity::Service { subject: None }));
    }
    for scope in ["", "services", "self-service", "service,write", "Service"] {
        assert_eq!(identity(&json!({ "scope": scope })), Ok(user(7)), "{scope}");
    }
    assert_eq!(
        identity(&json!({ "scope": ["service"] })),
        Err(TokenError::InvalidClaim { claim: "scope" })
    );
}

#[test]
fn a_backend_is_told_apart_by_its_subject_or_else_by_its_token() {
    for (claims, subject) in [
        (json!({ "sub": "billing", "jti": "1" }), Some("billing")),
        (json!({ "sub": 7, "jti": "1" }), Some("7")),
        (json!({ "sub": "", "jti": "1" }), Some("1")),
        (json!({ "sub": null, "jti": "1" }), Some("1")),
        (json!({ "sub": [], "jti": {} }), None),
    ] {
        let mut token = claims.clone();
        token["scope"] = json!("service");
        let subject = subject.map(str::to_owned);
        assert_eq!(
            identity(&token),
            Ok(Identity::Service { subject }),
            "{claims}"
        );
    }
}

#[test]
fn the_issuer_counts_when_it_is_configured() {
    let verifier = Verifier::new(&AuthConfig {
        issuer: Some("https://login.example".to_owned()),
        ..config()
    })
    .unwrap();
    let issued = |iss: Value| verifier.verify(&hs256(&changed(&json!({ "iss": iss }))), now());
    assert!(issued(json!("https://login.example")).is_ok());
    for iss in [
        json!("https://login.example/"),
        json!(["https://login.example"]),
        json!(1),
    ] {
        assert_eq!(issued(iss), Err(TokenError::Issuer));
    }
    assert_eq!(
        issued(Value::Null),
        Err(TokenError::MissingClaim { claim: "iss" })
    );
}
