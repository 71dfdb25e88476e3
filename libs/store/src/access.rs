//! Where a user stands in a community, without anything else that is known of it: asked with every call.

use crier_domain::{CommunityId, UserId};

use crate::error::StoreError;
use crate::sql::values;
use crate::store::Reader;
use crate::words::{CommunityKind, Role};

/// Where a user stands in a community that they may know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Who sees the community.
    pub kind: CommunityKind,
    /// What the user is in it; `None` for an outsider.
    pub role: Option<Role>,
}

impl Reader {
    /// Where this user stands; `None` for a community that is not there, and alike for outsiders of a hidden one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn access(
        &self,
        user: UserId,
        community: CommunityId,
    ) -> Result<Option<Access>, StoreError> {
        let sql = "SELECT c.kind, m.role FROM communities c
            LEFT JOIN memberships m ON m.community_id = c.id AND m.user_id = $1
            WHERE c.id = $2 AND (c.kind <> 'hidden' OR m.user_id IS NOT NULL)";
        let values = values![user.get(), community.get()];
        let Some(row) = self.db.first(sql, values).await? else {
            return Ok(None);
        };
        Ok(Some(Access {
            kind: row.word("kind")?,
            role: row.maybe_word("role")?,
        }))
    }
}
