//! Communities, and what a change of their kind means for their members.

use std::collections::BTreeMap;

use crier_domain::{CommunityId, UserId};
use serde_json::json;

use crate::auto_subscriptions::{AutoSubscribed, Cause};
use crate::error::StoreError;
use crate::model::{Community, CommunityView, Listed, Page};
use crate::outbox::Fences;
use crate::sql::{Row, id_list, row_list, values};
use crate::store::{Reader, Store};
use crate::tx::Tx;
use crate::words::{CommunityKind, Role};

/// A community `c` and the membership `m` that the user `$1` has in it, if any.
const VIEW: &str = "SELECT c.id, c.name, c.kind, m.role,
        (SELECT COUNT(*) FROM memberships x WHERE x.community_id = c.id) AS member_count
    FROM communities c LEFT JOIN memberships m ON m.community_id = c.id AND m.user_id = $1";

impl Reader {
    /// The community, if this user may know of it: a hidden one only as a member. What is in a private one is
    /// nevertheless for members alone: see [`CommunityView::role`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_community(
        &self,
        user: UserId,
        id: CommunityId,
    ) -> Result<Option<CommunityView>, StoreError> {
        let sql =
            format!("{VIEW} WHERE c.id = $2 AND (c.kind <> 'hidden' OR m.user_id IS NOT NULL)");
        let row = self.db.first(&sql, values![user.get(), id.get()]).await?;
        row.as_ref().map(read_view).transpose()
    }

    /// The communities of this user and all public ones, by ascending id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn communities(
        &self,
        user: UserId,
        page: Page<CommunityId>,
    ) -> Result<Vec<CommunityView>, StoreError> {
        let sql = format!(
            "{VIEW} WHERE c.id > $2 AND (c.kind = 'public' OR m.user_id IS NOT NULL)
            ORDER BY c.id LIMIT $3"
        );
        let after = page.after.map_or(0, i64::from);
        let values = values![user.get(), after, i64::from(page.limit)];
        let rows = self.db.all(&sql, values).await?;
        rows.iter().map(read_view).collect()
    }

    /// Of what kind these communities are; those that are not there are left out. For the application's own backend,
    /// which may know of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn community_kinds(
        &self,
        ids: &[CommunityId],
    ) -> Result<BTreeMap<CommunityId, CommunityKind>, StoreError> {
        let sql = "SELECT c.id, c.kind FROM communities c JOIN {ids:1} i ON i.id = c.id";
        let rows = self.db.all(sql, values![id_list(ids)]).await?;
        rows.iter()
            .map(|row| Ok((row.id("id")?, row.word("kind")?)))
            .collect()
    }
}

impl Store {
    /// As [`Reader::communities`], with the log's position from before: what the list lacks comes after it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_communities(
        &self,
        user: UserId,
        page: Page<CommunityId>,
    ) -> Result<Listed<CommunityView>, StoreError> {
        let reader = self.read().await?;
        let position = reader.relay_position().await?;
        let items = reader.communities(user, page).await?;
        Ok(Listed { items, position })
    }
}

impl Tx {
    /// Makes a community, whose first admin is `creator`. This transaction then counts as holding its exclusive
    /// lock: nobody else can know of it before the commit.
    ///
    /// # Errors
    /// [`StoreError::Missing`] for an unknown user, [`StoreError::TooManyEntries`].
    pub async fn create_community(
        &self,
        creator: UserId,
        name: &str,
        kind: CommunityKind,
    ) -> Result<Community, StoreError> {
        let sql = "INSERT INTO communities (name, kind) VALUES ($1, $2) RETURNING id, name, kind";
        let row = self.db.only(sql, values![name, kind.as_str()]).await?;
        let community = read(&row)?;
        self.made(community.id);
        self.add_member(community.id, creator, Role::Admin).await?;
        Ok(community)
    }

