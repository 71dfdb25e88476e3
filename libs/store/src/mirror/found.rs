//! What the application's own backend may know, which is everything: it is asked no permissions. Whoever calls these
//! has a caller of that kind.

use crier_domain::{ArticleId, CommunityId};

use crate::articles::{self, ArticleRef};
use crate::communities::read_view;
use crate::community_articles;
use crate::error::StoreError;
use crate::model::{Article, CommunityArticle, CommunityView};
use crate::sql::values;
use crate::store::Reader;

impl Reader {
    /// The community.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn any_community(
        &self,
        id: CommunityId,
    ) -> Result<Option<CommunityView>, StoreError> {
        let sql = "SELECT c.id, c.name, c.kind, NULL AS role,
                (SELECT COUNT(*) FROM memberships x WHERE x.community_id = c.id) AS member_count
            FROM communities c WHERE c.id = $1";
        let row = self.db.first(sql, values![id.get()]).await?;
        row.as_ref().map(read_view).transpose()
    }

    /// The article.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn any_article(&self, article: &ArticleRef) -> Result<Option<Article>, StoreError> {
        let (column, value) = articles::named(article);
        let sql = format!(
            "SELECT id, title, slug, abstract, submitter_id FROM articles WHERE {column} = $1"
        );
        let row = self.db.first(&sql, vec![value]).await?;
        row.as_ref().map(articles::read).transpose()
    }

    /// The community article of this article in this community.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn any_community_article(
        &self,
        community: CommunityId,
        article: ArticleId,
    ) -> Result<Option<CommunityArticle>, StoreError> {
        community_articles::in_place(self, community, article).await
    }
}
