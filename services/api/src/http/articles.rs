//! Articles, and their way into a community.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use crier_domain::CommunityId;
use crier_service_kit::problem::{Problem, ValidJson, ValidPath};
use serde::Deserialize;

use super::identity::Caller;
use super::object::Object;
use crate::app::article_ref::ArticleName;
use crate::app::articles::{self, Action};
use crate::app::text::{Abstract, Name};
use crate::state::State;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewArticle {
    title: Name,
    #[serde(default, rename = "abstract")]
    summary: Option<Abstract>,
}

pub(super) async fn create(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidJson(Object(new)): ValidJson<Object<NewArticle>>,
) -> Result<impl IntoResponse, Problem> {
    let article = articles::create(&state.app, caller.id, &new.title, new.summary.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(article)))
}

pub(super) async fn get(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(article): ValidPath<ArticleName>,
) -> Result<impl IntoResponse, Problem> {
    Ok(Json(articles::get(&state.app, caller.id, &article).await?))
}

pub(super) async fn submit(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath((community, article)): ValidPath<(CommunityId, ArticleName)>,
) -> Result<impl IntoResponse, Problem> {
    let submitted = articles::submit(&state.app, caller.id, community, &article).await?;
    Ok((StatusCode::CREATED, Json(submitted)))
}

pub(super) async fn manage(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath((community, article, action)): ValidPath<(CommunityId, ArticleName, Action)>,
) -> Result<impl IntoResponse, Problem> {
    let managed = articles::manage(&state.app, caller.id, community, &article, action).await?;
    Ok(Json(managed))
}
