//! Whose stream it is: `Authorization: Bearer`, `?ticket=`, or the cookie `crier_token`, in this order.
//! What is given counts; a bad one is not made up for by another.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, header};
use crier_domain::{Keys, Ticket, UserId};
use crier_service_kit::auth::{Identity, Verifier, bearer};

/// The cookie that holds a token: the plain EventSource's way.
const COOKIE: &str = "crier_token";

/// Who may read the stream, and until when. Times are Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reader {
    pub(super) user: UserId,
    /// When the token was issued, also behind a ticket: held against the user's `not_before`.
    pub(super) issued_at: i64,
    /// When the stream ends.
    pub(super) expires_at: i64,
}

/// Why nobody was identified. These end a client's EventSource for good, as they should: nothing changes by
/// asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No token, or one that is wrong or has ended: 401.
    Unauthorized(&'static str),
    /// Somebody, but not allowed to do this: 403.
    Forbidden(&'static str),
}

const BAD_TOKEN: Refusal = Refusal::Unauthorized("The token is wrong or has expired.");
const BAD_TICKET: Refusal = Refusal::Unauthorized(
    "The ticket is wrong or has expired; fetch a new one and pass last_event_id.",
);
const NO_IDENTITY: Refusal = Refusal::Unauthorized(
    "Send a token as Authorization: Bearer or in the cookie crier_token, or a ticket as ?ticket=.",
);
const SERVICE: Refusal =
    Refusal::Forbidden("A service token has no user, and so no stream of events.");
const FOREIGN_ORIGIN: Refusal =
    Refusal::Forbidden("This origin may not use the cookie here; list it in cors.allowed_origins.");

/// What decides about a reader.
pub(super) struct Door<'a> {
    pub(super) verifier: &'a Verifier,
    pub(super) keys: &'a Keys,
    pub(super) allowed_origins: &'a [String],
    pub(super) now: SystemTime,
}

