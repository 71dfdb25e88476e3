//! Following an article, and no longer.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use crier_domain::{CommunityArticleId, CommunityId, SubscriptionId};
use crier_service_kit::problem::{Problem, ValidJson, ValidPath, ValidQuery};
use serde::Deserialize;

use super::identity::Caller;
use super::object::Object;
use crate::app::subscriptions;
use crate::state::State;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    community_article_id: CommunityArticleId,
    community_id: CommunityId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    is_active: bool,
}

pub(super) async fn subscribe(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidJson(Object(target)): ValidJson<Object<Target>>,
) -> Result<impl IntoResponse, Problem> {
    let (created, subscription) = subscriptions::subscribe(
        &state.app,
        caller.id,
        target.community_id,
        target.community_article_id,
    )
    .await?;
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(subscription)))
}

pub(super) async fn unsubscribe(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(id): ValidPath<SubscriptionId>,
) -> Result<StatusCode, Problem> {
    subscriptions::set(&state.app, caller.id, id, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn set(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(id): ValidPath<SubscriptionId>,
    ValidJson(Object(change)): ValidJson<Object<Change>>,
) -> Result<impl IntoResponse, Problem> {
    let subscription = subscriptions::set(&state.app, caller.id, id, change.is_active).await?;
    Ok(Json(subscription))
}

pub(super) async fn status(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidQuery(target): ValidQuery<Target>,
) -> Result<impl IntoResponse, Problem> {
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
) -> Result<impl IntoResponse, Problem> {
    Ok(Json(subscriptions::list(&state.app, caller.id).await?))
}
