//! Comments in a discussion.

use crier_domain::{CommentId, DiscussionId, EventType, UserId};
use crier_store::{Comment, Edited, Locks, NewComment, Page, Place, Tx};
use schemars::JsonSchema;
use serde::Serialize;

use super::access::Access;
use super::error::{AppError, Rule, Thing};
use super::event::{Origin, tell};
use super::list::last_event_id;
use super::once::{Answer, Key};
use super::text::Content;
use super::view::{self, CommentView, Moment};
use super::{App, access};

/// A page of comments, oldest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CommentsView {
    comments: Vec<CommentView>,
    last_event_id: Option<String>,
}

/// `{"comment": {…}}`
#[derive(Debug, Serialize)]
struct EventData<T> {
    comment: T,
}

/// What is said of a comment that was deleted.
#[derive(Debug, Serialize)]
struct Deleted {
    id: CommentId,
    discussion_id: DiscussionId,
    parent_id: Option<CommentId>,
}

/// Writes a comment, and tells the article's subscribers unless the community is public.
pub(crate) async fn create(
    app: &App,
    author: UserId,
    discussion: DiscussionId,
    parent: Option<CommentId>,
    content: &Content,
    key: Option<&Key>,
) -> Result<Answer<CommentView>, AppError> {
    let nothing = || AppError::NoSuch(Thing::Discussion);
    // Where a discussion is never changes, so that it may be asked before the lock of its community is held.
    let community = app
        .store
        .community_of_discussion(author, discussion)
        .await?;
    let community = community.ok_or_else(nothing)?;
    let (tx, access) = access::begin(
        app,
        Locks::new().shared(community),
        author,
        community,
        Access::writes,
    )
    .await?;
    app.once(tx, author, key, async |tx| {
        let place = tx.hold_discussion(discussion).await?.ok_or_else(nothing)?;
        let written = tx
            .create_comment(community, discussion, author, parent, content.as_str())
            .await?;
        let stored = match written {
            NewComment::Written(comment) => comment,
            NewComment::NoSuchParent => return Err(AppError::Rule(Rule::ParentElsewhere)),
            NewComment::ParentDeleted => return Err(AppError::Rule(Rule::ParentDeleted)),
            NewComment::TooDeep => return Err(AppError::Rule(Rule::TooDeep)),
        };
        let origin = Origin::new(place, author, Moment(stored.created_at));
        let comment = CommentView::from(stored);
        let data = EventData { comment: &comment };
        tell(tx, access, EventType::NEW_COMMENT, &origin, &data).await?;
        Ok(comment)
    })
    .await
}

/// Its author changes what a comment says. The article's subscribers are told, unless it said so before.
pub(crate) async fn update(
    app: &App,
    user: UserId,
    id: CommentId,
    content: &Content,
) -> Result<CommentView, AppError> {
    let Written {
        tx,
        access,
        place,
        comment,
    } = find(app, user, id).await?;
    access.edits(comment.author_id == user)?;
    let edited = tx.update_comment(user, place.community_id, id, content.as_str());
    let stored = match edited.await?.ok_or(AppError::NoSuch(Thing::Comment))? {
        Edited::Changed(comment) => comment,
        Edited::Unchanged(comment) => return Ok(comment.into()),
    };
    let origin = Origin::new(place, user, Moment(stored.updated_at));
    let comment = CommentView::from(stored);
    let data = EventData { comment: &comment };
    tell(&tx, access, EventType::UPDATED_COMMENT, &origin, &data).await?;
    app.commit(tx).await?;
    Ok(comment)
}

/// Deletes a comment, and tells the article's subscribers. One that was answered keeps its place, without its text.
pub(crate) async fn delete(app: &App, user: UserId, id: CommentId) -> Result<(), AppError> {
    let Written {
        tx,
        access,
        place,
        comment,
    } = find(app, user, id).await?;
    access.deletes(comment.author_id == user)?;
    if !tx.delete_comment(place.community_id, id).await? {
        return Err(AppError::NoSuch(Thing::Comment));
    }
    let deleted = Deleted {
        id,
        discussion_id: comment.discussion_id,
        parent_id: comment.parent_id,
    };
    let origin = Origin::new(place, user, Moment::now());
    let data = EventData { comment: deleted };
    tell(&tx, access, EventType::DELETED_COMMENT, &origin, &data).await?;
    app.commit(tx).await
}

/// A comment that was written, and a transaction to change it in.
struct Written {
    tx: Tx,
    access: Access,
    place: Place,
    comment: Comment,
}

/// The comment, for a member of its community. What was deleted is not there.
async fn find(app: &App, user: UserId, id: CommentId) -> Result<Written, AppError> {
    let nothing = || AppError::NoSuch(Thing::Comment);
    let place = app.store.place_of_comment(user, id).await?;
    let place = place.ok_or_else(nothing)?;
    let (tx, access) = access::begin(
        app,
        Locks::new().shared(place.community_id),
        user,
        place.community_id,
        Access::writes,
    )
    .await?;
    let comment = tx.find_comment(user, id).await?;
    let comment = comment.filter(|comment| !comment.is_deleted);
    Ok(Written {
        comment: comment.ok_or_else(nothing)?,
        tx,
        access,
        place,
    })
}

/// The comments of a discussion, with the position from which a stream continues the list.
pub(crate) async fn list(
    app: &App,
    user: UserId,
    discussion: DiscussionId,
    page: Page<CommentId>,
) -> Result<CommentsView, AppError> {
    let community = app.store.community_of_discussion(user, discussion).await?;
    let community = community.ok_or(AppError::NoSuch(Thing::Discussion))?;
    access::to(&app.store, user, community).await?.reads()?;
    let listed = app.store.list_comments(user, discussion, page).await?;
    Ok(CommentsView {
        comments: view::all(listed.items),
        last_event_id: last_event_id(listed.position, &app.keys),
    })
}
