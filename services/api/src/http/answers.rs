//! Answers with a status other than 200, as types: what a handler returns says which it is.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::describe::{Describe, Operation};

/// 201: it is new.
pub(super) struct Created<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(self.0)).into_response()
    }
}

impl<T: JsonSchema> Describe for Created<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.answers::<T>(StatusCode::CREATED);
    }
}

/// 202: it is kept, and will be seen to.
pub(super) struct Accepted<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, Json(self.0)).into_response()
    }
}

impl<T: JsonSchema> Describe for Accepted<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.answers::<T>(StatusCode::ACCEPTED);
    }
}

/// 201 for what is new, 200 for what was there.
pub(super) struct Ensured<T> {
    pub(super) is_new: bool,
    pub(super) value: T,
}

impl<T: Serialize> IntoResponse for Ensured<T> {
    fn into_response(self) -> Response {
        let status = if self.is_new {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        (status, Json(self.value)).into_response()
    }
}

impl<T: JsonSchema> Describe for Ensured<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.answers::<T>(StatusCode::CREATED);
        operation.answers::<T>(StatusCode::OK);
    }
}

/// 204: done, and there is nothing to say.
pub(super) struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl Describe for NoContent {
    fn describe(operation: &mut Operation<'_>) {
        operation.answers_nothing(StatusCode::NO_CONTENT);
    }
}

/// 200 with what is left, or 204 if nothing is.
pub(super) enum Left<T> {
    Value(T),
    Nothing,
}

impl<T: Serialize> IntoResponse for Left<T> {
    fn into_response(self) -> Response {
        match self {
            Self::Value(value) => Json(value).into_response(),
            Self::Nothing => NoContent.into_response(),
        }
    }
}

impl<T: JsonSchema> Describe for Left<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.answers::<T>(StatusCode::OK);
        operation.answers_nothing(StatusCode::NO_CONTENT);
    }
}
