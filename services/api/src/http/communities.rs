//! Communities.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use crier_domain::CommunityId;
use crier_service_kit::problem::{Problem, ValidJson, ValidPath, ValidQuery};
use crier_store::CommunityKind;
use serde::Deserialize;

use super::identity::Caller;
use super::object::Object;
use super::paging::Listing;
use super::words::word;
use crate::app::communities;
use crate::app::text::Name;
use crate::state::State;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCommunity {
    name: Name,
    #[serde(rename = "type", deserialize_with = "word")]
    kind: CommunityKind,
}

pub(super) async fn create(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidJson(Object(new)): ValidJson<Object<NewCommunity>>,
) -> Result<impl IntoResponse, Problem> {
    let community = communities::create(&state.app, caller.id, &new.name, new.kind).await?;
    Ok((StatusCode::CREATED, Json(community)))
}

pub(super) async fn list(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidQuery(listing): ValidQuery<Listing<CommunityId>>,
) -> Result<impl IntoResponse, Problem> {
    let page = listing.page()?;
    Ok(Json(communities::list(&state.app, caller.id, page).await?))
}

pub(super) async fn get(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(id): ValidPath<CommunityId>,
) -> Result<impl IntoResponse, Problem> {
    Ok(Json(communities::get(&state.app, caller.id, id).await?))
}
