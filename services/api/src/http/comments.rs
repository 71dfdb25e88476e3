//! Comments in a discussion.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use crier_domain::{CommentId, DiscussionId};
use crier_service_kit::problem::{Problem, ValidJson, ValidPath, ValidQuery};
use serde::Deserialize;

use super::identity::Caller;
use super::object::Object;
use super::paging::Listing;
use crate::app::comments;
use crate::app::text::Content;
use crate::state::State;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewComment {
    content: Content,
    #[serde(default)]
    parent_id: Option<CommentId>,
}

pub(super) async fn create(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(discussion): ValidPath<DiscussionId>,
    ValidJson(Object(new)): ValidJson<Object<NewComment>>,
) -> Result<impl IntoResponse, Problem> {
    let comment = comments::create(
        &state.app,
        caller.id,
        discussion,
        new.parent_id,
        &new.content,
    )
    .await?;
    Ok((StatusCode::CREATED, Json(comment)))
}

pub(super) async fn list(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(discussion): ValidPath<DiscussionId>,
    ValidQuery(listing): ValidQuery<Listing<CommentId>>,
) -> Result<impl IntoResponse, Problem> {
    let page = listing.page()?;
    let list = comments::list(&state.app, caller.id, discussion, page).await?;
    Ok(Json(list))
}
