//! The layers around a service's routes.
//!
//! From the outside in: trailing slash removed → request id, span, metrics, access log, problems completed →
//! panics caught → concurrency and time limited → body limited → the routes, written without a trailing slash.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use http::Uri;
use http::uri::PathAndQuery;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use crate::problem::Problem;

mod limits;
mod metrics;
mod observe;
mod request_id;

pub use metrics::HttpMetrics;
pub use request_id::{REQUEST_ID_HEADER, RequestId};

/// What one service takes on at most.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// The largest body an extractor reads; a route may set its own with axum's `DefaultBodyLimit`.
    pub body_bytes: usize,
    /// From the request's head read to the response's head ready, after which the answer is 503. What is streamed
    /// after the head is not counted.
    pub request_timeout: Duration,
    /// Requests between those two points at once; one more is answered 503 at once.
    pub concurrency: usize,
    /// Route templates, as `/events`, that `request_timeout` is not for.
    pub untimed: &'static [&'static str],
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            request_timeout: Duration::from_secs(30),
            concurrency: 1024,
            untimed: &[],
        }
    }
}

/// Puts every layer around `router`. Call it last: it also answers unknown paths (404) and methods (405).
///
/// Health and metrics routes in `router` are exempt from the concurrency limit and logged at debug level.
pub fn layer(router: Router, limits: HttpLimits, metrics: HttpMetrics) -> Router {
    let layers = ServiceBuilder::new()
        .layer(middleware::from_fn_with_state(metrics, observe::observe))
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(middleware::from_fn_with_state(
            Arc::new(limits::Gate::new(limits)),
            limits::enforce,
        ))
        .layer(DefaultBodyLimit::max(limits.body_bytes));
    let routes = router
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(layers);
    // Layers of a Router run once the route is found; the slash has to go before that.
    let entrance = ServiceBuilder::new()
        .map_request(without_trailing_slash as fn(Request) -> Request)
        .service(routes);
    Router::new().fallback_service(entrance)
}

async fn unknown_path() -> Problem {
    Problem::not_found("There is nothing at this path.")
}

async fn unknown_method() -> Problem {
    Problem::method_not_allowed()
}

fn answer_panic(panic: Box<dyn Any + Send + 'static>) -> Response<Body> {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic.message = message, "a handler panicked");
    Problem::internal().into_response()
}

fn without_trailing_slash(mut request: Request) -> Request {
    let path = request.uri().path();
    if path.len() < 2 || !path.ends_with('/') {
        return request;
    }
    let path = match path.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    };
    let shorter = match request.uri().query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    let mut parts = request.uri().clone().into_parts();
    // A part of a valid URI is valid; were it not, the request would stay as it came.
    if let Ok(shorter) = shorter {
        parts.path_and_query = Some(shorter);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// Routes for machines that look after the service rather than use it.
fn is_operational(route: &str) -> bool {
    use crate::health::{LIVE, METRICS, READY};
    [LIVE, READY, METRICS].contains(&route)
}
