//! Whom an event may concern: per community the connected users who are in it, per article those who
//! follow it. Only whom to ask about; who gets the event is [`crier_domain::receives`]'s to say.

use std::collections::{BTreeMap, BTreeSet};

use crier_domain::log::{AudienceTag, EventHead};
use crier_domain::{ArticleId, CommunityId, UserId};

use crate::changes::Entry;

#[derive(Debug, Default)]
pub(crate) struct Index(BTreeMap<CommunityId, Concerned>);

#[derive(Debug, Default)]
struct Concerned {
    members: BTreeSet<UserId>,
    articles: BTreeMap<ArticleId, BTreeSet<UserId>>,
}

impl Index {
    /// The user's snapshot now has this entry. Whether the community is the first user's to need it.
    pub(crate) fn enter(&mut self, (community, article): Entry, user: UserId) -> bool {
        let concerned = self.0.entry(community).or_default();
        let Some(article) = article else {
            let first = concerned.members.is_empty();
            return concerned.members.insert(user) && first;
        };
        concerned.articles.entry(article).or_default().insert(user);
        false
    }

    /// The user's snapshot no longer has this entry. Whether nobody needs the community any more.
    pub(crate) fn leave(&mut self, (community, article): Entry, user: UserId) -> bool {
        let Some(concerned) = self.0.get_mut(&community) else {
            return false;
        };
        let was_last = match article {
            None => concerned.members.remove(&user) && concerned.members.is_empty(),
            Some(article) => {
                if let Some(followers) = concerned.articles.get_mut(&article) {
                    followers.remove(&user);
                    if followers.is_empty() {
                        concerned.articles.remove(&article);
                    }
                }
                false
            }
        };
        if concerned.members.is_empty() && concerned.articles.is_empty() {
            self.0.remove(&community);
        }
        was_last
    }

    /// Everyone here whom an event with this head may concern.
    pub(crate) fn concerned(&self, head: &EventHead) -> impl Iterator<Item = UserId> {
        let community = self.0.get(&head.community);
        let users = community.and_then(|concerned| match head.audience {
            AudienceTag::Members | AudienceTag::Users { .. } => Some(&concerned.members),
            AudienceTag::Subscribers => concerned.articles.get(&head.article?),
        });
        users.into_iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_community_is_needed_from_the_first_user_to_the_last() {
        let community = CommunityId::try_from(45).unwrap();
        let article = ArticleId::try_from(1).unwrap();
        let [alice, bob] = [7, 8].map(|id| UserId::try_from(id).unwrap());
        let mut index = Index::default();
        assert!(index.enter((community, None), alice));
        assert!(!index.enter((community, Some(article)), alice));
        assert!(!index.enter((community, None), bob));
        assert!(!index.leave((community, Some(article)), alice));
        assert!(!index.leave((community, None), alice));
        assert!(
            !index.leave((community, None), alice),
            "it has left already"
        );
        assert!(index.leave((community, None), bob));
        assert!(index.0.is_empty(), "nothing is left behind");
    }
}
