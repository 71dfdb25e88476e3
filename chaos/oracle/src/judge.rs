//! The verdicts.
//!
//! An event that a client **had to get**: its call was answered 2xx and began after the client's beginning; whoever
//! may have stood in the community's list then, the user was on it throughout, and stayed on it. Was the user taken
//! off it later, the event may be withheld, unless the client had already read something that stands behind it.
//!
//! What a client **must not get**: an event whose every call was refused or never made, one that the user caused,
//! one for which the user was on no list that may have stood from its call's begin to its answer.
//!
//! All else it could get. A `reset` that a fault explains frees the client of what began before it was read, and lets
//! it get such events again.

use std::collections::{BTreeMap, BTreeSet};

use crate::journal::{Client, Journal, Micros};
use crate::order::Order;
use crate::past::{Event, Past};
use crate::permissions::Community;
use crate::reading::{Reading, What};

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// Not got, or given up by a `reset` without need.
    Lost,
    /// Got by somebody whom it does not concern.
    Leaked,
    /// Got twice.
    Duplicated,
    /// Got behind something that stands after it.
    OutOfOrder,
}

/// Something that is wrong.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// What.
    pub wrong: Wrong,
    /// The client's name; empty if it is about several.
    pub client: String,
    /// Its user.
    pub user: i64,
    /// What names the event, if it is about one.
    pub event: Option<String>,
    /// Its community.
    pub community: Option<i64>,
    /// About when.
    pub at: Micros,
    /// In words.
    pub why: String,
}

/// What came out.
#[derive(Debug, Clone, Default)]
pub struct Judgement {
    /// Events that were asked for and not refused.
    pub events: usize,
    /// Frames with an event, over all clients.
    pub deliveries: usize,
    /// Of these, such as were read on a connection after a `reset` on it.
    pub after_reset: usize,
    /// Pairs of client and event that had to be.
    pub due: usize,
    /// What is wrong.
    pub verdicts: Vec<Verdict>,
}

impl Judgement {
    /// How often something is wrong in this way.
    #[must_use]
    pub fn count(&self, wrong: Wrong) -> usize {
        self.verdicts
            .iter()
            .filter(|verdict| verdict.wrong == wrong)
            .count()
    }
}

/// Judges a run that is over.
///
/// # Errors
/// When the journal can't be judged: changes of one community overlap.
pub fn judge(journal: &Journal) -> Result<Judgement, String> {
    let past = Past::read(journal)?;
    let readings: Vec<Reading<'_>> = journal
        .clients
        .iter()
        .map(|client| Reading::of(client, &journal.faults))
        .collect();
    let mut judgement = Judgement {
        events: past.events.values().filter(|event| !event.refused).count(),
        ..Judgement::default()
    };
    let found = &mut judgement.verdicts;
    for reading in &readings {
        judgement.due += lost(reading, &past, found);
        wrongly_got(reading, &past, found);
        overtaken(reading, &past, found);
    }
    contradicted(&readings, found);
    for client in &journal.clients {
        let (all, after_reset) = deliveries(client);
        judgement.deliveries += all;
        judgement.after_reset += after_reset;
    }
    Ok(judgement)
}

/// How many events that had to be got are still missing.
///
/// # Errors
/// As [`judge`].
pub fn overdue(journal: &Journal) -> Result<usize, String> {
    let past = Past::read(journal)?;
    let mut found = Vec::new();
    for client in &journal.clients {
        lost(&Reading::of(client, &journal.faults), &past, &mut found);
    }
    Ok(found.len())
}

