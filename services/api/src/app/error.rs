//! Why a use case refuses. The text of each is what the caller reads; how it becomes an HTTP status is
//! `http/problems.rs`'s.

use crier_store::StoreError;
use crier_store::mirror::Refusal;

/// Why a use case refuses, or fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    /// It does not exist, or the caller may not know that it does.
    #[error("there is no such {0}")]
    NoSuch(Thing),
    /// The caller is known, and this is not theirs to do.
    #[error("{0}")]
    Forbidden(Forbidden),
    /// The request is against a rule.
    #[error("{0}")]
    Rule(Rule),
    /// The request does not fit what is there.
    #[error("{0}")]
    Conflict(Conflict),
    /// A value is out of its range.
    #[error("{0}")]
    Unfit(Unfit),
    /// The event that this would make is larger than the log takes.
    #[error("this is too large to be sent to its readers")]
    EventTooLarge,
    /// The `Idempotency-Key` of the call came with another call before.
    #[error("the Idempotency-Key was used for another request")]
    KeyReused,
    /// One of several is refused, and with it all.
    #[error("[{index}]: {error}")]
    InList {
        /// Which, counted from 0.
        index: usize,
        /// Why.
        #[source]
        error: Box<AppError>,
    },
    /// The token was issued before its user was disconnected.
    #[error("the token was withdrawn")]
    TokenWithdrawn,
    /// The database refused or is away.
    #[error("the database failed")]
    Store(#[source] StoreError),
    /// An event or an answer could not be written as JSON, or not be read back.
    #[error("an event or an answer could not be encoded")]
    Encode(#[from] serde_json::Error),
    /// A token could not be signed.
    #[error("a token could not be signed")]
    Sign(#[from] crier_service_kit::auth::SignError),
    /// A text of the sample data doesn't fit.
    #[error("the sample data is wrong")]
    SampleText(#[source] super::text::TextError),
}

impl AppError {
    /// The refusal of the one at this place among several.
    pub(crate) fn at(self, index: usize) -> Self {
        let error = Box::new(self);
        Self::InList { index, error }
    }

    /// The refusal as it is told where there is only one.
    pub(crate) fn alone(self) -> Self {
        match self {
            Self::InList { error, .. } => *error,
            other => other,
        }
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooManyEntries => Self::Conflict(Conflict::TooManyEntries),
            other => Self::Store(other),
        }
    }
}

impl From<Refusal> for AppError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoCommunity => Self::NoSuch(Thing::Community),
            Refusal::NoArticle => Self::NoSuch(Thing::Article),
            Refusal::NoCommunityArticle => Self::NoSuch(Thing::CommunityArticle),
            Refusal::NoUser => Self::NoSuch(Thing::User),
            Refusal::PublicCommunity => Self::Rule(Rule::PublicCommunity),
            Refusal::NotAMember => Self::NoSuch(Thing::Member),
            Refusal::SlugTaken => Self::Conflict(Conflict::SlugTaken),
            Refusal::IdTaken => Self::Conflict(Conflict::IdTaken),
            Refusal::TooManyEntries => Self::Conflict(Conflict::TooManyEntries),
        }
    }
}

/// What is out of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// Clients hold greater numbers only nearly, and the database's own ids must have room behind.
    #[error("an id that the application chooses is at most 9007199254740991")]
    Id,
    /// A person has the name that their own tokens give them.
    #[error("the username of a member is the backend's to set")]
    Username,
}

/// What can be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thing {
    /// An article.
    Article,
    /// A comment.
    Comment,
    /// A community.
    Community,
    /// An article in this community.
    CommunityArticle,
    /// A discussion.
    Discussion,
    /// A member of this community.
    Member,
    /// A subscription of the caller.
    Subscription,
    /// A user known to Crier.
    User,
}

impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Article => "article",
            Self::Comment => "comment",
            Self::Community => "community",
            Self::CommunityArticle => "article in this community",
            Self::Discussion => "discussion",
            Self::Member => "member of this community",
            Self::Subscription => "subscription",
            Self::User => "user",
        })
    }
}

/// What the caller lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Forbidden {
    /// Membership.
    #[error("only members of this community may do that")]
    Outsider,
    /// The role of an admin.
    #[error("only admins of this community may do that")]
    Unprivileged,
    /// To have written it.
    #[error("only its author may change it")]
    NotYours,
    /// To have written it, or the role of a moderator or admin.
    #[error("only its author and the moderators and admins of this community may delete it")]
    NotYoursToDelete,
    /// Only public communities may be joined without being added.
    #[error("this community is not public: one of its admins has to add you")]
    Uninvited,
}

/// A rule that a request breaks by what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rule {
    /// Public communities have no subscriptions.
    #[error("only private and hidden communities have subscriptions")]
    PublicCommunity,
    /// The article is in another community.
    #[error("the article does not belong to this community")]
    ArticleElsewhere,
    /// The answered comment is in another discussion.
    #[error("the answered comment does not belong to this discussion")]
    ParentElsewhere,
    /// Public communities have no events.
    #[error("only private and hidden communities have events")]
    NoEvents,
    /// Nobody answers what is not there to be read.
    #[error("the answered comment was deleted")]
    ParentDeleted,
    /// Comments go three levels deep.
    #[error("answers go no deeper than three levels")]
    TooDeep,
}

/// What stands against the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Conflict {
    /// One submission per community.
    #[error("the article has been submitted to this community before")]
    AlreadySubmitted,
    /// A community without an admin could never change again.
    #[error("this is the community's last admin")]
    LastAdmin,
    /// An id is for one event.
    #[error("the id was given to another event")]
    EventIdTaken,
    /// The action does not lead from the article's state.
    #[error("the article's state does not allow that")]
    WrongState,
    /// Each change of a person's permissions publishes all of them.
    #[error("whoever is admin of {0} communities can make no more")]
    TooManyCommunities(u32),
    /// Slugs name articles.
    #[error("the slug is another article's")]
    SlugTaken,
    /// An id is one community article's, for good.
    #[error("the community article has another id, or the id is another's")]
    IdTaken,
    /// A snapshot has to fit one message.
    #[error("nobody can follow more than 20,000 communities and articles")]
    TooManyEntries,
}
