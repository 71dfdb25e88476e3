//! What each client had to get, could get and must not get, by what stood in the rows and when it read what.
//!
//! Rows are in the order of commits. An event is for a user if the rule says so by what the rows before it made of the
//! user's rights; what comes after it can only take it away again. The rule stands here once more in words of its own,
//! so that a mistake in the crate's would be seen.

use std::collections::{BTreeMap, BTreeSet};

use crier_domain::log::{AudienceTag, EventHead, Head};
use crier_domain::{Seq, Snapshot, UserId};

use super::Whole;
use super::client::{Client, What};
use crate::log::Entry;

/// An event of the log, and whom it names.
struct Told {
    head: EventHead,
    named: Vec<UserId>,
}

impl Told {
    fn is_for(&self, user: UserId, rights: &Snapshot) -> bool {
        let Some(membership) = rights.communities.get(&self.head.community) else {
            return false;
        };
        let follows = |article| {
            let since = membership.articles.get(&article);
            since.is_some_and(|since| since.0 < self.head.fence.0)
        };
        let is_meant = match self.head.audience {
            AudienceTag::Members => true,
            AudienceTag::Subscribers => self.head.article.is_some_and(follows),
            AudienceTag::Users { .. } => self.named.contains(&user),
        };
        is_meant && membership.since.0 < self.head.fence.0 && self.head.exclude != Some(user)
    }
}

struct Oracle {
    /// By their place in the log.
    events: BTreeMap<Seq, Told>,
    /// The rights of users as each of their rows left them.
    history: BTreeMap<i64, (UserId, Snapshot)>,
}

impl Whole {
    pub(super) fn check(&self) {
        let entries = self.world.log.entries();
        let oracle = Oracle {
            events: entries.iter().filter_map(told).collect(),
            history: self.world.db.with(|state| state.history.clone()),
        };
        for (nth, client) in self.clients.iter().enumerate() {
            oracle.order(nth, client);
            oracle.leaks(nth, client);
            oracle.losses(nth, client);
        }
    }
}

fn told(entry: &Entry) -> Option<(Seq, Told)> {
    let (_, Head::Event(head)) = entry.head() else {
        return None;
    };
    let named = if head.reset {
        Vec::new()
    } else {
        head.open(&entry.message.payload).expect("an event").0
    };
    Some((entry.seq, Told { head, named }))
}

impl Oracle {
    /// Cursors rise on each connection, and no event comes twice over all of them.
    fn order(&self, nth: usize, client: &Client) {
        let mut last = (0, Seq::ZERO);
        let mut seen = BTreeSet::new();
        for read in &client.read {
            if read.what != What::Ready && read.connection == last.0 {
                assert!(read.at > last.1, "client {nth}: {read:?} after {last:?}");
            }
            if matches!(read.what, What::Event(_) | What::Lost) {
                assert!(seen.insert(read.at), "client {nth}: {read:?} came twice");
            }
            last = (read.connection, read.at);
        }
    }

    /// What was read is what stands there, and was for this user when it was committed.
    fn leaks(&self, nth: usize, client: &Client) {
        for read in &client.read {
            let told = self.events.get(&read.at);
            match read.what {
                What::Event(row) => {
                    let told = told.expect("an event stands there");
                    assert_eq!(told.head.fence.0, row, "client {nth}: {read:?}");
                    let rights = self.rights(client.user, row);
                    assert!(
                        told.is_for(client.user, &rights),
                        "client {nth}: {read:?} is not for it"
                    );
                }
                What::Lost => {
                    let is_lost = told.is_some_and(|told| told.head.reset);
                    assert!(is_lost, "client {nth}: {read:?} is not lost");
                }
                What::Ready | What::Moved => {}
            }
        }
    }

    /// What a client has read past, or could have by the end, and was for its user from the event's commit until
    /// then, it has read.
    fn losses(&self, nth: usize, client: &Client) {
        let begun = client.read.first().expect("everybody was ready").at;
        let got: BTreeSet<Seq> = client
            .read
            .iter()
            .filter(|read| matches!(read.what, What::Event(_) | What::Lost))
            .map(|read| read.at)
            .collect();
        for (seq, told) in self.events.range(begun.next()..) {
            let passed = client
                .read
                .iter()
                .find(|read| read.at >= *seq && read.what != What::Ready);
            let until = passed.map_or(i64::MAX, |read| read.rows);
            if !got.contains(seq) && self.was_for(client.user, told, until) {
                panic!(
                    "client {nth} never got what stands at {seq}: {:?}",
                    told.head
                );
            }
        }
    }

    /// Whether the event was for the user from its commit until the row `until`.
    fn was_for(&self, user: UserId, told: &Told, until: i64) -> bool {
        let row = told.head.fence.0;
        let later = self.history.range(row..);
        let later = later.filter(|(at, (whose, _))| *whose == user && **at <= until);
        let later = later.map(|(_, (_, rights))| rights);
        let first = self.rights(user, row);
        let mut all = std::iter::once(&first).chain(later);
        all.all(|rights| told.is_for(user, rights))
    }

    /// What the user might receive when this row was committed.
    fn rights(&self, user: UserId, row: i64) -> Snapshot {
        let mut before = self.history.range(..row).rev();
        let last = before.find(|(_, (whose, _))| *whose == user);
        last.map_or_else(Snapshot::default, |(_, (_, rights))| rights.clone())
    }
}