    /// Gives the community another name. `false`: there is no such community.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rename_community(&self, id: CommunityId, name: &str) -> Result<bool, StoreError> {
        let sql = "UPDATE communities SET name = $2 WHERE id = $1";
        Ok(self.db.run(sql, values![id.get(), name]).await? > 0)
    }

    /// Makes the community public, private or hidden. Turned public, all its subscriptions end. Turned from public,
    /// its memberships become active anew and its admins follow every published article.
    ///
    /// `None`: there is no such community. Otherwise what was subscribed automatically.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the community's exclusive lock.
    pub async fn set_community_kind(
        &self,
        id: CommunityId,
        kind: CommunityKind,
    ) -> Result<Option<AutoSubscribed>, StoreError> {
        self.needs_exclusive(id)?;
        let sql = "SELECT id, name, kind FROM communities WHERE id = $1";
        let Some(row) = self.db.first(sql, values![id.get()]).await? else {
            return Ok(None);
        };
        let before = read(&row)?.kind;
        let sql = "UPDATE communities SET kind = $2 WHERE id = $1";
        self.db.run(sql, values![id.get(), kind.as_str()]).await?;
        let mut fences = Fences::default();
        match (before, kind) {
            (CommunityKind::Public, CommunityKind::Private | CommunityKind::Hidden) => {
                Ok(Some(self.leave_public(&[id], &mut fences).await?))
            }
            (CommunityKind::Private | CommunityKind::Hidden, CommunityKind::Public) => {
                self.turn_public(&[id], &mut fences).await?;
                Ok(Some(AutoSubscribed::default()))
            }
            _ => Ok(Some(AutoSubscribed::default())),
        }
    }

    /// For communities that are no longer public: they enter all their members' snapshots, one row each, which is the
    /// membership's fence, and their admins follow every published article.
    pub(crate) async fn leave_public(
        &self,
        ids: &[CommunityId],
        fences: &mut Fences,
    ) -> Result<AutoSubscribed, StoreError> {
        let members = self.members_of(ids).await?;
        fences.add(self, members.iter().copied()).await?;
        let mut rows = Vec::with_capacity(members.len());
        for (community, user) in members {
            rows.push(json!([community, user, fences.of(community, user)?]));
        }
        let sql =
            "UPDATE memberships SET fence = f.fence FROM {rows:1 community_id user_id fence} f
            WHERE memberships.community_id = f.community_id AND memberships.user_id = f.user_id";
        self.db.run(sql, values![row_list(rows)]).await?;
        let cause = Cause::Opened(ids.to_vec());
        self.auto_subscribe(&cause, fences).await
    }

    /// For communities that are public now: they leave all snapshots, and nobody follows anything there.
    pub(crate) async fn turn_public(
        &self,
        ids: &[CommunityId],
        fences: &mut Fences,
    ) -> Result<(), StoreError> {
        self.end_all_subscriptions(ids).await?;
        let members = self.members_of(ids).await?;
        fences.add(self, members).await
    }

    async fn members_of(
        &self,
        ids: &[CommunityId],
    ) -> Result<Vec<(CommunityId, UserId)>, StoreError> {
        let sql = "SELECT m.community_id, m.user_id FROM memberships m
            JOIN {ids:1} c ON c.id = m.community_id ORDER BY m.community_id, m.user_id";
        let rows = self.db.all(sql, values![id_list(ids)]).await?;
        rows.iter()
            .map(|row| Ok((row.id("community_id")?, row.id("user_id")?)))
            .collect()
    }
}

fn read(row: &Row) -> Result<Community, StoreError> {
    Ok(Community {
        id: row.id("id")?,
        name: row.text("name")?,
        kind: row.word("kind")?,
    })
}

pub(crate) fn read_view(row: &Row) -> Result<CommunityView, StoreError> {
    Ok(CommunityView {
        community: read(row)?,
        role: row.maybe_word("role")?,
        member_count: row.count("member_count")?,
    })
}
