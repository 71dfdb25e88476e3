//! Articles, and their way into a community.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use crier_domain::CommunityId;
use crier_service_kit::problem::{Problem, ValidJson, ValidPath};
use schemars::JsonSchema;
use serde::Deserialize;

use super::answers::Created;
use super::identity::Caller;
use super::object::Object;
use super::once::{NoBody, Once};
use crate::app::article_ref::ArticleName;
use crate::app::articles::{self, Action};
use crate::app::once::Answer;
use crate::app::text::{Abstract, Name};
use crate::app::view::{ArticleView, CommunityArticleView};
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewArticle {
    title: Name,
    #[serde(default, rename = "abstract")]
    summary: Option<Abstract>,
}

pub(super) async fn create(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    Once(key, ValidJson(Object(new))): Once<ValidJson<Object<NewArticle>>>,
) -> Result<Created<Answer<ArticleView>>, Problem> {
    let (summary, key) = (new.summary.as_ref(), key.as_ref());
    let article = articles::create(&state.app, caller.id, &new.title, summary, key).await?;
    Ok(Created(article))
}

pub(super) async fn get(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(article): ValidPath<ArticleName>,
) -> Result<Json<ArticleView>, Problem> {
    Ok(Json(articles::get(&state.app, caller.id, &article).await?))
}

pub(super) async fn submit(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath((community, article)): ValidPath<(CommunityId, ArticleName)>,
    Once(key, NoBody): Once<NoBody>,
) -> Result<Created<Answer<CommunityArticleView>>, Problem> {
    let key = key.as_ref();
    let submitted = articles::submit(&state.app, caller.id, community, &article, key).await?;
    Ok(Created(submitted))
}

pub(super) async fn manage(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath((community, article, action)): ValidPath<(CommunityId, ArticleName, Action)>,
) -> Result<Json<CommunityArticleView>, Problem> {
    let managed = articles::manage(&state.app, caller.id, community, &article, action).await?;
    Ok(Json(managed))
}
