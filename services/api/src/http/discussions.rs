//! Discussions under an article of a community.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use crier_domain::{CommunityId, DiscussionId};
use crier_service_kit::problem::{Problem, ValidJson, ValidPath, ValidQuery};
use schemars::JsonSchema;
use serde::Deserialize;

use super::answers::{Created, NoContent};
use super::identity::Caller;
use super::object::{Object, given, nothing_given};
use super::once::Once;
use super::paging::page;
use crate::app::article_ref::ArticleName;
use crate::app::discussions::{self, DiscussionsView};
use crate::app::list::MAX_LIMIT;
use crate::app::once::Answer;
use crate::app::text::{Content, Topic};
use crate::app::view::DiscussionView;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    community_id: CommunityId,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewDiscussion {
    topic: Topic,
    content: Content,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(super) struct DiscussionChange {
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Topic")]
    topic: Option<Topic>,
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Content")]
    content: Option<Content>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    community_id: CommunityId,
    after: Option<DiscussionId>,
    #[schemars(range(min = 1, max = MAX_LIMIT))]
    limit: Option<u32>,
}

pub(super) async fn create(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(article): ValidPath<ArticleName>,
    ValidQuery(place): ValidQuery<Place>,
    Once(key, ValidJson(Object(new))): Once<ValidJson<Object<NewDiscussion>>>,
) -> Result<Created<Answer<DiscussionView>>, Problem> {
    let discussion = discussions::create(
        &state.app,
        caller.id,
        place.community_id,
        &article,
        &new.topic,
        &new.content,
        key.as_ref(),
    )
    .await?;
    Ok(Created(discussion))
}

pub(super) async fn list(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(article): ValidPath<ArticleName>,
    ValidQuery(listing): ValidQuery<Listing>,
) -> Result<Json<DiscussionsView>, Problem> {
    let page = page(listing.after, listing.limit)?;
    let list =
        discussions::list(&state.app, caller.id, listing.community_id, &article, page).await?;
    Ok(Json(list))
}

pub(super) async fn get(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(id): ValidPath<DiscussionId>,
) -> Result<Json<DiscussionView>, Problem> {
    Ok(Json(discussions::get(&state.app, caller.id, id).await?))
}

pub(super) async fn update(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(id): ValidPath<DiscussionId>,
    ValidJson(Object(change)): ValidJson<Object<DiscussionChange>>,
) -> Result<Json<DiscussionView>, Problem> {
    let DiscussionChange { topic, content } = change;
    if topic.is_none() && content.is_none() {
        return Err(nothing_given("topic, content"));
    }
    let (topic, content) = (topic.as_ref(), content.as_ref());
    let discussion = discussions::update(&state.app, caller.id, id, topic, content).await?;
    Ok(Json(discussion))
}

pub(super) async fn delete(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(id): ValidPath<DiscussionId>,
) -> Result<NoContent, Problem> {
    discussions::delete(&state.app, caller.id, id).await?;
    Ok(NoContent)
}
