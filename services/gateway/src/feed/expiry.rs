//! When streams end because their tokens do.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crier_hub::ConnectionId;

/// A token may claim any time; this is as good as never.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// The streams by the moment they end.
#[derive(Default)]
pub(super) struct Expiries {
    by_time: BTreeSet<(Instant, ConnectionId)>,
    by_id: HashMap<ConnectionId, Instant>,
}

impl Expiries {
    /// `expires_at` is in Unix seconds.
    pub(super) fn add(&mut self, id: ConnectionId, expires_at: i64) {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let ends = Duration::from_secs(u64::try_from(expires_at).unwrap_or(0));
        let at = Instant::now() + ends.saturating_sub(since_1970).min(LONGEST);
        self.by_time.insert((at, id));
        self.by_id.insert(id, at);
    }

    pub(super) fn remove(&mut self, id: ConnectionId) {
        if let Some(at) = self.by_id.remove(&id) {
            self.by_time.remove(&(at, id));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The streams that end now. They stay listed until removed.
    pub(super) fn due(&self, now: Instant) -> Vec<ConnectionId> {
        let ended = self.by_time.iter().take_while(|(at, _)| *at <= now);
        ended.map(|(_, id)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_end_with_their_tokens() {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let now = i64::try_from(now).unwrap();
        let mut expiries = Expiries::default();
        expiries.add(ConnectionId(1), now + 60);
        expiries.add(ConnectionId(2), now - 1);
        expiries.add(ConnectionId(3), i64::MAX);
        expiries.add(ConnectionId(4), -5);
        let mut due = expiries.due(Instant::now());
        due.sort_unstable();
        assert_eq!(due, [ConnectionId(2), ConnectionId(4)]);
        expiries.remove(ConnectionId(2));
        expiries.remove(ConnectionId(4));
        assert!(expiries.due(Instant::now()).is_empty());
        assert_eq!(
            expiries.due(Instant::now() + Duration::from_secs(61)),
            [ConnectionId(1)]
        );
    }
}
