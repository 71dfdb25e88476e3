//! The communities whose live copies are wanted. One that nobody needs any more lingers a while: a
//! reload of the page should not cost NATS an unsubscribe and a subscribe.

use std::collections::BTreeMap;
use std::time::Instant;

use crier_domain::CommunityId;

#[derive(Debug, Default)]
pub(crate) struct Interest(BTreeMap<CommunityId, Option<Instant>>);

/// What a community that is needed again must have done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Needed {
    /// It must be followed.
    Follow,
    /// It still is; its lingering, due at this moment, is over.
    Lingered(Instant),
    /// Nothing.
    Already,
}

impl Interest {
    pub(crate) fn need(&mut self, community: CommunityId) -> Needed {
        match self.0.insert(community, None) {
            None => Needed::Follow,
            Some(Some(until)) => Needed::Lingered(until),
            Some(None) => Needed::Already,
        }
    }

    /// Nobody needs it; it is kept `until` then.
    pub(crate) fn release(&mut self, community: CommunityId, until: Instant) {
        self.0.insert(community, Some(until));
    }

    /// Its lingering is over.
    pub(crate) fn end(&mut self, community: CommunityId) {
        self.0.remove(&community);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
