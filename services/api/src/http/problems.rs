//! What a use case refuses, as HTTP answers it: the one place where both meet.

use std::time::Duration;

use crier_service_kit::problem::Problem;

use crate::app::error::AppError;
use crate::causes;

/// When to try again after the database failed.
const TRY_AGAIN: Duration = Duration::from_secs(1);

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        match &error {
            AppError::NoSuch(_) => Self::not_found(sentence(&error)),
            AppError::Forbidden(_) => Self::forbidden(sentence(&error)),
            AppError::Rule(_) => Self::bad_request(sentence(&error)),
            AppError::Conflict(_) => Self::conflict(sentence(&error)),
            AppError::Unfit(_) => Self::invalid(sentence(&error)),
            AppError::EventTooLarge => Self::payload_too_large(sentence(&error)),
            AppError::KeyReused => Self::invalid(sentence(&error)),
            AppError::TokenWithdrawn => Self::unauthorized(),
            AppError::InList { .. } => in_list(error),
            AppError::Store(cause) if cause.is_unavailable() => {
                tracing::warn!(error = %causes(cause), "the database is unavailable");
                Self::unavailable(TRY_AGAIN)
            }
            AppError::Store(_)
            | AppError::Encode(_)
            | AppError::Sign(_)
            | AppError::SampleText(_) => {
                tracing::error!(error = %causes(&error), "a call failed");
                Self::internal()
            }
        }
    }
}

/// The problem of the one, and which one it is.
fn in_list(error: AppError) -> Problem {
    match error {
        AppError::InList { index, error } => {
            let problem = Problem::from(*error);
            let detail = format!("[{index}]: {}", problem.detail());
            problem.with_detail(detail)
        }
        other => other.into(),
    }
}

/// The error as a sentence for the client: "there is no such comment" → "There is no such comment."
fn sentence(error: &AppError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        format!("{}{}.", first.to_uppercase(), letters.as_str())
    })
}
