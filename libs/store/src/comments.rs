//! Comments in discussions, three levels deep.

use crier_domain::{CommentId, CommunityId, DiscussionId, UserId};

use crate::error::StoreError;
use crate::model::{Comment, Edited, Listed, Page, Place};
use crate::sql::{Row, now_ms, values};
use crate::store::{Reader, Store};
use crate::tx::Tx;

/// The deepest level of a comment; the first is 1.
pub const MAX_DEPTH: u8 = 3;

/// What became of a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewComment {
    /// It was written.
    Written(Comment),
    /// What it answers is not in this discussion; nothing changed.
    NoSuchParent,
    /// What it answers was deleted; nothing changed.
    ParentDeleted,
    /// What it answers is on the deepest level; nothing changed.
    TooDeep,
}

/// A comment `x` that user `$1` may read: members do, and everyone in a public community.
const READABLE: &str =
    "SELECT x.id, x.discussion_id, x.parent_id, x.depth, x.author_id, u.username, x.content,
        x.deleted_at, x.created_at, x.updated_at
    FROM comments x JOIN users u ON u.id = x.author_id
    JOIN discussions d ON d.id = x.discussion_id JOIN communities c ON c.id = d.community_id
    WHERE (c.kind = 'public' OR EXISTS (
        SELECT 1 FROM memberships m WHERE m.community_id = c.id AND m.user_id = $1))";

/// The comment is one of community `$2`.
const IN_COMMUNITY: &str = "discussion_id IN (SELECT id FROM discussions WHERE community_id = $2)";

impl Reader {
    /// The comment, if this user may read it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_comment(
        &self,
        user: UserId,
        id: CommentId,
    ) -> Result<Option<Comment>, StoreError> {
        let sql = format!("{READABLE} AND x.id = $2");
        let row = self.db.first(&sql, values![user.get(), id.get()]).await?;
        row.as_ref().map(read).transpose()
    }

    /// Where a comment is, if this user may know of it: in a hidden community only as a member. To be asked for the
    /// lock to take, and for telling "no member" from "not there".
    ///
    /// # Errors
    /// When the database fails.
    pub async fn place_of_comment(
        &self,
        user: UserId,
        id: CommentId,
    ) -> Result<Option<Place>, StoreError> {
        let sql = "SELECT d.community_id, d.article_id FROM comments x
            JOIN discussions d ON d.id = x.discussion_id JOIN communities c ON c.id = d.community_id
            WHERE x.id = $2 AND (c.kind <> 'hidden' OR EXISTS (
                SELECT 1 FROM memberships m WHERE m.community_id = c.id AND m.user_id = $1))";
        let Some(row) = self.db.first(sql, values![user.get(), id.get()]).await? else {
            return Ok(None);
        };
        Ok(Some(Place {
            community_id: row.id("community_id")?,
            article_id: row.id("article_id")?,
        }))
    }

    /// Those comments of a discussion that this user may read, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn comments(
        &self,
        user: UserId,
        discussion: DiscussionId,
        page: Page<CommentId>,
    ) -> Result<Vec<Comment>, StoreError> {
        let sql =
            format!("{READABLE} AND x.discussion_id = $2 AND x.id > $3 ORDER BY x.id LIMIT $4");
        let after = page.after.map_or(0, i64::from);
        let values = values![user.get(), discussion.get(), after, i64::from(page.limit)];
        let rows = self.db.all(&sql, values).await?;
        rows.iter().map(read).collect()
    }
}

impl Store {
    /// As [`Reader::comments`], with the log's position from before: what the list lacks comes after it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_comments(
        &self,
        user: UserId,
        discussion: DiscussionId,
        page: Page<CommentId>,
    ) -> Result<Listed<Comment>, StoreError> {
        let reader = self.read().await?;
        let position = reader.relay_position().await?;
        let items = reader.comments(user, discussion, page).await?;
        Ok(Listed { items, position })
    }
}

