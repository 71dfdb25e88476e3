//! One change by an application that keeps its own data, and changes that can be made together.

use std::collections::HashMap;

use crier_domain::{ArticleId, CommunityArticleId, CommunityId, UserId};

use crate::tx::Locks;
use crate::words::{CommunityKind, Role, Status};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A person.
    User(UserLine),
    /// A community.
    Community(CommunityLine),
    /// An article.
    Article(ArticleLine),
    /// A membership, or its end.
    Member(MemberLine),
    /// An article in a community.
    CommunityArticle(CommunityArticleLine),
    /// A subscription, or its end.
    Subscription(SubscriptionLine),
}

/// A person, under this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserLine {
    /// The `sub` of their tokens.
    pub id: UserId,
    /// For display only.
    pub username: String,
}

/// A community as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommunityLine {
    /// Its id, chosen by the caller.
    pub id: CommunityId,
    /// Its name.
    pub name: String,
    /// Who sees it.
    pub kind: CommunityKind,
}

/// An article as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArticleLine {
    /// Its id, chosen by the caller.
    pub id: ArticleId,
    /// Its title.
    pub title: String,
    /// Its summary; `None` leaves it, and is empty for a new one.
    pub summary: Option<String>,
    /// Its slug; `None` leaves it, and is made from the title for a new one.
    pub slug: Option<String>,
    /// Who brought it.
    pub submitter: UserId,
}

/// A membership as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberLine {
    /// Where.
    pub community: CommunityId,
    /// Who; made known if need be.
    pub user: UserId,
    /// As what; `None` ends the membership.
    pub role: Option<Role>,
    /// The user's name, if it is to be set.
    pub username: Option<String>,
}

/// An article in a community, as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommunityArticleLine {
    /// Where.
    pub community: CommunityId,
    /// Which.
    pub article: ArticleId,
    /// How far it has come.
    pub status: Status,
    /// Who submitted it there; `None` leaves it, and is the article's for a new one.
    pub submitter: Option<UserId>,
    /// The community article's own id, if the caller chose it.
    pub id: Option<CommunityArticleId>,
}

/// A subscription as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionLine {
    /// Who follows.
    pub user: UserId,
    /// Where.
    pub community: CommunityId,
    /// What.
    pub article: ArticleId,
    /// `true` for a member who has not ended it; `false` ends it, as by the user's own wish.
    pub is_active: bool,
}

/// What lines have to do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Scope {
    User(UserId),
    /// That the user is known, which a membership sees to.
    Known(UserId),
    Community(CommunityId),
    Article(ArticleId),
    /// The articles of a community, which promotions and removals have to do with.
    ArticlesOf(CommunityId),
    Member(CommunityId, UserId),
    Followers(CommunityId, ArticleId),
    Follower(CommunityId, ArticleId, UserId),
}

impl Line {
    /// Its step: steps are made in ascending order.
    fn step(&self) -> u8 {
        match self {
            Self::User(_) => 0,
            Self::Community(_) => 1,
            Self::Article(_) => 2,
            Self::Member(_) => 3,
            Self::CommunityArticle(_) => 4,
            Self::Subscription(_) => 5,
        }
    }

    /// What it must not overtake: a line of the same or a later step that touches one of these.
    fn waits_for(&self) -> Vec<Scope> {
        match self {
            Self::User(line) => vec![Scope::User(line.id)],
            Self::Community(line) => vec![Scope::Community(line.id)],
            Self::Article(line) => vec![Scope::Article(line.id), Scope::Known(line.submitter)],
            Self::Member(line) => vec![
                Scope::Member(line.community, line.user),
                Scope::ArticlesOf(line.community),
            ],
            Self::CommunityArticle(line) => vec![Scope::Followers(line.community, line.article)],
            Self::Subscription(line) => {
                vec![Scope::Follower(line.community, line.article, line.user)]
            }
        }
    }

    /// What it reads or writes.
    fn touches(&self) -> Vec<Scope> {
        match self {
            Self::User(line) => vec![Scope::User(line.id)],
            Self::Community(line) => vec![Scope::Community(line.id)],
            Self::Article(line) => vec![Scope::Article(line.id)],
            Self::Member(line) => {
                let mut scopes = vec![
                    Scope::Community(line.community),
                    Scope::Member(line.community, line.user),
                    Scope::Known(line.user),
                ];
                if line.username.is_some() {
                    scopes.push(Scope::User(line.user));
                }
                scopes
            }
            Self::CommunityArticle(line) => vec![
                Scope::Community(line.community),
                Scope::Article(line.article),
                Scope::ArticlesOf(line.community),
                Scope::Followers(line.community, line.article),
            ],
            Self::Subscription(line) => vec![
                Scope::Community(line.community),
                Scope::Member(line.community, line.user),
                Scope::Followers(line.community, line.article),
                Scope::Follower(line.community, line.article, line.user),
            ],
        }
    }

    fn community(&self) -> Option<CommunityId> {
        match self {
            Self::User(_) | Self::Article(_) => None,
            Self::Community(line) => Some(line.id),
            Self::Member(line) => Some(line.community),
            Self::CommunityArticle(line) => Some(line.community),
            Self::Subscription(line) => Some(line.community),
        }
    }
}

/// Lines that can be made together, step by step, with the same end as one after the other. In one thing it is more
/// lenient: whom a later line of it makes known counts as known.
#[derive(Debug, Default)]
pub struct Batch {
    lines: Vec<Line>,
    /// The latest step in which a scope is touched.
    touched: HashMap<Scope, u8>,
}

impl Batch {
    /// A batch of this line alone.
    #[must_use]
    pub fn of(line: Line) -> Self {
        let mut batch = Self::default();
        batch.take(line);
        batch
    }

    /// Takes the line in, or gives it back if it must come after this batch: a line before it has to do with the
    /// same, and would be made in the same step or a later one.
    ///
    /// # Errors
    /// The line, to be the first of the next batch.
    pub fn push(&mut self, line: Line) -> Result<(), Line> {
        let step = line.step();
        let waits = |scope: &Scope| self.touched.get(scope).is_some_and(|at| *at >= step);
        if line.waits_for().iter().any(waits) {
            return Err(line);
        }
        self.take(line);
        Ok(())
    }

    /// The locks that it needs: those of all its communities.
    #[must_use]
    pub fn locks(&self) -> Locks {
        let communities = self.lines.iter().filter_map(Line::community);
        communities.fold(Locks::new(), Locks::exclusive)
    }

    /// Its lines, in their order.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    fn take(&mut self, line: Line) {
        let step = line.step();
        for scope in line.touches() {
            let latest = self.touched.entry(scope).or_default();
            *latest = (*latest).max(step);
        }
        self.lines.push(line);
    }
}
