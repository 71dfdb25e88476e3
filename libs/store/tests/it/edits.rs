//! Texts that are changed and deleted: one at a time, and all at once.

use crier_domain::{CommentId, CommunityId, DiscussionId};
use crier_store::{
    Comment, CommunityKind, Discussion, Edited, Locks, NewComment, Page, Store, StoreError, Tx,
};
use crier_testkit::wait_for;

use crate::harness::{Kind, Raw, TestDb, id, on_both};
use crate::talk::{answer, open, world, written};

/// How often what happens at once happens.
const ROUNDS: usize = 25;

async fn shared(store: &Store, community: CommunityId) -> Tx {
    store
        .begin(Locks::new().shared(community), None)
        .await
        .unwrap()
}

async fn delete_comment(store: Store, community: CommunityId, comment: CommentId) -> bool {
    let tx = shared(&store, community).await;
    let deleted = tx.delete_comment(community, comment).await.unwrap();
    tx.commit().await.unwrap();
    deleted
}

async fn delete_discussion(store: Store, community: CommunityId, discussion: DiscussionId) -> bool {
    let tx = shared(&store, community).await;
    let deleted = tx.delete_discussion(community, discussion).await.unwrap();
    tx.commit().await.unwrap();
    deleted
}

async fn change(store: Store, community: CommunityId, comment: CommentId, text: &str) -> bool {
    let tx = shared(&store, community).await;
    let edited = tx.update_comment(id(2), community, comment, text).await;
    let edited = edited.unwrap();
    tx.commit().await.unwrap();
    edited.is_some()
}

/// As a call does it: `None` if the discussion was gone.
async fn reply(
    store: Store,
    discussion: Discussion,
    parent: Option<CommentId>,
) -> Option<NewComment> {
    let tx = shared(&store, discussion.community_id).await;
    let place = tx.hold_discussion(discussion.id).await.unwrap()?;
    assert_eq!(place, discussion.place());
    let made = tx
        .create_comment(
            place.community_id,
            discussion.id,
            id(2),
            parent,
            "an answer",
        )
        .await
        .unwrap();
    tx.commit().await.unwrap();
    Some(made)
}

async fn comments(store: &Store, discussion: &Discussion) -> Vec<Comment> {
    let page = Page::first(100);
    store.comments(id(2), discussion.id, page).await.unwrap()
}

/// Waits until so many transactions wait for a lock. On SQLite they wait before they begin, where nobody sees them.
async fn blocked(db: &TestDb, raw: &Raw, transactions: i64) {
    if db.kind == Kind::Sqlite {
        return;
    }
    let sql = "SELECT COUNT(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    wait_for("those who wait", async || {
        (raw.number(sql).await == transactions).then_some(())
    })
    .await;
}