/// What had to be got and was not. Gives how much had to be got.
fn lost(reading: &Reading<'_>, past: &Past, found: &mut Vec<Verdict>) -> usize {
    for read in &reading.reads {
        if let What::Reset {
            explained: false,
            data,
            ..
        } = &read.what
        {
            let why = format!("a reset that no fault explains: {data}");
            found.push(reading.verdict(Wrong::Lost, None, read.at, why));
        }
    }
    let got: BTreeSet<&str> = reading
        .reads
        .iter()
        .filter_map(|read| match &read.what {
            What::Event { key, .. } => Some(key.as_str()),
            _ => None,
        })
        .collect();
    let mut due = 0;
    for (key, event) in &past.events {
        let Some(community) = past.communities.get(&event.community) else {
            continue;
        };
        if !is_due(reading, event, community, past) {
            continue;
        }
        due += 1;
        if !got.contains(key.as_str()) {
            let why = format!(
                "never got, though asked for at {} and answered",
                event.begun
            );
            found.push(reading.verdict(
                Wrong::Lost,
                Some((key, event.community)),
                event.begun,
                why,
            ));
        }
    }
    due
}

fn is_due(reading: &Reading<'_>, event: &Event, community: &Community, past: &Past) -> bool {
    let user = reading.client.user;
    let (Some(begun), Some(answered)) = (reading.begun, event.answered) else {
        return false;
    };
    if event.begun <= begun || event.excluded == Some(user) {
        return false;
    }
    let (first, last) = community.standing(event.begun, event.answered);
    let is_off =
        |version: &&crate::permissions::Version| !version.state.receives(user, &event.audience);
    let versions = community.versions.get(first..).unwrap_or_default();
    let standing = last - first;
    if versions
        .iter()
        .take(standing + 1)
        .any(|version| is_off(&version))
    {
        return false;
    }
    let off = versions.iter().skip(standing + 1).find(is_off);
    let until = off
        .map(|off| off.begun)
        .into_iter()
        .chain(freed(reading, event))
        .min();
    until.is_none_or(|until| has_passed(reading, event, answered, until, past))
}

/// When the client read a reset that is explained, after the event was asked for.
fn freed(reading: &Reading<'_>, event: &Event) -> Option<Micros> {
    let mut reads = reading.reads.iter().filter(|read| read.at >= event.begun);
    let reset = reads.find(|read| match &read.what {
        What::Reset {
            communities,
            explained,
            ..
        } => *explained && communities.contains(&event.community),
        _ => false,
    });
    reset.map(|read| read.at)
}

/// Before `until` the client read something of the community that was asked for after the event was answered, and so
/// stands behind it.
fn has_passed(
    reading: &Reading<'_>,
    event: &Event,
    answered: Micros,
    until: Micros,
    past: &Past,
) -> bool {
    let mut reads = reading.reads.iter().take_while(|read| read.at < until);
    reads.any(|read| match &read.what {
        What::Event { key, community, .. } if *community == event.community => past
            .events
            .get(key)
            .is_some_and(|later| later.begun > answered),
        _ => false,
    })
}

/// What must not be got, and what was got twice.
fn wrongly_got(reading: &Reading<'_>, past: &Past, found: &mut Vec<Verdict>) {
    for read in &reading.reads {
        let What::Event {
            key,
            community,
            again,
        } = &read.what
        else {
            continue;
        };
        let named = Some((key.as_str(), *community));
        if let Some(why) = must_not(reading.client.user, past, key) {
            found.push(reading.verdict(Wrong::Leaked, named, read.at, why.to_owned()));
        }
        if *again {
            let why = "got a second time".to_owned();
            found.push(reading.verdict(Wrong::Duplicated, named, read.at, why));
        }
    }
}

fn must_not(user: i64, past: &Past, key: &str) -> Option<&'static str> {
    let Some(event) = past.events.get(key).filter(|event| !event.refused) else {
        return Some("got, though nobody caused it");
    };
    if event.excluded == Some(user) {
        return Some("got by the one who is excluded");
    }
    let Some(community) = past.communities.get(&event.community) else {
        return Some("got from a community that is not known");
    };
    let (first, last) = community.standing(event.begun, event.answered);
    let standing = community.versions.get(first..=last).unwrap_or_default();
    let may = standing
        .iter()
        .any(|version| version.state.receives(user, &event.audience));
    if may {
        None
    } else if standing.iter().any(|version| version.state.is_member(user)) {
        Some("got by a member whom it is not for")
    } else {
        Some("got by somebody who was no member")
    }
}

