//! Articles, their slugs, and their way through communities.

use crier_store::{ArticleRef, CommunityKind, Locks, Page, Role, Status, Submitted};

use crate::harness::{self, id, join, on_both, published, submitted, subscribe, users};

on_both! {
    async fn a_slug_is_unique_also_for_titles_of_one_moment(db: &TestDb) {
        let store = db.store().await;
        users(&store, 1).await;
        let tasks: Vec<_> = (0..30)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move {
                    let tx = store.begin(Locks::new(), None).await.unwrap();
                    let article = tx.create_article(id(1), "GPT-5 Architecture", "so").await.unwrap();
                    tx.commit().await.unwrap();
                    article.slug
                })
            })
            .collect();
        let mut slugs = Vec::new();
        for task in tasks {
            slugs.push(task.await.unwrap());
        }
        slugs.sort();
        slugs.dedup();
        assert_eq!(slugs.len(), 30);
        assert_eq!(slugs[0], "gpt-5-architecture");
        assert!(slugs.iter().all(|slug| slug.starts_with("gpt-5-architecture")), "{slugs:?}");
    }

    async fn by_slug_or_id_for_those_who_may_read_it(db: &TestDb) {
        let store = db.store().await;
        let people = users(&store, 4).await;
        let (admin, member, submitter, outsider) = (people[0], people[1], people[2], people[3]);
        let private = harness::community(&store, admin, CommunityKind::Private).await;
        join(&store, private, member, Role::Member).await;
        let article = submitted(&store, private, submitter).await;
        let readers = async || {
            let mut readers = Vec::new();
            for user in &people {
                let by_slug = store.find_article(*user, &ArticleRef::parse(&article.article_slug)).await.unwrap();
                let by_id = store.find_article(*user, &article.article_id.into()).await.unwrap();
                assert_eq!(by_slug, by_id);
                readers.extend(by_slug.map(|_| *user));
            }
            readers
        };
        assert_eq!(readers().await, [admin, member, submitter]);

        let public = harness::community(&store, admin, CommunityKind::Public).await;
        let tx = store.begin(Locks::new().exclusive(public), None).await.unwrap();
        tx.submit_article(public, article.article_id, submitter).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(readers().await, [admin, member, submitter], "not yet published");
        let tx = store.begin(Locks::new().exclusive(public), None).await.unwrap();
        tx.set_status(public, article.article_id, Status::Published).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(readers().await, people);
        assert!(store.find_article(outsider, &ArticleRef::parse("nothing")).await.unwrap().is_none());
        assert!(store.find_article(outsider, &ArticleRef::parse("404")).await.unwrap().is_none());
    }

    async fn submitted_once_and_moved_on(db: &TestDb) {
        let store = db.store().await;
        let people = users(&store, 2).await;
        let community = harness::community(&store, people[0], CommunityKind::Private).await;
        let article = submitted(&store, community, people[1]).await;
        assert_eq!(article.status, Status::Submitted);
        let tx = store.begin(Locks::new().exclusive(community), None).await.unwrap();
        let again = tx.submit_article(community, article.article_id, people[0]).await.unwrap();
        assert_eq!(again, Submitted::Already(article.clone()));
        let change = tx.set_status(community, article.article_id, Status::Approved).await.unwrap().unwrap();
        assert_eq!((change.before, change.article.status), (Status::Submitted, Status::Approved));
        assert!(tx.set_status(community, id(404), Status::Approved).await.unwrap().is_none());
        tx.commit().await.unwrap();
        let found = store.find_community_article(people[0], community, article.article_id).await.unwrap();
        assert_eq!(found.unwrap(), change.article);
    }

    async fn before_it_is_published_members_do_not_see_it(db: &TestDb) {
        let store = db.store().await;
        let people = users(&store, 5).await;
        let (admin, member, submitter, reviewer, outsider) = (people[0], people[1], people[2], people[3], people[4]);
        let community = harness::community(&store, admin, CommunityKind::Private).await;
        join(&store, community, member, Role::Member).await;
        join(&store, community, submitter, Role::Member).await;
        join(&store, community, reviewer, Role::Reviewer).await;
        let draft = submitted(&store, community, submitter).await;
        let done = published(&store, community, submitter).await;
        subscribe(&store, member, &done).await;
        for (user, expected) in [
            (admin, &[&draft, &done][..]),
            (reviewer, &[&draft, &done]),
            (submitter, &[&draft, &done]),
            (member, &[&done]),
            (outsider, &[]),
        ] {
            let seen = store.community_articles(user, community, Page::first(100)).await.unwrap();
            assert_eq!(seen.iter().map(|view| &view.article).collect::<Vec<_>>(), expected, "{user}");
            for article in [&draft, &done] {
                let visible = expected.contains(&article);
                let by_id = store.find_community_article_by_id(user, article.id).await.unwrap();
                let by_article = store.find_community_article(user, community, article.article_id).await.unwrap();
                assert_eq!(by_id, visible.then(|| article.clone()));
                assert_eq!(by_article, by_id);
            }
            let subscribed = seen.iter().filter(|view| view.subscription_id.is_some()).count();
            assert_eq!(subscribed, usize::from(user == member));
        }
        let page = Page { after: Some(draft.id), limit: 1 };
        let rest = store.community_articles(admin, community, page).await.unwrap();
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].article, done);
    }
}
