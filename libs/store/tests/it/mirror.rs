//! Bulk changes by an application that keeps its own data: the same end as one by one, and as by the calls of people.

pub(crate) mod equal;

use crier_domain::{ArticleId, CommunityId};
use crier_store::mirror::{
    ArticleLine, Batch, CommunityArticleLine, CommunityLine, Effect, Line, MemberLine, Outcome,
    Refusal, SubscriptionLine, UserLine,
};
use crier_store::{CommunityKind, Locks, Role, Status, Store};

use crate::harness::{self, followed, id, on_both, snapshot, users};

const ALICE: i64 = 1;
const BOB: i64 = 2;
const CAROL: i64 = 3;

fn user(user: i64, name: &str) -> Line {
    Line::User(UserLine {
        id: id(user),
        username: name.to_owned(),
    })
}

fn community(community: i64, kind: CommunityKind) -> Line {
    Line::Community(CommunityLine {
        id: id(community),
        name: format!("community {community}"),
        kind,
    })
}

fn article(article: i64, submitter: i64, slug: Option<&str>) -> Line {
    Line::Article(ArticleLine {
        id: id(article),
        title: "GPT-5 Architecture".to_owned(),
        summary: None,
        slug: slug.map(str::to_owned),
        submitter: id(submitter),
    })
}

fn member(community: i64, user: i64, role: Option<Role>) -> Line {
    Line::Member(MemberLine {
        community: id(community),
        user: id(user),
        role,
        username: None,
    })
}

fn placed(community: i64, article: i64, status: Status, own: Option<i64>) -> Line {
    Line::CommunityArticle(CommunityArticleLine {
        community: id(community),
        article: id(article),
        status,
        submitter: None,
        id: own.map(id),
    })
}

fn follows(user: i64, community: i64, article: i64, is_active: bool) -> Line {
    Line::Subscription(SubscriptionLine {
        user: id(user),
        community: id(community),
        article: id(article),
        is_active,
    })
}

/// Makes the lines, in as few batches as they allow; gives the outcomes and how many batches it took.
async fn mirror(store: &Store, lines: impl IntoIterator<Item = Line>) -> (Vec<Outcome>, usize) {
    let mut batches = vec![Batch::default()];
    for line in lines {
        if let Err(line) = batches.last_mut().unwrap().push(line) {
            batches.push(Batch::of(line));
        }
    }
    let mut outcomes = Vec::new();
    for batch in &batches {
        let tx = store.begin(batch.locks(), None).await.unwrap();
        outcomes.extend(tx.mirror(batch).await.unwrap());
        tx.commit().await.unwrap();
    }
    (outcomes, batches.len())
}

/// A platform: two communities, two articles, an admin, a submitter and a member.
fn platform() -> Vec<Line> {
    vec![
        user(ALICE, "alice"),
        user(BOB, "bob"),
        community(45, CommunityKind::Private),
        community(46, CommunityKind::Public),
        article(123, BOB, Some("gpt-5")),
        article(124, ALICE, None),
        member(45, ALICE, Some(Role::Admin)),
        member(45, BOB, Some(Role::Member)),
        member(45, CAROL, Some(Role::Member)),
        member(46, BOB, Some(Role::Admin)),
        placed(45, 123, Status::Published, Some(900)),
        placed(45, 124, Status::Submitted, None),
        follows(CAROL, 45, 123, true),
        follows(ALICE, 45, 123, false),
    ]
}

fn articles(followed: Vec<(ArticleId, crier_domain::OutboxId)>) -> Vec<i64> {
    followed.iter().map(|(article, _)| article.get()).collect()
}

