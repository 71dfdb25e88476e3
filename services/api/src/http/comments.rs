//! Comments in a discussion.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use crier_domain::{CommentId, DiscussionId};
use crier_service_kit::problem::{Problem, ValidJson, ValidPath, ValidQuery};
use schemars::JsonSchema;
use serde::Deserialize;

use super::answers::{Created, NoContent};
use super::identity::Caller;
use super::object::Object;
use super::once::Once;
use super::paging::Listing;
use crate::app::comments::{self, CommentsView};
use crate::app::once::Answer;
use crate::app::text::Content;
use crate::app::view::CommentView;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewComment {
    content: Content,
    #[serde(default)]
    parent_id: Option<CommentId>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CommentChange {
    content: Content,
}

pub(super) async fn create(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(discussion): ValidPath<DiscussionId>,
    Once(key, ValidJson(Object(new))): Once<ValidJson<Object<NewComment>>>,
) -> Result<Created<Answer<CommentView>>, Problem> {
    let comment = comments::create(
        &state.app,
        caller.id,
        discussion,
        new.parent_id,
        &new.content,
        key.as_ref(),
    )
    .await?;
    Ok(Created(comment))
}

pub(super) async fn list(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(discussion): ValidPath<DiscussionId>,
    ValidQuery(listing): ValidQuery<Listing<CommentId>>,
) -> Result<Json<CommentsView>, Problem> {
    let page = listing.page()?;
    let list = comments::list(&state.app, caller.id, discussion, page).await?;
    Ok(Json(list))
}

pub(super) async fn update(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(id): ValidPath<CommentId>,
    ValidJson(Object(change)): ValidJson<Object<CommentChange>>,
) -> Result<Json<CommentView>, Problem> {
    let comment = comments::update(&state.app, caller.id, id, &change.content).await?;
    Ok(Json(comment))
}

pub(super) async fn delete(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(id): ValidPath<CommentId>,
) -> Result<NoContent, Problem> {
    comments::delete(&state.app, caller.id, id).await?;
    Ok(NoContent)
}
