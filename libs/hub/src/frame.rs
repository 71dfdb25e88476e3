//! Server-Sent-Events text. The gateway says `bye` itself where the hub has no part in it; everything
//! else is the hub's.

use std::time::Duration;

use bytes::Bytes;
use crier_domain::{ArticleId, CommunityId, Cursor, Keys, Seq};
use serde::Serialize;

use crate::action::ConnectionId;
use crate::changes::Changes;

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ByeReason {
    /// The gateway is stopping.
    Drain,
    /// The gateway has as many streams as it may.
    Busy,
    /// What the user may receive can't be known at the moment, or the log was replaced.
    Unavailable,
    /// The client did not read fast enough.
    Slow,
    /// The token's time is over.
    Expired,
    /// Tokens of the time at which this one was issued have been withdrawn.
    Disconnected,
}

impl ByeReason {
    /// The reason as clients and metrics read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Slow => "slow",
            Self::Expired => "expired",
            Self::Disconnected => "disconnected",
        }
    }
}

/// Why a client must fetch again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ResetReason {
    /// The cursor is older than what the log still holds.
    Behind,
    /// More has happened since the cursor than a gateway reads back.
    TooMuch,
    /// The cursor is of another life of the log.
    Foreign,
    /// The cursor is beyond the log.
    Ahead,
    /// The cursor can't be read.
    Damaged,
    /// An event is no longer in the log, or never could be stored.
    Lost,
}

/// The last frame of a stream: why it ends, and after how long the client is to come back.
#[must_use]
pub fn bye(reason: ByeReason, retry: Duration) -> Bytes {
    #[derive(Serialize)]
    struct Bye {
        reason: ByeReason,
    }
    let mut block = Block::default();
    block.field("retry", &retry.as_millis().to_string());
    block.json("bye", &Bye { reason });
    block.end()
}

/// What `ready` says.
#[derive(Debug)]
pub(crate) struct Ready<'a> {
    pub(crate) cursor: &'a str,
    pub(crate) retry: Duration,
    pub(crate) connection: ConnectionId,
    pub(crate) heartbeat: Duration,
    pub(crate) communities: &'a [CommunityId],
}

pub(crate) fn ready(ready: Ready<'_>) -> Bytes {
    #[derive(Serialize)]
    struct Data<'a> {
        connection_id: String,
        heartbeat_seconds: u64,
        communities: &'a [CommunityId],
    }
    let mut block = Block::default();
    block.field("retry", &ready.retry.as_millis().to_string());
    block.field("id", ready.cursor);
    let data = Data {
        connection_id: ready.connection.to_string(),
        heartbeat_seconds: ready.heartbeat.as_secs(),
        communities: ready.communities,
    };
    block.json("ready", &data);
    block.end()
}

pub(crate) fn reset(cursor: &str, reason: ResetReason, communities: &[CommunityId]) -> Bytes {
    #[derive(Serialize)]
    struct Data<'a> {
        reason: ResetReason,
        communities: &'a [CommunityId],
    }
    let mut block = Block::default();
    block.field("id", cursor);
    block.json(
        "reset",
        &Data {
            reason,
            communities,
        },
    );
    block.end()
}

/// An event, its body as the log has it.
pub(crate) fn event(cursor: &str, body: &[u8]) -> Bytes {
    let mut block = Block(Vec::with_capacity(cursor.len() + body.len() + 16));
    block.field("id", cursor);
    // The relay writes one line. Were it ever more, no line of it may pass for a field of its own;
    // between the tokens of JSON any line end is as good as another.
    for line in body.split(|byte| matches!(byte, b'\n' | b'\r')) {
        block.0.extend_from_slice(b"data: ");
        block.0.extend_from_slice(line);
        block.0.push(b'\n');
    }
    block.end()
}

/// Everything that came and went, as one run of blocks.
pub(crate) fn changes(changes: &Changes) -> Bytes {
    #[derive(Serialize)]
    struct Data {
        community_id: CommunityId,
        #[serde(skip_serializing_if = "Option::is_none")]
        article_id: Option<ArticleId>,
    }
    let mut block = Block::default();
    let went = changes.went.iter().map(|entry| ("unsubscribed", entry));
    let came = changes.came.iter().map(|entry| ("subscribed", entry));
    for (name, (community_id, article_id)) in went.chain(came) {
        let data = Data {
            community_id: *community_id,
            article_id: *article_id,
        };
        block.json(name, &data);
        block.0.push(b'\n');
    }
    Bytes::from(block.0)
}

