//! Who is in a community, and as what.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use crier_domain::{CommunityId, UserId};
use crier_service_kit::problem::{Problem, ValidJson, ValidPath, ValidQuery};
use crier_store::Role;
use crier_store::mirror::MemberLine;
use schemars::JsonSchema;
use serde::Deserialize;

use super::answers::{Ensured, Left, NoContent};
use super::identity::{Caller, Either};
use super::object::Object;
use super::paging::Listing;
use super::words::word;
use crate::app::error::{AppError, Unfit};
use crate::app::members::{self, MembersView};
use crate::app::mirror;
use crate::app::text::Name;
use crate::app::users::shown;
use crate::app::view::MemberView;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Membership {
    #[serde(deserialize_with = "word")]
    role: Role,
    /// The user's name, for the application's backend to set.
    #[serde(default)]
    username: Option<Name>,
}

/// The last part of `manage-member/{user}/{action}`.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "MemberAction")]
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
) -> Result<Json<MembersView>, Problem> {
    let page = listing.page()?;
    Ok(Json(
        members::list(&state.app, caller.id, community, page).await?,
    ))
}

pub(super) async fn join(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(community): ValidPath<CommunityId>,
) -> Result<Json<MemberView>, Problem> {
    let member = members::join(&state.app, caller.id, community).await?;
    Ok(Json(member))
}

pub(super) async fn leave(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(community): ValidPath<CommunityId>,
) -> Result<NoContent, Problem> {
    members::leave(&state.app, caller.id, community).await?;
    Ok(NoContent)
}

pub(super) async fn put(
    extract::State(state): extract::State<Arc<State>>,
    caller: Either,
    ValidPath((community, user)): ValidPath<(CommunityId, UserId)>,
    ValidJson(Object(membership)): ValidJson<Object<Membership>>,
) -> Result<Ensured<MemberView>, Problem> {
    let Membership { role, username } = membership;
    let (is_new, value) = match (caller, username) {
        (Either::Person(_), Some(_)) => return Err(AppError::Unfit(Unfit::Username).into()),
        (Either::Person(admin), None) => {
            let member = members::put(&state.app, admin.id, community, user, role).await?;
            (false, member)
        }
        (Either::Backend, username) => {
            let line = MemberLine {
                community,
                user,
                role: Some(role),
                username: username.map(|name| shown(name.as_str(), user)),
            };
            mirror::member(&state.app, line).await?
        }
    };
    Ok(Ensured { is_new, value })
}

pub(super) async fn manage(
    extract::State(state): extract::State<Arc<State>>,
    caller: Either,
    ValidPath((community, user, action)): ValidPath<(CommunityId, UserId, Action)>,
) -> Result<Left<MemberView>, Problem> {
    let actor = caller.actor();
    match action.role() {
        Some(role) => {
            let member = members::set_role(&state.app, actor, community, user, role).await?;
            Ok(Left::Value(member))
        }
        None => {
            members::remove(&state.app, actor, community, user).await?;
            Ok(Left::Nothing)
        }
    }
}
