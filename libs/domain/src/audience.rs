//! The rule: does this user get this event? One pure function, for live delivery and for resume.

use crate::ids::{OutboxId, UserId};
use crate::log::{AudienceTag, EventHead};
use crate::sabotage;
use crate::snapshot::Snapshot;

/// Whether `user`, who may receive what `snapshot` says, gets the event with this head.
///
/// `named` is the event's list of recipients in ascending order; it counts only for
/// [`AudienceTag::Users`] and is empty otherwise.
#[must_use]
pub fn receives(user: UserId, snapshot: &Snapshot, event: &EventHead, named: &[UserId]) -> bool {
    let article = match event.audience {
        AudienceTag::Members | AudienceTag::Users { .. } => None,
        AudienceTag::Subscribers if event.article.is_none() => return false,
        AudienceTag::Subscribers => event.article,
    };
    // Whatever the audience says: nobody outside a community gets its events.
    snapshot
        .since(event.community, article)
        .is_some_and(|since| receives_since(user, since, event, named))
}

/// [`receives`], for a user of whom it is known since when events of this audience count: the fence of
/// [`Snapshot::since`], for the article if subscribers are told, else for the community.
#[must_use]
pub fn receives_since(user: UserId, since: OutboxId, event: &EventHead, named: &[UserId]) -> bool {
    if event.exclude == Some(user) && !sabotage::makes("author-told") {
        return false;
    }
    let is_named = match event.audience {
        AudienceTag::Members | AudienceTag::Subscribers => true,
        AudienceTag::Users { .. } => named.binary_search(&user).is_ok(),
    };
    is_named && passes(event.fence, since)
}

/// Whether an event counts for what became active at this fence.
fn passes(event: OutboxId, since: OutboxId) -> bool {
    event > since || sabotage::makes("fence-skipped")
}

#[cfg(test)]
mod tests {
    use litemap::LiteMap;

    use proptest::prelude::*;

    use super::*;
    use crate::ids::{ArticleId, CommunityId, EventId, OutboxId, Seq};
    use crate::snapshot::Membership;

    fn user(id: i64) -> UserId {
        UserId::try_from(id).unwrap()
    }

    /// User 7 is a member of community 45 since 900 and follows article 123 there since 1000.
    fn snapshot() -> Snapshot {
        let articles = LiteMap::from_iter([(ArticleId::try_from(123).unwrap(), OutboxId(1000))]);
        let membership = Membership {
            since: OutboxId(900),
            articles,
        };
        Snapshot {
            not_before: 0,
            communities: LiteMap::from_iter([(CommunityId::try_from(45).unwrap(), membership)]),
        }
    }

    fn event(community: i64, article: Option<i64>, fence: i64, audience: AudienceTag) -> EventHead {
        EventHead {
            id: EventId::new(),
            fence: OutboxId(fence),
            prev: Seq::ZERO,
            community: CommunityId::try_from(community).unwrap(),
            article: article.map(|id| ArticleId::try_from(id).unwrap()),
            exclude: None,
            audience,
            reset: false,
            traceparent: None,
        }
    }

    #[test]
    fn the_rule_case_by_case() {
        use AudienceTag::{Members, Subscribers};
        let named = AudienceTag::Users { list_bytes: 3 };
        let cases: &[(&str, EventHead, &[i64], bool)] = &[
            (
                "a subscriber",
                event(45, Some(123), 1001, Subscribers),
                &[],
                true,
            ),
            (
                "at the article's fence",
                event(45, Some(123), 1000, Subscribers),
                &[],
                false,
            ),
            (
                "not followed",
                event(45, Some(124), 1001, Subscribers),
                &[],
                false,
            ),
            (
                "no article to follow",
                event(45, None, 1001, Subscribers),
                &[],
                false,
            ),
            (
                "another community's copy",
                event(46, Some(123), 1001, Subscribers),
                &[],
                false,
            ),
            ("a member", event(45, None, 901, Members), &[], true),
            (
                "a member, article not followed",
                event(45, Some(124), 901, Members),
                &[],
                true,
            ),
            (
                "at the community's fence",
                event(45, None, 900, Members),
                &[],
                false,
            ),
            ("no member", event(46, None, 901, Members), &[], false),
            ("named", event(45, None, 901, named), &[3, 7, 9], true),
            ("not named", event(45, None, 901, named), &[3, 9], false),
            ("named, no member", event(46, None, 901, named), &[7], false),
            (
                "named, before membership",
                event(45, None, 900, named),
                &[7],
                false,
            ),
        ];
        for (what, event, list, expected) in cases {
            let list: Vec<UserId> = list.iter().map(|id| user(*id)).collect();
            assert_eq!(
                receives(user(7), &snapshot(), event, &list),
                *expected,
                "{what}"
            );
            let own = EventHead {
                exclude: Some(user(7)),
                ..event.clone()
            };
            assert!(!receives(user(7), &snapshot(), &own, &list), "own: {what}");
        }
    }

    proptest! {
        /// Nobody outside a community gets its events, and a later fence never takes an event away.
        #[test]
        fn outsiders_never_and_fences_are_monotone(
            community in 44i64..47, article in prop::option::of(122i64..125), fence in 890i64..1010,
            kind in 0..3, list in prop::collection::btree_set(1i64..12, 0..5),
        ) {
            let list: Vec<UserId> = list.into_iter().map(user).collect();
            let audience = match kind {
                0 => AudienceTag::Members,
                1 => AudienceTag::Subscribers,
                _ => AudienceTag::Users { list_bytes: 1 },
            };
            let head = event(community, article, fence, audience);
            let got = receives(user(7), &snapshot(), &head, &list);
            prop_assert!(!got || community == 45);
            let later = EventHead { fence: OutboxId(fence + 1), ..head };
            prop_assert!(!got || receives(user(7), &snapshot(), &later, &list));
        }
    }
}
