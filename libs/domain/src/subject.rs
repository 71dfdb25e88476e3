//! NATS subjects, written and read in one place.

use std::fmt;
use std::str::FromStr;

use crate::ids::{ArticleId, CommunityId, UserId};

/// The name of the one JetStream stream.
pub const STREAM: &str = "CRIER";

/// What the stream stores. Its messages are republished under [`LIVE_PREFIX`].
pub const STREAM_SUBJECTS: [&str; 3] = ["community.>", "user.>", "mark"];

/// The prefix of the live copies that the server makes of stored messages.
pub const LIVE_PREFIX: &str = "live.";

/// Where a gateway asks the API service for a user's snapshot ([`crate::rpc`]).
pub const API_SNAPSHOT: &str = "api.snapshot";

/// The subject of a message in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// `community.<community>.article.<article>`: events of one article in one community.
    Article(CommunityId, ArticleId),
    /// `community.<community>.all`: events of a community as a whole.
    Community(CommunityId),
    /// `user.<user>.subscriptions`: a user's snapshots.
    User(UserId),
    /// `mark`: how far back the log reaches.
    Mark,
}

impl Subject {
    /// Where an event of this community, and perhaps article, stands.
    #[must_use]
    pub fn of_event(community: CommunityId, article: Option<ArticleId>) -> Self {
        article.map_or(Self::Community(community), |article| {
            Self::Article(community, article)
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Article(community, article) => {
                write!(f, "community.{community}.article.{article}")
            }
            Self::Community(community) => write!(f, "community.{community}.all"),
            Self::User(user) => write!(f, "user.{user}.subscriptions"),
            Self::Mark => f.write_str("mark"),
        }
    }
}

/// A subject that the log doesn't have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no subject of the log: {0:?}")]
pub struct SubjectError(String);

impl FromStr for Subject {
    type Err = SubjectError;
    fn from_str(text: &str) -> Result<Self, SubjectError> {
        parse(text).ok_or_else(|| SubjectError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Subject> {
    let mut tokens = text.split('.');
    let subject = match (tokens.next()?, tokens.next(), tokens.next(), tokens.next()) {
        ("community", Some(community), Some("article"), Some(article)) => {
            Subject::Article(community.parse().ok()?, article.parse().ok()?)
        }
        ("community", Some(community), Some("all"), None) => {
            Subject::Community(community.parse().ok()?)
        }
        ("user", Some(user), Some("subscriptions"), None) => Subject::User(user.parse().ok()?),
        ("mark", None, None, None) => Subject::Mark,
        _ => return None,
    };
    tokens.next().is_none().then_some(subject)
}

/// All events of a community in the log, as a filter.
#[must_use]
pub fn community_filter(community: CommunityId) -> String {
    format!("community.{community}.>")
}

/// The live copies of a community's events: a gateway's interest.
#[must_use]
pub fn live_filter(community: CommunityId) -> String {
    format!("{LIVE_PREFIX}community.{community}.>")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn subjects_are_the_documented_ones() {
        let community = CommunityId::try_from(45).unwrap();
        let article = ArticleId::try_from(123).unwrap();
        assert_eq!(
            Subject::of_event(community, Some(article)).to_string(),
            "community.45.article.123"
        );
        assert_eq!(
            Subject::of_event(community, None).to_string(),
            "community.45.all"
        );
        assert_eq!(live_filter(community), "live.community.45.>");
        for bad in [
            "",
            "mark.x",
            "community.45",
            "community.45.all.x",
            "community.0.all",
            "community.x.all",
            "community.45.article.123.x",
            "community.45.article.",
            "user.7",
            "user.*.subscriptions",
            "live.mark",
            "community.45.article.>",
        ] {
            assert!(bad.parse::<Subject>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(a in 1i64.., b in 1i64.., kind in 0..4) {
            let community = CommunityId::try_from(a).unwrap();
            let subject = match kind {
                0 => Subject::Article(community, ArticleId::try_from(b).unwrap()),
                1 => Subject::Community(community),
                2 => Subject::User(UserId::try_from(b).unwrap()),
                _ => Subject::Mark,
            };
            prop_assert_eq!(subject.to_string().parse(), Ok(subject));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            if let Ok(subject) = text.parse::<Subject>() {
                prop_assert_eq!(subject.to_string(), text);
            }
        }
    }
}
