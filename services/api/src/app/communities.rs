//! Communities.

use crier_domain::{CommunityArticleId, CommunityId, UserId};
use crier_store::{self as store, CommunityKind, Locks, Page, Role};
use schemars::JsonSchema;
use serde::Serialize;

use super::access::Access;
use super::error::{AppError, Conflict, Thing};
use super::list::last_event_id;
use super::once::{Answer, Key};
use super::text::Name;
use super::view::{self, CommunityView, ListedArticleView};
use super::{App, access};

/// The caller's communities and the public ones.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CommunitiesView {
    communities: Vec<CommunityView>,
    last_event_id: Option<String>,
}

/// A community with a page of its articles, oldest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CommunityPageView {
    #[serde(flatten)]
    community: CommunityView,
    articles: Vec<ListedArticleView>,
    last_event_id: Option<String>,
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
    let listed = app.store.list_communities(user, page).await?;
    Ok(CommunitiesView {
        communities: view::all(listed.items),
        last_event_id: last_event_id(listed.position, &app.keys),
    })
}

/// An admin gives the community another name, another kind or both. Turned public, what was followed there ends;
/// turned from public, its admins follow all that is published.
pub(crate) async fn update(
    app: &App,
    admin: UserId,
    id: CommunityId,
    name: Option<&Name>,
    kind: Option<CommunityKind>,
) -> Result<CommunityView, AppError> {
    let (tx, _) =
        access::begin(app, Locks::new().exclusive(id), admin, id, Access::manages).await?;
    if let Some(name) = name {
        tx.rename_community(id, name.as_str()).await?;
    }
    if let Some(kind) = kind {
        tx.set_community_kind(id, kind).await?;
    }
    let community = tx.find_community(admin, id).await?;
    let community = community.ok_or(AppError::NoSuch(Thing::Community))?;
    app.commit(tx).await?;
    Ok(community.into())
}

/// A community with those of its articles that the caller may see.
pub(crate) async fn get(
    app: &App,
    user: UserId,
    id: CommunityId,
    page: Page<CommunityArticleId>,
) -> Result<CommunityPageView, AppError> {
    access::to(&app.store, user, id).await?.reads()?;
    let listed = app.store.list_community_articles(user, id, page).await?;
    let community = app.store.find_community(user, id).await?;
    let community = community.ok_or(AppError::NoSuch(Thing::Community))?;
    Ok(CommunityPageView {
        community: community.into(),
        articles: view::all(listed.items),
        last_event_id: last_event_id(listed.position, &app.keys),
    })
}
