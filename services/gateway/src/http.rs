//! The routes of a gateway.

mod events;
mod identity;

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

/// Which pages may read what is answered here, errors too.
pub(crate) fn cors(config: &CorsConfig) -> CorsLayer {
    let origins = config
        .allowed_origins
        .iter()
        .filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_credentials(true)
        .allow_methods([Method::GET])
        .allow_headers([header::AUTHORIZATION, header::CACHE_CONTROL, LAST_EVENT_ID])
        .expose_headers([HeaderName::from_static("x-request-id")])
        .max_age(Duration::from_secs(3600))
}