on_both! {
    async fn a_platform_is_mirrored_in_one_batch_and_a_second_time_for_nothing(db: &TestDb) {
        let store = db.store().await;
        let (outcomes, batches) = mirror(&store, platform()).await;
        assert_eq!(batches, 1);
        // That alice does not follow is a change: as an admin she would.
        let mut expected = vec![Ok(Effect::Made); 13];
        expected.push(Ok(Effect::Changed));
        assert_eq!(outcomes, expected);
        let c: CommunityId = id(45);
        assert_eq!(articles(followed(&store, id(BOB), c).await), [123], "its submitter");
        assert_eq!(articles(followed(&store, id(CAROL), c).await), [123], "as imported");
        assert_eq!(articles(followed(&store, id(ALICE), c).await), [0_i64; 0], "as imported");
        assert_eq!(store.find_user(id(CAROL)).await.unwrap().unwrap().username, "user 3");
        // One row for each user and community, though memberships and subscriptions both changed.
        let raw = db.raw().await;
        let rows = raw.number("SELECT COUNT(*) FROM outbox").await;
        assert_eq!(rows, 4);
        assert_eq!(raw.number("SELECT COUNT(*) FROM outbox WHERE community_id = 45").await, 3);

        let before = snapshot(&store, id(BOB)).await;
        let (outcomes, _) = mirror(&store, platform()).await;
        assert_eq!(outcomes, vec![Ok(Effect::Unchanged); 14]);
        assert_eq!(raw.number("SELECT COUNT(*) FROM outbox").await, rows);
        assert_eq!(snapshot(&store, id(BOB)).await, before);
    }

    async fn whom_a_membership_makes_known_may_submit_in_the_next_line(db: &TestDb) {
        let store = db.store().await;
        // By their kinds alone the article would come first.
        let lines = [community(45, CommunityKind::Private), member(45, CAROL, Some(Role::Member)), article(123, CAROL, None)];
        let (outcomes, _) = mirror(&store, lines).await;
        assert_eq!(outcomes, [Ok(Effect::Made); 3]);
    }

    async fn a_bad_line_is_refused_alone(db: &TestDb) {
        let store = db.store().await;
        mirror(&store, platform()).await;
        let refused = [
            (member(99, BOB, Some(Role::Member)), Refusal::NoCommunity),
            (member(99, BOB, None), Refusal::NoCommunity),
            (article(125, 99, None), Refusal::NoUser),
            (article(126, BOB, Some("gpt-5")), Refusal::SlugTaken),
            (placed(45, 99, Status::Published, None), Refusal::NoArticle),
            (placed(99, 123, Status::Published, None), Refusal::NoCommunity),
            (placed(45, 123, Status::Published, Some(901)), Refusal::IdTaken),
            (placed(46, 123, Status::Published, Some(900)), Refusal::IdTaken),
            (follows(BOB, 45, 99, true), Refusal::NoCommunityArticle),
            (follows(99, 45, 123, false), Refusal::NoUser),
            (follows(99, 46, 123, true), Refusal::NoCommunityArticle),
        ];
        let mut lines = Vec::new();
        for (n, (line, _)) in (200_i64..).zip(&refused) {
            lines.extend([user(n, "somebody"), line.clone()]);
        }
        let (outcomes, _) = mirror(&store, lines).await;
        for (n, (line, refusal)) in refused.iter().enumerate() {
            assert_eq!(outcomes[2 * n], Ok(Effect::Made));
            assert_eq!(outcomes[2 * n + 1], Err(*refusal), "{line:?}");
        }
        // Only members follow, and only where there are events.
        let lines = [placed(46, 123, Status::Published, None), member(45, 200, None)];
        mirror(&store, lines).await;
        let (outcomes, _) = mirror(&store, [follows(200, 45, 123, true), follows(BOB, 46, 123, true)]).await;
        assert_eq!(outcomes, [Err(Refusal::NotAMember), Err(Refusal::PublicCommunity)]);
    }

    async fn a_removal_ends_everything_and_needs_no_admin_who_stays(db: &TestDb) {
        let store = db.store().await;
        mirror(&store, platform()).await;
        let (outcomes, _) = mirror(&store, [45, 46].map(|c| member(c, BOB, None))).await;
        assert_eq!(outcomes, [Ok(Effect::Changed); 2]);
        assert!(snapshot(&store, id(BOB)).await.communities.is_empty());
        let (outcomes, _) = mirror(&store, [45, 46].map(|c| member(c, BOB, None))).await;
        assert_eq!(outcomes, [Ok(Effect::Unchanged); 2]);
        // Back as an admin: what the system ended comes back, what alice ended herself does not.
        let (_, batches) = mirror(&store, [
            member(45, BOB, Some(Role::Admin)),
            member(45, ALICE, None),
            member(45, ALICE, Some(Role::Admin)),
        ]).await;
        assert_eq!(batches, 2, "the same member twice");
        assert_eq!(articles(followed(&store, id(BOB), id(45)).await), [123]);
        assert!(followed(&store, id(ALICE), id(45)).await.is_empty());
        assert!(snapshot(&store, id(ALICE)).await.communities.contains_key(&id(45)));
    }

    async fn an_import_undoes_no_unsubscribe(db: &TestDb) {
        let store = db.store().await;
        mirror(&store, platform()).await;
        let article = store.any_community_article(id(45), id(123)).await.unwrap().unwrap();
        assert_eq!(article.id.get(), 900, "the id that was chosen");
        let found = store.find_subscription_to(id(CAROL), article.id).await.unwrap().unwrap();
        let tx = store.begin(Locks::new().exclusive(id(45)), None).await.unwrap();
        tx.unsubscribe(id(CAROL), found.id).await.unwrap();
        tx.commit().await.unwrap();
        let (outcomes, _) = mirror(&store, platform()).await;
        assert_eq!(outcomes, vec![Ok(Effect::Unchanged); 14]);
        assert!(followed(&store, id(CAROL), id(45)).await.is_empty());
    }

    async fn a_change_of_kind_is_as_everywhere(db: &TestDb) {
        let store = db.store().await;
        mirror(&store, platform()).await;
        let last = db.raw().await.number("SELECT MAX(id) FROM outbox").await;
        mirror(&store, [community(45, CommunityKind::Public), community(46, CommunityKind::Hidden)]).await;
        assert!(snapshot(&store, id(CAROL)).await.communities.is_empty());
        let bob = snapshot(&store, id(BOB)).await;
        assert_eq!(bob.communities.len(), 1);
        assert!(bob.communities[&id(46)].since.0 > last, "entered just now");
        mirror(&store, [community(45, CommunityKind::Private)]).await;
        assert!(followed(&store, id(CAROL), id(45)).await.is_empty());
        assert!(followed(&store, id(ALICE), id(45)).await.is_empty(), "her own wish");
        mirror(&store, [member(45, BOB, Some(Role::Admin))]).await;
        assert_eq!(articles(followed(&store, id(BOB), id(45)).await), [123]);
    }

    async fn slugs_move_on_in_the_order_of_the_lines(db: &TestDb) {
        let store = db.store().await;
        users(&store, 2).await;
        let (outcomes, _) = mirror(&store, [
            article(1, ALICE, Some("a")),
            article(2, ALICE, Some("b")),
            article(3, ALICE, None),
            article(4, ALICE, None),
        ]).await;
        assert_eq!(outcomes, [Ok(Effect::Made); 4]);
        let slug = async |number: i64| {
            let article = store.any_article(&id::<ArticleId>(number).into()).await.unwrap();
            article.unwrap().slug
        };
        assert_eq!(slug(3).await, "gpt-5-architecture");
        assert_eq!(slug(4).await, "gpt-5-architecture-4");
        let (outcomes, batches) = mirror(&store, [
            article(3, ALICE, Some("a")),
            article(1, ALICE, Some("c")),
            article(2, ALICE, Some("a")),
            article(5, BOB, Some("b")),
        ]).await;
        assert_eq!(batches, 1);
        let (refused, changed) = (Err(Refusal::SlugTaken), Ok(Effect::Changed));
        assert_eq!(outcomes, [refused, changed, changed, Ok(Effect::Made)]);
        assert_eq!((slug(1).await, slug(2).await, slug(5).await), ("c".into(), "a".into(), "b".into()));
    }

    async fn ids_that_were_chosen_are_given_to_nobody_else(db: &TestDb) {
        let store = db.store().await;
        let [alice, _] = users(&store, 2).await[..] else { panic!() };
        for chosen in [1, 50, 5_000, (1 << 53) - 1] {
            mirror(&store, [
                community(chosen, CommunityKind::Private),
                article(chosen, ALICE, None),
                placed(chosen, chosen, Status::Published, Some(chosen)),
            ]).await;
            for _ in 0..10 {
                let made = harness::community(&store, alice, CommunityKind::Private).await;
                harness::submitted(&store, made, alice).await;
            }
        }
        let raw = db.raw().await;
        for table in ["communities", "articles", "community_articles"] {
            assert_eq!(raw.number(&format!("SELECT COUNT(*) FROM {table}")).await, 44, "{table}");
        }
    }

    async fn a_batch_costs_as_many_statements_whatever_it_holds(db: &TestDb) {
        let store = db.store().await;
        let mut costs = Vec::new();
        for (first, many) in [(1_000, 2), (2_000, 50), (3_000, 300)] {
            let mut lines = vec![user(first, "one"), article(first, first, None)];
            lines.extend((0..many).map(|n| community(first + n, CommunityKind::Private)));
            lines.extend((0..many).map(|n| member(first + n, first + n, Some(Role::Admin))));
            lines.extend((0..many).map(|n| placed(first + n, first, Status::Published, None)));
            lines.extend((0..many).map(|n| follows(first + n, first + n, first, true)));
            let before = store.statements();
            let (outcomes, batches) = mirror(&store, lines).await;
            costs.push(store.statements() - before);
            assert_eq!(batches, 1);
            assert!(outcomes.iter().all(Result::is_ok));
        }
        assert!(costs[0] == costs[1] && costs[1] == costs[2] && costs[0] <= 45, "{costs:?}");
    }

    async fn a_batch_without_its_locks_is_refused(db: &TestDb) {
        let store = db.store().await;
        mirror(&store, platform()).await;
        for line in [
            community(45, CommunityKind::Hidden),
            member(45, BOB, None),
            placed(45, 123, Status::Rejected, None),
            follows(BOB, 45, 123, false),
        ] {
            let tx = store.begin(Locks::new().shared(id(45)), None).await.unwrap();
            let refused = tx.mirror(&Batch::of(line)).await;
            assert!(matches!(refused, Err(crier_store::StoreError::NotLocked { .. })));
        }
    }
}
