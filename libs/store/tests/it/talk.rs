//! Discussions and comments: levels, pages, readers, and the position that goes with a list.

use crier_domain::{Epoch, Seq, UserId};
use crier_store::{
    Comment, CommunityArticle, CommunityKind, Discussion, Locks, NewComment, Page, Position, Role,
    Store,
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::harness::{self, id, join, on_both, published, users};

pub(crate) async fn open(
    store: &Store,
    article: &CommunityArticle,
    author: UserId,
    topic: &str,
) -> Discussion {
    let tx = store
        .begin(Locks::new().shared(article.community_id), None)
        .await
        .unwrap();
    let made = tx
        .create_discussion(article, author, topic, "content")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    made
}

pub(crate) async fn answer(
    store: &Store,
    discussion: &Discussion,
    parent: Option<&Comment>,
) -> NewComment {
    let tx = store
        .begin(Locks::new().shared(discussion.community_id), None)
        .await
        .unwrap();
    let made = tx
        .create_comment(
            discussion.community_id,
            discussion.id,
            id(2),
            parent.map(|comment| comment.id),
            "Ünïcödé 🜁\n\u{2028}",
        )
        .await
        .unwrap();
    tx.commit().await.unwrap();
    made
}

pub(crate) fn written(made: NewComment) -> Comment {
    match made {
        NewComment::Written(comment) => comment,
        other => panic!("{other:?}"),
    }
}

/// User 1 is the admin, user 2 a member, user 3 nobody.
pub(crate) async fn world(store: &Store, kind: CommunityKind) -> CommunityArticle {
    users(store, 3).await;
    let community = harness::community(store, id(1), kind).await;
    join(store, community, id(2), Role::Member).await;
    published(store, community, id(1)).await
}

on_both! {
    async fn what_is_written_is_read(db: &TestDb) {
        let store = db.store().await;
        let article = world(&store, CommunityKind::Private).await;
        let discussion = open(&store, &article, id(1), "Attention?").await;
        assert_eq!((discussion.author_username.as_str(), discussion.comment_count), ("user 1", 0));
        assert_eq!(discussion.created_at, discussion.updated_at);
        let age = OffsetDateTime::now_utc() - discussion.created_at;
        assert!(age.whole_seconds().abs() < 120, "{age}");
        assert_eq!(discussion.created_at.nanosecond() % 1_000_000, 0, "milliseconds");
        let comment = written(answer(&store, &discussion, None).await);
        assert_eq!(comment.content, "Ünïcödé 🜁\n\u{2028}");
        assert_eq!(store.find_comment(id(1), comment.id).await.unwrap(), Some(comment));
        let found = store.find_discussion(id(2), discussion.id).await.unwrap().unwrap();
        assert_eq!(found, Discussion { comment_count: 1, ..discussion });
    }

    async fn comments_are_three_levels_deep_and_stay_in_their_discussion(db: &TestDb) {
        let store = db.store().await;
        let article = world(&store, CommunityKind::Private).await;
        let discussion = open(&store, &article, id(1), "one").await;
        let other = open(&store, &article, id(1), "two").await;
        let first = written(answer(&store, &discussion, None).await);
        let second = written(answer(&store, &discussion, Some(&first)).await);
        let third = written(answer(&store, &discussion, Some(&second)).await);
        assert_eq!([first.depth, second.depth, third.depth], [1, 2, 3]);
        assert_eq!(third.parent_id, Some(second.id));
        assert_eq!(answer(&store, &discussion, Some(&third)).await, NewComment::TooDeep);
        assert_eq!(answer(&store, &other, Some(&first)).await, NewComment::NoSuchParent);
        let listed = store.list_comments(id(1), discussion.id, Page::first(100)).await.unwrap();
        assert_eq!(listed.items, [first, second, third]);
    }

    async fn lists_come_in_pages(db: &TestDb) {
        let store = db.store().await;
        let article = world(&store, CommunityKind::Private).await;
        let mut made = Vec::new();
        for n in 0..5 {
            made.push(open(&store, &article, id(1), &format!("topic {n}")).await.id);
        }
        made.reverse();
        let mut paged = Vec::new();
        loop {
            let page = Page { after: paged.last().copied(), limit: 2 };
            let list = store.list_discussions(id(2), article.community_id, article.article_id, page).await.unwrap();
            if list.items.is_empty() {
                break;
            }
            paged.extend(list.items.iter().map(|discussion| discussion.id));
        }
        assert_eq!(paged, made, "newest first");
        let elsewhere = store.list_discussions(id(2), id(404), article.article_id, Page::first(10)).await.unwrap();
        assert!(elsewhere.items.is_empty());
        let discussion = store.find_discussion(id(1), made[0]).await.unwrap().unwrap();
        let mut comments = Vec::new();
        for _ in 0..3 {
            comments.push(written(answer(&store, &discussion, None).await).id);
        }
        let page = Page { after: Some(comments[0]), limit: 1 };
        let list = store.list_comments(id(2), discussion.id, page).await.unwrap();
        assert_eq!(list.items.iter().map(|comment| comment.id).collect::<Vec<_>>(), [comments[1]], "oldest first");
    }

    async fn outsiders_read_in_public_alone(db: &TestDb) {
        let store = db.store().await;
        for (kind, reads, knows) in [
            (CommunityKind::Public, true, true),
            (CommunityKind::Private, false, true),
            (CommunityKind::Hidden, false, false),
        ] {
            let article = world(&store, kind).await;
            let discussion = open(&store, &article, id(1), "who reads this?").await;
            let comment = written(answer(&store, &discussion, None).await);
            for (user, reads, knows) in [(id(1), true, true), (id(2), true, true), (id(3), reads, knows)] {
                let found = store.find_discussion(user, discussion.id).await.unwrap();
                assert_eq!(found.is_some(), reads, "{kind} {user}");
                let found = store.find_comment(user, comment.id).await.unwrap();
                assert_eq!(found.is_some(), reads, "{kind} {user}");
                let page = Page::first(10);
                let list = store.list_discussions(user, article.community_id, article.article_id, page).await.unwrap();
                assert_eq!(list.items.len(), usize::from(reads));
                let list = store.list_comments(user, discussion.id, Page::first(10)).await.unwrap();
                assert_eq!(list.items.len(), usize::from(reads));
                let community = store.community_of_discussion(user, discussion.id).await.unwrap();
                assert_eq!(community, knows.then_some(article.community_id));
            }
        }
        assert!(store.community_of_discussion(id(1), id(404)).await.unwrap().is_none());
    }

    async fn a_list_carries_the_position_from_before_it(db: &TestDb) {
        let store = db.store().await;
        let article = world(&store, CommunityKind::Private).await;
        let discussion = open(&store, &article, id(1), "topic").await;
        let list = store.list_comments(id(1), discussion.id, Page::first(10)).await.unwrap();
        assert_eq!(list.position, None, "before the first epoch");
        let term = store.lease(Uuid::new_v4(), std::time::Duration::from_secs(60)).await.unwrap().unwrap();
        let position = Position { epoch: Epoch::from_bits(u64::MAX), seq: Seq(42) };
        assert!(store.mark_sent(term, &[], position).await.unwrap());
        let list = store.list_comments(id(1), discussion.id, Page::first(10)).await.unwrap();
        assert_eq!(list.position, Some(position));
        let page = Page::first(10);
        let list = store.list_discussions(id(1), article.community_id, article.article_id, page).await.unwrap();
        assert_eq!(list.position, Some(position));
        // A transaction for reading sees the position and the list of one order: position first.
        let reader = store.read().await.unwrap();
        assert_eq!(reader.relay_position().await.unwrap(), Some(position));
    }
}
