//! The journal's calls understood as a whole: every event that may exist, and every change of permissions.

use std::collections::BTreeMap;

use crate::calls::{Audience, Change, Meaning, Places};
use crate::journal::{Call, Journal, Micros};
use crate::permissions::Community;

/// An event that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) community: i64,
    pub(crate) audience: Audience,
    pub(crate) excluded: Option<i64>,
    /// When the first call for it began.
    pub(crate) begun: Micros,
    /// When a call for it was answered 2xx. None: it may exist all the same.
    pub(crate) answered: Option<Micros>,
    /// Every call for it was refused: it must not exist.
    pub(crate) refused: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Past {
    /// By key.
    pub(crate) events: BTreeMap<String, Event>,
    pub(crate) communities: BTreeMap<i64, Community>,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done(Micros),
    Refused,
    /// No answer, or that of a server in trouble: it may have been carried out.
    Unknown,
}

impl Past {
    /// # Errors
    /// When changes of one community overlap: such a journal can't be judged.
    pub(crate) fn read(journal: &Journal) -> Result<Self, String> {
        let mut calls: Vec<&Call> = journal.calls.iter().collect();
        calls.sort_by_key(|call| call.begun);
        let mut places = Places::default();
        for call in &calls {
            places.learn(call);
        }
        let mut past = Self::default();
        let mut changes: BTreeMap<i64, Vec<(&Call, Change)>> = BTreeMap::new();
        for call in calls {
            match places.meaning(call) {
                Some(Meaning::Event {
                    key,
                    community,
                    audience,
                    excluded,
                }) => {
                    let event = Event {
                        community,
                        audience,
                        excluded,
                        begun: call.begun,
                        answered: None,
                        refused: true,
                    };
                    past.events.entry(key).or_insert(event).asked(fate(call));
                }
                Some(Meaning::Change { community, change }) => {
                    changes.entry(community).or_default().push((call, change));
                }
                None => {}
            }
        }
        for (community, changes) in changes {
            past.communities.insert(community, follow(&changes)?);
        }
        Ok(past)
    }
}

impl Event {
    fn asked(&mut self, fate: Fate) {
        match fate {
            Fate::Done(at) => {
                self.answered = Some(self.answered.map_or(at, |before| before.min(at)));
                self.refused = false;
            }
            Fate::Unknown => self.refused = false,
            Fate::Refused => {}
        }
    }
}

fn fate(call: &Call) -> Fate {
    match (call.status, call.answered) {
        (Some(200..=299), Some(at)) => Fate::Done(at),
        (Some(400..=499), Some(_)) => Fate::Refused,
        _ => Fate::Unknown,
    }
}

/// One community's changes, one after the other. One of unknown fate is made again until it is answered: both
/// together are one change, from the first call to the last answer.
fn follow(changes: &[(&Call, Change)]) -> Result<Community, String> {
    let mut community = Community::default();
    let mut open: Option<(Micros, Change)> = None;
    for (call, change) in changes {
        let begun = match open.take() {
            Some((begun, before)) if before == *change => begun,
            Some((begun, before)) => {
                return Err(format!(
                    "what became of {before:?} at {begun} is unknown, and {change:?} came next"
                ));
            }
            None => call.begun,
        };
        let again = begun < call.begun;
        match fate(call) {
            Fate::Done(at) => community.add(begun, Some(at), *change)?,
            Fate::Unknown => open = Some((begun, *change)),
            // What is done already can't be done again.
            Fate::Refused if again && is_refused_when_done(change) => {
                community.add(begun, call.answered, *change)?;
            }
            Fate::Refused => {}
        }
    }
    if let Some((begun, change)) = open {
        community.add(begun, None, change)?;
    }
    Ok(community)
}

fn is_refused_when_done(change: &Change) -> bool {
    match change {
        Change::Gone(_) | Change::Submitted { .. } | Change::Published { .. } => true,
        Change::Follows { is, .. } => !is,
        Change::Founded(_) | Change::Role { .. } | Change::Promoted { .. } => false,
    }
}
