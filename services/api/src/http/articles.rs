//! Articles, and their way into a community.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use crier_domain::{ArticleId, CommunityArticleId, CommunityId, UserId};
use crier_service_kit::problem::{Problem, ValidJson, ValidPath};
use crier_store::Status;
use crier_store::mirror::{ArticleLine, CommunityArticleLine};
use schemars::JsonSchema;
use serde::Deserialize;

use super::answers::{Created, Ensured};
use super::identity::{Backend, Caller, Either};
use super::object::Object;
use super::once::{NoBody, Once};
use super::words::word;
use crate::app::article_ref::{ArticleName, Slug};
use crate::app::articles::{self, Action};
use crate::app::mirror;
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

/// An article as the application has it. What is left out stays as it is.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MirroredArticle {
    title: Name,
    #[serde(default, rename = "abstract")]
    summary: Option<Abstract>,
    /// Made from the title if the article is new and this is left out.
    #[serde(default)]
    slug: Option<Slug>,
    submitter_id: UserId,
}

/// An article in a community as the application has it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MirroredCommunityArticle {
    #[serde(deserialize_with = "word")]
    status: Status,
    /// The article's own submitter if it is new there and this is left out.
    #[serde(default)]
    submitter_id: Option<UserId>,
    /// The application's own id of the article in this community.
    #[serde(default)]
    id: Option<CommunityArticleId>,
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

pub(super) async fn put(
    extract::State(state): extract::State<Arc<State>>,
    _: Backend,
    ValidPath(id): ValidPath<ArticleId>,
    ValidJson(Object(article)): ValidJson<Object<MirroredArticle>>,
) -> Result<Ensured<ArticleView>, Problem> {
    let line = ArticleLine {
        id,
        title: article.title.into(),
        summary: article.summary.map(String::from),
        slug: article.slug.map(String::from),
        submitter: article.submitter_id,
    };
    let (is_new, value) = mirror::article(&state.app, line).await?;
    Ok(Ensured { is_new, value })
}

pub(super) async fn put_into(
    extract::State(state): extract::State<Arc<State>>,
    _: Backend,
    ValidPath((community, article)): ValidPath<(CommunityId, ArticleId)>,
    ValidJson(Object(wanted)): ValidJson<Object<MirroredCommunityArticle>>,
) -> Result<Ensured<CommunityArticleView>, Problem> {
    let line = CommunityArticleLine {
        community,
        article,
        status: wanted.status,
        submitter: wanted.submitter_id,
        id: wanted.id,
    };
    let (is_new, value) = mirror::community_article(&state.app, line).await?;
    Ok(Ensured { is_new, value })
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
    actor: Either,
    ValidPath((community, article, action)): ValidPath<(CommunityId, ArticleName, Action)>,
) -> Result<Json<CommunityArticleView>, Problem> {
    let managed = articles::manage(&state.app, actor.actor(), community, &article, action).await?;
    Ok(Json(managed))
}