impl Tx {
    /// Writes a comment, in answer to `parent` or at the first level. That its author may do so has been asked
    /// under this lock; whoever would delete what is answered waits for the commit.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the community's lock, shared at least; [`StoreError::Missing`] for a
    /// discussion that was deleted, which can't be while it is held.
    pub async fn create_comment(
        &self,
        community: CommunityId,
        discussion: DiscussionId,
        author: UserId,
        parent: Option<CommentId>,
        content: &str,
    ) -> Result<NewComment, StoreError> {
        self.needs_shared(community)?;
        let depth = match parent {
            None => 1,
            Some(parent) => {
                let sql =
                    "SELECT depth, deleted_at FROM comments WHERE id = $1 AND discussion_id = $2
                    {key_share:comments}";
                let values = values![parent.get(), discussion.get()];
                match self.db.first(sql, values).await? {
                    None => return Ok(NewComment::NoSuchParent),
                    Some(row) if is_deleted(&row)? => return Ok(NewComment::ParentDeleted),
                    Some(row) => row.number("depth")? + 1,
                }
            }
        };
        if depth > i64::from(MAX_DEPTH) {
            return Ok(NewComment::TooDeep);
        }
        let sql = "INSERT INTO comments (discussion_id, parent_id, depth, author_id, content, created_at,
                updated_at)
            VALUES ($1, $2, $3, $4, $5, $6, $6)
            RETURNING id, discussion_id, parent_id, depth, author_id, content, deleted_at, created_at,
                updated_at, (SELECT username FROM users WHERE id = $4) AS username";
        let values = values![
            discussion.get(),
            parent.map(i64::from),
            depth,
            author.get(),
            content,
            now_ms(),
        ];
        let row = self.db.only(sql, values).await?;
        Ok(NewComment::Written(read(&row)?))
    }

    /// Changes what a comment says. That the user may do so has been asked under this lock. `None`: there is no such
    /// comment that they may read, or it was deleted.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the community's lock, shared at least.
    pub async fn update_comment(
        &self,
        user: UserId,
        community: CommunityId,
        id: CommentId,
        content: &str,
    ) -> Result<Option<Edited<Comment>>, StoreError> {
        self.needs_shared(community)?;
        let sql = format!(
            "UPDATE comments SET content = $3, updated_at = $4
            WHERE id = $1 AND deleted_at IS NULL AND content <> $3 AND {IN_COMMUNITY}"
        );
        let values = values![id.get(), community.get(), content, now_ms()];
        let changed = self.db.run(&sql, values).await? > 0;
        let found = self.find_comment(user, id).await?;
        let found = found.filter(|comment| !comment.is_deleted);
        Ok(found.map(|comment| Edited::new(changed, comment)))
    }

    /// Deletes a comment. One that was answered keeps its place, without its text. `false`: there is none, or it was
    /// deleted before.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the community's lock, shared at least.
    pub async fn delete_comment(
        &self,
        community: CommunityId,
        id: CommentId,
    ) -> Result<bool, StoreError> {
        self.needs_shared(community)?;
        // Its row is locked first, by a statement of its own: only the next one sees the answers that were on their
        // way, and there are no more of them.
        let sql = format!(
            "SELECT id FROM comments WHERE id = $1 AND deleted_at IS NULL AND {IN_COMMUNITY}
            {{for_update:comments}}"
        );
        let found = self.db.first(&sql, values![id.get(), community.get()]);
        if found.await?.is_none() {
            return Ok(false);
        }
        let sql = "UPDATE comments SET content = '', deleted_at = $2, updated_at = $2
            WHERE id = $1 AND EXISTS (SELECT 1 FROM comments x WHERE x.parent_id = $1)";
        if self.db.run(sql, values![id.get(), now_ms()]).await? == 0 {
            let sql = "DELETE FROM comments WHERE id = $1";
            self.db.run(sql, values![id.get()]).await?;
        }
        Ok(true)
    }
}

fn is_deleted(row: &Row) -> Result<bool, StoreError> {
    Ok(row.get::<Option<i64>>("deleted_at")?.is_some())
}

fn read(row: &Row) -> Result<Comment, StoreError> {
    Ok(Comment {
        id: row.id("id")?,
        discussion_id: row.id("discussion_id")?,
        parent_id: row.maybe_id("parent_id")?,
        depth: u8::try_from(row.number("depth")?).map_err(|_| StoreError::unreadable("depth"))?,
        author_id: row.id("author_id")?,
        author_username: row.text("username")?,
        content: row.text("content")?,
        is_deleted: is_deleted(row)?,
        created_at: row.moment("created_at")?,
        updated_at: row.moment("updated_at")?,
    })
}
