//! Messages of the log with their headers: written for the relay, read by the spine.
//!
//! The headers say everything about an event but its text, so that the spine can be headers-only.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::event::{Audience, Event};
use crate::ids::{ArticleId, CommunityId, Epoch, EventId, OutboxId, Seq, UserId};
use crate::subject::{Subject, SubjectError};

/// Header names.
pub mod header {
    /// The event's id, a UUID.
    pub const ID: &str = "Crier-Id";
    /// The life of the log that the message belongs to.
    pub const EPOCH: &str = "Crier-Epoch";
    /// The outbox id of the event.
    pub const FENCE: &str = "Crier-Fence";
    /// The sequence of the community's previous event; 0 if the log holds none.
    pub const PREV: &str = "Crier-Prev";
    /// The user who doesn't get the event: its author.
    pub const EXCLUDE_USER: &str = "Crier-Exclude-User";
    /// `subscribers`, `members` or `users:<n>`.
    pub const AUDIENCE: &str = "Crier-Audience";
    /// `reset`: stands in the place of an event that could not be stored.
    pub const KIND: &str = "Crier-Kind";
    /// W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";
    /// NATS: the id by which it recognises a message sent twice; epoch and event id.
    pub const MSG_ID: &str = "Nats-Msg-Id";
    /// NATS: how long the message is kept.
    pub const TTL: &str = "Nats-TTL";
    /// NATS: the sequence the stream must end with for the message to be stored.
    pub const EXPECTED_LAST_SEQUENCE: &str = "Nats-Expected-Last-Sequence";
    /// NATS: what is stored together has this in common.
    pub const BATCH_ID: &str = "Nats-Batch-Id";
    /// NATS: which one of the batch it is, from 1 on.
    pub const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
    /// NATS: `1` on the last one of the batch.
    pub const BATCH_COMMIT: &str = "Nats-Batch-Commit";
    /// NATS, on a live copy: the sequence of the stored message.
    pub const SEQUENCE: &str = "Nats-Sequence";
}

/// The value of [`header::KIND`] on a stand-in.
const RESET: &str = "reset";

/// A message to publish: what the relay gives to the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it goes.
    pub subject: Subject,
    /// Names and values, each name once.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub payload: Bytes,
}

/// What a mark carries: `{"retention_seconds":259200}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// How long events of this part of the log are kept.
    pub retention_seconds: u64,
}

/// Where an event stands, as its message says it.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The life of the log.
    pub epoch: Epoch,
    /// The event's outbox id.
    pub fence: OutboxId,
    /// The community's previous event.
    pub prev: Seq,
    /// How long the message is kept.
    pub retention: Duration,
}

impl Message {
    /// The message of an event.
    #[must_use]
    pub fn event(place: &Place, event: &Event, traceparent: Option<&str>) -> Self {
        let mut message = Self::event_head(place, event, traceparent);
        let (audience, payload) = match &event.audience {
            Audience::Subscribers => ("subscribers".to_owned(), event.body.clone()),
            Audience::Members => ("members".to_owned(), event.body.clone()),
            Audience::Users(_) => {
                let mut payload = event.audience.list();
                let tag = format!("users:{}", payload.len());
                payload.extend_from_slice(&event.body);
                (tag, Bytes::from(payload))
            }
        };
        message.headers.push((header::AUDIENCE, audience));
        message.payload = payload;
        message
    }

    /// The message that takes the place of an event which NATS refused for good: its clients are told
    /// to fetch the community again.
    #[must_use]
    pub fn reset(place: &Place, event: &Event, traceparent: Option<&str>) -> Self {
        let mut message = Self::event_head(place, event, traceparent);
        message
            .headers
            .push((header::AUDIENCE, "members".to_owned()));
        message.headers.push((header::KIND, RESET.to_owned()));
        message
    }

    fn event_head(place: &Place, event: &Event, traceparent: Option<&str>) -> Self {
        let mut headers = vec![
            (header::ID, event.id.to_string()),
            (header::MSG_ID, format!("{}:{}", place.epoch, event.id)),
            (header::EPOCH, place.epoch.to_string()),
            (header::FENCE, place.fence.to_string()),
            (header::PREV, place.prev.to_string()),
            (header::TTL, ttl(place.retention)),
        ];
        if let Some(user) = event.exclude {
            headers.push((header::EXCLUDE_USER, user.to_string()));
        }
        if let Some(traceparent) = traceparent {
            headers.push((header::TRACEPARENT, traceparent.to_owned()));
        }
        Self {
            subject: Subject::of_event(event.community, event.article),
            headers,
            payload: Bytes::new(),
        }
    }

    /// The message of a user's snapshot, already encoded. It has no time to live: the last one stays.
    #[must_use]
    pub fn snapshot(
        epoch: Epoch,
        user: UserId,
        snapshot: Bytes,
        traceparent: Option<&str>,
    ) -> Self {
        let mut headers = vec![(header::EPOCH, epoch.to_string())];
        if let Some(traceparent) = traceparent {
            headers.push((header::TRACEPARENT, traceparent.to_owned()));
        }
        Self {
            subject: Subject::User(user),
            headers,
            payload: snapshot,
        }
    }

