//! Articles as submitted to communities, and how far they have come.

use std::collections::BTreeSet;

use crier_domain::{ArticleId, CommunityArticleId, CommunityId, SubscriptionId, UserId};

use crate::error::StoreError;
use crate::model::{CommunityArticle, CommunityArticleView, Listed, Page};
use crate::sql::{Row, now_ms, pair_list, values};
use crate::store::{Reader, Store};
use crate::tx::Tx;
use crate::words::Status;

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// It is submitted now.
    New(CommunityArticle),
    /// It was before; nothing changed.
    Already(CommunityArticle),
}

/// A community article before and after its status was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusChange {
    /// The status that it had.
    pub before: Status,
    /// The community article with its new status.
    pub article: CommunityArticle,
}

/// A community article `ca` with its article `a`.
const SELECT: &str =
    "SELECT ca.id, ca.community_id, ca.article_id, a.slug, a.title, ca.status, ca.submitter_id
    FROM community_articles ca JOIN articles a ON a.id = ca.article_id";

/// Whether user `$1` may see `ca`: once it is published everyone who sees into the community, before that its
/// submitters and those who judge it.
const VISIBLE: &str = "((c.kind = 'public' OR m.user_id IS NOT NULL) AND (ca.status = 'published'
    OR ca.submitter_id = $1 OR a.submitter_id = $1 OR m.role IN ('reviewer', 'moderator', 'admin')))";

/// The community `c`, and user `$1`'s membership `m` in it.
const VIEWER: &str = "JOIN communities c ON c.id = ca.community_id
    LEFT JOIN memberships m ON m.community_id = ca.community_id AND m.user_id = $1";

impl Reader {
    /// The community article of this article in this community, if this user may see it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_community_article(
        &self,
        user: UserId,
        community: CommunityId,
        article: ArticleId,
    ) -> Result<Option<CommunityArticle>, StoreError> {
        let sql = format!(
            "{SELECT} {VIEWER} WHERE ca.community_id = $2 AND ca.article_id = $3 AND {VISIBLE}"
        );
        let values = values![user.get(), community.get(), article.get()];
        let row = self.db.first(&sql, values).await?;
        row.as_ref().map(read).transpose()
    }

    /// The community article with this id, if this user may see it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_community_article_by_id(
        &self,
        user: UserId,
        id: CommunityArticleId,
    ) -> Result<Option<CommunityArticle>, StoreError> {
        let sql = format!("{SELECT} {VIEWER} WHERE ca.id = $2 AND {VISIBLE}");
        let row = self.db.first(&sql, values![user.get(), id.get()]).await?;
        row.as_ref().map(read).transpose()
    }

    /// What this user may see in the community, each with the user's own subscription, by ascending id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn community_articles(
        &self,
        user: UserId,
        community: CommunityId,
        page: Page<CommunityArticleId>,
    ) -> Result<Vec<CommunityArticleView>, StoreError> {
        let sql = format!(
            "SELECT ca.id, ca.community_id, ca.article_id, a.slug, a.title, ca.status, ca.submitter_id,
                s.id AS subscription_id
            FROM community_articles ca JOIN articles a ON a.id = ca.article_id {VIEWER}
            LEFT JOIN subscriptions s
                ON s.user_id = $1 AND s.community_article_id = ca.id AND s.is_active
            WHERE ca.community_id = $2 AND ca.id > $3 AND {VISIBLE} ORDER BY ca.id LIMIT $4"
        );
        let after = page.after.map_or(0, i64::from);
        let values = values![user.get(), community.get(), after, i64::from(page.limit)];
        let rows = self.db.all(&sql, values).await?;
        let view = |row: &Row| -> Result<_, StoreError> {
            Ok(CommunityArticleView {
                article: read(row)?,
                subscription_id: row.maybe_id::<SubscriptionId>("subscription_id")?,
            })
        };
        rows.iter().map(view).collect()
    }

    /// Which of these articles were submitted to these communities: pairs that were not are left out. For the
    /// application's own backend, which may know of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn submitted(
        &self,
        pairs: &BTreeSet<(CommunityId, ArticleId)>,
    ) -> Result<BTreeSet<(CommunityId, ArticleId)>, StoreError> {
        let sql = "SELECT ca.community_id, ca.article_id FROM community_articles ca
            JOIN {pairs:1} p ON p.a = ca.community_id AND p.b = ca.article_id";
        let list = pair_list(pairs.iter().map(|(c, a)| (c.get(), a.get())));
        let rows = self.db.all(sql, values![list]).await?;
        rows.iter()
            .map(|row| Ok((row.id("community_id")?, row.id("article_id")?)))
            .collect()
    }
}

impl Store {
    /// As [`Reader::community_articles`], with the log's position from before: what the list lacks comes after it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_community_articles(
        &self,
        user: UserId,
        community: CommunityId,
        page: Page<CommunityArticleId>,
    ) -> Result<Listed<CommunityArticleView>, StoreError> {
        let reader = self.read().await?;
        let position = reader.relay_position().await?;
        let items = reader.community_articles(user, community, page).await?;
        Ok(Listed { items, position })
    }
}

impl Tx {
    /// Submits an article to a community, unless it has been.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the community's exclusive lock, [`StoreError::Missing`] for an unknown
    /// community, article or submitter.
    pub async fn submit_article(
        &self,
        community: CommunityId,
        article: ArticleId,
        submitter: UserId,
    ) -> Result<Submitted, StoreError> {
        self.needs_exclusive(community)?;
        let sql = "INSERT INTO community_articles (community_id, article_id, status, submitter_id, created_at)
            VALUES ($1, $2, 'submitted', $3, $4) ON CONFLICT (community_id, article_id) DO NOTHING";
        let values = values![community.get(), article.get(), submitter.get(), now_ms()];
        let inserted = self.db.run(sql, values).await? > 0;
        let row = in_place(self, community, article).await?;
        let row = row.ok_or(StoreError::NoRow)?;
        Ok(if inserted {
            Submitted::New(row)
        } else {
            Submitted::Already(row)
        })
    }

    /// Sets how far an article has come. `None`: it was not submitted there.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the community's exclusive lock.
    pub async fn set_status(
        &self,
        community: CommunityId,
        article: ArticleId,
        status: Status,
    ) -> Result<Option<StatusChange>, StoreError> {
        self.needs_exclusive(community)?;
        let Some(mut article) = in_place(self, community, article).await? else {
            return Ok(None);
        };
        let before = std::mem::replace(&mut article.status, status);
        let sql = "UPDATE community_articles SET status = $2 WHERE id = $1";
        let values = values![article.id.get(), status.as_str()];
        self.db.run(sql, values).await?;
        Ok(Some(StatusChange { before, article }))
    }
}

/// The community article of this article in this community, whoever may see it.
pub(crate) async fn in_place(
    reader: &Reader,
    community: CommunityId,
    article: ArticleId,
) -> Result<Option<CommunityArticle>, StoreError> {
    let sql = format!("{SELECT} WHERE ca.community_id = $1 AND ca.article_id = $2");
    let values = values![community.get(), article.get()];
    let row = reader.db.first(&sql, values).await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<CommunityArticle, StoreError> {
    Ok(CommunityArticle {
        id: row.id("id")?,
        community_id: row.id("community_id")?,
        article_id: row.id("article_id")?,
        article_slug: row.text("slug")?,
        article_title: row.text("title")?,
        status: row.word("status")?,
        submitter_id: row.id("submitter_id")?,
    })
}
