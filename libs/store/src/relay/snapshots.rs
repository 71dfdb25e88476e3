//! Users' snapshots as they stand now.

use std::collections::BTreeMap;

use crier_domain::snapshot::Membership;
use crier_domain::{ArticleId, CommunityId, OutboxId, Snapshot, UserId};

use crate::error::StoreError;
use crate::sql::{id_list, values};
use crate::store::Reader;

/// Everything that the users `$1` may receive. Rows of public communities come without `community_id` and are passed
/// over.
pub(crate) const SNAPSHOTS: &str =
    "SELECT u.id AS user_id, COALESCE(p.not_before, 0) AS not_before, c.id AS community_id,
        m.fence AS since, s.article_id, s.fence
    FROM {ids:1} u
    LEFT JOIN users p ON p.id = u.id {among:1 p.id}
    LEFT JOIN memberships m ON m.user_id = u.id {among:1 m.user_id}
    LEFT JOIN communities c ON c.id = m.community_id AND c.kind <> 'public'
    LEFT JOIN subscriptions s
        ON s.user_id = u.id {among:1 s.user_id} AND s.community_id = c.id AND s.is_active";

impl Reader {
    /// The snapshots of these users, from one statement and so of one moment. Every user asked for is in the answer,
    /// by ascending id and once, with an empty snapshot where nothing is followed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn snapshots(&self, users: &[UserId]) -> Result<Vec<(UserId, Snapshot)>, StoreError> {
        let mut snapshots: BTreeMap<UserId, Snapshot> = users
            .iter()
            .map(|user| (*user, Snapshot::default()))
            .collect();
        for row in self.db.all(SNAPSHOTS, values![id_list(users)]).await? {
            let snapshot = snapshots.entry(row.id("user_id")?).or_default();
            snapshot.not_before = row.number("not_before")? / 1000;
            let Some(community) = row.maybe_id::<CommunityId>("community_id")? else {
                continue;
            };
            let since = OutboxId(row.number("since")?);
            let membership = snapshot
                .communities
                .entry(community)
                .or_insert_with(|| Membership {
                    since,
                    articles: BTreeMap::new(),
                });
            if let Some(article) = row.maybe_id::<ArticleId>("article_id")? {
                let fence = OutboxId(row.number("fence")?);
                membership.articles.insert(article, fence);
            }
        }
        Ok(snapshots.into_iter().collect())
    }
}
