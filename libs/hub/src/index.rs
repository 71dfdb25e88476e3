//! Whom an event may concern: per community the connected users who are in it, per article those who
//! follow it, by where they are kept, with what decides about each: since when events count for the user. So an event
//! costs what its audience costs, and asks for nobody's snapshot. Who gets the event is [`crier_domain::receives_since`]'s
//! to say.

use std::collections::BTreeMap;

use crier_domain::log::{AudienceTag, EventHead};
use crier_domain::{ArticleId, CommunityId, OutboxId, UserId};

use crate::audience::Audience;
use crate::changes::Entry;
use crate::users::Place;

#[derive(Debug, Default)]
pub(crate) struct Index(BTreeMap<CommunityId, Concerned>);

#[derive(Debug, Default)]
struct Concerned {
    members: Audience,
    articles: BTreeMap<ArticleId, Audience>,
}

/// What the index knows of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listener {
    /// The fence of [`crier_domain::Snapshot::since`].
    pub(crate) since: OutboxId,
    pub(crate) user: UserId,
}

impl Index {
    /// The snapshot of the user in this place now has this entry, with this fence. Whether the community is the first user's to
    /// need it.
    pub(crate) fn enter(
        &mut self,
        (community, article): Entry,
        place: Place,
        listener: Listener,
    ) -> bool {
        let concerned = self.0.entry(community).or_default();
        let Some(article) = article else {
            let first = concerned.members.is_empty();
            return concerned.members.insert(place, listener) && first;
        };
        let followers = concerned.articles.entry(article).or_default();
        followers.insert(place, listener);
        false
    }

    /// The snapshot of the user in this place no longer has this entry. Whether nobody needs the community any more.
    pub(crate) fn leave(&mut self, (community, article): Entry, place: Place) -> bool {
        let Some(concerned) = self.0.get_mut(&community) else {
            return false;
        };
        let was_last = match article {
            None => concerned.members.remove(place) && concerned.members.is_empty(),
            Some(article) => {
                if let Some(followers) = concerned.articles.get_mut(&article) {
                    followers.remove(place);
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
        let [alice, bob] = [Place(0), Place(1)];
        let listener = Listener {
            since: OutboxId(9),
            user: UserId::try_from(7).unwrap(),
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
