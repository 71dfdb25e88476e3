//! Sees whether the hub stands still: a message that can't be read holds back everything behind it, and whoever
//! watches the gateway's health must know.

use std::time::{Duration, Instant};

use crier_domain::Seq;
use crier_hub::Stats;

/// Reading one payload takes a few seconds at worst; after this many something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the hub was last seen, and since when.
#[derive(Default)]
pub(super) struct Watch {
    seen: Option<(Seq, Instant)>,
    stands: bool,
}

/// What a look showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    Moves,
    /// Something waits, and the position has not moved for too long.
    Stands,
    /// It stood at the last look.
    MovesAgain,
}

impl Watch {
    pub(super) fn look(&mut self, stats: &Stats, now: Instant) -> Watched {
        let since = match self.seen {
            Some((at, since)) if at == stats.position && stats.queue_entries > 0 => since,
            _ => now,
        };
        self.seen = Some((stats.position, since));
        let stands = now.duration_since(since) >= PATIENCE;
        match (std::mem::replace(&mut self.stands, stands), stands) {
            (_, true) => Watched::Stands,
            (true, false) => Watched::MovesAgain,
            (false, false) => Watched::Moves,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standing_still_is_seen_and_so_is_its_end() {
        let at = |position, queue_entries| Stats {
            position: Seq(position),
            queue_entries,
            ..Stats::default()
        };
        let begin = Instant::now();
        let later = |seconds| begin + Duration::from_secs(seconds);
        let mut watch = Watch::default();
        assert_eq!(watch.look(&at(7, 0), begin), Watched::Moves);
        assert_eq!(
            watch.look(&at(7, 0), later(100)),
            Watched::Moves,
            "nothing waits"
        );
        assert_eq!(watch.look(&at(7, 1), later(101)), Watched::Moves);
        assert_eq!(watch.look(&at(7, 9), later(129)), Watched::Moves);
        assert_eq!(watch.look(&at(7, 9), later(131)), Watched::Stands);
        assert_eq!(watch.look(&at(8, 8), later(132)), Watched::MovesAgain);
        assert_eq!(watch.look(&at(8, 8), later(133)), Watched::Moves);
    }
}
