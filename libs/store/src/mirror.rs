//! Bulk changes by an application that keeps its own data: upserts by the ids that it chose, many at once.
//!
//! | module | is |
//! |---|---|
//! | [`batch`] | [`Line`], one change, and [`Batch`], changes that can be made together |
//! | `users`, `communities`, `articles`, `members`, `community_articles`, `subscriptions` | one step each |
//! | `sequences` | keeps the database's own ids away from those that were chosen |
//! | [`found`] | what the application's backend may know: everything |
//!
//! A batch is made in steps, by kind, in the order in which kinds refer to each other: users, communities, articles,
//! members, community articles, subscriptions. What it leaves is what its lines would have left one after the other:
//! a [`Batch`] takes no line for which that would not hold. Each step reads what stands there, in one statement or
//! a few, and writes only what differs: the number of statements does not grow with the lines, and lines that
//! change nothing write nothing. What a change means for subscriptions and snapshots is the same as elsewhere, with one
//! outbox row for each user and community.
//!
//! The application owns the truth: no line is refused for who asks, and none because a community's last admin goes.
//! A line that can't be made is refused alone.

mod articles;
pub mod batch;
mod communities;
mod community_articles;
pub mod found;
mod members;
mod sequences;
mod subscriptions;
mod users;

use std::collections::HashMap;
use std::hash::Hash;

pub use batch::{
    ArticleLine, Batch, CommunityArticleLine, CommunityLine, Line, MemberLine, SubscriptionLine,
    UserLine,
};

use sea_orm::DbBackend;

use crate::error::StoreError;
use crate::outbox::Fences;
use crate::store::Store;
use crate::tx::Tx;

/// What became of a line.
pub type Outcome = Result<Effect, Refusal>;

/// What a line changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is new.
    Made,
    /// It is another than before.
    Changed,
    /// It was so before.
    Unchanged,
}

/// Why a line can't be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The community is unknown.
    #[error("there is no such community")]
    NoCommunity,
    /// The article is unknown.
    #[error("there is no such article")]
    NoArticle,
    /// The article is not in this community.
    #[error("there is no such article in this community")]
    NoCommunityArticle,
    /// The user is unknown.
    #[error("there is no such user")]
    NoUser,
    /// The slug is another article's.
    #[error("the slug is another article's")]
    SlugTaken,
    /// The community article has another id, or the id is another's.
    #[error("the community article has another id, or the id is another's")]
    IdTaken,
    /// Public communities have no subscriptions.
    #[error("only private and hidden communities have subscriptions")]
    PublicCommunity,
    /// Only members follow.
    #[error("only members of the community can follow its articles")]
    NotAMember,
    /// The user's snapshot is full.
    #[error("nobody can follow more than 20,000 communities and articles")]
    TooManyEntries,
}

/// A batch while it is made.
struct Work<'a> {
    tx: &'a Tx,
    fences: Fences,
    outcomes: Vec<Outcome>,
}

impl Work<'_> {
    fn set(&mut self, line: usize, outcome: impl Into<Outcome>) {
        if let Some(place) = self.outcomes.get_mut(line) {
            *place = outcome.into();
        }
    }
}

impl From<Effect> for Outcome {
    fn from(effect: Effect) -> Self {
        Ok(effect)
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Err(refusal)
    }
}

/// The tables that a mirror fills.
const FILLED: &str =
    "users, communities, articles, community_articles, memberships, subscriptions, outbox";

impl Store {
    /// Tells PostgreSQL how its tables have grown. It keeps the plans of prepared statements, which are those for small
    /// tables while a new platform is mirrored: left alone they would be followed until it looks by itself, within a
    /// minute, and by then a snapshot may walk a whole index. SQLite plans alike for large tables and small ones.
    ///
    /// # Errors
    /// When the database fails. Tables of which another role is the owner are left out.
    pub async fn analyse(&self) -> Result<(), StoreError> {
        let db = &self.inner.writer;
        if db.backend != DbBackend::Postgres {
            return Ok(());
        }
        // What another session analyses at this moment needs no second one.
        db.script(&format!("ANALYZE (SKIP_LOCKED) {FILLED}")).await
    }
}

impl Tx {
    /// Makes the batch, and says for each line what became of it. With no line that made or changed something there
    /// is nothing to commit.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the batch's own locks; [`StoreError::Exists`] when another call took an id
    /// or slug at the same moment: the batch can be made again.
    pub async fn mirror(&self, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        let lines = batch.lines();
        let mut work = Work {
            tx: self,
            fences: Fences::default(),
            outcomes: vec![Ok(Effect::Unchanged); lines.len()],
        };
        let users = pick(lines, |line| match line {
            Line::User(line) => Some(line),
            _ => None,
        });
        users::step(&mut work, &users).await?;
        let communities = pick(lines, |line| match line {
            Line::Community(line) => Some(line),
            _ => None,
        });
        communities::step(&mut work, &communities).await?;
        let articles = pick(lines, |line| match line {
            Line::Article(line) => Some(line),
            _ => None,
        });
        articles::step(&mut work, &articles).await?;
        let members = pick(lines, |line| match line {
            Line::Member(line) => Some(line),
            _ => None,
        });
        members::step(&mut work, &members).await?;
        let community_articles = pick(lines, |line| match line {
            Line::CommunityArticle(line) => Some(line),
            _ => None,
        });
        community_articles::step(&mut work, &community_articles).await?;
        let subscriptions = pick(lines, |line| match line {
            Line::Subscription(line) => Some(line),
            _ => None,
        });
        subscriptions::step(&mut work, &subscriptions).await?;
        Ok(work.outcomes)
    }
}

/// The lines of one kind, with their places in the batch.
fn pick<'a, T>(
    lines: &'a [Line],
    of_kind: impl Fn(&'a Line) -> Option<&'a T>,
) -> Vec<(usize, &'a T)> {
    let lines = lines.iter().enumerate();
    lines
        .filter_map(|(place, line)| Some((place, of_kind(line)?)))
        .collect()
}

/// Each value once.
fn distinct<T: Copy + Ord + Hash>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// Something by its key.
type By<K, V> = HashMap<K, V>;
