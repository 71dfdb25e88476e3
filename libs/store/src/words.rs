//! The words that columns, requests and answers share.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A text that is none of the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected one of: {0}")]
pub struct WordError(
    /// The words, with commas between.
    pub &'static str,
);

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal),+ $(,)? })+) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$word_doc])* $word),+ }

        impl $name {
            /// The word as columns and JSON hold it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$word => $text),+ }
            }
        }

        impl FromStr for $name {
            type Err = WordError;
            fn from_str(text: &str) -> Result<Self, WordError> {
                match text {
                    $($text => Ok(Self::$word),)+
                    _ => Err(WordError(concat!($($text, " "),+))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )+ };
}

words! {
    /// Who sees a community. Only private and hidden ones have subscriptions and events.
    CommunityKind {
        /// Everyone, and everyone may join.
        Public = "public",
        /// Everyone sees that it is there; members see what is in it.
        Private = "private",
        /// Members alone.
        Hidden = "hidden",
    }
    /// What a member may do; later ones may do more.
    Role {
        /// Read and write.
        Member = "member",
        /// Sees articles that are not published yet.
        Reviewer = "reviewer",
        /// Deletes what others wrote.
        Moderator = "moderator",
        /// Everything.
        Admin = "admin",
    }
    /// How far an article has come in a community.
    Status {
        /// Its submitter offered it.
        Submitted = "submitted",
        /// An admin wants it.
        Approved = "approved",
        /// Members see it.
        Published = "published",
        /// An admin does not want it.
        Rejected = "rejected",
    }
}
