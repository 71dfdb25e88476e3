//! People, as the application's backend speaks of them.

use std::sync::Arc;

use axum::extract;
use crier_domain::UserId;
use crier_service_kit::problem::{Problem, ValidPath};

use super::answers::Accepted;
use super::identity::Backend;
use crate::app::users::{self, DisconnectedView};
use crate::state::State;

pub(super) async fn disconnect(
    extract::State(state): extract::State<Arc<State>>,
    _: Backend,
    ValidPath(user): ValidPath<UserId>,
) -> Result<Accepted<DisconnectedView>, Problem> {
    Ok(Accepted(users::disconnect(&state.app, user).await?))
}
