//! `GET /events`: opens a stream. Only 401 and 403 are errors to a client's EventSource; whatever else is in
//! the way is said in the stream, with the time after which to come back.
//!
//! The head of the answer waits for the first frame, because only the user's snapshot says whether the token has
//! been withdrawn, and an EventSource that gets a stream comes back for ever.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use axum::extract::State as Shared;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use crier_domain::Cursor;
use crier_hub::{ByeReason, ConnectionId, Resume};
use crier_service_kit::problem::{Problem, ValidQuery};
use crier_service_kit::server::Handover;

use super::LAST_EVENT_ID;
use super::identity::{Door, Refusal};
use crate::drain;
use crate::feed::Open;
use crate::outlet::{self, Begin, Frames};
use crate::state::State;

/// A feed that takes no stream for so long has more than it can do; nor has one that says nothing so long after it
/// should have.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);

const WITHDRAWN: &str = "The token has been withdrawn; get one that was issued since.";

/// The parameters in the address. One given twice is one too many to believe: a damaged one.
#[derive(Default)]
struct Parameters {
    ticket: Option<String>,
    last_event_id: Option<String>,
}

impl Parameters {
    fn read(pairs: Vec<(String, String)>) -> Self {
        let mut found = Self::default();
        for (name, value) in pairs {
            let place = match name.as_str() {
                "ticket" => &mut found.ticket,
                "last_event_id" => &mut found.last_event_id,
                _ => continue,
            };
            *place = Some(if place.is_some() {
                "?".to_owned()
            } else {
                value
            });
        }
        found
    }
}

pub(super) async fn open(
    Shared(state): Shared<Arc<State>>,
    headers: HeaderMap,
    ValidQuery(pairs): ValidQuery<Vec<(String, String)>>,
) -> Response {
    let query = Parameters::read(pairs);
    let door = Door {
        verifier: &state.verifier,
        keys: &state.keys,
        allowed_origins: &state.cors.allowed_origins,
        now: SystemTime::now(),
    };
    let reader = match door.identify(&headers, query.ticket.as_deref()) {
        Ok(reader) => reader,
        Err(Refusal::Unauthorized(detail)) => {
            return Problem::unauthorized().with_detail(detail).into_response();
        }
        Err(Refusal::Forbidden(detail)) => return Problem::forbidden(detail).into_response(),
    };
    let given = given_cursor(&headers, query.last_event_id.as_deref());
    let resume = resume(given, &state);
    let kept = given.filter(|_| matches!(resume, Resume::At(_)));
    let id = ConnectionId(state.next_connection.fetch_add(1, Ordering::Relaxed));
    let (outlet, frames) = outlet::channel(state.config.queue_messages, state.config.queue_bytes);
    let open = Open {
        id,
        user: reader.user,
        issued_at: reader.issued_at,
        expires_at: reader.expires_at,
        resume,
        outlet,
    };
    let taken = tokio::time::timeout(OPEN_TIMEOUT, state.open.send(open)).await;
    if !matches!(taken, Ok(Ok(()))) {
        return stream(outlet::keeping(kept, drain::bye(ByeReason::Busy)).into());
    }
    let frames = frames.tell(id, state.told.clone());
    // The hub sends whoever waits for too long away; this is for a feed that stands still.
    let patience = state.config.snapshot_wait.get() + OPEN_TIMEOUT;
    match tokio::time::timeout(patience, frames.begin()).await {
        Ok(Begin::Frame) => handed_over(frames.keeping(kept)),
        Ok(Begin::Refused) => Problem::unauthorized()
            .with_detail(WITHDRAWN)
            .into_response(),
        Ok(Begin::Silence) | Err(_) => {
            stream(outlet::keeping(kept, drain::bye(ByeReason::Unavailable)).into())
        }
    }
}

/// The header wins: a browser that reconnects sends it, while the address still has the old parameter.
fn given_cursor<'a>(headers: &'a HeaderMap, parameter: Option<&'a str>) -> Option<&'a str> {
    // A header that is no text is a damaged cursor, not an absent one.
    headers
        .get(LAST_EVENT_ID)
        .map(|value| value.to_str().unwrap_or("?"))
        .or(parameter)
        .filter(|text| !text.is_empty())
}

fn resume(given: Option<&str>, state: &State) -> Resume {
    match given {
        None => Resume::Fresh,
        Some(text) => Cursor::open(text, &state.keys).map_or(Resume::Bad, Resume::At),
    }
}

/// The frames are written past hyper; see [`super::stream`].
fn handed_over(frames: Frames) -> Response {
    let handover = Handover::new(|socket, head| super::stream::run(socket, head, frames));
    let mut response = stream(axum::body::Body::empty());
    response.extensions_mut().insert(handover);
    response
}

fn stream(body: axum::body::Body) -> Response {
    const HEAD: [(HeaderName, HeaderValue); 3] = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-store, no-transform"),
        ),
        // nginx would hold frames back until its buffer is full.
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    (HEAD, body).into_response()
}
