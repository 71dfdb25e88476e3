//! Discussions under an article of a community.

use crier_domain::{ArticleId, CommunityId, DiscussionId, EventType, UserId};
use crier_store::{CommunityArticle, Discussion, Edited, Locks, Page, Reader, Tx};
use schemars::JsonSchema;
use serde::Serialize;

use super::access::Access;
use super::article_ref::ArticleName;
use super::error::{AppError, Rule, Thing};
use super::event::{Origin, tell};
use super::list::last_event_id;
use super::once::{Answer, Key};
use super::text::{Content, Topic};
use super::view::{self, DiscussionView, Moment};
use super::{App, access};

/// A page of discussions, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DiscussionsView {
    discussions: Vec<DiscussionView>,
    last_event_id: Option<String>,
}

/// `{"discussion": {…}}`
#[derive(Debug, Serialize)]
struct EventData<T> {
    discussion: T,
}

/// What is said of a discussion that was deleted.
#[derive(Debug, Serialize)]
struct Deleted {
    id: DiscussionId,
    community_id: CommunityId,
    article_id: ArticleId,
}

/// Opens a discussion, and tells the article's subscribers unless the community is public.
pub(crate) async fn create(
    app: &App,
    author: UserId,
    community: CommunityId,
    article: &ArticleName,
    topic: &Topic,
    content: &Content,
    key: Option<&Key>,
) -> Result<Answer<DiscussionView>, AppError> {
    let (tx, access) = access::begin(
        app,
        Locks::new().shared(community),
        author,
        community,
        Access::writes,
    )
    .await?;
    app.once(tx, author, key, async |tx| {
        let article = article_in(tx, author, community, article).await?;
        let stored = tx
            .create_discussion(&article, author, topic.as_str(), content.as_str())
            .await?;
        let origin = Origin::new(stored.place(), author, Moment(stored.created_at));
        let discussion = DiscussionView::from(stored);
        let data = EventData {
            discussion: &discussion,
        };
        tell(tx, access, EventType::NEW_DISCUSSION, &origin, &data).await?;
        Ok(discussion)
    })
    .await
}

/// Its author changes a discussion. The article's subscribers are told, unless it was so before.
pub(crate) async fn update(
    app: &App,
    user: UserId,
    id: DiscussionId,
    topic: Option<&Topic>,
    content: Option<&Content>,
) -> Result<DiscussionView, AppError> {
    let (tx, access, found) = find(app, user, id).await?;
    access.edits(found.author_id == user)?;
    let (topic, content) = (topic.map(Topic::as_str), content.map(Content::as_str));
    let edited = tx.update_discussion(user, found.community_id, id, topic, content);
    let edited = edited.await?.ok_or(AppError::NoSuch(Thing::Discussion))?;
    let stored = match edited {
        Edited::Changed(discussion) => discussion,
        Edited::Unchanged(discussion) => return Ok(discussion.into()),
    };
    let origin = Origin::new(stored.place(), user, Moment(stored.updated_at));
    let discussion = DiscussionView::from(stored);
    let data = EventData {
        discussion: &discussion,
    };
    tell(&tx, access, EventType::UPDATED_DISCUSSION, &origin, &data).await?;
    app.commit(tx).await?;
    Ok(discussion)
}

/// Deletes a discussion with all its comments, and tells the article's subscribers.
pub(crate) async fn delete(app: &App, user: UserId, id: DiscussionId) -> Result<(), AppError> {
    let (tx, access, found) = find(app, user, id).await?;
    access.deletes(found.author_id == user)?;
    if !tx.delete_discussion(found.community_id, id).await? {
        return Err(AppError::NoSuch(Thing::Discussion));
    }
    let origin = Origin::new(found.place(), user, Moment::now());
    let deleted = Deleted {
        id,
        community_id: found.community_id,
        article_id: found.article_id,
    };
    let data = EventData {
        discussion: deleted,
    };
    tell(&tx, access, EventType::DELETED_DISCUSSION, &origin, &data).await?;
    app.commit(tx).await
}

/// The discussion, for a member of its community, and a transaction to change it in.
async fn find(
    app: &App,
    user: UserId,
    id: DiscussionId,
) -> Result<(Tx, Access, Discussion), AppError> {
    let nothing = || AppError::NoSuch(Thing::Discussion);
    let community = app.store.community_of_discussion(user, id).await?;
    let community = community.ok_or_else(nothing)?;
    let (tx, access) = access::begin(
        app,
        Locks::new().shared(community),
        user,
        community,
        Access::writes,
    )
    .await?;
    let found = tx.find_discussion(user, id).await?;
    Ok((tx, access, found.ok_or_else(nothing)?))
}

/// The discussions of an article, with the position from which a stream continues the list.
pub(crate) async fn list(
    app: &App,
    user: UserId,
    community: CommunityId,
    article: &ArticleName,
    page: Page<DiscussionId>,
) -> Result<DiscussionsView, AppError> {
    access::to(&app.store, user, community).await?.reads()?;
    let article = article_in(&app.store, user, community, article).await?;
    let listed = app
        .store
        .list_discussions(user, community, article.article_id, page)
        .await?;
    Ok(DiscussionsView {
        discussions: view::all(listed.items),
        last_event_id: last_event_id(listed.position, &app.keys),
    })
}

/// One discussion.
pub(crate) async fn get(
    app: &App,
    user: UserId,
    id: DiscussionId,
) -> Result<DiscussionView, AppError> {
    let nothing = || AppError::NoSuch(Thing::Discussion);
    let community = app.store.community_of_discussion(user, id).await?;
    let community = community.ok_or_else(nothing)?;
    access::to(&app.store, user, community).await?.reads()?;
    let found = app.store.find_discussion(user, id).await?;
    found.map(DiscussionView::from).ok_or_else(nothing)
}

/// The article that the caller names, as submitted to this community.
async fn article_in(
    reader: &Reader,
    user: UserId,
    community: CommunityId,
    article: &ArticleName,
) -> Result<CommunityArticle, AppError> {
    let article = reader.find_article(user, article.as_ref()).await?;
    let article = article.ok_or(AppError::NoSuch(Thing::Article))?;
    let found = reader
        .find_community_article(user, community, article.id)
        .await?;
    found.ok_or(AppError::Rule(Rule::ArticleElsewhere))
}
