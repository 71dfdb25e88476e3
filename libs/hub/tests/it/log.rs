//! A log as the relay would write it, which the model knows from end to end.

use std::collections::BTreeMap;

use bytes::Bytes;
use crier_domain::log::{AudienceTag, EventHead, Head};
use crier_domain::{ArticleId, CommunityId, Epoch, EventId, OutboxId, Seq, Snapshot, UserId};

pub(crate) const EPOCH: Epoch = Epoch::from_bits(1);

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) seq: Seq,
    pub(crate) head: Head,
    pub(crate) payload: Bytes,
    /// What clients read.
    pub(crate) body: String,
    pub(crate) named: Vec<UserId>,
    /// Of a snapshot.
    pub(crate) snapshot: Snapshot,
    /// The log no longer has it, though the spine has brought it.
    pub(crate) purged: bool,
    /// Its time to live is over, as that of everything before it.
    pub(crate) expired: bool,
}

impl Entry {
    pub(crate) fn is_gone(&self) -> bool {
        self.purged || self.expired
    }

    pub(crate) fn event(&self) -> Option<&EventHead> {
        match &self.head {
            Head::Event(head) => Some(head),
            Head::Snapshot(_) | Head::Mark => None,
        }
    }
}

/// A new event, before it has its place.
#[derive(Debug, Clone)]
pub(crate) struct NewEvent {
    pub(crate) community: CommunityId,
    pub(crate) article: Option<ArticleId>,
    pub(crate) audience: NewAudience,
    pub(crate) exclude: Option<UserId>,
    /// How much older than the newest outbox row it is.
    pub(crate) age: i64,
    pub(crate) reset: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum NewAudience {
    Subscribers,
    Members,
    Users(Vec<UserId>),
}

/// How a user's rights change.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Community(CommunityId),
    Article(CommunityId, ArticleId),
    /// Left and joined again between two snapshots, with or without all that was followed there.
    Again(CommunityId, bool),
    /// Tokens issued before this second no longer count.
    Withdraw(i64),
    /// The same as before is published again.
    Nothing,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Entry>,
    rights: BTreeMap<UserId, Snapshot>,
    outbox: i64,
    end: Seq,
}

impl Log {
    pub(crate) fn end(&self) -> Seq {
        self.end
    }

    fn write(&mut self, head: Head, payload: Bytes, gap: u64) -> &mut Entry {
        self.end = Seq(self.end.0 + 1 + gap);
        self.entries.push(Entry {
            seq: self.end,
            head,
            payload,
            body: String::new(),
            named: Vec::new(),
            snapshot: Snapshot::default(),
            purged: false,
            expired: false,
        });
        self.entries.last_mut().unwrap()
    }

    pub(crate) fn mark(&mut self, gap: u64) {
        self.write(Head::Mark, Bytes::from_static(b"{}"), gap);
    }

    pub(crate) fn event(&mut self, new: &NewEvent, gap: u64) -> Seq {
        self.outbox += 1;
        let (named, list) = match &new.audience {
            NewAudience::Users(users) => (users.clone(), serde_json::to_string(users).unwrap()),
            _ => (Vec::new(), String::new()),
        };
        let audience = match new.audience {
            NewAudience::Subscribers => AudienceTag::Subscribers,
            NewAudience::Members => AudienceTag::Members,
            NewAudience::Users(_) => AudienceTag::Users {
                list_bytes: list.len(),
            },
        };
        // The relay remembers the last one; one that was started since asks the log.
        let last = self.last_event(new.community);
        let prev = last.filter(|last| !last.expired || last.seq.0 % 2 == 1);
        let head = EventHead {
            id: EventId::new(),
            fence: OutboxId(self.outbox - new.age),
            prev: prev.map_or(Seq::ZERO, |prev| prev.seq),
            community: new.community,
            article: new.article,
            exclude: new.exclude,
            audience,
            reset: new.reset,
            traceparent: None,
        };
        let body = format!("{{\"n\":{}}}", self.end.0 + 1 + gap);
        let payload = Bytes::from(format!("{list}{body}"));
        let entry = self.write(Head::Event(head), payload, gap);
        entry.named = named;
        entry.body = body;
        entry.seq
    }