    /// A mark.
    #[must_use]
    pub fn mark(epoch: Epoch, retention: Duration) -> Self {
        let mark = Mark {
            retention_seconds: retention.as_secs(),
        };
        let payload = serde_json::to_vec(&mark).unwrap_or_default();
        Self {
            subject: Subject::Mark,
            headers: vec![
                (header::EPOCH, epoch.to_string()),
                (header::TTL, ttl(retention)),
            ],
            payload: Bytes::from(payload),
        }
    }

    /// A mark that is only there to take a sequence, and is kept for no longer than spines may need it to see no gap.
    #[must_use]
    pub fn filler(epoch: Epoch, retention: Duration, kept: Duration) -> Self {
        let mut message = Self::mark(epoch, retention);
        message.headers.retain(|(name, _)| *name != header::TTL);
        message
            .headers
            .push((header::TTL, ttl(kept.min(retention))));
        message
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| *known == name)?;
        Some(value)
    }
}

/// NATS takes whole seconds, one at least.
fn ttl(retention: Duration) -> String {
    format!("{}s", retention.as_secs().max(1))
}

/// An event's audience as its header says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudienceTag {
    /// `subscribers`
    Subscribers,
    /// `members`
    Members,
    /// `users:<n>`: the first `list_bytes` bytes of the payload are the list, a JSON array of ids.
    Users {
        /// The length of the list in bytes.
        list_bytes: usize,
    },
}

/// What the headers of an event say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHead {
    /// The event's id.
    pub id: EventId,
    /// Its outbox id, compared with the fences of a snapshot.
    pub fence: OutboxId,
    /// The community's previous event in the log; [`Seq::ZERO`] if there is none.
    pub prev: Seq,
    /// Where it happened.
    pub community: CommunityId,
    /// The article it is about.
    pub article: Option<ArticleId>,
    /// The user who doesn't get it.
    pub exclude: Option<UserId>,
    /// Who may get it.
    pub audience: AudienceTag,
    /// It stands in the place of an event that could not be stored.
    pub reset: bool,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
}

impl EventHead {
    /// Takes a payload apart: the recipients in ascending order (none unless the audience is
    /// `users`), and what clients get.
    ///
    /// # Errors
    /// When the payload doesn't begin with the list that the header announces.
    pub fn open(&self, payload: &Bytes) -> Result<(Vec<UserId>, Bytes), HeadError> {
        let AudienceTag::Users { list_bytes } = self.audience else {
            return Ok((Vec::new(), payload.clone()));
        };
        let list = payload.get(..list_bytes).ok_or(HeadError::List)?;
        let mut named: Vec<UserId> = serde_json::from_slice(list).map_err(|_| HeadError::List)?;
        named.sort_unstable();
        Ok((named, payload.slice(list_bytes..)))
    }
}

/// What a message of the log is, by its subject and headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// Something happened.
    Event(EventHead),
    /// What a user may receive has changed.
    Snapshot(UserId),
    /// How far back the log reaches.
    Mark,
}

/// Why a message is none of the log's. Only the relay writes there, so this is an alarm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The subject is none of ours.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// A header is missing or not what it should be.
    #[error("header {0} is missing or malformed")]
    Header(&'static str),
    /// The payload doesn't begin with the list of recipients.
    #[error("the payload doesn't begin with the announced list of recipients")]
    List,
}

/// Reads what a message is; `get` looks a header up by name.
///
/// # Errors
/// When the subject or a header is not as [`Message`] writes it.
pub fn read<'a>(
    subject: &str,
    get: impl Fn(&'static str) -> Option<&'a str>,
) -> Result<(Epoch, Head), HeadError> {
    let epoch = parsed(&get, header::EPOCH)?;
    let head = match subject.parse::<Subject>()? {
        Subject::Mark => Head::Mark,
        Subject::User(user) => Head::Snapshot(user),
        Subject::Community(community) => Head::Event(read_event(&get, community, None)?),
        Subject::Article(community, article) => {
            Head::Event(read_event(&get, community, Some(article))?)
        }
    };
    Ok((epoch, head))
}

fn read_event<'a>(
    get: &impl Fn(&'static str) -> Option<&'a str>,
    community: CommunityId,
    article: Option<ArticleId>,
) -> Result<EventHead, HeadError> {
    let exclude = get(header::EXCLUDE_USER).map(str::parse).transpose();
    let audience = get(header::AUDIENCE).and_then(read_audience);
    let reset = match get(header::KIND) {
        None => false,
        Some(RESET) => true,
        Some(_) => return Err(HeadError::Header(header::KIND)),
    };
    Ok(EventHead {
        id: parsed(get, header::ID)?,
        fence: parsed(get, header::FENCE).map(OutboxId)?,
        prev: parsed(get, header::PREV).map(Seq)?,
        community,
        article,
        exclude: exclude.map_err(|_| HeadError::Header(header::EXCLUDE_USER))?,
        audience: audience.ok_or(HeadError::Header(header::AUDIENCE))?,
        reset,
        traceparent: get(header::TRACEPARENT).map(str::to_owned),
    })
}

