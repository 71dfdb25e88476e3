//! Snapshots from SQL are those of a naive model, whatever happened before.

mod model;

use std::collections::BTreeSet;

use crier_domain::{CommunityId, OutboxId, UserId};
use crier_store::{CommunityArticle, CommunityKind, Locks, Role, Status, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::harness::{self, Raw, id, on_both, submitted};
use model::{ARTICLES, COMMUNITIES, Fence, Model, Step, Sub, USERS, step};

struct World<'a> {
    store: &'a Store,
    raw: &'a Raw,
    users: Vec<UserId>,
    communities: Vec<CommunityId>,
    articles: Vec<Vec<CommunityArticle>>,
}

impl World<'_> {
    /// Users and communities of this case alone. Nobody but `owner`, who is not looked at, is a member yet.
    async fn new<'a>(store: &'a Store, raw: &'a Raw, case: i64) -> World<'a> {
        let mut users = Vec::new();
        for n in 0..=USERS {
            let user = id(case * 100 + n + 1);
            store.ensure_user(user, "somebody").await.unwrap();
            users.push(user);
        }
        let owner = users.pop().unwrap();
        let (mut communities, mut articles) = (Vec::new(), Vec::new());
        for _ in 0..COMMUNITIES {
            let community = harness::community(store, owner, CommunityKind::Private).await;
            let mut its_articles = Vec::new();
            for _ in 0..ARTICLES {
                its_articles.push(submitted(store, community, owner).await);
            }
            communities.push(community);
            articles.push(its_articles);
        }
        World {
            store,
            raw,
            users,
            communities,
            articles,
        }
    }

    async fn apply(&self, step: Step) {
        let (Step::Join(_, c)
        | Step::Remove(_, c)
        | Step::Promote(_, c)
        | Step::Demote(_, c)
        | Step::Subscribe(_, c, _)
        | Step::Unsubscribe(_, c, _)
        | Step::Publish(c, _)
        | Step::Unpublish(c, _)
        | Step::Kind(c, _)
        | Step::Abandon(_, c, _)) = step;
        let community = self.communities[c];
        let tx = self
            .store
            .begin(Locks::new().exclusive(community), None)
            .await
            .unwrap();
        match step {
            Step::Join(u, _) => drop(
                tx.add_member(community, self.users[u], Role::Member)
                    .await
                    .unwrap(),
            ),
            Step::Remove(u, _) => drop(tx.remove_member(community, self.users[u]).await.unwrap()),
            Step::Promote(u, _) => {
                tx.set_role(community, self.users[u], Role::Admin)
                    .await
                    .unwrap();
                tx.subscribe_to_all_published(self.users[u], community)
                    .await
                    .unwrap();
            }
            Step::Demote(u, _) => drop(
                tx.set_role(community, self.users[u], Role::Member)
                    .await
                    .unwrap(),
            ),
            Step::Subscribe(u, _, a) | Step::Abandon(u, _, a) => {
                tx.subscribe(self.users[u], &self.articles[c][a])
                    .await
                    .unwrap();
            }
            Step::Unsubscribe(u, _, a) => {
                let user = self.users[u];
                if let Some(found) = tx
                    .find_subscription_to(user, self.articles[c][a].id)
                    .await
                    .unwrap()
                {
                    tx.unsubscribe(user, found.id).await.unwrap().unwrap();
                }
            }
            Step::Publish(_, a) | Step::Unpublish(_, a) => {
                let publish = matches!(step, Step::Publish(..));
                let status = if publish {
                    Status::Published
                } else {
                    Status::Approved
                };
                let change = tx
                    .set_status(community, self.articles[c][a].article_id, status)
                    .await
                    .unwrap();
                if publish {
                    tx.subscribe_admins_and_submitter(&change.unwrap().article)
                        .await
                        .unwrap();
                }
            }
            Step::Kind(_, kind) => drop(tx.set_community_kind(community, kind).await.unwrap()),
        }
        if !matches!(step, Step::Abandon(..)) {
            tx.commit().await.unwrap();
        }
    }

    async fn last_id(&self) -> i64 {
        self.raw.number("SELECT MAX(id) FROM outbox").await
    }

    /// All users' snapshots from the store against the model's.
    async fn check(&self, model: &Model) -> Result<(), TestCaseError> {
        let got = self.store.snapshots(&self.users).await.unwrap();
        prop_assert_eq!(got.len(), self.users.len());
        for (u, (user, snapshot)) in got.into_iter().enumerate() {
            prop_assert_eq!(user, self.users[u]);
            let expected: BTreeSet<CommunityId> = (0..COMMUNITIES)
                .filter(|c| {
                    model.kinds[*c] != CommunityKind::Public && model.members.contains_key(&(u, *c))
                })
                .map(|c| self.communities[c])
                .collect();
            prop_assert_eq!(
                snapshot
                    .communities
                    .keys()
                    .copied()
                    .collect::<BTreeSet<_>>(),
                expected
            );
            for (c, community) in self.communities.iter().enumerate() {
                let Some(membership) = snapshot.communities.get(community) else {
                    continue;
                };
                within(membership.since, &model.members[&(u, c)].1)?;
                for (a, article) in self.articles[c].iter().enumerate() {
                    let got = membership.articles.get(&article.article_id);
                    match model.subs.get(&(u, c, a)) {
                        Some(Sub::Active(fence)) => {
                            prop_assert!(got.is_some(), "user {} lacks article {} of {}", u, a, c);
                            within(*got.unwrap(), fence)?;
                        }
                        _ => prop_assert!(got.is_none(), "user {} has article {} of {}", u, a, c),
                    }
                }
            }
        }
        Ok(())
    }
}

