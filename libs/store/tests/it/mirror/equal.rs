//! Lines in batches leave what they leave one by one, and what the calls of people leave.

use crier_domain::{CommunityId, UserId};
use crier_store::mirror::{Batch, CommunityArticleLine, Line, MemberLine, Outcome};
use crier_store::{CommunityKind, Locks, Role, Status, Store};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use super::{article, community, follows, member, mirror, placed, user};
use crate::harness::{self, Raw, id, on_both, users};

/// Enough that a rule which is left out of those of a batch shows.
const CASES: usize = 60;

/// Everything but what no two runs have the same: times, fences, ids that the database gave.
const EVERYTHING: &str = "
    SELECT 'user ' || id || ' ' || username AS line FROM users
    UNION ALL SELECT 'community ' || id || ' ' || name || ' ' || kind FROM communities
    UNION ALL SELECT 'article ' || id || ' ' || title || ' ' || slug || ' ' || submitter_id FROM articles
    UNION ALL SELECT 'member ' || community_id || ' ' || user_id || ' ' || role FROM memberships
    UNION ALL SELECT 'placed ' || community_id || ' ' || article_id || ' ' || status || ' ' || submitter_id
        FROM community_articles
    UNION ALL SELECT 'follows ' || user_id || ' ' || community_id || ' ' || article_id || ' '
        || COALESCE(ended_by, 'active') FROM subscriptions
    ORDER BY 1";

async fn everything(raw: &Raw) -> Vec<String> {
    let rows = raw.rows(EVERYTHING).await;
    rows.iter()
        .map(|row| row.try_get("", "line").unwrap())
        .collect()
}

/// Every active membership and subscription has the fence of a row of its user and community.
async fn assert_fences(raw: &Raw) {
    for (table, active) in [("memberships", "TRUE"), ("subscriptions", "t.is_active")] {
        let lost = format!(
            "SELECT COUNT(*) FROM {table} t WHERE {active} AND NOT EXISTS (SELECT 1 FROM outbox o
                WHERE o.id = t.fence AND o.user_id = t.user_id AND o.community_id = t.community_id)"
        );
        assert_eq!(raw.number(&lost).await, 0, "{table}");
    }
}

fn some_line() -> impl Strategy<Value = Line> {
    let kind = prop::sample::select(vec![
        CommunityKind::Public,
        CommunityKind::Private,
        CommunityKind::Private,
    ]);
    let role = prop::option::weighted(
        0.7,
        prop::sample::select(vec![Role::Member, Role::Admin, Role::Moderator]),
    );
    let status = prop::sample::select(vec![Status::Published, Status::Submitted]);
    let slug = prop::option::of(prop::sample::select(vec!["a", "b"]));
    let name = prop::option::of(prop::sample::select(vec!["x", "y"]));
    // Users, communities and articles are few, so that lines have to do with each other.
    let numbers = (0..9u8, 1..4i64, 1..3i64, 1..3i64);
    (numbers, kind, role, status, slug, name, any::<bool>()).prop_map(
        |((n, u, c, a), kind, role, status, slug, name, active)| match n {
            0 => user(u, name.unwrap_or("z")),
            1 => community(c, kind),
            2 => article(a, u, slug),
            3 | 4 => member(c, u, role),
            5 => Line::Member(MemberLine {
                community: id(c),
                user: id(u),
                role,
                username: name.map(str::to_owned),
            }),
            6 => placed(c, a, status, None),
            7 => Line::CommunityArticle(CommunityArticleLine {
                community: id(c),
                article: id(a),
                status,
                submitter: Some(id(u)),
                id: None,
            }),
            _ => follows(u, c, a, active),
        },
    )
}

/// What each case begins with, so that few lines are refused.
fn beginning() -> Vec<Line> {
    let mut lines: Vec<Line> = (1..4).map(|u| user(u, "z")).collect();
    lines.extend((1..3).map(|c| community(c, CommunityKind::Private)));
    lines.extend((1..3).map(|a| article(a, 1, None)));
    lines
}

