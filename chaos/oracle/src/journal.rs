//! What is judged. Moments are microseconds of one monotonic clock.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A moment.
pub type Micros = u64;

/// Everything that was asked, read and broken in one run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Journal {
    /// Calls of the API, in any order.
    pub calls: Vec<Call>,
    /// What each client read.
    pub clients: Vec<Client>,
    /// What was broken, and when.
    pub faults: Vec<Fault>,
}

/// Who called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Caller {
    /// A user by their id.
    User(i64),
    /// The application's backend.
    Service,
}

/// One call of the API.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call {
    /// Who called.
    pub who: Caller,
    /// `POST`
    pub method: String,
    /// With its query.
    pub path: String,
    /// What was sent.
    pub body: Value,
    /// When the call began.
    pub begun: Micros,
    /// When its answer had come; none when none came.
    pub answered: Option<Micros>,
    /// The answer's status.
    pub status: Option<u16>,
    /// The answer's body.
    pub answer: Value,
}

/// One EventSource, through all its connections: it comes back with the last id it read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Client {
    /// What it is called in timelines.
    pub name: String,
    /// Whose it is.
    pub user: i64,
    /// When whoever had the cursor that this client began with had read it; none if it began with none.
    pub cursor_read: Option<Micros>,
    /// Its connections, one after the other.
    pub connections: Vec<Connection>,
}

/// One connection of a client.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Connection {
    /// Where it was made.
    pub gateway: String,
    /// When.
    pub begun: Micros,
    /// What was sent as `Last-Event-ID`; none for a first one.
    pub last_event_id: Option<String>,
    /// The answer's status; none when none came.
    pub status: Option<u16>,
    /// What was read, in order.
    pub frames: Vec<Frame>,
    /// When it was over.
    pub ended: Option<Micros>,
    /// Why it was over, for timelines.
    pub end: String,
}

/// One block of an event stream.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Frame {
    /// When it had been read.
    pub at: Micros,
    /// `id:`
    pub id: Option<String>,
    /// `event:`
    pub event: Option<String>,
    /// `data:`
    pub data: Option<String>,
}

/// Something that was broken on purpose.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    /// What was done.
    pub kind: String,
    /// When it began.
    pub begun: Micros,
    /// When it was mended.
    pub ended: Option<Micros>,
    /// Whether the log itself lost something, so that clients may be told `reset` from its beginning on.
    pub log_lost: bool,
    /// More, for timelines.
    pub detail: String,
}