    /// Changes what the user may receive and writes the snapshot.
    pub(crate) fn change(&mut self, user: UserId, change: &Change, gap: u64) {
        self.outbox += 1;
        let fence = OutboxId(self.outbox);
        let rights = self.rights.entry(user).or_default();
        match change {
            Change::Community(community) => {
                if rights.communities.remove(community).is_none() {
                    rights.communities.entry(*community).or_default().since = fence;
                }
            }
            Change::Article(community, article) => {
                if let Some(membership) = rights.communities.get_mut(community)
                    && membership.articles.remove(article).is_none()
                {
                    membership.articles.insert(*article, fence);
                }
            }
            Change::Again(community, all) => {
                if let Some(membership) = rights.communities.get_mut(community) {
                    membership.since = fence;
                }
                if let Some(membership) = rights.communities.get_mut(community).filter(|_| *all) {
                    membership
                        .articles
                        .iter_mut()
                        .for_each(|(_, since)| *since = fence);
                }
            }
            Change::Withdraw(before) => rights.not_before = rights.not_before.max(*before),
            Change::Nothing => {}
        }
        let snapshot = rights.clone();
        let entry = self.write(Head::Snapshot(user), Bytes::from(snapshot.encode()), gap);
        entry.snapshot = snapshot;
    }

    /// The user's last snapshot up to `seq`.
    pub(crate) fn standing(&self, user: UserId, seq: Seq) -> Option<(Seq, &Snapshot)> {
        let upto = self.entries.partition_point(|entry| entry.seq <= seq);
        let mut before = self.entries[..upto].iter().rev();
        before
            .find(|entry| entry.head == Head::Snapshot(user))
            .map(|entry| (entry.seq, &entry.snapshot))
    }

    /// Takes the message away, as its time to live or the relay's purging does: events, and snapshots
    /// that a newer one has replaced.
    pub(crate) fn purge(&mut self, at: usize) {
        let seq = self.entries[at].seq;
        let may_go = match &self.entries[at].head {
            Head::Snapshot(user) => {
                let (last, _) = self.standing(*user, self.end).unwrap();
                last > seq
            }
            Head::Event(_) => true,
            Head::Mark => false,
        };
        self.entries[at].purged |= may_go;
    }

    /// Time takes away the events and marks up to here.
    pub(crate) fn expire(&mut self, upto: usize) {
        for entry in &mut self.entries[..upto] {
            entry.expired |= !matches!(entry.head, Head::Snapshot(_));
        }
    }

    fn last_event(&self, community: CommunityId) -> Option<&Entry> {
        let of_community = |entry: &&Entry| {
            let event = entry.event();
            event.is_some_and(|event| event.community == community)
        };
        self.entries.iter().rev().find(of_community)
    }

    /// The oldest mark that is left.
    pub(crate) fn horizon(&self) -> Option<Seq> {
        let marks = self.entries.iter();
        let mut marks = marks.filter(|entry| entry.head == Head::Mark && !entry.is_gone());
        marks.next().map(|mark| mark.seq)
    }

    /// The community's events after a position that are left.
    pub(crate) fn left(&self, community: CommunityId, after: Seq) -> impl Iterator<Item = &Entry> {
        let later = self.entries.iter().filter(move |entry| entry.seq > after);
        later.filter(move |entry| {
            let event = entry.event();
            event.is_some_and(|event| event.community == community) && !entry.is_gone()
        })
    }

    pub(crate) fn get(&self, seq: Seq) -> &Entry {
        let at = self.entries.binary_search_by_key(&seq, |entry| entry.seq);
        &self.entries[at.unwrap()]
    }
}
