//! Users' snapshots as they stand now.

use std::collections::BTreeMap;

use crier_domain::snapshot::Membership;
use crier_domain::{ArticleId, CommunityId, OutboxId, Snapshot, UserId};

use crate::error::StoreError;
use crate::sql::{id_list, values};
use crate::store::Reader;

/// Everything that the users `$1` may receive: three kinds of rows, told apart by what is null. None is joined to
/// another kind here: no plan for that is good for a user of one community and for one of thousands.
pub(crate) const SNAPSHOTS: &str =
    "SELECT id AS user_id, not_before AS number, CAST(NULL AS BIGINT) AS community_id,
        CAST(NULL AS BIGINT) AS article_id
    FROM users WHERE {among:1 id}
    UNION ALL SELECT m.user_id, m.fence, m.community_id, NULL
    FROM memberships m JOIN communities c ON c.id = m.community_id AND c.kind <> 'public'
    WHERE {among:1 m.user_id}
    UNION ALL SELECT user_id, fence, community_id, article_id
    FROM subscriptions WHERE is_active AND {among:1 user_id}";

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
        let (mut memberships, mut followed) = (Vec::new(), Vec::new());
        for row in self.db.all(SNAPSHOTS, values![id_list(users)]).await? {
            let user: UserId = row.id("user_id")?;
            let number = row.number("number")?;
            let community: Option<CommunityId> = row.maybe_id("community_id")?;
            let article: Option<ArticleId> = row.maybe_id("article_id")?;
            match (community, article) {
                (None, _) => snapshots.entry(user).or_default().not_before = number / 1000,
                (Some(community), None) => {
                    memberships.push((user, community, OutboxId(number)));
                }
                (Some(community), Some(article)) => {
                    followed.push((user, community, article, OutboxId(number)));
                }
            }
        }
        // In order, so that each goes to the end of a snapshot's list.
        memberships.sort_unstable();
        followed.sort_unstable();
        for (user, community, since) in memberships {
            let membership = Membership {
                since,
                ..Membership::default()
            };
            let snapshot = snapshots.entry(user).or_default();
            snapshot.communities.insert(community, membership);
        }
        for (user, community, article, fence) in followed {
            let communities = snapshots.get_mut(&user).map(|user| &mut user.communities);
            // Nothing is received of a community without being its member.
            if let Some(membership) = communities.and_then(|all| all.get_mut(&community)) {
                membership.articles.insert(article, fence);
            }
        }
        Ok(snapshots.into_iter().collect())
    }
}
