//! One type per kind of id, and the two numbers that place a message in the log.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

/// Why a text or number is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is a whole number from 1 to 9223372036854775807")]
pub struct IdError;

macro_rules! numeric_ids {
    ($($(#[$doc:meta])* $name:ident)+) => { $(
        $(#[$doc])*
        ///
        /// A database key: 1 or greater.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "i64", try_from = "i64")]
        pub struct $name(i64);

        impl $name {
            /// The id as the plain number that databases and JSON hold.
            #[must_use]
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl TryFrom<i64> for $name {
            type Error = IdError;
            fn try_from(value: i64) -> Result<Self, IdError> {
                if value >= 1 { Ok(Self(value)) } else { Err(IdError) }
            }
        }

        impl From<$name> for i64 {
            fn from(id: $name) -> i64 {
                id.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            /// Reads plain decimal digits: no sign, no leading zero, as ids stand in subjects and paths.
            fn from_str(text: &str) -> Result<Self, IdError> {
                let plain = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
                let value: i64 = text.parse().map_err(|_| IdError)?;
                if plain { Self::try_from(value) } else { Err(IdError) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "integer", "format": "int64", "minimum": 1, "maximum": i64::MAX})
            }
        }
    )+ };
}

numeric_ids! {
    /// A person: the `sub` of a token.
    UserId
    /// A group with members.
    CommunityId
    /// A paper.
    ArticleId
    /// A paper as submitted to one community.
    CommunityArticleId
    /// A discussion under a community article.
    DiscussionId
    /// A comment in a discussion.
    CommentId
    /// One user following one community article.
    SubscriptionId
}

/// A row of the outbox. Within one community ids are in commit order, which makes them fences.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct OutboxId(pub i64);

impl fmt::Display for OutboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The position of a message in the log: its JetStream stream sequence. 0 stands before the first.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first message.
    pub const ZERO: Self = Self(0);

    /// The position right after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of the log. Random, so that a restored database can't repeat one; written as 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// A new epoch, unlike any before.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The epoch as the number that a cursor seals.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The epoch with this number.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A text that is not 16 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an epoch is 16 lower-case hex digits")]
pub struct EpochError;

impl FromStr for Epoch {
    type Err = EpochError;
    fn from_str(text: &str) -> Result<Self, EpochError> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 16 || !text.bytes().all(hex) {
            return Err(EpochError);
        }
        u64::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| EpochError)
    }
}

/// The id of an event, the same in the database, the log and at the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub Uuid);

impl EventId {
    /// A new id; ids made later sort later. Laid out as UUID version 7 and marked as version 8, by which ids that
    /// Crier made are told from those that others bring along.
    #[must_use]
    pub fn new() -> Self {
        let later = Uuid::now_v7();
        Self(Builder::from_custom_bytes(later.into_bytes()).into_uuid())
    }

    /// Whether it is like those that [`EventId::new`] makes.
    #[must_use]
    pub fn is_made_here(self) -> bool {
        self.0.get_version_num() == 8
    }
}

impl Default for EventId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for EventId {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "EventId".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "uuid"})
    }
}

impl FromStr for EventId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_sort_as_they_were_made_and_are_told_from_others() {
        let made: Vec<EventId> = (0..1_000).map(|_| EventId::new()).collect();
        assert!(made.is_sorted());
        assert!(made.iter().all(|id| id.is_made_here()));
        assert!(!EventId(Uuid::now_v7()).is_made_here());
        assert!(!EventId(Uuid::new_v4()).is_made_here());
        assert!(!EventId(Uuid::nil()).is_made_here());
    }

    #[test]
    fn an_id_is_plain_digits_from_one() {
        for bad in [
            "",
            "0",
            "-1",
            "+1",
            "01",
            " 1",
            "1 ",
            "1.0",
            "x",
            "9223372036854775808",
        ] {
            assert_eq!(bad.parse::<UserId>(), Err(IdError), "{bad:?}");
        }
        assert_eq!(
            "9223372036854775807".parse::<UserId>().unwrap().get(),
            i64::MAX
        );
        assert!(serde_json::from_str::<UserId>("0").is_err());
        assert!(serde_json::from_str::<UserId>("\"1\"").is_err());
    }

    #[test]
    fn an_epoch_reads_what_it_writes_and_nothing_else() {
        let epoch = Epoch::from_bits(0xab);
        assert_eq!(epoch.to_string(), "00000000000000ab");
        assert_eq!(epoch.to_string().parse(), Ok(epoch));
        for bad in [
            "",
            "ab",
            "00000000000000AB",
            "+0000000000000ab",
            "g000000000000000",
        ] {
            assert_eq!(bad.parse::<Epoch>(), Err(EpochError), "{bad:?}");
        }
    }
}
