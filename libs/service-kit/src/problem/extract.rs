//! axum's extractors with a [`Problem`] for everything they refuse.

use std::error::Error;

use axum::Json;
use axum::body::Bytes;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody, JsonRejection, PathRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::Problem;

/// A client that sends a megabyte as a field's name need not get it back.
const LONGEST_REASON: usize = 300;

/// A JSON body. 400 if it isn't JSON, 422 if a value or field is wrong, 415 and 413 for type and size.
#[derive(Clone, Copy, Debug)]
pub struct ValidJson<T>(pub T);

/// A body as it came, 413 if it is too large.
#[derive(Clone, Debug)]
pub struct ValidBytes(pub Bytes);

/// The path's parameters. A segment that can't be one names nothing, hence 404.
#[derive(Clone, Copy, Debug)]
pub struct ValidPath<T>(pub T);

/// The query's parameters, 422 if one is missing, unknown or of the wrong type.
#[derive(Clone, Copy, Debug)]
pub struct ValidQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for ValidJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(refused_json(&rejection)),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for ValidBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) => Err(refused_bytes(&rejection)),
        }
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for ValidPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(refused_path(&rejection)),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for ValidQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::invalid(format!(
                "The query does not fit: {}.",
                innermost(&rejection)
            ))),
        }
    }
}

fn refused_json(rejection: &JsonRejection) -> Problem {
    match rejection {
        JsonRejection::JsonSyntaxError(error) => {
            Problem::bad_request(format!("The body is not JSON: {}.", innermost(error)))
        }
        JsonRejection::JsonDataError(error) => {
            Problem::invalid(format!("The body does not fit: {}.", outer(error)))
        }
        JsonRejection::MissingJsonContentType(_) => {
            Problem::unsupported_media_type("A body with Content-Type: application/json is needed.")
        }
        JsonRejection::BytesRejection(rejection) => refused_bytes(rejection),
        _ => Problem::bad_request("The body could not be read."),
    }
}

fn refused_bytes(rejection: &BytesRejection) -> Problem {
    match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            Problem::payload_too_large("The body is larger than this service takes.")
        }
        _ => Problem::bad_request("The body could not be read to its end."),
    }
}

fn refused_path(rejection: &PathRejection) -> Problem {
    match rejection {
        PathRejection::FailedToDeserializePathParams(error)
            if !matches!(
                error.kind(),
                ErrorKind::WrongNumberOfParameters { .. } | ErrorKind::UnsupportedType { .. }
            ) =>
        {
            Problem::not_found("There is nothing at this path.")
        }
        // The route and its handler disagree, which is our mistake.
        other => {
            tracing::error!(error = %innermost(other), "a path does not fit its handler");
            Problem::internal()
        }
    }
}

/// The cause below axum's own sentence: with the field's path before and the line and column after it.
fn outer(error: &dyn Error) -> String {
    let reason = error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string);
    shortened(&without_type_name(&reason))
}

/// serde speaks of "struct NewComment"; clients know no structs.
fn without_type_name(reason: &str) -> String {
    const MARK: &str = "expected struct ";
    match reason.split_once(MARK) {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
            format!("{before}expected an object{rest}")
        }
        None => reason.to_owned(),
    }
}

/// The last cause, in the words of the parser.
fn innermost(mut error: &dyn Error) -> String {
    while let Some(cause) = error.source() {
        error = cause;
    }
    shortened(&error.to_string())
}

fn shortened(reason: &str) -> String {
    match reason.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}…", reason.get(..end).unwrap_or_default()),
        None => reason.to_owned(),
    }
}
