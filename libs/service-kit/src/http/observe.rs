//! Each request seen once: id, span, metrics, a line in the access log, and its problem completed.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, Method};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::{HttpMetrics, REQUEST_ID_HEADER, RequestId, is_operational};
use crate::problem::Problem;
use crate::telemetry;

/// The label of every path that no route matches: a metric must not grow with what strangers ask for.
const UNMATCHED: &str = "unmatched";

/// nginx's number for "the client left first". It is only counted; there is nobody left to send it to.
const CLIENT_LEFT: u16 = 499;

pub(super) async fn observe(
    State(metrics): State<HttpMetrics>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId::from_headers(request.headers());
    request.extensions_mut().insert(id.clone());
    let mut seen = Seen::new(&request, id.clone(), metrics);

    let response = next.run(request).instrument(seen.span.clone()).await;

    let mut response = Problem::finish(response, id.as_str());
    if let Some(value) = id.header_value() {
        response.headers_mut().insert(REQUEST_ID_HEADER, value);
    }
    seen.status = response.status().as_u16();
    response
}

/// A request under way. Dropped with the answer, or without one when the connection is gone.
struct Seen {
    span: Span,
    metrics: HttpMetrics,
    started: Instant,
    id: RequestId,
    method: &'static str,
    route: String,
    /// Never the query: it may hold a ticket.
    path: String,
    status: u16,
}

impl Seen {
    fn new(request: &Request, id: RequestId, metrics: HttpMetrics) -> Self {
        let route = request
            .extensions()
            .get::<MatchedPath>()
            .map_or(UNMATCHED, MatchedPath::as_str);
        let method = known_method(request.method());
        let path = request.uri().path();
        let span = if is_operational(route) {
            Span::none()
        } else {
            tracing::info_span!(
                "http.request",
                otel.kind = "server",
                otel.status_code = Empty,
                http.request.method = method,
                http.route = route,
                http.response.status_code = Empty,
                url.path = path,
                request_id = %id,
            )
        };
        if let Some(parent) = only(request.headers(), telemetry::TRACEPARENT) {
            telemetry::set_remote_parent(&span, parent);
        }
        Self {
            span,
            metrics,
            started: Instant::now(),
            id,
            method,
            route: route.to_owned(),
            path: path.to_owned(),
            status: CLIENT_LEFT,
        }
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.metrics
            .record(&self.route, self.method, self.status, took);
        self.span.record("http.response.status_code", self.status);
        if self.status >= 500 {
            self.span.record("otel.status_code", "ERROR");
        }
        self.log(took.as_secs_f64() * 1000.0);
    }
}

impl Seen {
    /// One line that stands alone, whatever the filter does with the span.
    fn log(&self, duration_ms: f64) {
        let trace_id = telemetry::trace_id_of(&self.span);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: telemetry::ACCESS_LOG,
                    parent: None,
                    method = self.method,
                    path = self.path,
                    route = self.route,
                    status = self.status,
                    duration_ms,
                    request_id = self.id.as_str(),
                    trace_id,
                    "answered"
                )
            };
        }
        if is_operational(&self.route) {
            line!(debug);
        } else if self.status >= 500 {
            line!(warn);
        } else {
            line!(info);
        }
    }
}

fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        // As OpenTelemetry names what it does not know, and for the same reason as `UNMATCHED`.
        _ => "_OTHER",
    }
}

/// The value of a header that came once and is text.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
