//! No more requests at once than agreed, and none for ever.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::{HttpLimits, is_operational};
use crate::problem::Problem;

const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The limits and who is inside them.
pub(super) struct Gate {
    limits: HttpLimits,
    places: Semaphore,
}

impl Gate {
    pub(super) fn new(limits: HttpLimits) -> Self {
        Self {
            limits,
            places: Semaphore::new(limits.concurrency.min(Semaphore::MAX_PERMITS)),
        }
    }
}

/// Answers 503 instead of queueing, and 503 instead of waiting on.
pub(super) async fn enforce(
    State(gate): State<Arc<Gate>>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let is_route = |test: &dyn Fn(&str) -> bool| route.is_some_and(|route| test(route.as_str()));
    let operational = is_route(&is_operational);
    let untimed = is_route(&|route| gate.limits.untimed.contains(&route));

    let _place = match gate.places.try_acquire() {
        Ok(place) => Some(place),
        // A probe that is refused would have a busy service restarted.
        Err(_) if operational => None,
        Err(_) => return Problem::unavailable(TRY_AGAIN).into_response(),
    };
    if untimed {
        return next.run(request).await;
    }
    match tokio::time::timeout(gate.limits.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable(TRY_AGAIN)
            .with_detail("The request took too long and was given up.")
            .into_response(),
    }
}
