//! Subscriptions: who follows which community article. Every change adds the user's outbox row.

use crier_domain::{CommunityArticleId, CommunityId, SubscriptionId, UserId};

use crate::error::StoreError;
use crate::model::{
    CommunityArticle, FollowedArticle, FollowedCommunity, Listed, Page, Subscription,
};
use crate::sql::{Row, id_list, now_ms, values};
use crate::store::{Reader, Store};
use crate::tx::Tx;
use crate::words::Role;

/// What became of a wish to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribed {
    /// The subscription as it stands now.
    pub subscription: Subscription,
    /// What it took.
    pub how: SubscribedHow,
}

/// What it took to have a subscription as wished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscribedHow {
    /// It is a new row.
    New,
    /// It was ended before, and is active anew, with a new fence.
    Renewed,
    /// Nothing: it was so before.
    Unchanged,
}

const COLUMNS: &str =
    "id, user_id, community_article_id, community_id, article_id, is_active, subscribed_at";

/// What user `$1` follows in the `$3` communities after `$2`.
pub(crate) const FOLLOWED: &str =
    "SELECT s.community_id, c.name, m.role, s.article_id, a.title, a.slug,
        s.community_article_id, s.id
    FROM subscriptions s
    JOIN communities c ON c.id = s.community_id
    JOIN articles a ON a.id = s.article_id
    JOIN memberships m ON m.community_id = s.community_id AND m.user_id = s.user_id
    WHERE s.user_id = $1 AND s.is_active AND s.community_id IN (
        SELECT DISTINCT community_id FROM subscriptions
        WHERE user_id = $1 AND is_active AND community_id > $2 ORDER BY community_id LIMIT $3)
    ORDER BY s.community_id, s.article_id";

impl Reader {
    /// A subscription of this user; another's counts as none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_subscription(
        &self,
        user: UserId,
        id: SubscriptionId,
    ) -> Result<Option<Subscription>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM subscriptions WHERE id = $2 AND user_id = $1");
        let row = self.db.first(&sql, values![user.get(), id.get()]).await?;
        row.as_ref().map(read).transpose()
    }

    /// This user's subscription to a community article, active or not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_subscription_to(
        &self,
        user: UserId,
        article: CommunityArticleId,
    ) -> Result<Option<Subscription>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM subscriptions WHERE user_id = $1 AND community_article_id = $2"
        );
        let values = values![user.get(), article.get()];
        let row = self.db.first(&sql, values).await?;
        row.as_ref().map(read).transpose()
    }

    /// What this user follows, by community, by ascending id; a page counts communities. The domain's limit of
    /// entries bounds it all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn followed(
        &self,
        user: UserId,
        page: Page<CommunityId>,
    ) -> Result<Vec<FollowedCommunity>, StoreError> {
        let after = page.after.map_or(0, i64::from);
        let values = values![user.get(), after, i64::from(page.limit)];
        let rows = self.db.all(FOLLOWED, values).await?;
        let mut communities: Vec<FollowedCommunity> = Vec::new();
        for row in &rows {
            let community_id = row.id("community_id")?;
            let article = FollowedArticle {
                article_id: row.id("article_id")?,
                article_title: row.text("title")?,
                article_slug: row.text("slug")?,
                community_article_id: row.id("community_article_id")?,
                subscription_id: row.id("id")?,
            };
            match communities.last_mut() {
                Some(last) if last.community_id == community_id => last.articles.push(article),
                _ => communities.push(FollowedCommunity {
                    community_id,
                    community_name: row.text("name")?,
                    is_admin: row.word::<Role>("role")? == Role::Admin,
                    articles: vec![article],
                }),
            }
        }
        Ok(communities)
    }
}

impl Store {
    /// As [`Reader::followed`], with the log's position from before: what the list lacks comes after it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_followed(
        &self,
        user: UserId,
        page: Page<CommunityId>,
    ) -> Result<Listed<FollowedCommunity>, StoreError> {
        let reader = self.read().await?;
        let position = reader.relay_position().await?;
        let items = reader.followed(user, page).await?;
        Ok(Listed { items, position })
    }
}

