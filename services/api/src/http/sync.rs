//! Bulk changes: lines of JSON in, lines of JSON out, both while they come.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use crier_service_kit::problem::Problem;
use futures::stream;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::describe::{Describe, Operation};
use super::identity::Backend;
use crate::app::sync::line::Line;
use crate::app::sync::{Report, Reports, Sync};
use crate::state::State;

const NDJSON: &str = "application/x-ndjson";
/// How often it is told how far it has come.
const TELL: Duration = Duration::from_secs(1);
/// When to come back if the place is taken.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// A body that is read as it comes, of any length.
pub(super) struct Incoming(Body);

/// An answer that is written as it comes about.
pub(super) struct Outgoing(Body);

pub(super) async fn sync(
    extract::State(state): extract::State<Arc<State>>,
    _: Backend,
    Incoming(body): Incoming,
) -> Result<Outgoing, Problem> {
    let Some(place) = state.app.syncs.take() else {
        let detail = "Another bulk change is under way; one is made at a time.";
        return Err(Problem::too_many(TRY_AGAIN).with_detail(detail));
    };
    let (sync, reports) = Sync::new(place, state.app.stopping.clone());
    // A task of its own: a client that sends everything before it reads must not keep itself waiting.
    tokio::spawn(async move { sync.run(&state.app, body.into_data_stream()).await });
    Ok(Outgoing(told(reports)))
}

/// The reports as they come, and how far it has come once a second.
fn told(reports: Reports) -> Body {
    let next = |(mut reports, tell): (Reports, Instant)| async move {
        let (report, tell) = match timeout_at(tell, reports.reports.recv()).await {
            Ok(report) => (report?, tell),
            Err(_) => {
                let progress = reports.counts.progress();
                (Report::Progress(progress), Instant::now() + TELL)
            }
        };
        Some((encode(&report), (reports, tell)))
    };
    Body::from_stream(stream::unfold((reports, Instant::now() + TELL), next))
}

fn encode(report: &Report) -> Result<Bytes, serde_json::Error> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    Ok(line.into())
}

impl<S: Send + std::marker::Sync> FromRequest<S> for Incoming {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        // Parameters, such as a charset, say nothing that JSON doesn't.
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case(NDJSON) {
            let detail = "A body with Content-Type: application/x-ndjson is needed.";
            return Err(Problem::unsupported_media_type(detail));
        }
        Ok(Self(request.into_body()))
    }
}

impl IntoResponse for Outgoing {
    fn into_response(self) -> Response {
        let headers = [
            (CONTENT_TYPE.as_str(), NDJSON),
            (CACHE_CONTROL.as_str(), "no-store"),
            // nginx would keep it until the end.
            ("x-accel-buffering", "no"),
        ];
        (headers, self.0).into_response()
    }
}

impl Describe for Incoming {
    fn describe(operation: &mut Operation<'_>) {
        operation.takes::<Line>(NDJSON);
        operation.refuses(&[415]);
    }
}

impl Describe for Outgoing {
    fn describe(operation: &mut Operation<'_>) {
        let schema = operation.schema_of_answer::<Report>();
        let content = json!({NDJSON: {"schema": schema}});
        operation.responds(StatusCode::OK, Some(content));
    }
}