on_both! {
    async fn a_discussion_is_changed_field_by_field(db: &TestDb) {
        let store = db.store().await;
        let article = world(&store, CommunityKind::Private).await;
        let community = article.community_id;
        let made = open(&store, &article, id(1), "topic").await;
        let tx = shared(&store, community).await;
        for (topic, content, expected) in [
            (Some("another"), None, ("another", "content")),
            (None, Some("more"), ("another", "more")),
            (Some("both"), Some("of them"), ("both", "of them")),
        ] {
            match tx.update_discussion(id(2), community, made.id, topic, content).await.unwrap() {
                Some(Edited::Changed(now)) => {
                    assert_eq!((now.topic.as_str(), now.content.as_str()), expected);
                    assert!(now.updated_at >= made.updated_at);
                    assert_eq!((now.created_at, now.author_username.as_str()), (made.created_at, "user 1"));
                }
                other => panic!("{other:?}"),
            }
            let again = tx.update_discussion(id(2), community, made.id, topic, content).await.unwrap();
            assert!(matches!(again, Some(Edited::Unchanged(_))), "{again:?}");
        }
        let nothing = tx.update_discussion(id(2), community, id(404), Some("t"), None).await.unwrap();
        assert_eq!(nothing, None);
        tx.commit().await.unwrap();
    }

    async fn a_comment_is_changed(db: &TestDb) {
        let store = db.store().await;
        let article = world(&store, CommunityKind::Private).await;
        let community = article.community_id;
        let discussion = open(&store, &article, id(1), "topic").await;
        let made = written(answer(&store, &discussion, None).await);
        let tx = shared(&store, community).await;
        let same = tx.update_comment(id(2), community, made.id, &made.content).await.unwrap();
        assert_eq!(same, Some(Edited::Unchanged(made.clone())));
        match tx.update_comment(id(2), community, made.id, "other\u{202e}").await.unwrap() {
            Some(Edited::Changed(now)) => {
                assert_eq!(now, Comment { content: "other\u{202e}".into(), updated_at: now.updated_at, ..made });
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(tx.update_comment(id(2), community, id(404), "x").await.unwrap(), None);
        tx.commit().await.unwrap();
        let place = store.place_of_comment(id(2), made.id).await.unwrap();
        assert_eq!(place, Some(discussion.place()));
        assert_eq!(store.place_of_comment(id(2), id(404)).await.unwrap(), None);
    }

    async fn what_was_answered_keeps_its_place(db: &TestDb) {
        let store = db.store().await;
        let article = world(&store, CommunityKind::Private).await;
        let community = article.community_id;
        let discussion = open(&store, &article, id(1), "topic").await;
        let first = written(answer(&store, &discussion, None).await);
        let second = written(answer(&store, &discussion, Some(&first)).await);
        let third = written(answer(&store, &discussion, Some(&second)).await);
        let count = async || {
            let found = store.find_discussion(id(2), discussion.id).await.unwrap().unwrap();
            found.comment_count
        };

        assert!(delete_comment(store.clone(), community, third.id).await);
        assert!(store.find_comment(id(2), third.id).await.unwrap().is_none(), "nobody answered it");
        assert_eq!(count().await, 2);
        assert!(delete_comment(store.clone(), community, first.id).await);
        let place = store.find_comment(id(2), first.id).await.unwrap().unwrap();
        assert!(place.is_deleted);
        assert_eq!((place.content.as_str(), place.author_id, place.depth), ("", id(2), 1));
        assert_eq!(count().await, 1);
        assert_eq!(comments(&store, &discussion).await, [place.clone(), second.clone()]);

        assert!(!delete_comment(store.clone(), community, first.id).await, "again");
        assert!(!change(store.clone(), community, first.id, "back").await);
        assert_eq!(answer(&store, &discussion, Some(&first)).await, NewComment::ParentDeleted);
        let beside = written(answer(&store, &discussion, Some(&second)).await);
        assert_eq!(beside.depth, 3, "below a deleted one there may still be answers");
        assert_eq!(store.find_comment(id(2), first.id).await.unwrap(), Some(place));
    }

    async fn a_discussion_takes_its_comments_with_it(db: &TestDb) {
        let store = db.store().await;
        let article = world(&store, CommunityKind::Private).await;
        let discussion = open(&store, &article, id(1), "one").await;
        let other = open(&store, &article, id(1), "two").await;
        let first = written(answer(&store, &discussion, None).await);
        let second = written(answer(&store, &discussion, Some(&first)).await);
        written(answer(&store, &discussion, Some(&second)).await);
        delete_comment(store.clone(), article.community_id, first.id).await;
        let kept = written(answer(&store, &other, None).await);
        assert!(!delete_discussion(store.clone(), id(404), discussion.id).await, "elsewhere");
        assert!(delete_discussion(store.clone(), article.community_id, discussion.id).await);
        assert!(!delete_discussion(store.clone(), article.community_id, discussion.id).await);
        assert!(store.find_discussion(id(1), discussion.id).await.unwrap().is_none());
        assert_eq!(store.community_of_discussion(id(1), discussion.id).await.unwrap(), None);
        let left = db.raw().await.numbers("SELECT id FROM comments").await;
        assert_eq!(left, [kept.id.get()]);
    }

    async fn another_communitys_texts_are_out_of_reach(db: &TestDb) {
        let store = db.store().await;
        let article = world(&store, CommunityKind::Private).await;
        let discussion = open(&store, &article, id(1), "topic").await;
        let comment = written(answer(&store, &discussion, None).await);
        let other: CommunityId = id(404);
        assert!(!delete_comment(store.clone(), other, comment.id).await);
        let tx = shared(&store, other).await;
        let edited = tx.update_comment(id(2), other, comment.id, "x").await.unwrap();
        assert_eq!(edited, Some(Edited::Unchanged(comment.clone())));
        let refused = |error: StoreError| assert!(matches!(error, StoreError::NotLocked { .. }), "{error:?}");
        let community = article.community_id;
        refused(tx.update_comment(id(2), community, comment.id, "x").await.unwrap_err());
        refused(tx.delete_comment(community, comment.id).await.unwrap_err());
        refused(tx.update_discussion(id(2), community, discussion.id, Some("x"), None).await.unwrap_err());
        refused(tx.delete_discussion(community, discussion.id).await.unwrap_err());
        drop(tx);
        assert_eq!(comments(&store, &discussion).await, [comment]);
    }

    async fn who_deletes_waits_for_an_answer_on_its_way(db: &TestDb) {
        let store = db.store().await;
        let article = world(&store, CommunityKind::Private).await;
        let discussion = open(&store, &article, id(1), "topic").await;
        let first = written(answer(&store, &discussion, None).await);
        let raw = db.raw().await;
        let tx = shared(&store, article.community_id).await;
        let late = tx.create_comment(article.community_id, discussion.id, id(2), Some(first.id), "late");
        written(late.await.unwrap());
        let deleting = tokio::spawn(delete_comment(store.clone(), article.community_id, first.id));
        blocked(db, &raw, 1).await;
        tx.commit().await.unwrap();
        assert!(deleting.await.unwrap());
        let left = comments(&store, &discussion).await;
        assert_eq!(left.iter().map(|comment| comment.is_deleted).collect::<Vec<_>>(), [true, false]);
    }

    async fn who_answers_waits_for_a_deletion_on_its_way(db: &TestDb) {
        let store = db.store().await;
        let article = world(&store, CommunityKind::Private).await;
        let community = article.community_id;
        let discussion = open(&store, &article, id(1), "topic").await;
        let lonely = written(answer(&store, &discussion, None).await);
        let answered = written(answer(&store, &discussion, None).await);
        written(answer(&store, &discussion, Some(&answered)).await);
        let raw = db.raw().await;
        let tx = shared(&store, community).await;
        assert!(tx.delete_comment(community, lonely.id).await.unwrap());
        assert!(tx.delete_comment(community, answered.id).await.unwrap());
        let late = [lonely.id, answered.id].map(|parent| tokio::spawn(reply(store.clone(), discussion.clone(), Some(parent))));
        let changing = tokio::spawn(change(store.clone(), community, answered.id, "changed"));
        blocked(db, &raw, 3).await;
        tx.commit().await.unwrap();
        let [one, other] = late;
        assert_eq!(one.await.unwrap(), Some(NewComment::NoSuchParent));
        assert_eq!(other.await.unwrap(), Some(NewComment::ParentDeleted));
        assert!(!changing.await.unwrap());

        let tx = shared(&store, community).await;
        assert!(tx.delete_discussion(community, discussion.id).await.unwrap());
        let late = tokio::spawn(reply(store.clone(), discussion.clone(), None));
        blocked(db, &raw, 1).await;
        tx.commit().await.unwrap();
        assert_eq!(late.await.unwrap(), None);
    }

    async fn at_once_there_is_one_outcome(db: &TestDb) {
        let store = db.store().await;
        let article = world(&store, CommunityKind::Private).await;
        let community = article.community_id;
        for _ in 0..ROUNDS {
            let discussion = open(&store, &article, id(1), "topic").await;
            let first = written(answer(&store, &discussion, None).await);
            let second = written(answer(&store, &discussion, Some(&first)).await);
            let (one, other, answered, changed) = tokio::join!(
                tokio::spawn(delete_comment(store.clone(), community, second.id)),
                tokio::spawn(delete_comment(store.clone(), community, second.id)),
                tokio::spawn(reply(store.clone(), discussion.clone(), Some(second.id))),
                tokio::spawn(change(store.clone(), community, second.id, "changed")),
            );
            assert!(one.unwrap() ^ other.unwrap(), "deleted once");
            changed.unwrap();
            let left = comments(&store, &discussion).await;
            match answered.unwrap().unwrap() {
                NewComment::Written(answer) => {
                    let ids: Vec<_> = left.iter().map(|comment| (comment.id, comment.is_deleted)).collect();
                    assert_eq!(ids, [(first.id, false), (second.id, true), (answer.id, false)]);
                    assert_eq!(left[1].content, "");
                }
                NewComment::NoSuchParent => assert_eq!(left, [first]),
                refused => panic!("{refused:?}"),
            }
        }
    }

    async fn a_discussion_that_goes_at_once_with_all_else_leaves_nothing(db: &TestDb) {
        let store = db.store().await;
        let article = world(&store, CommunityKind::Private).await;
        let community = article.community_id;
        for _ in 0..ROUNDS {
            let discussion = open(&store, &article, id(1), "topic").await;
            let first = written(answer(&store, &discussion, None).await);
            let second = written(answer(&store, &discussion, Some(&first)).await);
            let done = tokio::join!(
                tokio::spawn(delete_discussion(store.clone(), community, discussion.id)),
                tokio::spawn(delete_discussion(store.clone(), community, discussion.id)),
                tokio::spawn(reply(store.clone(), discussion.clone(), Some(first.id))),
                tokio::spawn(reply(store.clone(), discussion.clone(), None)),
                tokio::spawn(delete_comment(store.clone(), community, second.id)),
                tokio::spawn(change(store.clone(), community, first.id, "changed")),
            );
            assert!(done.0.unwrap() ^ done.1.unwrap(), "deleted once");
            done.2.unwrap();
            done.3.unwrap();
            done.4.unwrap();
            done.5.unwrap();
        }
        assert_eq!(db.raw().await.number("SELECT COUNT(*) FROM comments").await, 0);
    }
}
