//! Everything one user may receive, as it stands on `user.<id>.subscriptions`.

use litemap::LiteMap;
use serde::{Deserialize, Serialize};

use crate::ids::{ArticleId, CommunityId, OutboxId};

/// The most entries (communities and articles together) of one user's snapshot, so that it fits one message.
pub const MAX_ENTRIES: usize = 20_000;

/// A user's communities and subscriptions with their fences. Empty for someone who follows nothing.
///
/// A gateway holds one for each user it has, reads it often and replaces it whole: sorted lists, for the least node of a
/// tree has room for eleven entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Tokens issued before this moment (Unix seconds) are refused; 0 for none.
    pub not_before: i64,
    /// The private and hidden communities the user is a member of.
    #[serde(with = "object")]
    pub communities: LiteMap<CommunityId, Membership>,
}

/// A user's place in one community.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The fence of the membership: only events with a greater outbox id count.
    pub since: OutboxId,
    /// The articles followed there, each with its subscription's fence.
    #[serde(with = "object")]
    pub articles: LiteMap<ArticleId, OutboxId>,
}

impl Snapshot {
    /// Reads the payload of a snapshot message.
    ///
    /// # Errors
    /// When it is not the JSON that [`Snapshot::encode`] makes.
    pub fn decode(payload: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(payload)
    }

    /// The payload of a snapshot message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Integer keys and values only: there is nothing in it that JSON can't hold.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// From which fence on events of the community count, or of the article followed there: both the membership and the
    /// subscription must have begun. None for whoever is not in the community, or doesn't follow the article.
    #[must_use]
    pub fn since(&self, community: CommunityId, article: Option<ArticleId>) -> Option<OutboxId> {
        let membership = self.communities.get(&community)?;
        match article {
            None => Some(membership.since),
            Some(article) => {
                let followed = membership.articles.get(&article)?;
                Some(membership.since.max(*followed))
            }
        }
    }

    /// How many communities and articles it lists, to be held against [`MAX_ENTRIES`].
    #[must_use]
    pub fn entries(&self) -> usize {
        self.communities
            .values()
            .map(|membership| 1 + membership.articles.len())
            .sum()
    }
}

/// A sorted list as a JSON object, an empty one too.
mod object {
    use std::collections::BTreeMap;

    use litemap::LiteMap;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &LiteMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(map.iter())
    }

    /// By way of a tree: its entries come sorted, and fill a list of just their number.
    pub(super) fn deserialize<'a, K, V, D>(deserializer: D) -> Result<LiteMap<K, V>, D::Error>
    where
        K: Deserialize<'a> + Ord,
        V: Deserialize<'a>,
        D: Deserializer<'a>,
    {
        let sorted = BTreeMap::deserialize(deserializer)?;
        let mut list = Vec::with_capacity(sorted.len());
        list.extend(sorted);
        Ok(LiteMap::from_sorted_store_unchecked(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_documented_one() {
        let text = r#"{"not_before":0,"communities":{"45":{"since":900,"articles":{"123":1000}}}}"#;
        let snapshot = Snapshot::decode(text.as_bytes()).unwrap();
        assert_eq!(snapshot.encode(), text.as_bytes());
        assert_eq!(snapshot.entries(), 2);
        let nothing = r#"{"not_before":0,"communities":{}}"#;
        assert_eq!(Snapshot::default().encode(), nothing.as_bytes());
    }

    #[test]
    fn events_of_an_article_count_since_the_later_of_both_fences() {
        let text =
            r#"{"not_before":0,"communities":{"45":{"since":900,"articles":{"1":1000,"2":800}}}}"#;
        let snapshot = Snapshot::decode(text.as_bytes()).unwrap();
        for (community, article, expected) in [
            (45, None, Some(900)),
            (45, Some(1), Some(1000)),
            (45, Some(2), Some(900)),
            (45, Some(3), None),
            (46, None, None),
        ] {
            let article = article.map(|id| ArticleId::try_from(id).unwrap());
            let since = snapshot.since(CommunityId::try_from(community).unwrap(), article);
            assert_eq!(since, expected.map(OutboxId), "{community} {article:?}");
        }
    }

    #[test]
    fn ids_that_are_none_are_refused() {
        for bad in [
            r#"{"communities":{"0":{"since":1}}}"#,
            r#"{"communities":{"x":{"since":1}}}"#,
            r#"{"communities":{"1":{}}}"#,
            "[]",
            "",
        ] {
            assert!(Snapshot::decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