async fn empty(raw: &Raw) {
    for table in [
        "outbox",
        "subscriptions",
        "community_articles",
        "memberships",
        "articles",
        "communities",
        "users",
    ] {
        raw.run(&format!("DELETE FROM {table}")).await;
    }
}

/// The calls that people make.
async fn by_hand(store: &Store) {
    let people: Vec<UserId> = users(store, 3).await;
    let (first, second, third) = (people[0], people[1], people[2]);
    let made: CommunityId = harness::community(store, first, CommunityKind::Private).await;
    harness::join(store, made, second, Role::Member).await;
    harness::join(store, made, third, Role::Member).await;
    let article = harness::submitted(store, made, second).await;
    let locks = || Locks::new().exclusive(made);
    let tx = store.begin(locks(), None).await.unwrap();
    let change = tx.set_status(made, article.article_id, Status::Published);
    let article = change.await.unwrap().unwrap().article;
    tx.subscribe_admins_and_submitter(&article).await.unwrap();
    tx.set_role(made, third, Role::Admin).await.unwrap();
    tx.subscribe_to_all_published(third, made).await.unwrap();
    let own = tx.find_subscription_to(first, article.id).await.unwrap();
    tx.unsubscribe(first, own.unwrap().id).await.unwrap();
    tx.remove_member(made, second).await.unwrap();
    tx.commit().await.unwrap();
    let tx = store.begin(locks(), None).await.unwrap();
    for kind in [CommunityKind::Public, CommunityKind::Hidden] {
        tx.set_community_kind(made, kind).await.unwrap();
    }
    tx.rename_community(made, "community 1").await.unwrap();
    tx.commit().await.unwrap();
}

/// The same as lines.
fn as_lines() -> Vec<Line> {
    let mut lines: Vec<Line> = (1..4).map(|n| user(n, &format!("user {n}"))).collect();
    lines.extend([
        community(1, CommunityKind::Private),
        member(1, 1, Some(Role::Admin)),
        member(1, 2, Some(Role::Member)),
        member(1, 3, Some(Role::Member)),
        article(1, 2, None),
        placed(1, 1, Status::Submitted, None),
        placed(1, 1, Status::Published, None),
        member(1, 3, Some(Role::Admin)),
        follows(1, 1, 1, false),
        member(1, 2, None),
        community(1, CommunityKind::Public),
        community(1, CommunityKind::Hidden),
    ]);
    lines
}

fn refused(outcomes: &[Outcome]) -> Vec<Option<crier_store::mirror::Refusal>> {
    outcomes.iter().map(|outcome| outcome.err()).collect()
}

on_both! {
    async fn lines_leave_what_calls_leave(db: &TestDb) {
        let store = db.store().await;
        let raw = db.raw().await;
        by_hand(&store).await;
        let by_hand = everything(&raw).await;
        empty(&raw).await;
        let (outcomes, _) = mirror(&store, as_lines()).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        assert_eq!(everything(&raw).await, by_hand);
        assert_fences(&raw).await;
    }

    async fn batches_leave_what_single_lines_leave(db: &TestDb) {
        let store = db.store().await;
        let raw = db.raw().await;
        let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
        let (mut count, mut made) = (0, 0);
        for _ in 0..CASES {
            let strategy = prop::collection::vec(some_line(), 1..40);
            let lines = strategy.new_tree(&mut runner).unwrap().current();
            let lines: Vec<Line> = beginning().into_iter().chain(lines).collect();
            let mut singly = Vec::new();
            for line in lines.clone() {
                let batch = Batch::of(line);
                let tx = store.begin(batch.locks(), None).await.unwrap();
                singly.extend(tx.mirror(&batch).await.unwrap());
                tx.commit().await.unwrap();
            }
            let expected = everything(&raw).await;
            assert_fences(&raw).await;
            empty(&raw).await;
            let (together, batches) = mirror(&store, lines.clone()).await;
            assert_eq!(everything(&raw).await, expected, "{lines:#?}");
            assert_fences(&raw).await;
            assert_eq!(refused(&together), refused(&singly), "{lines:#?}");
            empty(&raw).await;
            count += lines.len();
            made += batches;
        }
        assert!(made * 2 < count, "batches hold several lines: {made} of {count}");
    }
}
