//! Events of an application beside Crier.

use std::sync::Arc;

use axum::extract;
use crier_service_kit::problem::{Problem, ValidJson};

use super::answers::Accepted;
use super::identity::Backend;
use super::several::OneOrSeveral;
use crate::app::error::AppError;
use crate::app::events::{self, EventView, NewEvent};
use crate::state::State;

pub(super) async fn publish(
    extract::State(state): extract::State<Arc<State>>,
    _: Backend,
    ValidJson(new): ValidJson<OneOrSeveral<NewEvent>>,
) -> Result<Accepted<OneOrSeveral<EventView>>, Problem> {
    let kept = match new {
        OneOrSeveral::Several(new) => {
            OneOrSeveral::Several(events::publish(&state.app, &new).await?)
        }
        OneOrSeveral::One(new) => {
            let kept = events::publish(&state.app, &[new]).await;
            let kept = kept.map_err(AppError::alone)?.into_iter().next();
            // There is an id for each event.
            OneOrSeveral::One(kept.ok_or_else(Problem::internal)?)
        }
    };
    Ok(Accepted(kept))
}
