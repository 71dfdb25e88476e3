//! The loop of a leader: wait, one pass, mark what was stored.
//!
//! A pass reads unsent rows, then builds the snapshots they ask for, then publishes, then marks exactly
//! those rows. `end` is what is known of the log's end; it is none whenever that is in doubt, and then
//! nothing is published before [`Leader::resync`] has looked.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use crier_domain::{CommunityId, OutboxId, Seq, Snapshot, UserId, sabotage};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::backoff::Backoff;
use crate::flight::send;
use crate::housekeeping::{OldSnapshots, Proof};
use crate::lease::Lease;
use crate::plan::{Changed, Item, LogEnd, group, snapshots};
use crate::relay::{Ended, Parts};
use crate::sink::{PublishError, Sink};
use crate::source::{Change, Row, Source};
use crate::trouble::{Trouble, asked, read, written};

/// Snapshots built in one statement: a user may have tens of thousands of entries, and a statement that takes
/// too long would be tried again for ever.
const SNAPSHOTS_AT_ONCE: usize = 16;

/// Communities asked about at a time.
const ASK_AHEAD: usize = 32;

/// Communities whose last event is remembered.
const MOST_COMMUNITIES: usize = 100_000;

const EVENT_REFUSED: &str = "an event was refused for good: buried, a reset takes its place";

const SNAPSHOT_REFUSED: &str =
    "a snapshot was refused for good: the user gets an empty one and receives nothing";

/// How a pass ended that met no trouble.
enum Pass {
    /// There was no more to do.
    Whole,
    /// There may be more.
    Partial,
    /// Something was refused for good, and something else will take its place: look at the log, go on.
    Replaced,
}

/// One leadership.
pub(crate) struct Leader<'a, S, K> {
    pub(crate) parts: &'a Parts<S, K>,
    pub(crate) lease: &'a Lease<'a, S>,
    pub(crate) old: &'a OldSnapshots,
    pub(crate) proof: &'a Proof,
    end: Option<LogEnd>,
    backoff: Backoff,
    /// Users whose snapshot is due though they may have no unsent row.
    pub(crate) anew: BTreeSet<UserId>,
    /// Events refused for good: a reset goes out in their place.
    stand_ins: HashSet<OutboxId>,
    /// Users whose snapshot was refused for good: an empty one goes out.
    emptied: HashSet<UserId>,
}

impl<'a, S: Source, K: Sink> Leader<'a, S, K> {
    pub(crate) fn new(
        parts: &'a Parts<S, K>,
        lease: &'a Lease<'a, S>,
        old: &'a OldSnapshots,
        proof: &'a Proof,
    ) -> Self {
        Self {
            parts,
            lease,
            old,
            proof,
            end: None,
            backoff: Backoff::new(parts.config.backoff_first, parts.config.backoff_longest),
            anew: BTreeSet::new(),
            stand_ins: HashSet::new(),
            emptied: HashSet::new(),
        }
    }

