//! Following an article, and no longer.

use crier_domain::{ArticleId, CommunityArticleId, CommunityId, SubscriptionId, UserId};
use crier_store::{CommunityArticle, Locks, Page, Reader, SubscribedHow};
use schemars::JsonSchema;
use serde::Serialize;

use super::access::Access;
use super::error::{AppError, Rule, Thing};
use super::list::last_event_id;
use super::view::SubscriptionView;
use super::{App, access};

/// Whether the caller follows an article.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StatusView {
    is_subscribed: bool,
    subscription: Option<SubscriptionView>,
}

/// All that the caller follows.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FollowedView {
    communities: Vec<FollowedCommunityView>,
    last_event_id: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct FollowedCommunityView {
    community_id: CommunityId,
    community_name: String,
    is_admin: bool,
    articles: Vec<FollowedArticleView>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct FollowedArticleView {
    article_id: ArticleId,
    article_title: String,
    article_slug: String,
    community_article_id: CommunityArticleId,
}

/// Lets a member follow an article of a private or hidden community. True: there was no subscription before.
pub(crate) async fn subscribe(
    app: &App,
    user: UserId,
    community: CommunityId,
    article: CommunityArticleId,
) -> Result<(bool, SubscriptionView), AppError> {
    let (tx, _) = access::begin(
        app,
        Locks::new().exclusive(community),
        user,
        community,
        Access::follows,
    )
    .await?;
    let article = article_in(&tx, user, community, article).await?;
    let subscribed = tx.subscribe(user, &article).await?;
    app.commit(tx).await?;
    let created = subscribed.how == SubscribedHow::New;
    Ok((created, subscribed.subscription.into()))
}

/// Makes the caller's own subscription active or not. As often as one likes.
pub(crate) async fn set(
    app: &App,
    user: UserId,
    id: SubscriptionId,
    active: bool,
) -> Result<SubscriptionView, AppError> {
    let nothing = || AppError::NoSuch(Thing::Subscription);
    let found = app.store.find_subscription(user, id).await?;
    let found = found.ok_or_else(nothing)?;
    let community = found.community_id;
    let tx = app.begin(Locks::new().exclusive(community)).await?;
    let subscription = if active {
        access::to(&tx, user, community).await?.follows()?;
        let article = article_in(&tx, user, community, found.community_article_id).await?;
        tx.subscribe(user, &article).await?.subscription
    } else {
        // Who is no member any more may still say that it was their own wish.
        tx.unsubscribe(user, id).await?.ok_or_else(nothing)?
    };
    app.commit(tx).await?;
    Ok(subscription.into())
}

/// Whether the caller follows this article; in a public community nobody does.
pub(crate) async fn status(
    app: &App,
    user: UserId,
    community: CommunityId,
    article: CommunityArticleId,
) -> Result<StatusView, AppError> {
    access::to(&app.store, user, community).await?.reads()?;
    let article = article_in(&app.store, user, community, article).await?;
    let subscription = app.store.find_subscription_to(user, article.id).await?;
    Ok(StatusView {
        is_subscribed: subscription.as_ref().is_some_and(|found| found.is_active),
        subscription: subscription.map(SubscriptionView::from),
    })
}

/// What the caller follows, by community; a page counts communities.
pub(crate) async fn list(
    app: &App,
    user: UserId,
    page: Page<CommunityId>,
) -> Result<FollowedView, AppError> {
    let listed = app.store.list_followed(user, page).await?;
    let communities = listed
        .items
        .into_iter()
        .map(|community| FollowedCommunityView {
            community_id: community.community_id,
            community_name: community.community_name,
            is_admin: community.is_admin,
            articles: community
                .articles
                .into_iter()
                .map(|article| FollowedArticleView {
                    article_id: article.article_id,
                    article_title: article.article_title,
                    article_slug: article.article_slug,
                    community_article_id: article.community_article_id,
                })
                .collect(),
        });
    Ok(FollowedView {
        communities: communities.collect(),
        last_event_id: last_event_id(listed.position, &app.keys),
    })
}

/// The community article that the caller names, if it is one of this community.
async fn article_in(
    reader: &Reader,
    user: UserId,
    community: CommunityId,
    id: CommunityArticleId,
) -> Result<CommunityArticle, AppError> {
    let found = reader.find_community_article_by_id(user, id).await?;
    let found = found.ok_or(AppError::NoSuch(Thing::CommunityArticle))?;
    if found.community_id == community {
        Ok(found)
    } else {
        Err(AppError::Rule(Rule::ArticleElsewhere))
    }
}