fn read_audience(text: &str) -> Option<AudienceTag> {
    match text {
        "subscribers" => Some(AudienceTag::Subscribers),
        "members" => Some(AudienceTag::Members),
        _ => {
            let list_bytes = text.strip_prefix("users:")?.parse().ok()?;
            Some(AudienceTag::Users { list_bytes })
        }
    }
}

fn parsed<'a, T: std::str::FromStr>(
    get: &impl Fn(&'static str) -> Option<&'a str>,
    name: &'static str,
) -> Result<T, HeadError> {
    get(name)
        .and_then(|text| text.parse().ok())
        .ok_or(HeadError::Header(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn audience() -> impl Strategy<Value = Audience> {
        prop_oneof![
            Just(Audience::Subscribers),
            Just(Audience::Members),
            prop::collection::btree_set(1i64.., 0..20).prop_map(|ids| {
                Audience::Users(
                    ids.into_iter()
                        .map(|id| UserId::try_from(id).unwrap())
                        .collect(),
                )
            }),
        ]
    }

    fn event() -> impl Strategy<Value = Event> {
        let ids = (1i64.., prop::option::of(1i64..), prop::option::of(1i64..));
        (ids, audience(), prop::collection::vec(any::<u8>(), 0..60)).prop_map(
            |((community, article, exclude), audience, body)| Event {
                id: EventId::new(),
                community: CommunityId::try_from(community).unwrap(),
                article: article.map(|id| ArticleId::try_from(id).unwrap()),
                audience,
                exclude: exclude.map(|id| UserId::try_from(id).unwrap()),
                body: Bytes::from(body),
            },
        )
    }

    fn place() -> Place {
        Place {
            epoch: Epoch::from_bits(7),
            fence: OutboxId(12),
            prev: Seq(3),
            retention: Duration::from_hours(72),
        }
    }

    proptest! {
        /// Whatever the relay writes, a gateway reads: the same event, and the very bytes for clients.
        #[test]
        fn an_event_written_is_the_event_read(event in event(), trace in prop::option::of("[0-9a-f-]{55}")) {
            let message = Message::event(&place(), &event, trace.as_deref());
            let (epoch, head) = read(&message.subject.to_string(), |name| message.header(name)).unwrap();
            let Head::Event(head) = head else { panic!("not an event: {head:?}") };
            let (named, body) = head.open(&message.payload).unwrap();
            prop_assert_eq!(epoch, place().epoch);
            prop_assert_eq!((head.id, head.fence, head.prev), (event.id, place().fence, place().prev));
            prop_assert_eq!((head.community, head.article), (event.community, event.article));
            prop_assert_eq!((head.exclude, head.reset, head.traceparent), (event.exclude, false, trace));
            prop_assert_eq!(body, event.body);
            let expected = if let Audience::Users(users) = &event.audience { users.clone() } else { vec![] };
            prop_assert_eq!(named, expected);
        }

        #[test]
        fn any_headers_are_read_or_refused(
            subject in "(community|user|mark)(\\.[a-z0-9]{1,12}){0,4}",
            values in prop::collection::vec(prop::option::of("\\PC{0,20}|[0-9]{1,22}|users:[0-9]{1,22}"), 9),
        ) {
            const NAMES: [&str; 9] = [
                header::ID, header::EPOCH, header::FENCE, header::PREV, header::EXCLUDE_USER,
                header::AUDIENCE, header::KIND, header::TRACEPARENT, header::TTL,
            ];
            let get = |name| {
                let at = NAMES.iter().position(|known| *known == name)?;
                values[at].as_deref()
            };
            if let Ok((_, Head::Event(head))) = read(&subject, get) {
                let _ = head.open(&Bytes::from_static(b"[1,2]{}"));
            }
        }
    }

    #[test]
    fn a_stand_in_has_the_events_place_and_none_of_its_text() {
        let event = Event {
            id: EventId::new(),
            community: CommunityId::try_from(45).unwrap(),
            article: None,
            audience: Audience::Users(vec![UserId::try_from(1).unwrap()]),
            exclude: None,
            body: Bytes::from_static(b"secret"),
        };
        let message = Message::reset(&place(), &event, None);
        assert!(message.payload.is_empty());
        let (_, head) = read("community.45.all", |name| message.header(name)).unwrap();
        assert!(matches!(head, Head::Event(head) if head.reset && head.id == event.id));
    }

    #[test]
    fn events_and_marks_expire_and_snapshots_do_not() {
        let epoch = Epoch::from_bits(1);
        let mark = Message::mark(epoch, Duration::from_hours(72));
        assert_eq!(mark.header(header::TTL), Some("259200s"));
        assert_eq!(mark.payload, r#"{"retention_seconds":259200}"#);
        let user = UserId::try_from(7).unwrap();
        let snapshot = Message::snapshot(epoch, user, Bytes::new(), None);
        assert_eq!(snapshot.header(header::TTL), None);
        assert_eq!(
            read("user.7.subscriptions", |name| snapshot.header(name)),
            Ok((epoch, Head::Snapshot(user)))
        );
    }
}