    /// Leads until the lease is lost or `shutdown` comes between two passes.
    pub(crate) async fn run(&mut self, shutdown: &CancellationToken) -> Ended {
        while !shutdown.is_cancelled() {
            match self.step().await {
                Ok(true) => {}
                Ok(false) => self.wait(shutdown).await,
                Err(Trouble::Lost) => return Ended::Lost,
                Err(trouble) => {
                    let pause = self.backoff.pause();
                    warn!(cause = trouble.chain(), ?pause, "relay backs off");
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = sleep(pause) => {}
                    }
                }
            }
        }
        Ended::Shutdown
    }

    /// Waits until there may be something to do. A call that came during the last pass counts.
    async fn wait(&self, shutdown: &CancellationToken) {
        let sweep = Instant::now() + self.parts.config.sweep;
        let mark = self.end.as_ref().map_or(sweep, |end| end.mark_due);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.parts.wake.notified() => {}
            () = sleep_until(sweep.min(mark)) => {}
        }
    }

    /// One pass. True if there is more to do at once.
    async fn step(&mut self) -> Result<bool, Trouble> {
        // Taken, so that any trouble leaves none.
        let mut end = match self.end.take() {
            Some(end) => end,
            None => match self.resync().await {
                Err(Trouble::Publish(PublishError::Rejected(reason))) => {
                    self.takes_nothing(&reason);
                    return Err(PublishError::Rejected(reason).into());
                }
                end => end?,
            },
        };
        let more = match self.pass(&mut end).await? {
            Pass::Replaced => return Ok(true),
            Pass::Partial => true,
            Pass::Whole => false,
        };
        self.backoff.reset();
        self.end = Some(end);
        Ok(more)
    }

    async fn pass(&mut self, end: &mut LogEnd) -> Result<Pass, Trouble> {
        let parts = self.parts;
        let config = &parts.config;
        let rows = asked(config.call_timeout, parts.source.unsent(config.batch)).await?;
        parts.stats.unsent.set(rows.len() as u64);
        let users = rows
            .iter()
            .filter(|row| matches!(row.change, Change::User(..)));
        let users = users.count();
        let full = users.max(rows.len() - users) >= config.batch;
        let (items, whole) = self.plan(rows, end).await?;
        if items.is_empty() {
            return Ok(Pass::Whole);
        }
        if sabotage::makes("marked-before-ack") {
            let rows = items.iter().flat_map(Item::rows);
            let rows: Vec<_> = rows.map(|row| (*row, end.position.seq)).collect();
            let _ = parts
                .source
                .mark_sent(self.lease.term(), &rows, end.position)
                .await;
        }
        let outcome = send(parts, self.lease, end, &items).await;
        if outcome.acked > 0 {
            self.backoff.reset();
            let stored = items.iter().take(outcome.acked);
            self.settle(stored, end).await?;
        }
        match outcome.failure {
            None if full || !whole || !self.anew.is_empty() => Ok(Pass::Partial),
            None => Ok(Pass::Whole),
            Some(trouble) => self.fail(items.get(outcome.acked), trouble).await,
        }
    }

    /// Mark, snapshots, events: no event waits in front of a removal in its community. With it: whether all rows are in
    /// it, or large snapshots left some for another pass.
    async fn plan(&self, rows: Vec<Row>, end: &mut LogEnd) -> Result<(Vec<Item>, bool), Trouble> {
        let Parts { source, config, .. } = self.parts;
        let mut items = Vec::with_capacity(rows.len() + 1);
        if Instant::now() >= end.mark_due {
            items.push(Item::Mark);
        }
        let also = self.anew.iter().copied().take(config.batch);
        let (mut users, mut events) = group(rows, also, &self.stand_ins);
        let mut built = Vec::with_capacity(users.len());
        let mut bytes = 0;
        let mut asked_for = 0;
        for some in users.chunks(SNAPSHOTS_AT_ONCE) {
            let ids: Vec<UserId> = some.iter().map(|changed| changed.user).collect();
            let part = asked(config.call_timeout, source.snapshots(&ids)).await?;
            bytes += part
                .iter()
                .map(|(_, snapshot)| snapshot.len())
                .sum::<usize>();
            built.extend(part);
            asked_for += some.len();
            if bytes > config.max_in_flight_bytes {
                break;
            }
        }
        let whole = asked_for == users.len();
        let left = users.split_off(asked_for);
        let anew_left = left.iter().any(|changed| self.anew.contains(&changed.user));
        if anew_left || self.anew.len() > config.batch {
            // The log may end with a snapshot of theirs that is out of date, in whatever community.
            events.clear();
        }
        hold_back(&mut events, left);
        let late = sabotage::makes("snapshots-after-events").then(|| who_has_left(&users, &built));
        items.extend(snapshots(users, built, &self.emptied));
        self.look_back(&events, end).await?;
        if sabotage::makes("published-backwards") {
            events.reverse();
        }
        items.extend(events);
        if let Some(late) = late {
            let is_late =
                |item: &Item| matches!(item, Item::Snapshot { user, .. } if late.contains(user));
            items.sort_by_key(is_late);
        }
        Ok((items, whole))
    }

    /// Finds the last events of these events' communities, where they are not known.
    async fn look_back(&self, events: &[Item], end: &mut LogEnd) -> Result<(), Trouble> {
        if end.prev.len() > MOST_COMMUNITIES {
            end.prev.clear();
        }
        let communities = events.iter().filter_map(Item::community);
        let unknown: HashSet<CommunityId> = communities
            .filter(|community| !end.prev.contains_key(community))
            .collect();
        let (sink, limit) = (&self.parts.sink, self.parts.config.call_timeout);
        let reads = unknown.into_iter().map(|community| async move {
            let last = read(limit, sink.last_event(community)).await?;
            Ok::<_, Trouble>((community, last))
        });
        let last: Vec<(CommunityId, Seq)> = stream::iter(reads)
            .buffer_unordered(ASK_AHEAD)
            .try_collect()
            .await?;
        end.prev.extend(last);
        Ok(())
    }

    /// Marks the rows of stored items, which stand right behind the position, and moves it.
    async fn settle(
        &mut self,
        stored: impl Iterator<Item = &Item>,
        end: &mut LogEnd,
    ) -> Result<(), Trouble> {
        self.proof.given();
        let mut rows = Vec::new();
        let mut position = end.position;
        for item in stored {
            position.seq = position.seq.next();
            rows.extend(item.rows().iter().map(|row| (*row, position.seq)));
            match item {
                Item::Mark => end.mark_due = Instant::now() + self.parts.config.mark_every,
                Item::Snapshot { user, .. } => {
                    self.old.replaced_by(*user, position.seq);
                    self.anew.remove(user);
                    self.emptied.remove(user);
                }
                Item::Event { row, .. } => {
                    self.stand_ins.remove(row);
                }
            }
        }
        let write = self
            .parts
            .source
            .mark_sent(self.lease.term(), &rows, position);
        written(self.parts.config.call_timeout, write).await?;
        end.position = position;
        Ok(())
    }

    /// Sees what can be done about the trouble with one item.
    async fn fail(&mut self, item: Option<&Item>, trouble: Trouble) -> Result<Pass, Trouble> {
        let stats = &self.parts.stats;
        match &trouble {
            Trouble::Publish(PublishError::Refused(_)) => stats.refused.add(1),
            Trouble::Publish(PublishError::Unavailable(_)) => stats.unavailable.add(1),
            Trouble::Publish(PublishError::Rejected(reason)) => {
                let replaced = match item {
                    Some(item) => self.replace(item, reason).await?,
                    None => false,
                };
                if replaced {
                    return Ok(Pass::Replaced);
                }
            }
            _ => {}
        }
        Err(trouble)
    }

    /// Sees to it that something else takes the place of an item refused for good. False if there is
    /// nothing smaller.
    async fn replace(&mut self, item: &Item, reason: &str) -> Result<bool, Trouble> {
        let Parts {
            source,
            config,
            stats,
            ..
        } = self.parts;
        match item {
            Item::Event {
                row,
                event,
                stand_in: false,
                ..
            } => {
                let event = event.id;
                error!(crier.outbox_id = row.0, crier.event_id = %event, reason, "{EVENT_REFUSED}");
                let write = source.bury(self.lease.term(), *row, reason);
                written(config.call_timeout, write).await?;
                stats.buried.add(1);
                self.stand_ins.insert(*row);
            }
            Item::Snapshot {
                user, empty: false, ..
            } => {
                error!(crier.user_id = user.get(), reason, "{SNAPSHOT_REFUSED}");
                stats.emptied.add(1);
                self.emptied.insert(*user);
            }
            Item::Event { .. } | Item::Snapshot { .. } | Item::Mark => {
                self.takes_nothing(reason);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// So it was not the size of what was refused: once the log takes something again, the real ones come first.
    fn takes_nothing(&mut self, reason: &str) {
        error!(
            reason,
            "the log refuses even marks, resets or empty snapshots"
        );
        self.stand_ins.clear();
        self.emptied.clear();
    }
}

/// For a mistake on purpose: the users whose new snapshot has none of the communities where something changed.
fn who_has_left(users: &[Changed], built: &[(UserId, Bytes)]) -> HashSet<UserId> {
    let built: HashMap<_, _> = built.iter().map(|(user, own)| (*user, own)).collect();
    let has_left = |changed: &&Changed| {
        let own = built.get(&changed.user).map(|own| Snapshot::decode(own));
        let Some(Ok(own)) = own else { return false };
        let mut communities = changed.communities.iter();
        communities.len() > 0 && communities.all(|one| !own.communities.contains_key(one))
    };
    let left = users.iter().filter(has_left);
    left.map(|changed| changed.user).collect()
}

/// Takes out the events that would pass what they have to wait for: these users' snapshots, which are left for another
/// pass.
fn hold_back(events: &mut Vec<Item>, left: Vec<Changed>) {
    let communities = left.into_iter().flat_map(|changed| changed.communities);
    let waited_for: HashSet<CommunityId> = communities.collect();
    events.retain(|event| {
        let community = event.community();
        community.is_none_or(|community| !waited_for.contains(&community))
    });
}
