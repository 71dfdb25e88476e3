//! Who may do what in a community. Every use case that is about one begins here; a use case that writes asks
//! inside its transaction, where the answer stays true until the commit.

use crier_domain::{CommunityId, UserId};
use crier_store::{self as store, CommunityKind, Locks, Reader, Role, Tx};

use super::App;
use super::error::{AppError, Forbidden, Rule, Thing};

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Actor {
    /// A person, who may do what their role allows.
    Person(UserId),
    /// The application's own backend, which owns the truth: it may do everything.
    Backend,
}

/// A user's standing in a community that they may know of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access(store::Access);

/// Where this user stands.
///
/// # Errors
/// [`Thing::Community`] for one that does not exist, and alike for outsiders of a hidden one.
pub(super) async fn to(
    reader: &Reader,
    user: UserId,
    community: CommunityId,
) -> Result<Access, AppError> {
    let found = reader.access(user, community).await?;
    found.map(Access).ok_or(AppError::NoSuch(Thing::Community))
}

/// Begins a transaction in which this user may do what `allowed` asks for.
///
/// It is asked before the lock is waited for, so that nobody holds up a community that is not theirs, and again
/// under the lock, where the answer stays true until the commit.
///
/// # Errors
/// As [`to`], and what `allowed` says.
pub(super) async fn begin(
    app: &App,
    locks: Locks,
    user: UserId,
    community: CommunityId,
    allowed: fn(Access) -> Result<Access, AppError>,
) -> Result<(Tx, Access), AppError> {
    allowed(to(&app.store, user, community).await?)?;
    let tx = app.begin(locks).await?;
    let access = allowed(to(&tx, user, community).await?)?;
    Ok((tx, access))
}

/// As [`begin`], for whoever acts: the backend needs nothing but that the community is there.
///
/// # Errors
/// As [`begin`].
pub(super) async fn begin_as(
    app: &App,
    locks: Locks,
    actor: Actor,
    community: CommunityId,
    allowed: fn(Access) -> Result<Access, AppError>,
) -> Result<Tx, AppError> {
    match actor {
        Actor::Person(user) => Ok(begin(app, locks, user, community, allowed).await?.0),
        Actor::Backend => {
            let tx = app.begin(locks).await?;
            let found = tx.any_community(community).await?;
            found.ok_or(AppError::NoSuch(Thing::Community))?;
            Ok(tx)
        }
    }
}

impl Access {
    /// Members read, and everyone in a public community.
    pub(super) fn reads(self) -> Result<Self, AppError> {
        if self.0.role.is_some() || self.0.kind == CommunityKind::Public {
            Ok(self)
        } else {
            Err(AppError::Forbidden(Forbidden::Outsider))
        }
    }

    /// Members write.
    pub(super) fn writes(self) -> Result<Self, AppError> {
        if self.0.role.is_some() {
            Ok(self)
        } else {
            Err(AppError::Forbidden(Forbidden::Outsider))
        }
    }

    /// Authors may; of what others wrote, moderators and admins may delete.
    pub(super) fn deletes(self, is_author: bool) -> Result<Self, AppError> {
        match self.0.role {
            Some(Role::Moderator | Role::Admin) => Ok(self),
            Some(_) if is_author => Ok(self),
            Some(_) => Err(AppError::Forbidden(Forbidden::NotYoursToDelete)),
            None => Err(AppError::Forbidden(Forbidden::Outsider)),
        }
    }

    /// Authors change what they wrote, as long as they are members.
    pub(super) fn edits(self, is_author: bool) -> Result<Self, AppError> {
        if is_author {
            self.writes()
        } else {
            Err(AppError::Forbidden(Forbidden::NotYours))
        }
    }

    /// Admins manage.
    pub(super) fn manages(self) -> Result<Self, AppError> {
        match self.0.role {
            Some(Role::Admin) => Ok(self),
            Some(_) => Err(AppError::Forbidden(Forbidden::Unprivileged)),
            None => Err(AppError::Forbidden(Forbidden::Outsider)),
        }
    }

    /// Members follow, and only where there are events.
    pub(super) fn follows(self) -> Result<Self, AppError> {
        if self.has_events() {
            self.writes()
        } else {
            Err(AppError::Rule(Rule::PublicCommunity))
        }
    }

    /// Members are in already, and everyone may join a public community.
    pub(super) fn joins(self) -> Result<Self, AppError> {
        if self.reads().is_ok() {
            Ok(self)
        } else {
            Err(AppError::Forbidden(Forbidden::Uninvited))
        }
    }

    /// Public communities have neither subscriptions nor events.
    pub(super) fn has_events(self) -> bool {
        self.0.kind != CommunityKind::Public
    }
}
