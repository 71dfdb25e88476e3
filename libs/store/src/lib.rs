//! All SQL: the community's data, subscriptions, the outbox and the relay's lease, on SQLite and PostgreSQL.
//!
//! | module | is |
//! |---|---|
//! | [`config`], `connect` | how to reach the database, and what to tell the operator when that fails |
//! | `migrate` | the schema brought up to date, or refused |
//! | [`store`] | [`Store`]: the open database; where reading and writing begin |
//! | [`tx`] | [`Tx`] and [`Locks`]: a writing transaction under the locks of its communities |
//! | [`words`], [`model`] | what the questions are answered with |
//! | [`access`], [`users`], [`communities`], [`members`], [`articles`], [`community_articles`], [`subscriptions`], [`auto_subscriptions`], [`discussions`], [`comments`] | one resource each: its questions on [`Reader`], its changes on [`Tx`] |
//! | [`repeats`] | calls that come again |
//! | [`mirror`] | bulk changes by an application that keeps its own data |
//! | [`outbox`] | rows for the relay, added by changes |
//! | [`relay`] | the relay's side of the outbox: lease, backlog, snapshots, marks |
//! | `wake` | telling the relay at once, here and in other processes |
//!
//! Three rules hold everything together:
//!
//! - Questions stand on [`Reader`], which [`Store`] and [`Tx`] dereference to: the same question can be asked in
//!   passing and again under the lock, where its answer stays true until the commit.
//! - A finder takes the user who asks and answers only what that user may know. There is no other finder, but for the
//!   application's own backend ([`mirror::found`]).
//! - Changes stand on [`Tx`], and each adds its own outbox rows. A change without the lock it needs is refused.

pub mod access;
pub mod articles;
pub mod auto_subscriptions;
pub mod comments;
pub mod communities;
pub mod community_articles;
pub mod config;
mod connect;
pub mod discussions;
pub mod error;
pub mod members;
mod migrate;
pub mod mirror;
pub mod model;
pub mod outbox;
#[cfg(test)]
mod plans;
pub mod relay;
pub mod repeats;
mod sql;
pub mod store;
pub mod subscriptions;
pub mod tx;
pub mod users;
mod wake;
pub mod words;

pub use access::Access;
pub use articles::ArticleRef;
pub use auto_subscriptions::AutoSubscribed;
pub use comments::NewComment;
pub use community_articles::{StatusChange, Submitted};
pub use config::DatabaseConfig;
pub use error::{DatabaseError, StoreError, Unavailable};
pub use members::Joined;
pub use model::{
    Article, Comment, Community, CommunityArticle, CommunityArticleView, CommunityView, Discussion,
    Edited, FollowedArticle, FollowedCommunity, Listed, Member, Page, Place, Subscription, User,
};
pub use relay::{OutboxChange, OutboxRow, Position, Term};
pub use repeats::{Claim, ClaimedIds, Hash};
pub use store::{Reader, Store};
pub use subscriptions::{Subscribed, SubscribedHow};
pub use tx::{Locks, Tx};
pub use words::{CommunityKind, Role, Status};