fn within(fence: OutboxId, expected: &Fence) -> Result<(), TestCaseError> {
    prop_assert!(
        expected.contains(&fence.0),
        "fence {} is not of {:?}",
        fence,
        expected
    );
    Ok(())
}

/// Everybody is a member and everything is published to begin with: from there most steps do something.
fn beginning() -> Vec<Step> {
    let mut steps = Vec::new();
    for c in 0..COMMUNITIES {
        steps.extend((0..ARTICLES).map(|a| Step::Publish(c, a)));
        steps.extend((0..usize::try_from(USERS).unwrap()).map(|u| Step::Join(u, c)));
    }
    steps
}

async fn play(store: &Store, raw: &Raw, case: i64, steps: &[Step]) -> Result<(), TestCaseError> {
    let world = World::new(store, raw, case).await;
    let mut model = Model::new();
    for step in beginning().iter().chain(steps) {
        if !model.allows(*step) {
            continue;
        }
        let before = world.last_id().await;
        world.apply(*step).await;
        model.apply(*step, &(before + 1..=world.last_id().await));
        world.check(&model).await?;
    }
    Ok(())
}

on_both! {
    async fn are_those_of_the_model(db: &TestDb) {
        let store = db.store().await;
        let raw = db.raw().await;
        let handle = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let case = std::cell::Cell::new(0);
            let config = Config { cases: 20, failure_persistence: None, ..Config::default() };
            TestRunner::new(config)
                .run(&prop::collection::vec(step(), 20..60), |steps| {
                    case.set(case.get() + 1);
                    handle.block_on(play(&store, &raw, case.get(), &steps))
                })
                .unwrap();
        })
        .await
        .unwrap();
    }

    async fn of_nobody_and_of_strangers_are_empty(db: &TestDb) {
        let store = db.store().await;
        assert!(store.snapshots(&[]).await.unwrap().is_empty());
        let asked = [id(5), id(3), id(5)];
        let got = store.snapshots(&asked).await.unwrap();
        assert_eq!(got, [(id(3), Default::default()), (id(5), Default::default())], "each once, by id");
    }
}
