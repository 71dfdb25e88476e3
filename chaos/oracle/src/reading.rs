//! What one client read, over all its connections, and which resets a fault explains.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::calls::key;
use crate::journal::{Client, Fault, Frame, Micros};
use crate::judge::{Verdict, Wrong};

/// How often one loss of the log explains that a client is told `reset` of a community: events are gone that it was to
/// get, on its connection and on the one it comes back by, and then the log's new life begins, or its cursor reaches
/// back to before the loss. That may be long after a purge, which the relay notices when next it has to look. Resets
/// without an event between them are one, and so are those for gone events on one connection: a gateway that was cut
/// off when the log was lost has some payloads and lacks others.
const RESETS_OF_A_LOSS: usize = 3;

/// Something that a client read.
pub(crate) struct Read<'a> {
    pub(crate) at: Micros,
    pub(crate) id: Option<&'a str>,
    pub(crate) what: What<'a>,
}

pub(crate) enum What<'a> {
    Event {
        key: String,
        community: i64,
        /// It was read before, and no explained reset lets it come again. That is wrong in itself, and says nothing
        /// of the order of all else.
        again: bool,
    },
    Reset {
        communities: BTreeSet<i64>,
        /// For an event that is gone.
        gone: bool,
        explained: bool,
        data: &'a str,
    },
    Other,
}

/// Everything that a client read, over all its connections.
pub(crate) struct Reading<'a> {
    pub(crate) client: &'a Client,
    /// The cursor it began with.
    pub(crate) first: Option<&'a str>,
    /// Events that begin after this concern it; none if it never was connected.
    pub(crate) begun: Option<Micros>,
    pub(crate) reads: Vec<Read<'a>>,
}

impl<'a> Reading<'a> {
    pub(crate) fn of(client: &'a Client, faults: &[Fault]) -> Self {
        let mut reading = Self {
            client,
            first: client
                .connections
                .first()
                .and_then(|first| first.last_event_id.as_deref()),
            begun: client.cursor_read,
            reads: Vec::new(),
        };
        let mut resets = Resets::default();
        let mut seen = Seen::default();
        let connections = client.connections.iter().enumerate();
        for (number, frame) in connections.flat_map(|(number, connection)| {
            connection.frames.iter().map(move |frame| (number, frame))
        }) {
            if frame.event.as_deref() == Some("ready") && reading.begun.is_none() {
                reading.begun = Some(frame.at);
            }
            let mut what = What::of(frame);
            resets.explain(&mut what, number, frame.at, faults);
            seen.note(&mut what);
            reading.reads.push(Read {
                at: frame.at,
                id: frame.id.as_deref(),
                what,
            });
        }
        reading
    }

    pub(crate) fn verdict(
        &self,
        wrong: Wrong,
        event: Option<(&str, i64)>,
        at: Micros,
        why: String,
    ) -> Verdict {
        Verdict {
            wrong,
            client: self.client.name.clone(),
            user: self.client.user,
            event: event.map(|(key, _)| key.to_owned()),
            community: event.map(|(_, community)| community),
            at,
            why,
        }
    }
}

impl<'a> What<'a> {
    fn of(frame: &'a Frame) -> Self {
        let Some(data) = frame.data.as_deref() else {
            return Self::Other;
        };
        match frame.event.as_deref() {
            None => key(data).map_or(Self::Other, |(key, community)| Self::Event {
                key,
                community,
                again: false,
            }),
            Some("reset") => {
                let told: Value = serde_json::from_str(data).unwrap_or_default();
                let communities = told["communities"].as_array();
                let communities = communities.into_iter().flatten().filter_map(Value::as_i64);
                Self::Reset {
                    communities: communities.collect(),
                    gone: told["reason"] == "lost",
                    explained: false,
                    data,
                }
            }
            Some(_) => Self::Other,
        }
    }
}

/// The events that one client has read so far, each with its community.
#[derive(Default)]
struct Seen(BTreeMap<String, i64>);

impl Seen {
    /// Sees whether an event was read before.
    fn note(&mut self, what: &mut What<'_>) {
        match what {
            What::Event {
                key,
                community,
                again,
            } => *again = self.0.insert(key.clone(), *community).is_some(),
            What::Reset {
                communities,
                explained: true,
                ..
            } => self
                .0
                .retain(|_, community| !communities.contains(community)),
            What::Reset { .. } | What::Other => {}
        }
    }
}

/// The resets that one client was told so far, by community.
#[derive(Default)]
struct Resets {
    told: BTreeMap<i64, Told>,
}

#[derive(Default)]
struct Told {
    /// How many count.
    count: usize,
    /// Whether no event came after the last.
    goes_on: bool,
    /// The connection on which the last was told that was for a gone event.
    gone_on: Option<usize>,
}

impl Resets {
    /// Sees whether the faults so far explain what was read, if it is a reset.
    fn explain(&mut self, what: &mut What<'_>, connection: usize, at: Micros, faults: &[Fault]) {
        match what {
            What::Event { community, .. } => {
                if let Some(told) = self.told.get_mut(community) {
                    told.goes_on = false;
                }
            }
            What::Reset {
                communities,
                gone,
                explained,
                ..
            } => {
                let losses = faults
                    .iter()
                    .filter(|fault| fault.log_lost && fault.begun <= at)
                    .count();
                *explained = losses > 0;
                for community in &*communities {
                    let told = self.told.entry(*community).or_default();
                    let counted = told.goes_on || *gone && told.gone_on == Some(connection);
                    told.count += usize::from(!counted);
                    told.goes_on = true;
                    if *gone {
                        told.gone_on = Some(connection);
                    }
                    *explained &= told.count <= RESETS_OF_A_LOSS * losses;
                }
            }
            What::Other => {}
        }
    }
}
