//! Communities.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use crier_domain::CommunityId;
use crier_service_kit::problem::{Problem, ValidJson, ValidPath, ValidQuery};
use crier_store::CommunityKind;
use schemars::JsonSchema;
use serde::Deserialize;

use super::answers::Created;
use super::identity::Caller;
use super::object::Object;
use super::once::Once;
use super::paging::Listing;
use super::words::word;
use crate::app::communities::{self, CommunitiesView, CommunityPageView};
use crate::app::once::Answer;
use crate::app::text::Name;
use crate::app::view::CommunityView;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCommunity {
    name: Name,
    #[serde(rename = "type", deserialize_with = "word")]
    kind: CommunityKind,
}

pub(super) async fn create(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    Once(key, ValidJson(Object(new))): Once<ValidJson<Object<NewCommunity>>>,
) -> Result<Created<Answer<CommunityView>>, Problem> {
    let key = key.as_ref();
    let community = communities::create(&state.app, caller.id, &new.name, new.kind, key).await?;
    Ok(Created(community))
}

pub(super) async fn list(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidQuery(listing): ValidQuery<Listing<CommunityId>>,
) -> Result<Json<CommunitiesView>, Problem> {
    let page = listing.page()?;
    Ok(Json(communities::list(&state.app, caller.id, page).await?))
}

pub(super) async fn get(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(id): ValidPath<CommunityId>,
) -> Result<Json<CommunityPageView>, Problem> {
    Ok(Json(communities::get(&state.app, caller.id, id).await?))
}
