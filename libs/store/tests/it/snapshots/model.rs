//! What the rules say about memberships and subscriptions, without a database.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crier_store::{CommunityKind, Role};
use proptest::prelude::*;

pub(super) const USERS: i64 = 3;
pub(super) const COMMUNITIES: usize = 2;
pub(super) const ARTICLES: usize = 2;

/// Something that a user, community and article (by index) can have happen to them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Join(usize, usize),
    Remove(usize, usize),
    Promote(usize, usize),
    Demote(usize, usize),
    Subscribe(usize, usize, usize),
    Unsubscribe(usize, usize, usize),
    Publish(usize, usize),
    Unpublish(usize, usize),
    Kind(usize, CommunityKind),
    /// Begins, subscribes and is dropped.
    Abandon(usize, usize, usize),
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let user = 0..usize::try_from(USERS).unwrap();
    let kind = prop::sample::select(vec![
        CommunityKind::Public,
        CommunityKind::Private,
        CommunityKind::Hidden,
    ]);
    (0..14u8, user, 0..COMMUNITIES, 0..ARTICLES, kind).prop_map(|(n, u, c, a, kind)| match n {
        0 | 1 => Step::Join(u, c),
        2 => Step::Remove(u, c),
        3 | 4 => Step::Promote(u, c),
        5 => Step::Demote(u, c),
        6 | 7 => Step::Subscribe(u, c, a),
        8 | 9 => Step::Unsubscribe(u, c, a),
        10 => Step::Publish(c, a),
        11 => Step::Unpublish(c, a),
        12 => Step::Kind(c, kind),
        _ => Step::Abandon(u, c, a),
    })
}

/// The ids among which a fence must be.
pub(super) type Fence = RangeInclusive<i64>;

#[derive(Debug, Clone)]
pub(super) enum Sub {
    Active(Fence),
    EndedByUser,
    EndedBySystem,
}

/// What the rules say, without a database.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) kinds: [CommunityKind; COMMUNITIES],
    pub(super) published: [[bool; ARTICLES]; COMMUNITIES],
    pub(super) members: BTreeMap<(usize, usize), (Role, Fence)>,
    pub(super) subs: BTreeMap<(usize, usize, usize), Sub>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            kinds: [CommunityKind::Private; COMMUNITIES],
            published: [[false; ARTICLES]; COMMUNITIES],
            members: BTreeMap::new(),
            subs: BTreeMap::new(),
        }
    }

    pub(super) fn apply(&mut self, step: Step, now: &Fence) {
        match step {
            Step::Join(u, c) => {
                self.members
                    .entry((u, c))
                    .or_insert((Role::Member, now.clone()));
            }
            Step::Remove(u, c) => {
                if self.members.remove(&(u, c)).is_some() {
                    self.end(|(user, community, _)| (user, community) == (u, c));
                }
            }
            Step::Promote(u, c) => {
                if let Some((role, _)) = self.members.get_mut(&(u, c)) {
                    *role = Role::Admin;
                    self.follow_all(u, c, now);
                }
            }
            Step::Demote(u, c) => {
                if let Some((role, _)) = self.members.get_mut(&(u, c)) {
                    *role = Role::Member;
                }
            }
            Step::Subscribe(u, c, a) => {
                let sub = self.subs.entry((u, c, a)).or_insert(Sub::EndedBySystem);
                if !matches!(sub, Sub::Active(_)) {
                    *sub = Sub::Active(now.clone());
                }
            }
            Step::Unsubscribe(u, c, a) => {
                if let Some(sub) = self.subs.get_mut(&(u, c, a)) {
                    *sub = Sub::EndedByUser;
                }
            }
            Step::Publish(c, a) => {
                self.published[c][a] = true;
                let admins: Vec<usize> = self.admins(c);
                for u in admins {
                    self.follow(u, c, a, now);
                }
            }
            Step::Unpublish(c, a) => self.published[c][a] = false,
            Step::Kind(c, kind) => {
                let (before, public) = (self.kinds[c], CommunityKind::Public);
                self.kinds[c] = kind;
                if before == public && kind != public {
                    for ((_, community), (_, fence)) in &mut self.members {
                        if *community == c {
                            *fence = now.clone();
                        }
                    }
                    for u in self.admins(c) {
                        self.follow_all(u, c, now);
                    }
                } else if kind == public {
                    self.end(|(_, community, _)| community == c);
                }
            }
            Step::Abandon(..) => {}
        }
    }

    fn admins(&self, c: usize) -> Vec<usize> {
        let admin = |((u, community), (role, _)): (&(usize, usize), &(Role, Fence))| {
            (*community == c && *role == Role::Admin).then_some(*u)
        };
        self.members.iter().filter_map(admin).collect()
    }

    fn follow_all(&mut self, u: usize, c: usize, now: &Fence) {
        for a in 0..ARTICLES {
            if self.published[c][a] {
                self.follow(u, c, a, now);
            }
        }
    }

    fn follow(&mut self, u: usize, c: usize, a: usize, now: &Fence) {
        if self.kinds[c] == CommunityKind::Public {
            return;
        }
        let sub = self.subs.entry((u, c, a)).or_insert(Sub::EndedBySystem);
        if matches!(sub, Sub::EndedBySystem) {
            *sub = Sub::Active(now.clone());
        }
    }

    fn end(&mut self, which: impl Fn((usize, usize, usize)) -> bool) {
        for (key, sub) in &mut self.subs {
            if which(*key) && matches!(sub, Sub::Active(_)) {
                *sub = Sub::EndedBySystem;
            }
        }
    }

    /// Whether the API would let it through.
    pub(super) fn allows(&self, step: Step) -> bool {
        match step {
            Step::Subscribe(u, c, a) | Step::Abandon(u, c, a) => {
                self.kinds[c] != CommunityKind::Public
                    && self.published[c][a]
                    && self.members.contains_key(&(u, c))
            }
            _ => true,
        }
    }
}
