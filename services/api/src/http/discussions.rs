//! Discussions under an article of a community.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use crier_domain::{CommunityId, DiscussionId};
use crier_service_kit::problem::{Problem, ValidJson, ValidPath, ValidQuery};
use serde::Deserialize;

use super::identity::Caller;
use super::object::Object;
use super::paging::page;
use crate::app::article_ref::ArticleName;
use crate::app::discussions;
use crate::app::text::{Content, Topic};
use crate::state::State;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    community_id: CommunityId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewDiscussion {
    topic: Topic,
    content: Content,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    community_id: CommunityId,
    after: Option<DiscussionId>,
    limit: Option<u32>,
}

pub(super) async fn create(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(article): ValidPath<ArticleName>,
    ValidQuery(place): ValidQuery<Place>,
    ValidJson(Object(new)): ValidJson<Object<NewDiscussion>>,
) -> Result<impl IntoResponse, Problem> {
    let discussion = discussions::create(
        &state.app,
        caller.id,
        place.community_id,
        &article,
        &new.topic,
        &new.content,
    )
    .await?;
    Ok((StatusCode::CREATED, Json(discussion)))
}

pub(super) async fn list(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(article): ValidPath<ArticleName>,
    ValidQuery(listing): ValidQuery<Listing>,
) -> Result<impl IntoResponse, Problem> {
    let page = page(listing.after, listing.limit)?;
    let list =
        discussions::list(&state.app, caller.id, listing.community_id, &article, page).await?;
    Ok(Json(list))
}

pub(super) async fn get(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(id): ValidPath<DiscussionId>,
) -> Result<impl IntoResponse, Problem> {
    Ok(Json(discussions::get(&state.app, caller.id, id).await?))
}
