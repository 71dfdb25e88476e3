//! Errors as `application/problem+json` (RFC 9457).
//!
//! A handler returns a [`Problem`]; the layers in [`crate::http`] add the request's id to it on the way out.
//! What a client reads here is written for clients. Causes belong in the log.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

mod extract;

pub use extract::{ValidBytes, ValidJson, ValidPath, ValidQuery};

/// The media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// One error as a client gets it.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    /// Stable, so that clients may compare it; a reference relative to the service, with nothing behind it.
    kind: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    extra: Option<Box<Map<String, Value>>>,
    retry_after: Option<Duration>,
}

#[derive(Serialize)]
struct Rendered<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(flatten)]
    extra: Option<&'a Map<String, Value>>,
}

impl Problem {
    fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            kind,
            title,
            detail: detail.into(),
            extra: None,
            retry_after: None,
        }
    }

    /// 400: the request is malformed or against a rule.
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self::new(status, "/problems/bad-request", "Bad request", detail)
    }

    /// 401: the same text for every caller, whatever was wrong with the token.
    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "/problems/unauthorized",
            "Unauthorized",
            "A valid token is needed: Authorization: Bearer <token>.",
        )
    }

    /// 403: the caller is known and may not.
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "/problems/forbidden",
            "Forbidden",
            detail,
        )
    }

    /// 404: not there, or not for this caller to know of.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "/problems/not-found",
            "Not found",
            detail,
        )
    }

    /// 405: there is such a path, for other methods.
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "/problems/method-not-allowed",
            "Method not allowed",
            "This path does not answer to this method; the Allow header lists those it does.",
        )
    }

    /// 409: against the present state.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "/problems/conflict",
            "Conflict",
            detail,
        )
    }

    /// 413: the body, or what it would become, is too large.
    pub fn payload_too_large(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "/problems/payload-too-large",
            "Payload too large",
            detail,
        )
    }

    /// 415: not JSON.
    pub fn unsupported_media_type(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "/problems/unsupported-media-type",
            "Unsupported media type",
            detail,
        )
    }

    /// 422: understood, and a value is wrong: unknown field, wrong type, too long, out of range.
    pub fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "/problems/invalid",
            "Invalid",
            detail,
        )
    }

    /// 429, to be tried again after `retry_after` (sent in whole seconds, rounded up).
    pub fn too_many(retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "/problems/too-many-requests",
                "Too many requests",
                "There were too many requests; try again later.",
            )
        }
    }

    /// 503, to be tried again after `retry_after` (sent in whole seconds, rounded up).
    pub fn unavailable(retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "/problems/unavailable",
                "Service unavailable",
                "The service cannot answer just now; try again later.",
            )
        }
    }

    /// 500. Takes no cause, so that none can leak; log it where it is met.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "/problems/internal",
            "Internal error",
            "Something went wrong here. The request id finds it in the log.",
        )
    }

    /// For an error answer that some library made without a problem in it.
    pub(crate) fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::BAD_REQUEST => Self::bad_request("The request is malformed."),
            StatusCode::UNAUTHORIZED => Self::unauthorized(),
            StatusCode::FORBIDDEN => Self::forbidden("This is not allowed."),
            StatusCode::NOT_FOUND => Self::not_found("There is nothing here."),
            StatusCode::METHOD_NOT_ALLOWED => Self::method_not_allowed(),
            StatusCode::PAYLOAD_TOO_LARGE => Self::payload_too_large("The body is too large."),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Self::unsupported_media_type("This media type is not understood here.")
            }
            StatusCode::UNPROCESSABLE_ENTITY => Self::invalid("The request holds a wrong value."),
            StatusCode::INTERNAL_SERVER_ERROR => Self::internal(),
            other => {
                let title = other.canonical_reason().unwrap_or("Error");
                // RFC 9457: "about:blank" says no more than the status does.
                Self::new(other, "about:blank", title, title)
            }
        }
    }

    /// Replaces the text for the client.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Adds a member of one's own next to the standard ones; theirs are not replaced.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        if !["type", "title", "status", "detail", "request_id"].contains(&member) {
            self.extra
                .get_or_insert_default()
                .insert(member.to_owned(), value.into());
        }
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The text for the client.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    fn render(&self, request_id: Option<&str>) -> Body {
        let rendered = Rendered {
            r#type: self.kind,
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            request_id,
            extra: self.extra.as_deref(),
        };
        // Strings and a map of JSON values always serialise.
        Body::from(serde_json::to_vec(&rendered).unwrap_or_default())
    }

    fn write_headers(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.remove(CONTENT_LENGTH);
        if let Some(retry_after) = self.retry_after {
            let partial = u64::from(retry_after.subsec_nanos() > 0);
            let seconds = retry_after.as_secs().saturating_add(partial);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
    }

    /// Gives the problem in `response` its request's id, and turns an error without a problem into one.
    pub(crate) fn finish(mut response: Response, request_id: &str) -> Response {
        let problem = match response.extensions_mut().remove::<Self>() {
            Some(problem) => problem,
            None if is_bare_error(&response) => Self::from_status(response.status()),
            None => return response,
        };
        problem.write_headers(response.headers_mut());
        *response.body_mut() = problem.render(Some(request_id));
        response
    }
}

/// An error as libraries answer it: plain text or nothing.
fn is_bare_error(response: &Response) -> bool {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return false;
    }
    response
        .headers()
        .get(CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.render(None));
        *response.status_mut() = self.status;
        self.write_headers(response.headers_mut());
        response.extensions_mut().insert(self);
        response
    }
}
