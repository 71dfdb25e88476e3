//! Who is in a community, and as what.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use crier_domain::{CommunityId, UserId};
use crier_service_kit::problem::{Problem, ValidJson, ValidPath, ValidQuery};
use crier_store::Role;
use serde::Deserialize;

use super::identity::Caller;
use super::object::Object;
use super::paging::Listing;
use super::words::word;
use crate::app::members;
use crate::state::State;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Membership {
    #[serde(deserialize_with = "word")]
    role: Role,
}

/// The last part of `manage-member/{user}/{action}`.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    PromoteAdmin,
    PromoteModerator,
    PromoteReviewer,
    DemoteAdmin,
    DemoteModerator,
    DemoteReviewer,
    Remove,
}

impl Action {
    /// The role it leaves the member with; none removes them.
    fn role(self) -> Option<Role> {
        match self {
            Self::PromoteAdmin => Some(Role::Admin),
            Self::PromoteModerator => Some(Role::Moderator),
            Self::PromoteReviewer => Some(Role::Reviewer),
            Self::DemoteAdmin | Self::DemoteModerator | Self::DemoteReviewer => Some(Role::Member),
            Self::Remove => None,
        }
    }
}

pub(super) async fn list(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(community): ValidPath<CommunityId>,
    ValidQuery(listing): ValidQuery<Listing<UserId>>,
) -> Result<impl IntoResponse, Problem> {
    let page = listing.page()?;
    Ok(Json(
        members::list(&state.app, caller.id, community, page).await?,
    ))
}

pub(super) async fn join(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(community): ValidPath<CommunityId>,
) -> Result<impl IntoResponse, Problem> {
    let member = members::join(&state.app, caller.id, community).await?;
    Ok(Json(member))
}

pub(super) async fn leave(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(community): ValidPath<CommunityId>,
) -> Result<StatusCode, Problem> {
    members::leave(&state.app, caller.id, community).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn put(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath((community, user)): ValidPath<(CommunityId, UserId)>,
    ValidJson(Object(membership)): ValidJson<Object<Membership>>,
) -> Result<impl IntoResponse, Problem> {
    let member = members::put(&state.app, caller.id, community, user, membership.role).await?;
    Ok(Json(member))
}

pub(super) async fn manage(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath((community, user, action)): ValidPath<(CommunityId, UserId, Action)>,
) -> Result<Response, Problem> {
    match action.role() {
        Some(role) => {
            let member = members::set_role(&state.app, caller.id, community, user, role).await?;
            Ok(Json(member).into_response())
        }
        None => {
            members::remove(&state.app, caller.id, community, user).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
    }
}
