//! Discussions under community articles.

use crier_domain::{ArticleId, CommunityId, DiscussionId, UserId};

use crate::error::StoreError;
use crate::model::{CommunityArticle, Discussion, Edited, Listed, Page, Place};
use crate::sql::{Row, now_ms, values};
use crate::store::{Reader, Store};
use crate::tx::Tx;

/// A discussion `d` that user `$1` may read: members do, and everyone in a public community.
const READABLE: &str = "SELECT d.id, d.community_id, d.article_id, d.community_article_id, d.author_id,
        u.username, d.topic, d.content, d.created_at, d.updated_at,
        (SELECT COUNT(*) FROM comments x WHERE x.discussion_id = d.id AND x.deleted_at IS NULL)
            AS comment_count
    FROM discussions d JOIN users u ON u.id = d.author_id JOIN communities c ON c.id = d.community_id
    WHERE (c.kind = 'public' OR EXISTS (
        SELECT 1 FROM memberships m WHERE m.community_id = c.id AND m.user_id = $1))";

impl Reader {
    /// The discussion, if this user may read it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_discussion(
        &self,
        user: UserId,
        id: DiscussionId,
    ) -> Result<Option<Discussion>, StoreError> {
        let sql = format!("{READABLE} AND d.id = $2");
        let row = self.db.first(&sql, values![user.get(), id.get()]).await?;
        row.as_ref().map(read).transpose()
    }

    /// The community of a discussion, if this user may know of it: of a hidden one only as a member. To be asked for
    /// the lock to take, and for telling "no member" from "not there".
    ///
    /// # Errors
    /// When the database fails.
    pub async fn community_of_discussion(
        &self,
        user: UserId,
        id: DiscussionId,
    ) -> Result<Option<CommunityId>, StoreError> {
        let sql =
            "SELECT d.community_id FROM discussions d JOIN communities c ON c.id = d.community_id
            WHERE d.id = $2 AND (c.kind <> 'hidden' OR EXISTS (
                SELECT 1 FROM memberships m WHERE m.community_id = c.id AND m.user_id = $1))";
        let row = self.db.first(sql, values![user.get(), id.get()]).await?;
        row.map(|row| row.id("community_id")).transpose()
    }

    /// Those discussions of an article in a community that this user may read, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn discussions(
        &self,
        user: UserId,
        community: CommunityId,
        article: ArticleId,
        page: Page<DiscussionId>,
    ) -> Result<Vec<Discussion>, StoreError> {
        let sql = format!(
            "{READABLE} AND d.community_id = $2 AND d.article_id = $3 AND d.id < $4
            ORDER BY d.id DESC LIMIT $5"
        );
        let values = values![
            user.get(),
            community.get(),
            article.get(),
            page.after.map_or(i64::MAX, i64::from),
            i64::from(page.limit),
        ];
        let rows = self.db.all(&sql, values).await?;
        rows.iter().map(read).collect()
    }
}

impl Store {
    /// As [`Reader::discussions`], with the log's position from before: what the list lacks comes after it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_discussions(
        &self,
        user: UserId,
        community: CommunityId,
        article: ArticleId,
        page: Page<DiscussionId>,
    ) -> Result<Listed<Discussion>, StoreError> {
        let reader = self.read().await?;
        let position = reader.relay_position().await?;
        let items = reader.discussions(user, community, article, page).await?;
        Ok(Listed { items, position })
    }
}

impl Tx {
    /// Opens a discussion. That its author may do so has been asked under this lock.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the community's lock, shared at least.
    pub async fn create_discussion(
        &self,
        article: &CommunityArticle,
        author: UserId,
        topic: &str,
        content: &str,
    ) -> Result<Discussion, StoreError> {
        self.needs_shared(article.community_id)?;
        let sql = "INSERT INTO discussions (community_id, article_id, community_article_id, author_id, topic,
                content, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
            RETURNING id, community_id, article_id, community_article_id, author_id, topic, content,
                created_at, updated_at, (SELECT username FROM users WHERE id = $4) AS username,
                CAST(0 AS BIGINT) AS comment_count";
        let values = values![
            article.community_id.get(),
            article.article_id.get(),
            article.id.get(),
            author.get(),
            topic,
            content,
            now_ms(),
        ];
        read(&self.db.only(sql, values).await?)
    }

    /// Where the discussion is, if there is one. It stays there until the commit: whoever would delete it waits.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hold_discussion(&self, id: DiscussionId) -> Result<Option<Place>, StoreError> {
        let sql =
            "SELECT d.community_id, d.article_id FROM discussions d WHERE d.id = $1 {key_share:d}";
        let Some(row) = self.db.first(sql, values![id.get()]).await? else {
            return Ok(None);
        };
        Ok(Some(Place {
            community_id: row.id("community_id")?,
            article_id: row.id("article_id")?,
        }))
    }

    /// Changes the topic, the content or both. That the user may do so has been asked under this lock. `None`: there
    /// is no such discussion that they may read.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the community's lock, shared at least.
    pub async fn update_discussion(
        &self,
        user: UserId,
        community: CommunityId,
        id: DiscussionId,
        topic: Option<&str>,
        content: Option<&str>,
    ) -> Result<Option<Edited<Discussion>>, StoreError> {
        self.needs_shared(community)?;
        let sql =
            "UPDATE discussions SET topic = COALESCE($3, topic), content = COALESCE($4, content),
                updated_at = $5
            WHERE id = $1 AND community_id = $2
                AND (topic <> COALESCE($3, topic) OR content <> COALESCE($4, content))";
        let values = values![id.get(), community.get(), topic, content, now_ms()];
        let changed = self.db.run(sql, values).await? > 0;
        let found = self.find_discussion(user, id).await?;
        Ok(found.map(|discussion| Edited::new(changed, discussion)))
    }

    /// Deletes a discussion with all its comments. `false`: there is none.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the community's lock, shared at least.
    pub async fn delete_discussion(
        &self,
        community: CommunityId,
        id: DiscussionId,
    ) -> Result<bool, StoreError> {
        self.needs_shared(community)?;
        let sql = "DELETE FROM discussions WHERE id = $1 AND community_id = $2";
        Ok(self.db.run(sql, values![id.get(), community.get()]).await? > 0)
    }
}

fn read(row: &Row) -> Result<Discussion, StoreError> {
    Ok(Discussion {
        id: row.id("id")?,
        community_id: row.id("community_id")?,
        article_id: row.id("article_id")?,
        community_article_id: row.id("community_article_id")?,
        author_id: row.id("author_id")?,
        author_username: row.text("username")?,
        topic: row.text("topic")?,
        content: row.text("content")?,
        comment_count: row.count("comment_count")?,
        created_at: row.moment("created_at")?,
        updated_at: row.moment("updated_at")?,
    })
}