impl Tx {
    /// Lets the user follow a community article, by a new subscription or by renewing an ended one. Following
    /// twice moves no fence.
    ///
    /// That the user is a member, and the community not public, has been asked under this lock.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the community's exclusive lock, [`StoreError::TooManyEntries`].
    pub async fn subscribe(
        &self,
        user: UserId,
        article: &CommunityArticle,
    ) -> Result<Subscribed, StoreError> {
        self.needs_exclusive(article.community_id)?;
        let before = self.find_subscription_to(user, article.id).await?;
        let how = match before {
            Some(subscription) if subscription.is_active => {
                return Ok(Subscribed {
                    subscription,
                    how: SubscribedHow::Unchanged,
                });
            }
            Some(_) => SubscribedHow::Renewed,
            None => SubscribedHow::New,
        };
        self.needs_room(user).await?;
        let fence = self.outbox_user(user, article.community_id).await?;
        let sql = format!(
            "INSERT INTO subscriptions (user_id, community_article_id, community_id, article_id, is_active,
                fence, subscribed_at)
            VALUES ($1, $2, $3, $4, TRUE, $5, $6)
            ON CONFLICT (user_id, community_article_id) DO UPDATE SET is_active = TRUE, ended_by = NULL,
                fence = excluded.fence, subscribed_at = excluded.subscribed_at
            RETURNING {COLUMNS}"
        );
        let values = values![
            user.get(),
            article.id.get(),
            article.community_id.get(),
            article.article_id.get(),
            fence.0,
            now_ms(),
        ];
        let subscription = read(&self.db.only(&sql, values).await?)?;
        Ok(Subscribed { subscription, how })
    }

    /// Ends a subscription by its user's own wish. An ended one stays as it is, but from now on by the user's wish.
    /// `None`: the user has no such subscription.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the community's exclusive lock.
    pub async fn unsubscribe(
        &self,
        user: UserId,
        id: SubscriptionId,
    ) -> Result<Option<Subscription>, StoreError> {
        let Some(mut subscription) = self.find_subscription(user, id).await? else {
            return Ok(None);
        };
        self.needs_exclusive(subscription.community_id)?;
        let sql = "UPDATE subscriptions SET is_active = FALSE, ended_by = 'user' WHERE id = $1";
        self.db.run(sql, values![id.get()]).await?;
        if subscription.is_active {
            self.outbox_user(user, subscription.community_id).await?;
            subscription.is_active = false;
        }
        Ok(Some(subscription))
    }

    /// Ends a user's subscriptions in a community. The user's outbox row is the caller's to add.
    pub(crate) async fn end_subscriptions(
        &self,
        user: UserId,
        community: CommunityId,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE subscriptions SET is_active = FALSE, ended_by = 'system'
            WHERE user_id = $1 AND community_id = $2 AND is_active";
        let values = values![user.get(), community.get()];
        self.db.run(sql, values).await?;
        Ok(())
    }

    /// Ends all subscriptions in these communities. The members' outbox rows are the caller's to add.
    pub(crate) async fn end_all_subscriptions(
        &self,
        communities: &[CommunityId],
    ) -> Result<(), StoreError> {
        let sql = "UPDATE subscriptions SET is_active = FALSE, ended_by = 'system'
            WHERE community_id IN (SELECT c.id FROM {ids:1} c) AND is_active";
        self.db.run(sql, values![id_list(communities)]).await?;
        Ok(())
    }
}

fn read(row: &Row) -> Result<Subscription, StoreError> {
    Ok(Subscription {
        id: row.id("id")?,
        user_id: row.id("user_id")?,
        community_article_id: row.id("community_article_id")?,
        community_id: row.id("community_id")?,
        article_id: row.id("article_id")?,
        is_active: row.get("is_active")?,
        subscribed_at: row.moment("subscribed_at")?,
    })
}
