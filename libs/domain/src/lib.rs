//! What Crier is about, without I/O: every other crate speaks in these types.
//!
//! | module | is |
//! |---|---|
//! | [`ids`] | one type per kind of id, so that a community's can't be passed for an article's |
//! | [`event`] | an event and its audience, and the one-line JSON that clients get |
//! | [`snapshot`] | everything one user may receive, as it stands on `user.<id>.subscriptions` |
//! | [`audience`] | the rule: does this user get this event? |
//! | [`subject`] | NATS subjects, written and read |
//! | [`log`] | messages of the log with their headers, written and read |
//! | [`seal`], [`cursor`], [`ticket`] | what is handed to clients sealed: positions and stream tickets |
//! | [`rpc`] | what a gateway asks the API service over NATS |
//! | [`sabotage`] | mistakes that the fault campaign must notice; none in any build that is shipped |

pub mod audience;
pub mod cursor;
pub mod event;
pub mod ids;
pub mod log;
pub mod rpc;
pub mod sabotage;
pub mod seal;
pub mod snapshot;
pub mod subject;
pub mod ticket;

pub use audience::{receives, receives_since};
pub use cursor::Cursor;
pub use event::{Audience, Event, EventType};
pub use ids::{
    ArticleId, CommentId, CommunityArticleId, CommunityId, DiscussionId, Epoch, EventId, OutboxId,
    Seq, SubscriptionId, UserId,
};
pub use seal::Keys;
pub use snapshot::Snapshot;
pub use subject::Subject;
pub use ticket::Ticket;
