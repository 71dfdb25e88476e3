//! An event and its audience, and the one-line JSON that clients get.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::ids::{ArticleId, CommunityId, EventId, UserId};

/// The most bytes an event's payload may have (list of recipients included), so that with its headers
/// it stays under NATS's default `max_payload` of 1 MiB. A larger one is refused before it is stored.
pub const MAX_EVENT_BYTES: usize = 768 * 1024;

/// The most users an event may name.
pub const MAX_NAMED_USERS: usize = 1_000;

/// What kind of thing happened: `new_comment`, or any name an outside publisher chose.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct EventType(String);

/// A text that can't name an event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event type is 1 to 64 characters from a-z, 0-9, '_', '.', ':' and '-'")]
pub struct EventTypeError;

impl EventType {
    /// A discussion was opened.
    pub const NEW_DISCUSSION: &'static str = "new_discussion";
    /// A discussion's topic or content was changed.
    pub const UPDATED_DISCUSSION: &'static str = "updated_discussion";
    /// A discussion was deleted, with all its comments.
    pub const DELETED_DISCUSSION: &'static str = "deleted_discussion";
    /// A comment was written.
    pub const NEW_COMMENT: &'static str = "new_comment";
    /// A comment's content was changed.
    pub const UPDATED_COMMENT: &'static str = "updated_comment";
    /// A comment was deleted; one that was answered keeps its place.
    pub const DELETED_COMMENT: &'static str = "deleted_comment";

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl JsonSchema for EventType {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "EventType".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[a-z0-9_.:-]+$",
        })
    }
}

impl FromStr for EventType {
    type Err = EventTypeError;
    fn from_str(text: &str) -> Result<Self, EventTypeError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.:-".contains(&b);
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(EventTypeError)
        }
    }
}

impl TryFrom<String> for EventType {
    type Error = EventTypeError;
    fn try_from(text: String) -> Result<Self, EventTypeError> {
        text.parse()
    }
}

impl From<EventType> for String {
    fn from(kind: EventType) -> Self {
        kind.0
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who may get an event, before the rule in [`crate::audience`] looks at each user's snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// The article's subscribers.
    Subscribers,
    /// All members of the community.
    Members,
    /// The members named here, in ascending order. Never shown to a client.
    Users(Vec<UserId>),
}

impl Audience {
    /// The list of recipients as it stands before the body in the log; empty unless some are named.
    #[must_use]
    pub fn list(&self) -> Vec<u8> {
        match self {
            Self::Subscribers | Self::Members => Vec::new(),
            Self::Users(users) => serde_json::to_vec(users).unwrap_or_else(|_| b"[]".to_vec()),
        }
    }
}

/// One thing that happened, as the outbox holds it and the relay publishes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The same everywhere, for ever.
    pub id: EventId,
    /// Where it happened.
    pub community: CommunityId,
    /// The article it is about; none for an event of the community as a whole.
    pub article: Option<ArticleId>,
    /// Who may get it.
    pub audience: Audience,
    /// The author, who doesn't need telling.
    pub exclude: Option<UserId>,
    /// The one line of JSON that clients get: a [`ClientEvent`], encoded.
    pub body: Bytes,
}

impl Event {
    /// Whether the log takes it: body and list of recipients have at most [`MAX_EVENT_BYTES`].
    #[must_use]
    pub fn fits(&self) -> bool {
        self.audience.list().len().saturating_add(self.body.len()) <= MAX_EVENT_BYTES
    }
}

/// What a client reads in a frame's `data:`.
#[derive(Debug, Serialize)]
pub struct ClientEvent<'a, T> {
    /// The event's id; a client that sees one twice may drop the second.
    pub event_id: EventId,
    /// `new_comment` and so on.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// Where it happened.
    pub community_id: CommunityId,
    /// The article it is about, or null.
    pub article_id: Option<ArticleId>,
    /// When the call that caused it was handled: RFC 3339, UTC, milliseconds.
    pub timestamp: &'a str,
    /// What happened.
    pub data: &'a T,
}

impl<T: Serialize> ClientEvent<'_, T> {
    /// The event as one line of JSON.
    ///
    /// # Errors
    /// When `data` can't be JSON, such as a map with keys that are no strings.
    pub fn encode(&self) -> Result<Bytes, serde_json::Error> {
        serde_json::to_vec(self).map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_one_line_with_the_fixed_names() {
        let event = ClientEvent {
            event_id: "018f0000-0000-7000-8000-000000000001".parse().unwrap(),
            kind: EventType::NEW_COMMENT,
            community_id: CommunityId::try_from(45).unwrap(),
            article_id: None,
            timestamp: "2026-01-02T03:04:05.678Z",
            data: &serde_json::json!({"text": "line one\nline two\r\u{2028}"}),
        };
        let line = event.encode().unwrap();
        assert!(!line.iter().any(|b| *b == b'\n' || *b == b'\r'));
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["type"], "new_comment");
        assert_eq!(value["article_id"], serde_json::Value::Null);
        assert_eq!(value["event_id"], "018f0000-0000-7000-8000-000000000001");
    }

    #[test]
    fn the_list_of_recipients_counts() {
        let event = |audience, bytes: usize| Event {
            id: EventId::new(),
            community: CommunityId::try_from(45).unwrap(),
            article: None,
            audience,
            exclude: None,
            body: vec![b'x'; bytes].into(),
        };
        let two = Audience::Users([3, 12].map(|id| UserId::try_from(id).unwrap()).into());
        let list = "[3,12]".len();
        assert!(event(Audience::Members, MAX_EVENT_BYTES).fits());
        assert!(!event(Audience::Members, MAX_EVENT_BYTES + 1).fits());
        assert!(event(two.clone(), MAX_EVENT_BYTES - list).fits());
        assert!(!event(two, MAX_EVENT_BYTES - list + 1).fits());
    }

    #[test]
    fn an_event_type_is_a_short_plain_name() {
        assert!("paper.published:v2".parse::<EventType>().is_ok());
        for bad in ["", "New", "a b", "a\n", &"a".repeat(65), "ä"] {
            assert!(bad.parse::<EventType>().is_err(), "{bad:?}");
        }
    }
}