/// A sign of life for a client that has seen everything up to the position.
pub(crate) fn heartbeat() -> Bytes {
    Bytes::from_static(b": hb\n\n")
}

/// A sign of life that also moves the client's Last-Event-ID, without an event.
pub(crate) fn moved(cursor: &str) -> Bytes {
    let mut block = Block::default();
    block.field("id", cursor);
    block.end()
}

#[derive(Default)]
struct Block(Vec<u8>);

impl Block {
    fn field(&mut self, name: &str, value: &str) {
        for part in [name, ": ", value, "\n"] {
            self.0.extend_from_slice(part.as_bytes());
        }
    }

    fn json(&mut self, name: &str, data: &impl Serialize) {
        self.field("event", name);
        // Strings and numbers of ours: there is nothing in them that JSON can't hold.
        self.field("data", &serde_json::to_string(data).unwrap_or_default());
    }

    fn end(mut self) -> Bytes {
        self.0.push(b'\n');
        Bytes::from(self.0)
    }
}

/// Seals cursors. Most frames in a row carry the same one, so the last is kept.
#[derive(Debug)]
pub(crate) struct Cursors {
    keys: Keys,
    last: Option<(Cursor, String)>,
}

impl Cursors {
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys, last: None }
    }

    pub(crate) fn seal(&mut self, cursor: Cursor) -> &str {
        if self.last.as_ref().is_none_or(|(last, _)| *last != cursor) {
            self.last = None;
        }
        let (_, sealed) = self
            .last
            .get_or_insert_with(|| (cursor, cursor.seal(&self.keys)));
        sealed
    }

    /// A cursor from which a resume is always answered with `reset`.
    pub(crate) fn unseen(&self, position: Cursor) -> String {
        let before_all = Cursor {
            seq: Seq::ZERO,
            ..position
        };
        before_all.seal(&self.keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn community(id: i64) -> CommunityId {
        CommunityId::try_from(id).unwrap()
    }

    #[test]
    fn frames_are_the_documented_ones() {
        let ready_frame = ready(Ready {
            cursor: "abc",
            retry: Duration::from_millis(2000),
            connection: ConnectionId(0xff),
            heartbeat: Duration::from_secs(25),
            communities: &[community(45)],
        });
        let changed = Changes {
            went: vec![(community(44), None)],
            came: vec![(community(45), Some(ArticleId::try_from(1).unwrap()))],
        };
        let cases = [
            (
                ready_frame,
                "retry: 2000\nid: abc\nevent: ready\ndata: {\"connection_id\":\"00000000000000ff\",\"heartbeat_seconds\":25,\"communities\":[45]}\n\n",
            ),
            (
                reset("abc", ResetReason::Behind, &[community(45)]),
                "id: abc\nevent: reset\ndata: {\"reason\":\"behind\",\"communities\":[45]}\n\n",
            ),
            (event("abc", b"{\"a\":1}"), "id: abc\ndata: {\"a\":1}\n\n"),
            (
                event("abc", b"{\nid: forged\r}"),
                "id: abc\ndata: {\ndata: id: forged\ndata: }\n\n",
            ),
            (
                changes(&changed),
                "event: unsubscribed\ndata: {\"community_id\":44}\n\nevent: subscribed\ndata: {\"community_id\":45,\"article_id\":1}\n\n",
            ),
            (heartbeat(), ": hb\n\n"),
            (moved("abc"), "id: abc\n\n"),
            (
                bye(ByeReason::Drain, Duration::from_millis(1500)),
                "retry: 1500\nevent: bye\ndata: {\"reason\":\"drain\"}\n\n",
            ),
        ];
        for (frame, expected) in cases {
            assert_eq!(std::str::from_utf8(&frame).unwrap(), expected);
        }
    }

    #[test]
    fn metrics_and_clients_read_the_same_reasons() {
        use ByeReason::{Busy, Disconnected, Drain, Expired, Slow, Unavailable};
        for reason in [Drain, Busy, Unavailable, Slow, Expired, Disconnected] {
            let json = serde_json::to_string(&reason).unwrap();
            assert_eq!(json, format!("{:?}", reason.as_str()));
        }
    }
}
