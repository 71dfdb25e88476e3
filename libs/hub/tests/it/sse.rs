//! Reads frames as a client does.

use crier_domain::{Cursor, Keys};
use serde_json::Value;

/// One SSE block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Ready {
        id: Cursor,
        communities: Vec<i64>,
    },
    Event {
        id: Cursor,
        body: String,
    },
    Reset {
        id: Cursor,
        reason: String,
        communities: Vec<i64>,
    },
    /// `subscribed` or `unsubscribed`.
    Entry {
        came: bool,
        community: i64,
        article: Option<i64>,
    },
    Bye(String),
    Beat,
    Moved(Cursor),
}

/// All blocks of what was written at once.
pub(crate) fn read(bytes: &[u8], keys: &Keys) -> Vec<Frame> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.ends_with("\n\n"), "not a whole block: {text:?}");
    let blocks = text.trim_end_matches('\n').split("\n\n");
    blocks.map(|block| read_block(block, keys)).collect()
}

fn read_block(block: &str, keys: &Keys) -> Frame {
    let field = |name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.strip_prefix(": "))
    };
    let id = field("id").map(|text| Cursor::open(text, keys).unwrap());
    let retry: Option<u64> = field("retry").map(|retry| retry.parse().unwrap());
    let data = field("data").unwrap_or_default();
    let json = || serde_json::from_str::<Value>(data).unwrap();
    let communities = |json: &Value| {
        let communities = json["communities"].as_array().unwrap();
        communities.iter().map(|id| id.as_i64().unwrap()).collect()
    };
    match (field("event"), id) {
        (Some("ready"), Some(id)) => {
            assert!((1600..=2400).contains(&retry.unwrap()), "{block}");
            assert_eq!(json()["heartbeat_seconds"], 25);
            Frame::Ready {
                id,
                communities: communities(&json()),
            }
        }
        (Some("reset"), Some(id)) => Frame::Reset {
            id,
            reason: json()["reason"].as_str().unwrap().to_owned(),
            communities: communities(&json()),
        },
        (Some(name @ ("subscribed" | "unsubscribed")), None) => Frame::Entry {
            came: name == "subscribed",
            community: json()["community_id"].as_i64().unwrap(),
            article: json()["article_id"].as_i64(),
        },
        (Some("bye"), None) => {
            assert!((1000..=5000).contains(&retry.unwrap()), "{block}");
            Frame::Bye(json()["reason"].as_str().unwrap().to_owned())
        }
        (None, Some(id)) if block.contains("\ndata: ") => Frame::Event {
            id,
            body: data.to_owned(),
        },
        (None, Some(id)) => Frame::Moved(id),
        (None, None) if block == ": hb" => Frame::Beat,
        _ => panic!("no frame of ours: {block:?}"),
    }
}
