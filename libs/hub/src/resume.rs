//! Where a connection begins.

use crier_domain::{Cursor, Seq, sabotage};

use crate::frame::ResetReason;

/// What a client brought back from an earlier stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Nothing: it begins now.
    Fresh,
    /// This cursor.
    At(Cursor),
    /// A text that no fleet key opens.
    Bad,
}

/// How a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the hub's position, with nothing missing.
    Here,
    /// After this position, which the hub has passed.
    Replay(Seq),
    /// After this position, once the hub has come there; unless the log doesn't.
    Ahead(Seq),
    /// At the hub's position, with something missing that the client must fetch again.
    Reset(ResetReason),
}

/// How a connection begins that comes with `resume` while the hub is at `position`.
pub(crate) fn start(resume: Resume, position: Cursor) -> Start {
    let cursor = match resume {
        Resume::Fresh => return Start::Here,
        Resume::Bad => return Start::Reset(ResetReason::Damaged),
        Resume::At(cursor) => cursor,
    };
    if cursor.epoch != position.epoch && sabotage::makes("reset-swallowed") {
        Start::Here
    } else if cursor.epoch != position.epoch {
        Start::Reset(ResetReason::Foreign)
    } else if cursor.seq == Seq::ZERO {
        // It stands for "the reset was not seen": see `Hub::welcome`.
        Start::Reset(ResetReason::Behind)
    } else if cursor.seq > position.seq {
        Start::Ahead(cursor.seq)
    } else if cursor.seq < position.seq {
        Start::Replay(cursor.seq)
    } else {
        Start::Here
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crier_domain::Epoch;

    #[test]
    fn every_cursor_has_its_answer() {
        let at = |epoch, seq| Cursor {
            epoch: Epoch::from_bits(epoch),
            seq: Seq(seq),
        };
        let cases = [
            ("fresh", Resume::Fresh, Start::Here),
            ("here", Resume::At(at(1, 9)), Start::Here),
            ("behind", Resume::At(at(1, 8)), Start::Replay(Seq(8))),
            (
                "zero",
                Resume::At(at(1, 0)),
                Start::Reset(ResetReason::Behind),
            ),
            ("ahead", Resume::At(at(1, 10)), Start::Ahead(Seq(10))),
            (
                "another life",
                Resume::At(at(2, 9)),
                Start::Reset(ResetReason::Foreign),
            ),
            ("damaged", Resume::Bad, Start::Reset(ResetReason::Damaged)),
        ];
        for (what, resume, expected) in cases {
            assert_eq!(start(resume, at(1, 9)), expected, "{what}");
        }
        let empty = at(1, 0);
        assert_eq!(
            start(Resume::At(empty), empty),
            Start::Reset(ResetReason::Behind)
        );
        assert_eq!(start(Resume::Fresh, empty), Start::Here);
    }
}
