//! Tickets: the right to open a stream where no header can be sent.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use axum::response::IntoResponse;

use super::identity::Caller;
use crate::app::tickets;
use crate::state::State;

pub(super) async fn create(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
) -> impl IntoResponse {
    Json(tickets::create(&state.app, &caller))
}
