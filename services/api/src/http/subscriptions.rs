//! Following an article, and no longer.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use crier_domain::{CommunityArticleId, CommunityId, SubscriptionId};
use crier_service_kit::problem::{Problem, ValidJson, ValidPath, ValidQuery};
use schemars::JsonSchema;
use serde::Deserialize;

use super::answers::{Ensured, NoContent};
use super::identity::Caller;
use super::object::Object;
use super::paging::Listing;
use crate::app::subscriptions::{self, FollowedView, StatusView};
use crate::app::view::SubscriptionView;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    community_article_id: CommunityArticleId,
    community_id: CommunityId,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    is_active: bool,
}

pub(super) async fn subscribe(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidJson(Object(target)): ValidJson<Object<Target>>,
) -> Result<Ensured<SubscriptionView>, Problem> {
    let (created, subscription) = subscriptions::subscribe(
        &state.app,
        caller.id,
        target.community_id,
        target.community_article_id,
    )
    .await?;
    Ok(Ensured {
        is_new: created,
        value: subscription,
    })
}

pub(super) async fn unsubscribe(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(id): ValidPath<SubscriptionId>,
) -> Result<NoContent, Problem> {
    subscriptions::set(&state.app, caller.id, id, false).await?;
    Ok(NoContent)
}

pub(super) async fn set(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(id): ValidPath<SubscriptionId>,
    ValidJson(Object(change)): ValidJson<Object<Change>>,
) -> Result<Json<SubscriptionView>, Problem> {
    let subscription = subscriptions::set(&state.app, caller.id, id, change.is_active).await?;
    Ok(Json(subscription))
}

pub(super) async fn status(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidQuery(target): ValidQuery<Target>,
) -> Result<Json<StatusView>, Problem> {
    let status = subscriptions::status(
        &state.app,
        caller.id,
        target.community_id,
        target.community_article_id,
    )
    .await?;
    Ok(Json(status))
}

pub(super) async fn list(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidQuery(listing): ValidQuery<Listing<CommunityId>>,
) -> Result<Json<FollowedView>, Problem> {
    let page = listing.page_or_all()?;
    let followed = subscriptions::list(&state.app, caller.id, page).await?;
    Ok(Json(followed))
}
