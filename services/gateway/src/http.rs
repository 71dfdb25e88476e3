//! The routes of a gateway.

mod events;
mod identity;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::routing::get;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::config::CorsConfig;
use crate::state::State;

/// `GET /events`. Health and metrics are added by service-kit.
pub(crate) fn routes(state: Arc<State>) -> Router {
    Router::new()
        .route("/events", get(events::open))
        .with_state(state)
}

/// The name of a resuming client's header, as browsers send it.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// An origin that no browser would send.
#[derive(Debug, thiserror::Error)]
#[error(
    "cors.allowed_origins: {0:?} is not an origin; write it as a browser does, https://app.example.org, without a \
     path or a slash at the end"
)]
pub struct OriginError(String);

/// Which pages may read what is answered here, errors too.
///
/// # Errors
/// When one is not written as a browser writes it, and so would never match.
pub(crate) fn cors(config: &CorsConfig) -> Result<CorsLayer, OriginError> {
    let origins: Result<Vec<HeaderValue>, OriginError> = config
        .allowed_origins
        .iter()
        .map(|origin| as_browsers_write(origin).ok_or_else(|| OriginError(origin.clone())))
        .collect();
    Ok(CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins?))
        .allow_credentials(true)
        .allow_methods([Method::GET])
        .allow_headers([header::AUTHORIZATION, header::CACHE_CONTROL, LAST_EVENT_ID])
        .expose_headers([HeaderName::from_static("x-request-id")])
        .max_age(Duration::from_secs(3600)))
}

fn as_browsers_write(origin: &str) -> Option<HeaderValue> {
    let (scheme, host) = origin.split_once("://")?;
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:[]".contains(&byte);
    let known = matches!(scheme, "http" | "https") && !host.is_empty() && host.bytes().all(plain);
    known.then(|| HeaderValue::from_str(origin).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        for good in [
            "https://app.example.org",
            "http://127.0.0.1:8000",
            "http://[::1]:8000",
        ] {
            assert!(as_browsers_write(good).is_some(), "{good}");
        }
        for bad in [
            "*",
            "",
            "app.example.org",
            "https://",
            "https://a.org/",
            "https://A.org",
            "ftp://a.org",
        ] {
            assert!(as_browsers_write(bad).is_none(), "{bad}");
            let config = CorsConfig {
                allowed_origins: vec![bad.to_owned()],
            };
            assert!(cors(&config).is_err(), "{bad}");
        }
    }
}
