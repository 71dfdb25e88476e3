//! Communities.

use crier_domain::{CommunityId, UserId};
use crier_store::{self as store, CommunityKind, Locks, Page, Role};
use schemars::JsonSchema;
use serde::Serialize;

use super::error::{AppError, Conflict, Thing};
use super::once::{Answer, Key};
use super::text::Name;
use super::view::{self, CommunityView, ListedArticleView};
use super::{App, access};

/// The most articles that a community's page shows.
const MAX_ARTICLES: u32 = 1_000;

/// The caller's communities and the public ones.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CommunitiesView {
    communities: Vec<CommunityView>,
}

/// A community with its articles.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CommunityPageView {
    #[serde(flatten)]
    community: CommunityView,
    articles: Vec<ListedArticleView>,
}

/// Makes a community with the caller as its first admin.
pub(crate) async fn create(
    app: &App,
    user: UserId,
    name: &Name,
    kind: CommunityKind,
    key: Option<&Key>,
) -> Result<Answer<CommunityView>, AppError> {
    let tx = app.begin(Locks::new()).await?;
    let limit = app.communities_per_user;
    app.once(tx, user, key, async |tx| {
        if limit > 0 && tx.count_administered(user).await? >= u64::from(limit) {
            return Err(AppError::Conflict(Conflict::TooManyCommunities(limit)));
        }
        let view = store::CommunityView {
            community: tx.create_community(user, name.as_str(), kind).await?,
            role: Some(Role::Admin),
            member_count: 1,
        };
        Ok(view.into())
    })
    .await
}

/// The caller's communities and the public ones, oldest first.
pub(crate) async fn list(
    app: &App,
    user: UserId,
    page: Page<CommunityId>,
) -> Result<CommunitiesView, AppError> {
    let communities = app.store.communities(user, page).await?;
    Ok(CommunitiesView {
        communities: view::all(communities),
    })
}

/// A community with those of its articles that the caller may see.
pub(crate) async fn get(
    app: &App,
    user: UserId,
    id: CommunityId,
) -> Result<CommunityPageView, AppError> {
    access::to(&app.store, user, id).await?.reads()?;
    let community = app.store.find_community(user, id).await?;
    let community = community.ok_or(AppError::NoSuch(Thing::Community))?;
    let page = Page::first(MAX_ARTICLES);
    let articles = app.store.community_articles(user, id, page).await?;
    Ok(CommunityPageView {
        community: community.into(),
        articles: view::all(articles),
    })
}
