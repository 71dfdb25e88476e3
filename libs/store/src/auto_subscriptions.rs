//! Subscriptions that follow from something else: a published article, a promotion, a community no longer public.
//!
//! In the transaction of their cause, for members alone, in private and hidden communities alone, to published articles
//! alone, and never against a user's own unsubscribe. One statement each for who is concerned, for their outbox
//! rows, and for their subscriptions, however many there are.

use std::collections::HashMap;

use crier_domain::snapshot::MAX_ENTRIES;
use crier_domain::{ArticleId, CommunityId, UserId};
use serde_json::json;

use crate::error::StoreError;
use crate::model::CommunityArticle;
use crate::outbox::Fences;
use crate::sql::{Row, id_list, now_ms, pair_list, row_list, values};
use crate::tx::Tx;

/// Who was subscribed automatically.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AutoSubscribed {
    /// Those who now follow something more, by ascending id.
    pub users: Vec<UserId>,
    /// Those whose snapshot has no room for it, and who were passed over.
    pub full: Vec<UserId>,
}

/// Why somebody follows something without having asked.
#[derive(Debug)]
pub(crate) enum Cause {
    /// These articles were published: all admins, and the submitter if a member.
    Published(Vec<(CommunityId, ArticleId)>),
    /// These members were promoted to admins: every published article there.
    Promoted(Vec<(CommunityId, UserId)>),
    /// These communities are no longer public: their admins, every published article.
    Opened(Vec<CommunityId>),
}

impl Cause {
    /// Memberships `m`, taken from here, and published articles `ca` that belong together by this cause, the list being
    /// `$1`.
    fn concerned(&self, memberships: &str) -> String {
        let (what, who) = match self {
            Self::Published(_) => (
                "{pairs:1} x ON x.a = ca.community_id AND x.b = ca.article_id",
                "(m.role = 'admin' OR m.user_id = ca.submitter_id)",
            ),
            Self::Promoted(_) => (
                "{pairs:1} x ON x.a = m.community_id AND x.b = m.user_id",
                "TRUE",
            ),
            Self::Opened(_) => ("{ids:1} x ON x.id = m.community_id", "m.role = 'admin'"),
        };
        format!(
            "FROM {memberships} m
            JOIN communities c ON c.id = m.community_id AND c.kind <> 'public'
            JOIN community_articles ca ON ca.community_id = m.community_id AND ca.status = 'published'
                AND {who}
            JOIN {what}"
        )
    }

    /// The statement that asks who lacks how many subscriptions.
    pub(crate) fn lacking(&self) -> String {
        format!(
            "SELECT m.user_id, m.community_id, COUNT(*) AS n {}
            LEFT JOIN subscriptions s ON s.user_id = m.user_id AND s.community_article_id = ca.id
            WHERE s.id IS NULL OR s.ended_by = 'system'
            GROUP BY m.user_id, m.community_id ORDER BY m.user_id, m.community_id",
            self.concerned("memberships")
        )
    }

    /// The statement that gives the members in the list `$2`, each with their fence, what they lack.
    pub(crate) fn activate(&self) -> String {
        // All in the list are members: they were found lacking under the same lock. Each one's role is looked up. Joined to the table of memberships, which PostgreSQL thinks the shorter side of
        // the two, the list might be gone through for every member.
        let members = "(SELECT f.community_id, f.user_id, f.fence, (SELECT role FROM memberships r
                WHERE r.community_id = f.community_id AND r.user_id = f.user_id) AS role
            FROM {rows:2 community_id user_id fence} f)";
        format!(
            "INSERT INTO subscriptions (user_id, community_article_id, community_id, article_id,
                is_active, fence, subscribed_at)
            SELECT m.user_id, ca.id, ca.community_id, ca.article_id, TRUE, m.fence, $3 {}
            WHERE TRUE
            ON CONFLICT (user_id, community_article_id) DO UPDATE SET is_active = TRUE, ended_by = NULL,
                fence = excluded.fence, subscribed_at = excluded.subscribed_at
            WHERE subscriptions.ended_by = 'system'",
            self.concerned(members)
        )
    }

    /// What the statements' `$1` is.
    pub(crate) fn list(&self) -> String {
        match self {
            Self::Published(list) => pair_list(list.iter().map(|(c, a)| (c.get(), a.get()))),
            Self::Promoted(list) => pair_list(list.iter().map(|(c, u)| (c.get(), u.get()))),
            Self::Opened(list) => id_list(list),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Published(list) => list.is_empty(),
            Self::Promoted(list) => list.is_empty(),
            Self::Opened(list) => list.is_empty(),
        }
    }
}

/// A member who lacks subscriptions, and how many.
struct Lacking {
    community: CommunityId,
    user: UserId,
    count: u64,
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
        self.needs_exclusive(article.community_id)?;
        let cause = Cause::Published(vec![(article.community_id, article.article_id)]);
        self.auto_subscribe(&cause, &mut Fences::default()).await
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
        self.needs_exclusive(community)?;
        let cause = Cause::Promoted(vec![(community, user)]);
        self.auto_subscribe(&cause, &mut Fences::default()).await
    }

    /// Subscribes whom the cause concerns.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the communities' exclusive locks.
    pub(crate) async fn auto_subscribe(
        &self,
        cause: &Cause,
        fences: &mut Fences,
    ) -> Result<AutoSubscribed, StoreError> {
        if cause.is_empty() {
            return Ok(AutoSubscribed::default());
        }
        let lacking = self.lacking(cause).await?;
        let mut users: Vec<UserId> = lacking.iter().map(|lacking| lacking.user).collect();
        users.dedup();
        let mut entries = self.entries(&users).await?;
        let mut done = AutoSubscribed::default();
        let mut fitting = Vec::new();
        for Lacking {
            community,
            user,
            count,
        } in lacking
        {
            let entries = entries.entry(user).or_default();
            if *entries + count <= MAX_ENTRIES as u64 {
                *entries += count;
                fitting.push((community, user));
                done.users.push(user);
            } else {
                done.full.push(user);
            }
        }
        done.users.dedup();
        done.full.dedup();
        fences.add(self, fitting.iter().copied()).await?;
        self.activate(cause, &fitting, fences).await?;
        Ok(done)
    }

    /// Who lacks how many subscriptions, by ascending user.
    async fn lacking(&self, cause: &Cause) -> Result<Vec<Lacking>, StoreError> {
        let rows = self.db.all(&cause.lacking(), values![cause.list()]).await?;
        let read = |row: &Row| -> Result<_, StoreError> {
            Ok(Lacking {
                community: row.id("community_id")?,
                user: row.id("user_id")?,
                count: row.count("n")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// How many memberships and active subscriptions these users have.
    pub(crate) async fn entries(
        &self,
        users: &[UserId],
    ) -> Result<HashMap<UserId, u64>, StoreError> {
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

    async fn activate(
        &self,
        cause: &Cause,
        fitting: &[(CommunityId, UserId)],
        fences: &Fences,
    ) -> Result<(), StoreError> {
        if fitting.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::with_capacity(fitting.len());
        for (community, user) in fitting {
            let fence = fences.of(*community, *user)?;
            rows.push(json!([community, user, fence]));
        }
        let values = values![cause.list(), row_list(rows), now_ms()];
        self.db.run(&cause.activate(), values).await?;
        Ok(())
    }
}
