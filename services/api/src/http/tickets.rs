//! Tickets: the right to open a stream where no header can be sent.

use std::sync::Arc;

use axum::Json;
use axum::extract;

use super::identity::Caller;
use crate::app::tickets::{self, TicketView};
use crate::state::State;

pub(super) async fn create(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
) -> Json<TicketView> {
    Json(tickets::create(&state.app, &caller))
}
