//! Members of communities. Every change adds the outbox row of the user whom it concerns.

use crier_domain::snapshot::MAX_ENTRIES;
use crier_domain::{CommunityId, UserId};

use crate::error::StoreError;
use crate::model::{Listed, Member, Page};
use crate::sql::{Row, now_ms, values};
use crate::store::{Reader, Store};
use crate::tx::Tx;
use crate::words::Role;

/// What became of adding a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// The user is a member now.
    New,
    /// The user was one before, with this role; nothing changed.
    Already(Role),
}

impl Reader {
    /// What this user is in the community; `None` for an outsider, and for a community that is not there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn role(
        &self,
        user: UserId,
        community: CommunityId,
    ) -> Result<Option<Role>, StoreError> {
        let sql = "SELECT role FROM memberships WHERE community_id = $1 AND user_id = $2";
        let values = values![community.get(), user.get()];
        let row = self.db.first(sql, values).await?;
        row.map(|row| row.word("role")).transpose()
    }

    /// The members, by ascending user id. Whoever asks has been found to be allowed to know them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn members(
        &self,
        community: CommunityId,
        page: Page<UserId>,
    ) -> Result<Vec<Member>, StoreError> {
        let sql = "SELECT m.user_id, u.username, m.role, m.joined_at
            FROM memberships m JOIN users u ON u.id = m.user_id
            WHERE m.community_id = $1 AND m.user_id > $2 ORDER BY m.user_id LIMIT $3";
        let after = page.after.map_or(0, i64::from);
        let values = values![community.get(), after, i64::from(page.limit)];
        let rows = self.db.all(sql, values).await?;
        rows.iter().map(read).collect()
    }

    /// One member.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_member(
        &self,
        community: CommunityId,
        user: UserId,
    ) -> Result<Option<Member>, StoreError> {
        let sql = "SELECT m.user_id, u.username, m.role, m.joined_at
            FROM memberships m JOIN users u ON u.id = m.user_id
            WHERE m.community_id = $1 AND m.user_id = $2";
        let values = values![community.get(), user.get()];
        let row = self.db.first(sql, values).await?;
        row.as_ref().map(read).transpose()
    }

    /// How many admins the community has. To be asked under its exclusive lock, for the last one stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_admins(&self, community: CommunityId) -> Result<u64, StoreError> {
        let sql =
            "SELECT COUNT(*) AS n FROM memberships WHERE community_id = $1 AND role = 'admin'";
        self.db
            .only(sql, values![community.get()])
            .await?
            .count("n")
    }
}

impl Store {
    /// As [`Reader::members`], with the log's position from before: what the list lacks comes after it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_members(
        &self,
        community: CommunityId,
        page: Page<UserId>,
    ) -> Result<Listed<Member>, StoreError> {
        let reader = self.read().await?;
        let position = reader.relay_position().await?;
        let items = reader.members(community, page).await?;
        Ok(Listed { items, position })
    }
}

impl Tx {
    /// How many communities this user is an admin of. To be asked before anything else is written: until the commit,
    /// no other transaction gets an answer for the same user, so that two can't both be the last that is allowed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_administered(&self, user: UserId) -> Result<u64, StoreError> {
        // A lock on the row, in words that both databases know.
        let sql = "UPDATE users SET username = username WHERE id = $1";
        self.db.run(sql, values![user.get()]).await?;
        let sql = "SELECT COUNT(*) AS n FROM memberships WHERE user_id = $1 AND role = 'admin'";
        self.db.only(sql, values![user.get()]).await?.count("n")
    }

    /// Makes the user a member, unless they are one.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the community's exclusive lock, [`StoreError::Missing`] for an unknown user
    /// or community, [`StoreError::TooManyEntries`].
    pub async fn add_member(
        &self,
        community: CommunityId,
        user: UserId,
        role: Role,
    ) -> Result<Joined, StoreError> {
        self.needs_exclusive(community)?;
        if let Some(role) = self.role(user, community).await? {
            return Ok(Joined::Already(role));
        }
        self.needs_room(user).await?;
        let fence = self.outbox_user(user, community).await?;
        let sql = "INSERT INTO memberships (community_id, user_id, role, fence, joined_at)
            VALUES ($1, $2, $3, $4, $5)";
        let values = values![
            community.get(),
            user.get(),
            role.as_str(),
            fence.0,
            now_ms()
        ];
        self.db.run(sql, values).await?;
        Ok(Joined::New)
    }

    /// Gives a member another role, which changes nothing of what they receive. `false`: no such member.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the community's exclusive lock.
    pub async fn set_role(
        &self,
        community: CommunityId,
        user: UserId,
        role: Role,
    ) -> Result<bool, StoreError> {
        self.needs_exclusive(community)?;
        let sql = "UPDATE memberships SET role = $3 WHERE community_id = $1 AND user_id = $2";
        let values = values![community.get(), user.get(), role.as_str()];
        Ok(self.db.run(sql, values).await? > 0)
    }

    /// Ends a membership and the subscriptions that hang on it. `false`: no such member.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the community's exclusive lock.
    pub async fn remove_member(
        &self,
        community: CommunityId,
        user: UserId,
    ) -> Result<bool, StoreError> {
        self.needs_exclusive(community)?;
        let sql = "DELETE FROM memberships WHERE community_id = $1 AND user_id = $2";
        let values = values![community.get(), user.get()];
        if self.db.run(sql, values).await? == 0 {
            return Ok(false);
        }
        self.end_subscriptions(user, community).await?;
        self.outbox_user(user, community).await?;
        Ok(true)
    }

    /// Whether one more membership or subscription fits the user's snapshot.
    ///
    /// Memberships of public communities count too, so that such a community can turn private at any time. Two
    /// transactions in two communities may overshoot by one each; the limit is well within what a message holds.
    pub(crate) async fn needs_room(&self, user: UserId) -> Result<(), StoreError> {
        let sql = "SELECT (SELECT COUNT(*) FROM memberships WHERE user_id = $1)
            + (SELECT COUNT(*) FROM subscriptions WHERE user_id = $1 AND is_active) AS n";
        let entries = self.db.only(sql, values![user.get()]).await?.count("n")?;
        if entries < MAX_ENTRIES as u64 {
            Ok(())
        } else {
            Err(StoreError::TooManyEntries)
        }
    }
}

fn read(row: &Row) -> Result<Member, StoreError> {
    Ok(Member {
        user_id: row.id("user_id")?,
        username: row.text("username")?,
        role: row.word("role")?,
        joined_at: row.moment("joined_at")?,
    })
}
