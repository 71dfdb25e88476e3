//! Subscriptions that follow from something else: a published article, a promotion, a community no longer public.
//!
//! In the transaction of their cause, for members alone, in private and hidden communities alone, to published articles
//! alone, and never against a user's own unsubscribe. One statement each for who is concerned, for their outbox
//! rows, and for their subscriptions, however many there are.

use std::collections::HashMap;

use crier_domain::snapshot::MAX_ENTRIES;
use crier_domain::{CommunityId, UserId};

use crate::error::StoreError;
use crate::model::CommunityArticle;
use crate::sql::{id_list, now_ms, pair_list, values};
use crate::tx::Tx;

/// Who was subscribed automatically.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AutoSubscribed {
    /// Those who now follow something more, by ascending id.
    pub users: Vec<UserId>,
    /// Those whose snapshot has no room for it, and who were passed over.
    pub full: Vec<UserId>,
}

/// Which members, and which published articles of the community.
struct Scope {
    community: CommunityId,
    admins: bool,
    user: Option<UserId>,
    article: Option<i64>,
}

impl Tx {
    /// For an article that was published: all admins, and the submitter if a member.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the community's exclusive lock.
    pub async fn subscribe_admins_and_submitter(
        &self,
        article: &CommunityArticle,
    ) -> Result<AutoSubscribed, StoreError> {
        self.auto_subscribe(&Scope {
            community: article.community_id,
            admins: true,
            user: Some(article.submitter_id),
            article: Some(article.id.get()),
        })
        .await
    }

    /// For a member who was promoted to admin: every published article there.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the community's exclusive lock.
    pub async fn subscribe_to_all_published(
        &self,
        user: UserId,
        community: CommunityId,
    ) -> Result<AutoSubscribed, StoreError> {
        self.auto_subscribe(&Scope {
            community,
            admins: false,
            user: Some(user),
            article: None,
        })
        .await
    }

    /// For a community that is no longer public: its admins, every published article.
    pub(crate) async fn subscribe_admins_to_all_published(
        &self,
        community: CommunityId,
    ) -> Result<AutoSubscribed, StoreError> {
        self.auto_subscribe(&Scope {
            community,
            admins: true,
            user: None,
            article: None,
        })
        .await
    }

    async fn auto_subscribe(&self, scope: &Scope) -> Result<AutoSubscribed, StoreError> {
        self.needs_exclusive(scope.community)?;
        let missing = self.missing(scope).await?;
        let concerned: Vec<UserId> = missing.iter().map(|(user, _)| *user).collect();
        let entries = self.entries(&concerned).await?;
        let fits = |(user, more): &(UserId, u64)| {
            entries.get(user).copied().unwrap_or_default() + more <= MAX_ENTRIES as u64
        };
        let (fitting, full): (Vec<_>, Vec<_>) = missing.into_iter().partition(fits);
        let users: Vec<UserId> = fitting.into_iter().map(|(user, _)| user).collect();
        let fences = self.outbox_users(&users, scope.community).await?;
        if !fences.is_empty() {
            self.activate(
                scope,
                &fences
                    .iter()
                    .map(|(u, f)| (u.get(), f.0))
                    .collect::<Vec<_>>(),
            )
            .await?;
        }
        Ok(AutoSubscribed {
            users,
            full: full.into_iter().map(|(user, _)| user).collect(),
        })
    }

    /// Who lacks how many subscriptions.
    async fn missing(&self, scope: &Scope) -> Result<Vec<(UserId, u64)>, StoreError> {
        let sql = "SELECT m.user_id, COUNT(*) AS n FROM memberships m
            JOIN communities c ON c.id = m.community_id AND c.kind <> 'public'
            JOIN community_articles ca ON ca.community_id = m.community_id AND ca.status = 'published'
            LEFT JOIN subscriptions s ON s.user_id = m.user_id AND s.community_article_id = ca.id
            WHERE m.community_id = $1 AND ((m.role = 'admin' AND $2) OR m.user_id = $3)
                AND (ca.id = $4 OR $4 IS NULL)
                AND (s.id IS NULL OR s.ended_by = 'system')
            GROUP BY m.user_id ORDER BY m.user_id";
        let values = values![
            scope.community.get(),
            scope.admins,
            scope.user.map(i64::from),
            scope.article,
        ];
        let rows = self.db.all(sql, values).await?;
        rows.iter()
            .map(|row| Ok((row.id("user_id")?, row.count("n")?)))
            .collect()
    }

    /// How many memberships and active subscriptions these users have.
    async fn entries(&self, users: &[UserId]) -> Result<HashMap<UserId, u64>, StoreError> {
        if users.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = "SELECT u.id, (SELECT COUNT(*) FROM memberships WHERE user_id = u.id)
                + (SELECT COUNT(*) FROM subscriptions WHERE user_id = u.id AND is_active) AS n
            FROM {ids:1} u";
        let rows = self.db.all(sql, values![id_list(users)]).await?;
        rows.iter()
            .map(|row| Ok((row.id("id")?, row.count("n")?)))
            .collect()
    }

    async fn activate(&self, scope: &Scope, fences: &[(i64, i64)]) -> Result<(), StoreError> {
        let sql = "INSERT INTO subscriptions (user_id, community_article_id, community_id, article_id,
                is_active, fence, subscribed_at)
            SELECT f.a, ca.id, ca.community_id, ca.article_id, TRUE, f.b, $3
            FROM {pairs:4} f JOIN community_articles ca
                ON ca.community_id = $1 AND ca.status = 'published' AND (ca.id = $2 OR $2 IS NULL)
            WHERE TRUE
            ON CONFLICT (user_id, community_article_id) DO UPDATE SET is_active = TRUE, ended_by = NULL,
                fence = excluded.fence, subscribed_at = excluded.subscribed_at
            WHERE subscriptions.ended_by = 'system'";
        let values = values![
            scope.community.get(),
            scope.article,
            now_ms(),
            pair_list(fences.iter().copied()),
        ];
        self.db.run(sql, values).await?;
        Ok(())
    }
}
