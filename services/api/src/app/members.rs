//! Who is in a community, and as what. Each change holds the community's exclusive lock.

use crier_domain::{CommunityId, UserId};
use crier_store::{Joined, Locks, Page, Role, Tx};
use schemars::JsonSchema;
use serde::Serialize;

use super::access::{Access, Actor};
use super::error::{AppError, Conflict, Thing};
use super::list::last_event_id;
use super::view::{self, MemberView};
use super::{App, access};

/// A page of members.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct MembersView {
    members: Vec<MemberView>,
    last_event_id: Option<String>,
}

/// The members, by ascending user id.
pub(crate) async fn list(
    app: &App,
    user: UserId,
    community: CommunityId,
    page: Page<UserId>,
) -> Result<MembersView, AppError> {
    access::to(&app.store, user, community).await?.reads()?;
    let listed = app.store.list_members(community, page).await?;
    Ok(MembersView {
        members: view::all(listed.items),
        last_event_id: last_event_id(listed.position, &app.keys),
    })
}

/// Makes the caller a member of a public community, unless they are one of this one.
pub(crate) async fn join(
    app: &App,
    user: UserId,
    community: CommunityId,
) -> Result<MemberView, AppError> {
    let (tx, _) = access::begin(
        app,
        Locks::new().exclusive(community),
        user,
        community,
        Access::joins,
    )
    .await?;
    tx.add_member(community, user, Role::Member).await?;
    let member = member(&tx, community, user).await?;
    app.commit(tx).await?;
    Ok(member)
}

/// Ends the caller's membership and what they follow there. As often as one likes.
pub(crate) async fn leave(app: &App, user: UserId, community: CommunityId) -> Result<(), AppError> {
    let (tx, _) = access::begin(
        app,
        Locks::new().exclusive(community),
        user,
        community,
        Access::reads,
    )
    .await?;
    keep_last_admin(&tx, Actor::Person(user), community, user).await?;
    tx.remove_member(community, user).await?;
    app.commit(tx).await
}

/// An admin adds a user who is known to Crier, or gives a member another role.
pub(crate) async fn put(
    app: &App,
    admin: UserId,
    community: CommunityId,
    user: UserId,
    role: Role,
) -> Result<MemberView, AppError> {
    let (tx, _) = access::begin(
        app,
        Locks::new().exclusive(community),
        admin,
        community,
        Access::manages,
    )
    .await?;
    if tx.find_user(user).await?.is_none() {
        return Err(AppError::NoSuch(Thing::User));
    }
    match tx.add_member(community, user, role).await? {
        Joined::New if role == Role::Admin => {
            tx.subscribe_to_all_published(user, community).await?;
        }
        Joined::New => {}
        Joined::Already(_) => give(&tx, Actor::Person(admin), community, user, role).await?,
    }
    let member = member(&tx, community, user).await?;
    app.commit(tx).await?;
    Ok(member)
}

/// An admin, or the application's backend, gives a member another role.
pub(crate) async fn set_role(
    app: &App,
    actor: Actor,
    community: CommunityId,
    user: UserId,
    role: Role,
) -> Result<MemberView, AppError> {
    let tx = access::begin_as(
        app,
        Locks::new().exclusive(community),
        actor,
        community,
        Access::manages,
    )
    .await?;
    give(&tx, actor, community, user, role).await?;
    let member = member(&tx, community, user).await?;
    app.commit(tx).await?;
    Ok(member)
}

/// An admin, or the application's backend, ends a membership, and with it what the member follows there.
pub(crate) async fn remove(
    app: &App,
    actor: Actor,
    community: CommunityId,
    user: UserId,
) -> Result<(), AppError> {
    let tx = access::begin_as(
        app,
        Locks::new().exclusive(community),
        actor,
        community,
        Access::manages,
    )
    .await?;
    keep_last_admin(&tx, actor, community, user).await?;
    if !tx.remove_member(community, user).await? {
        return Err(AppError::NoSuch(Thing::Member));
    }
    app.commit(tx).await
}

/// Sets a member's role; who becomes an admin follows every published article.
async fn give(
    tx: &Tx,
    actor: Actor,
    community: CommunityId,
    user: UserId,
    role: Role,
) -> Result<(), AppError> {
    let before = tx.role(user, community).await?;
    let before = before.ok_or(AppError::NoSuch(Thing::Member))?;
    if before == role {
        return Ok(());
    }
    keep_last_admin(tx, actor, community, user).await?;
    tx.set_role(community, user, role).await?;
    if role == Role::Admin {
        tx.subscribe_to_all_published(user, community).await?;
    }
    Ok(())
}

/// Refuses if this user is the only admin. To be asked before their role or membership ends. A backend that mirrors
/// may remove them: whether another comes first or after depends on nothing but the order of its calls.
async fn keep_last_admin(
    tx: &Tx,
    actor: Actor,
    community: CommunityId,
    user: UserId,
) -> Result<(), AppError> {
    if actor == Actor::Backend {
        return Ok(());
    }
    let is_admin = tx.role(user, community).await? == Some(Role::Admin);
    if is_admin && tx.count_admins(community).await? <= 1 {
        return Err(AppError::Conflict(Conflict::LastAdmin));
    }
    Ok(())
}

async fn member(tx: &Tx, community: CommunityId, user: UserId) -> Result<MemberView, AppError> {
    let found = tx.find_member(community, user).await?;
    found
        .map(MemberView::from)
        .ok_or(AppError::NoSuch(Thing::Member))
}
