//! Comments in a discussion.

use crier_domain::{CommentId, DiscussionId, EventType, UserId};
use crier_store::{Locks, NewComment, Page};
use schemars::JsonSchema;
use serde::Serialize;

use super::access::Access;
use super::error::{AppError, Rule, Thing};
use super::event::{Origin, for_subscribers};
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
struct EventData<'a> {
    comment: &'a CommentView,
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
        let discussion = tx.find_discussion(author, discussion).await?;
        let discussion = discussion.ok_or_else(nothing)?;
        let written = tx
            .create_comment(&discussion, author, parent, content.as_str())
            .await?;
        let stored = match written {
            NewComment::Written(comment) => comment,
            NewComment::NoSuchParent => return Err(AppError::Rule(Rule::ParentElsewhere)),
            NewComment::TooDeep => return Err(AppError::Rule(Rule::TooDeep)),
        };
        let origin = Origin {
            community,
            article: discussion.article_id,
            author,
            at: Moment(stored.created_at),
        };
        let comment = CommentView::from(stored);
        if access.has_events() {
            let data = EventData { comment: &comment };
            let event = for_subscribers(EventType::NEW_COMMENT, &origin, &data)?;
            tx.outbox_event(&event).await?;
        }
        Ok(comment)
    })
    .await
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
