//! What a gateway asks the API service over NATS: a snapshot for a user who has none.

use serde::{Deserialize, Serialize};

use crate::ids::UserId;

/// Asked on [`crate::subject::API_SNAPSHOT`]: publish this user's snapshot soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRequest {
    /// Whose.
    pub user_id: UserId,
}

/// The answer. The snapshot itself comes through the log, in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum SnapshotReply {
    /// An outbox row stands for it.
    Pending,
    /// It could not be recorded, say because the database is away; ask again later.
    Unavailable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_format_is_fixed() {
        let request = SnapshotRequest {
            user_id: UserId::try_from(7).unwrap(),
        };
        assert_eq!(serde_json::to_string(&request).unwrap(), r#"{"user_id":7}"#);
        let reply = serde_json::to_string(&SnapshotReply::Pending).unwrap();
        assert_eq!(reply, r#"{"status":"pending"}"#);
    }
}