/// Within a community, an event that was answered before another was asked for stands before it. The first reading
/// counts: the second is a duplicate.
fn overtaken(reading: &Reading<'_>, past: &Past, found: &mut Vec<Verdict>) {
    // By community: the event read so far whose call began last.
    let mut latest: BTreeMap<i64, (Micros, &str)> = BTreeMap::new();
    for read in &reading.reads {
        match &read.what {
            What::Reset { .. } => latest.clear(),
            What::Event { again: true, .. } | What::Other => {}
            What::Event { key, community, .. } => {
                let Some(event) = past.events.get(key) else {
                    continue;
                };
                if let (Some((begun, later)), Some(answered)) =
                    (latest.get(community), event.answered)
                    && answered < *begun
                {
                    let why = format!(
                        "got after {later}, which was asked for when this was already answered"
                    );
                    found.push(reading.verdict(
                        Wrong::OutOfOrder,
                        Some((key, *community)),
                        read.at,
                        why,
                    ));
                }
                let entry = latest.entry(*community).or_insert((event.begun, key));
                if entry.0 < event.begun {
                    *entry = (event.begun, key);
                }
            }
        }
    }
}

/// Positions that don't fit into one order. A frame that was read a second time is where it was, as a duplicate.
fn contradicted(readings: &[Reading<'_>], found: &mut Vec<Verdict>) {
    let mut order = Order::default();
    for reading in readings {
        let mut last = reading.first;
        for read in &reading.reads {
            let Some(id) = read.id else { continue };
            match read.what {
                What::Reset { .. } => {
                    last = Some(id);
                    continue;
                }
                What::Event { again: true, .. } => continue,
                What::Event { .. } | What::Other => {}
            }
            if let Some(before) = last.filter(|before| *before != id) {
                order.add(before, id, &reading.client.name);
            } else if last.is_some()
                && let What::Event { key, community, .. } = &read.what
            {
                let why = "its cursor is that of the frame before".to_owned();
                found.push(reading.verdict(
                    Wrong::OutOfOrder,
                    Some((key, *community)),
                    read.at,
                    why,
                ));
            }
            last = Some(id);
        }
    }
    let circle = order.contradiction();
    if !circle.is_empty() {
        found.push(contradiction(readings, &circle));
    }
}

fn contradiction(readings: &[Reading<'_>], circle: &[(&str, &str)]) -> Verdict {
    let mut steps = Vec::new();
    let mut at = 0;
    for (id, who) in circle {
        let reads = readings
            .iter()
            .filter(|reading| reading.client.name == *who)
            .flat_map(|reading| &reading.reads);
        let read = reads.into_iter().find(|read| read.id == Some(*id));
        let what = read.map(|read| match &read.what {
            What::Event { key, .. } => key.clone(),
            _ => "a position".to_owned(),
        });
        at = read.map_or(at, |read| read.at);
        steps.push(format!(
            "{who} read {} ({id}) and next",
            what.unwrap_or_else(|| "a cursor".to_owned())
        ));
    }
    Verdict {
        wrong: Wrong::OutOfOrder,
        client: circle
            .first()
            .map_or_else(String::new, |(_, who)| (*who).to_owned()),
        user: 0,
        event: None,
        community: None,
        at,
        why: format!(
            "the clients contradict each other: {} the first again",
            steps.join(", ")
        ),
    }
}

/// Frames with an event, and how many of them stood behind a reset on their connection.
fn deliveries(client: &Client) -> (usize, usize) {
    let (mut all, mut after_reset) = (0, 0);
    for connection in &client.connections {
        let mut reset = false;
        for frame in &connection.frames {
            match frame.event.as_deref() {
                Some("reset") => reset = true,
                None if frame.data.is_some() => {
                    all += 1;
                    after_reset += usize::from(reset);
                }
                _ => {}
            }
        }
    }
    (all, after_reset)
}