impl Door<'_> {
    /// Whose stream this request asks for.
    pub(super) fn identify(
        &self,
        headers: &HeaderMap,
        ticket: Option<&str>,
    ) -> Result<Reader, Refusal> {
        if headers.contains_key(header::AUTHORIZATION) {
            return self.token(bearer(headers).ok_or(BAD_TOKEN)?);
        }
        if let Some(ticket) = ticket {
            return self.ticket(ticket);
        }
        let token = cookie(headers).ok_or(NO_IDENTITY)?;
        // The browser adds a cookie whoever asks, so it must also be said who asked.
        if !self.trusts_page(headers) {
            return Err(FOREIGN_ORIGIN);
        }
        self.token(token)
    }

    fn token(&self, token: &str) -> Result<Reader, Refusal> {
        let claims = self.verifier.verify(token, self.now).map_err(|error| {
            tracing::debug!(%error, "token refused");
            BAD_TOKEN
        })?;
        let Identity::User { id, .. } = claims.identity else {
            return Err(SERVICE);
        };
        Ok(Reader {
            user: UserId::try_from(id).map_err(|_| BAD_TOKEN)?,
            issued_at: claims.issued_at,
            expires_at: claims.expires_at,
        })
    }

    fn ticket(&self, sealed: &str) -> Result<Reader, Refusal> {
        let ticket = Ticket::open(sealed, self.keys).map_err(|_| BAD_TICKET)?;
        let since_1970 = self.now.duration_since(UNIX_EPOCH).unwrap_or(Duration::MAX);
        let now = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
        if now >= ticket.expires_at || now >= ticket.token_expires_at {
            return Err(BAD_TICKET);
        }
        Ok(Reader {
            user: ticket.user,
            issued_at: ticket.issued_at,
            expires_at: ticket.token_expires_at,
        })
    }

    fn trusts_page(&self, headers: &HeaderMap) -> bool {
        if let Some(origin) = headers.get(header::ORIGIN) {
            return self
                .allowed_origins
                .iter()
                .any(|allowed| allowed.as_bytes() == origin.as_bytes());
        }
        headers
            .get("sec-fetch-site")
            .is_none_or(|site| site.as_bytes() == b"same-origin")
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use crier_service_kit::auth::{AuthConfig, Signer};
    use crier_service_kit::config::Secret;

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const APP: &str = "https://app.example.org";

    struct Case {
        verifier: Verifier,
        keys: Keys,
        token: String,
        service: String,
        headers: HeaderMap,
        ticket: Option<String>,
    }

    impl Case {
        fn new() -> Self {
            let config = AuthConfig {
                secret: Some(Secret::new(SECRET)),
                ..AuthConfig::default()
            };
            let signer = Signer::new(&config).unwrap();
            let hour = Duration::from_secs(3600);
            Self {
                verifier: Verifier::new(&config).unwrap(),
                keys: Keys::from_base64(&[Keys::random_base64()]).unwrap(),
                token: signer.sign_user(7, "alice", hour).unwrap(),
                service: signer.sign_service(hour).unwrap(),
                headers: HeaderMap::new(),
                ticket: None,
            }
        }

        fn with(mut self, name: &'static str, value: &str) -> Self {
            let value = value
                .replace("TOKEN", &self.token)
                .replace("SERVICE", &self.service);
            self.headers
                .append(name, HeaderValue::from_str(&value).unwrap());
            self
        }

        fn ticket(mut self, expires_in: i64) -> Self {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs();
            let now = i64::try_from(now).unwrap();
            let user = UserId::try_from(7).unwrap();
            let ticket = Ticket {
                user,
                issued_at: now,
                token_expires_at: now + 3600,
                expires_at: now + expires_in,
            };
            self.ticket = Some(ticket.seal(&self.keys));
            self
        }

        fn check(&self) -> Result<i64, Refusal> {
            let door = Door {
                verifier: &self.verifier,
                keys: &self.keys,
                allowed_origins: &[APP.to_owned()],
                now: SystemTime::now(),
            };
            let reader = door.identify(&self.headers, self.ticket.as_deref())?;
            Ok(reader.user.get())
        }
    }

    #[test]
    fn each_way_in_opens_and_a_bad_one_is_not_made_up_for() {
        let cookie = "theme=dark; crier_token=TOKEN";
        assert_eq!(Case::new().check(), Err(NO_IDENTITY));
        assert_eq!(
            Case::new().with("authorization", "Bearer TOKEN").check(),
            Ok(7)
        );
        assert_eq!(Case::new().with("cookie", cookie).check(), Ok(7));
        assert_eq!(Case::new().ticket(60).check(), Ok(7));
        assert_eq!(Case::new().ticket(0).check(), Err(BAD_TICKET));
        assert_eq!(
            Case::new().ticket(0).with("cookie", cookie).check(),
            Err(BAD_TICKET)
        );
        let bad = Case::new()
            .with("authorization", "Bearer x")
            .ticket(60)
            .with("cookie", cookie);
        assert_eq!(bad.check(), Err(BAD_TOKEN));
        assert_eq!(
            Case::new().with("authorization", "Bearer SERVICE").check(),
            Err(SERVICE)
        );
    }

    #[test]
    fn a_cookie_counts_for_trusted_pages_only() {
        let case = || Case::new().with("cookie", "crier_token=TOKEN");
        assert_eq!(case().with("origin", APP).check(), Ok(7));
        assert_eq!(
            case().with("origin", "https://evil.example").check(),
            Err(FOREIGN_ORIGIN)
        );
        assert_eq!(case().with("origin", "null").check(), Err(FOREIGN_ORIGIN));
        assert_eq!(case().with("sec-fetch-site", "same-origin").check(), Ok(7));
        for site in ["cross-site", "same-site", "none"] {
            assert_eq!(
                case().with("sec-fetch-site", site).check(),
                Err(FOREIGN_ORIGIN),
                "{site}"
            );
        }
    }
}
