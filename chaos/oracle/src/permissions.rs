//! Who may receive what in one community, from each change to the next.

use std::collections::{BTreeMap, BTreeSet};

use crate::calls::{Audience, Change};
use crate::journal::Micros;

/// A subscription that is, or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follow {
    Active,
    /// By the user's own wish, which nothing automatic undoes.
    EndedByUser,
    EndedOtherwise,
}

/// Who may receive what.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// User → whether an admin.
    members: BTreeMap<i64, bool>,
    /// By user and article.
    follows: BTreeMap<(i64, i64), Follow>,
    published: BTreeSet<i64>,
    submitters: BTreeMap<i64, i64>,
}

/// A state, and when the change that led to it began and was answered (none: its fate is unknown).
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) begun: Micros,
    pub(crate) answered: Option<Micros>,
    pub(crate) change: Option<Change>,
    pub(crate) state: State,
}

/// A community's states, in the order of their changes, which never overlap. The first is that of nobody.
#[derive(Debug, Clone)]
pub(crate) struct Community {
    pub(crate) versions: Vec<Version>,
}

impl Default for Community {
    fn default() -> Self {
        let nobody = Version {
            begun: 0,
            answered: Some(0),
            change: None,
            state: State::default(),
        };
        Self {
            versions: vec![nobody],
        }
    }
}

impl Community {
    /// Adds the next change.
    ///
    /// # Errors
    /// When it began before the one before was answered: nobody could say which came first.
    pub(crate) fn add(
        &mut self,
        begun: Micros,
        answered: Option<Micros>,
        change: Change,
    ) -> Result<(), String> {
        let Some(last) = self.versions.last() else {
            return Ok(());
        };
        if last.answered.is_none_or(|answered| answered > begun) {
            return Err(format!(
                "{change:?} at {begun} began before {:?} was answered",
                last.change
            ));
        }
        let mut state = last.state.clone();
        state.apply(change);
        self.versions.push(Version {
            begun,
            answered,
            change: Some(change),
            state,
        });
        Ok(())
    }

    /// The versions that may have stood when something happened between `begun` and `answered`: the first and the last.
    pub(crate) fn standing(&self, begun: Micros, answered: Option<Micros>) -> (usize, usize) {
        let before = |version: &Version| version.answered.is_some_and(|at| at < begun);
        let not_after = |version: &Version| answered.is_none_or(|at| version.begun <= at);
        let first = self.versions.iter().rposition(before).unwrap_or(0);
        let last = self.versions.iter().rposition(not_after).unwrap_or(first);
        (first, last.max(first))
    }
}

impl State {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Founded(user) => {
                self.members.insert(user, true);
            }
            Change::Role { user, admin } => self.give(user, admin),
            Change::Promoted { user, admin } => {
                if self.members.contains_key(&user) {
                    self.give(user, admin);
                }
            }
            Change::Gone(user) => {
                self.members.remove(&user);
                for ((whose, _), follow) in &mut self.follows {
                    if *whose == user && *follow == Follow::Active {
                        *follow = Follow::EndedOtherwise;
                    }
                }
            }
            Change::Submitted { article, by } => {
                self.submitters.insert(article, by);
            }
            Change::Published { article, is: false } => {
                self.published.remove(&article);
            }
            Change::Published { article, is: true } => self.publish(article),
            Change::Follows { user, article, is } => {
                let follow = if is {
                    Follow::Active
                } else {
                    Follow::EndedByUser
                };
                self.follows.insert((user, article), follow);
            }
        }
    }

    /// Whoever becomes an admin follows everything published.
    fn give(&mut self, user: i64, admin: bool) {
        let before = self.members.insert(user, admin);
        if admin && before != Some(true) {
            for article in self.published.clone() {
                self.follow_automatically(user, article);
            }
        }
    }

    /// Admins and the submitter, if a member, follow what is published.
    fn publish(&mut self, article: i64) {
        if !self.published.insert(article) {
            return;
        }
        let submitter = self.submitters.get(&article).copied();
        let concerned: Vec<i64> = self
            .members
            .iter()
            .filter(|(user, admin)| **admin || Some(**user) == submitter)
            .map(|(user, _)| *user)
            .collect();
        for user in concerned {
            self.follow_automatically(user, article);
        }
    }

    fn follow_automatically(&mut self, user: i64, article: i64) {
        let follow = self
            .follows
            .entry((user, article))
            .or_insert(Follow::Active);
        if *follow == Follow::EndedOtherwise {
            *follow = Follow::Active;
        }
    }

    /// Whether the user may receive an event of this audience.
    pub(crate) fn receives(&self, user: i64, audience: &Audience) -> bool {
        self.members.contains_key(&user)
            && match audience {
                Audience::Members => true,
                Audience::Named(users) => users.contains(&user),
                Audience::Subscribers(article) => {
                    self.follows.get(&(user, *article)) == Some(&Follow::Active)
                }
            }
    }

    /// Whether the user is in the community.
    pub(crate) fn is_member(&self, user: i64) -> bool {
        self.members.contains_key(&user)
    }
}
