//! Discussions under an article of a community.

use crier_domain::{CommunityId, DiscussionId, EventType, UserId};
use crier_store::{CommunityArticle, Locks, Page, Reader};
use schemars::JsonSchema;
use serde::Serialize;

use super::access::Access;
use super::article_ref::ArticleName;
use super::error::{AppError, Rule, Thing};
use super::event::{Origin, for_subscribers};
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
struct EventData<'a> {
    discussion: &'a DiscussionView,
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
        let origin = Origin {
            community,
            article: article.article_id,
            author,
            at: Moment(stored.created_at),
        };
        let discussion = DiscussionView::from(stored);
        if access.has_events() {
            let data = EventData {
                discussion: &discussion,
            };
            let event = for_subscribers(EventType::NEW_DISCUSSION, &origin, &data)?;
            tx.outbox_event(&event).await?;
        }
        Ok(discussion)
    })
    .await
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
