//! Articles, and their way into a community.

use crier_domain::{CommunityId, UserId};
use crier_store::{Article, CommunityArticle, Locks, Reader, Status, Submitted};
use schemars::JsonSchema;
use serde::Deserialize;

use super::access::{Access, Actor};
use super::article_ref::ArticleName;
use super::error::{AppError, Conflict, Thing};
use super::once::{Answer, Key};
use super::text::{Abstract, Name};
use super::view::{ArticleView, CommunityArticleView};
use super::{App, access};

/// What an admin does with a submitted article.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ArticleAction")]
pub(crate) enum Action {
    /// Wants it: submitted → approved.
    Approve,
    /// Shows it to the members, and lets admins and its submitter follow it.
    Publish,
    /// Hides it again: published → approved.
    Unpublish,
    /// Does not want it.
    Reject,
}

impl Action {
    /// The state it leads to from `before`, which may be the same; none if it does not lead anywhere.
    fn from(self, before: Status) -> Option<Status> {
        use Status::{Approved, Published, Rejected, Submitted};
        match (self, before) {
            (Self::Approve, Submitted | Approved | Rejected) => Some(Approved),
            (Self::Publish, Submitted | Approved | Published) => Some(Published),
            (Self::Unpublish, Approved | Published) => Some(Approved),
            (Self::Reject, Submitted | Approved | Rejected) => Some(Rejected),
            (Self::Approve | Self::Reject, Published)
            | (Self::Publish, Rejected)
            | (Self::Unpublish, Submitted | Rejected) => None,
        }
    }
}

/// Makes an article; its slug comes from the title.
pub(crate) async fn create(
    app: &App,
    user: UserId,
    title: &Name,
    summary: Option<&Abstract>,
    key: Option<&Key>,
) -> Result<Answer<ArticleView>, AppError> {
    let tx = app.begin(Locks::new()).await?;
    let summary = summary.map_or("", Abstract::as_str);
    app.once(tx, user, key, async |tx| {
        let article = tx.create_article(user, title.as_str(), summary).await?;
        Ok(article.into())
    })
    .await
}

/// An article that the caller may read.
pub(crate) async fn get(
    app: &App,
    user: UserId,
    article: &ArticleName,
) -> Result<ArticleView, AppError> {
    Ok(find(&app.store, user, article).await?.into())
}

/// A member submits an article to the community.
pub(crate) async fn submit(
    app: &App,
    user: UserId,
    community: CommunityId,
    article: &ArticleName,
    key: Option<&Key>,
) -> Result<Answer<CommunityArticleView>, AppError> {
    let (tx, _) = access::begin(
        app,
        Locks::new().exclusive(community),
        user,
        community,
        Access::writes,
    )
    .await?;
    app.once(tx, user, key, async |tx| {
        let article = find(tx, user, article).await?;
        match tx.submit_article(community, article.id, user).await? {
            Submitted::New(submitted) => Ok(submitted.into()),
            Submitted::Already(_) => Err(AppError::Conflict(Conflict::AlreadySubmitted)),
        }
    })
    .await
}

/// An admin, or the application's backend, moves a submitted article on. What is published is followed by the admins
/// and its submitter.
pub(crate) async fn manage(
    app: &App,
    actor: Actor,
    community: CommunityId,
    article: &ArticleName,
    action: Action,
) -> Result<CommunityArticleView, AppError> {
    let nothing = || AppError::NoSuch(Thing::CommunityArticle);
    let tx = access::begin_as(
        app,
        Locks::new().exclusive(community),
        actor,
        community,
        Access::manages,
    )
    .await?;
    let found = submitted(&tx, actor, community, article).await?;
    let status = action.from(found.status);
    let status = status.ok_or(AppError::Conflict(Conflict::WrongState))?;
    if status == found.status {
        return Ok(found.into());
    }
    let change = tx.set_status(community, found.article_id, status).await?;
    let managed = change.ok_or_else(nothing)?.article;
    if status == Status::Published {
        tx.subscribe_admins_and_submitter(&managed).await?;
    }
    app.commit(tx).await?;
    Ok(managed.into())
}

/// The article as submitted to the community, if this actor may know of it.
async fn submitted(
    reader: &Reader,
    actor: Actor,
    community: CommunityId,
    article: &ArticleName,
) -> Result<CommunityArticle, AppError> {
    let found = match actor {
        Actor::Person(user) => {
            let article = find(reader, user, article).await?.id;
            reader
                .find_community_article(user, community, article)
                .await?
        }
        Actor::Backend => {
            let article = reader.any_article(article.as_ref()).await?;
            let article = article.ok_or(AppError::NoSuch(Thing::Article))?.id;
            reader.any_community_article(community, article).await?
        }
    };
    found.ok_or(AppError::NoSuch(Thing::CommunityArticle))
}

async fn find(reader: &Reader, user: UserId, article: &ArticleName) -> Result<Article, AppError> {
    let found = reader.find_article(user, article.as_ref()).await?;
    found.ok_or(AppError::NoSuch(Thing::Article))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_unpublished_before_it_is_rejected() {
        use Status::{Approved, Published, Rejected, Submitted};
        assert_eq!(Action::Reject.from(Published), None);
        assert_eq!(Action::Unpublish.from(Published), Some(Approved));
        assert_eq!(Action::Reject.from(Approved), Some(Rejected));
        assert_eq!(Action::Publish.from(Rejected), None);
        assert_eq!(Action::Publish.from(Submitted), Some(Published));
    }
}
