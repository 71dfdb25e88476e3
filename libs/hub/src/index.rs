//! Whom an event may concern: per community the connected users who are in it, per article those who
//! follow it, with what decides about each: since when events count for the user, and where the user is found. So an event
//! costs what its audience costs, and asks for nobody's snapshot. Who gets the event is [`crier_domain::receives_since`]'s
//! to say.

use std::collections::BTreeMap;

use crier_domain::log::{AudienceTag, EventHead};
use crier_domain::{ArticleId, CommunityId, OutboxId, UserId};

use crate::changes::Entry;
use crate::users::Place;

#[derive(Debug, Default)]
pub(crate) struct Index(BTreeMap<CommunityId, Concerned>);

#[derive(Debug, Default)]
struct Concerned {
    members: Audience,
    articles: BTreeMap<ArticleId, Audience>,
}

/// Connected users, in the order of their ids.
pub(crate) type Audience = BTreeMap<UserId, Listener>;

/// What the index knows of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listener {
    /// The fence of [`crier_domain::Snapshot::since`].
    pub(crate) since: OutboxId,
    pub(crate) place: Place,
}

impl Index {
    /// The user's snapshot now has this entry, with this fence. Whether the community is the first user's to need it.
    pub(crate) fn enter(
        &mut self,
        (community, article): Entry,
        user: UserId,
        listener: Listener,
    ) -> bool {
        let concerned = self.0.entry(community).or_default();
        let Some(article) = article else {
            let first = concerned.members.is_empty();
            return concerned.members.insert(user, listener).is_none() && first;
        };
        let followers = concerned.articles.entry(article).or_default();
        followers.insert(user, listener);
        false
    }

    /// The user's snapshot no longer has this entry. Whether nobody needs the community any more.
    pub(crate) fn leave(&mut self, (community, article): Entry, user: UserId) -> bool {
        let Some(concerned) = self.0.get_mut(&community) else {
            return false;
        };
        let was_last = match article {
            None => concerned.members.remove(&user).is_some() && concerned.members.is_empty(),
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
    pub(crate) fn concerned(&self, head: &EventHead) -> Option<&Audience> {
        let concerned = self.0.get(&head.community)?;
        match head.audience {
            AudienceTag::Members | AudienceTag::Users { .. } => Some(&concerned.members),
            AudienceTag::Subscribers => concerned.articles.get(&head.article?),
        }
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
        let listener = Listener {
            since: OutboxId(9),
            place: Place::default(),
        };
        let mut index = Index::default();
        assert!(index.enter((community, None), alice, listener));
        assert!(!index.enter((community, Some(article)), alice, listener));
        assert!(!index.enter((community, None), bob, listener));
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
