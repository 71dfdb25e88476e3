//! Where the log ends, whenever that is in doubt; the beginning of an epoch; the fence behind both.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crier_domain::log::Message;
use crier_domain::{Epoch, EventId, Seq, sabotage};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::backoff::{Backoff, jittered};
use crate::leader::Leader;
use crate::plan::LogEnd;
use crate::relay::Parts;
use crate::sink::{Found, LastMark, PublishError, Sink};
use crate::source::{Position, Source};
use crate::trouble::{Trouble, asked, read, written};

/// Messages read between two writes of the position.
const STRETCH: u64 = 256;

/// Stretches in which the last message of the old epoch is looked for, below marks of epochs that were never recorded.
const LOOK_BACK: usize = 4;

/// Messages read at a time.
const READ_AHEAD: usize = 32;

/// Why the log is not, or can't stay, the one that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewEpoch {
    /// No epoch has begun yet.
    First,
    /// No mark is left: purged, or nobody wrote for longer than the retention.
    NoMark,
    /// It ends before what it had acknowledged.
    Behind { acknowledged: Seq, tail: Seq },
    /// Its last mark is of another epoch: one that began and was never recorded, or a restored database.
    Other { stored: Epoch, found: Epoch },
    /// Its last mark promises that it reaches back for longer than what is written from now on is kept.
    Shortened { promised: Duration, kept: Duration },
}

impl fmt::Display for NewEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("the first one"),
            Self::NoMark => f.write_str("the log has no mark"),
            Self::Behind { acknowledged, tail } => {
                write!(f, "the log ends at {tail}, had acknowledged {acknowledged}")
            }
            Self::Other { stored, found } => {
                write!(f, "the log is in epoch {found}, the database in {stored}")
            }
            Self::Shortened { promised, kept } => {
                write!(f, "the retention was {promised:?} and is {kept:?}")
            }
        }
    }
}

/// Whether the log goes on from the stored position.
fn judge(
    stored: Option<Position>,
    mark: Option<&LastMark>,
    tail: Seq,
) -> Result<Position, NewEpoch> {
    let position = stored.ok_or(NewEpoch::First)?;
    let mark = mark.ok_or(NewEpoch::NoMark)?;
    if tail < position.seq {
        return Err(NewEpoch::Behind {
            acknowledged: position.seq,
            tail,
        });
    }
    if mark.epoch != position.epoch {
        return Err(NewEpoch::Other {
            stored: position.epoch,
            found: mark.epoch,
        });
    }
    Ok(position)
}

impl<S: Source, K: Sink> Leader<'_, S, K> {
    /// Finds out where the log ends, takes note of what is stored there already, and sees to it that nothing older comes
    /// behind it.
    pub(crate) async fn resync(&mut self) -> Result<LogEnd, Trouble> {
        self.parts.stats.resyncs.add(1);
        let mut doubted = false;
        loop {
            let (position, mark, tail) = self.look().await?;
            let why = match judge(position, mark.as_ref(), tail) {
                Ok(position) => return self.go_on(position, tail, mark).await,
                Err(why) => why,
            };
            // An answer may be out of date, and an epoch costs every client its history. The first
            // costs nobody anything.
            if doubted || why == NewEpoch::First {
                let survived = self.survived(position, mark, tail).await?;
                return self.begin_epoch(why, tail, survived).await;
            }
            warn!(%why, "relay doubts the log, asks again");
            doubted = true;
            sleep(jittered(self.parts.config.backoff_longest)).await;
        }
    }

    /// The position is read first: the log, asked later, can't have less unless it lost something.
    async fn look(&self) -> Result<(Option<Position>, Option<LastMark>, Seq), Trouble> {
        let parts = self.parts;
        let limit = parts.config.call_timeout;
        self.lease.renew().await?;
        let position = asked(limit, parts.source.position()).await?;
        let mark = read(limit, parts.sink.last_mark()).await?;
        let tail = read(limit, parts.sink.tail()).await?;
        Ok((position, mark, tail))
    }

    /// Goes on behind the log's end. Under another epoch if the retention was made shorter: marks of the old one stay
    /// longer than the events that they vouch for.
    async fn go_on(
        &mut self,
        position: Position,
        tail: Seq,
        mark: Option<LastMark>,
    ) -> Result<LogEnd, Trouble> {
        let parts = self.parts;
        let limit = parts.config.call_timeout;
        let epoch = position.epoch;
        self.catch_up(position, tail).await?;
        let kept = parts.config.retention;
        let promised = mark.map_or(kept, |mark| mark.retention());
        if promised.as_secs() > kept.as_secs() {
            let why = NewEpoch::Shortened { promised, kept };
            return self.begin_epoch(why, tail, tail).await;
        }
        let seq = self.fence(epoch, tail).await?;
        let position = Position { epoch, seq };
        let write = parts.source.mark_sent(self.lease.term(), &[], position);
        written(limit, write).await?;
        Ok(self.end_at(position))
    }

    fn end_at(&self, position: Position) -> LogEnd {
        LogEnd {
            position,
            prev: HashMap::new(),
            mark_due: Instant::now() + self.parts.config.mark_every,
        }
    }

    /// Marks what is found behind the stored position, which moves to the log's end.
    async fn catch_up(&mut self, mut position: Position, tail: Seq) -> Result<(), Trouble> {
        let parts = self.parts;
        let limit = parts.config.call_timeout;
        let behind = tail.0 - position.seq.0;
        while position.seq < tail {
            let to = Seq(tail.0.min(position.seq.0 + STRETCH));
            let found = self.read_stretch(position.seq, to).await?;
            let events = self.recognise(position.epoch, &found);
            position.seq = to;
            let write = parts
                .source
                .mark_found(self.lease.term(), &events, position);
            written(limit, write).await?;
        }
        debug!(crier.seq = tail.0, behind, "relay knows the log's end");
        Ok(())
    }

    async fn read_stretch(&self, after: Seq, to: Seq) -> Result<Vec<(Seq, Found)>, Trouble> {
        let (sink, limit) = (&self.parts.sink, self.parts.config.call_timeout);
        let reads = (after.next().0..=to.0).map(|seq| async move {
            let found = read(limit, sink.read(Seq(seq))).await?;
            Ok::<_, Trouble>(found.map(|found| (Seq(seq), found)))
        });
        let found: Vec<_> = stream::iter(reads)
            .buffered(READ_AHEAD)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The events of this epoch among what was found. Snapshots there are made anew, though their rows
    /// may be marked: one that was late may stand behind a newer one.
    fn recognise(&mut self, epoch: Epoch, found: &[(Seq, Found)]) -> Vec<(EventId, Seq)> {
        let mut events = Vec::new();
        for (seq, found) in found {
            if found.epoch != Some(epoch) {
                warn!(
                    crier.seq = seq.0,
                    "a message of another epoch, or of another writer"
                );
            }
            self.anew.extend(found.snapshot);
            if let Some(event) = found.event.filter(|_| found.epoch == Some(epoch)) {
                events.push((event, *seq));
            }
        }
        events
    }

    /// Up to where the log still has what was sent: its last message of the recorded epoch. Without a mark it counts as
    /// having nothing.
    async fn survived(
        &self,
        position: Option<Position>,
        mark: Option<LastMark>,
        tail: Seq,
    ) -> Result<Seq, Trouble> {
        let (Some(position), Some(_)) = (position, mark) else {
            return Ok(Seq::ZERO);
        };
        let mut to = tail;
        for _ in 0..LOOK_BACK {
            let after = Seq(to.0.saturating_sub(STRETCH));
            let found = self.read_stretch(after, to).await?;
            let ours = |(_, found): &&(Seq, Found)| found.epoch == Some(position.epoch);
            if let Some((last, _)) = found.iter().rev().find(ours) {
                return Ok(*last);
            }
            to = after;
        }
        Ok(Seq::ZERO)
    }

    /// Begins an epoch: it exists once its mark is acknowledged, and is used once it is recorded.
    /// What the log had behind `survived` is sent again.
    async fn begin_epoch(
        &mut self,
        why: NewEpoch,
        tail: Seq,
        survived: Seq,
    ) -> Result<LogEnd, Trouble> {
        let parts = self.parts;
        let config = &parts.config;
        let survived = if sabotage::makes("reset-swallowed") {
            Seq(i64::MAX.unsigned_abs())
        } else {
            survived
        };
        // Sequences may begin anew, and what was found belongs to the old epoch.
        self.old.forget();
        self.anew.clear();
        let epoch = Epoch::random();
        let seq = self.fence(epoch, tail).await?;
        let first = tail.next();
        info!(crier.epoch = %epoch, crier.seq = first.0, survived = survived.0, %why, "a new epoch begins");
        let position = Position { epoch, seq };
        let mut backoff = Backoff::new(config.backoff_first, config.backoff_longest);
        loop {
            match self.record(first, position, survived).await {
                Ok(()) => break,
                Err(Trouble::Lost) => return Err(Trouble::Lost),
                Err(trouble) => warn!(cause = trouble.chain(), "a new epoch is not recorded yet"),
            }
            sleep(backoff.pause()).await;
        }
        parts.stats.epochs.add(1);
        Ok(self.end_at(position))
    }

    /// Marks of older epochs go first: the oldest mark says how far back the log reaches, in this epoch.
    async fn record(&self, first: Seq, position: Position, survived: Seq) -> Result<(), Trouble> {
        let Parts {
            source,
            sink,
            config,
            ..
        } = self.parts;
        let limit = config.call_timeout;
        self.lease.check()?;
        read(limit, sink.purge_marks(first)).await?;
        let write = source.begin_epoch(self.lease.term(), position, survived);
        written(limit, write).await
    }

    /// Moves the log's end, in one step, beyond whatever is still on its way.
    ///
    /// A message may have been held up between its relay and the log for any time, and it fits where the log ends with
    /// the number that it expects, though with another message than it was sent behind. Whoever sent it knew the log's
    /// end then, and had at most `max_in_flight` messages on their way behind it: what they expect lies below the
    /// fence, and nothing that is stored together has room between.
    async fn fence(&self, epoch: Epoch, tail: Seq) -> Result<Seq, Trouble> {
        let Parts {
            sink,
            config,
            stats,
            ..
        } = self.parts;
        let mark = Message::mark(epoch, config.retention);
        let filler = Message::filler(epoch, config.retention, config.keep_snapshots);
        let mut fence = vec![filler; config.max_in_flight.max(1)];
        if let Some(first) = fence.first_mut() {
            *first = mark;
        }
        self.lease.check()?;
        let sent = Instant::now();
        let seq = timeout(sink.ack_timeout(), sink.publish_all(&fence, tail))
            .await
            .map_err(|_| PublishError::Unavailable("no acknowledgement in time".to_owned()))??;
        if seq.0 != tail.0 + fence.len() as u64 {
            let text = format!("a fence behind {tail} ends at {seq}");
            return Err(PublishError::Refused(text).into());
        }
        stats.acknowledged(sent.elapsed());
        self.proof.given();
        Ok(seq)
    }
}

#[cfg(test)]
mod tests {
    use crier_domain::log::Mark;

    use super::*;

    #[test]
    fn a_log_goes_on_or_it_does_not() {
        let (ours, other) = (Epoch::from_bits(1), Epoch::from_bits(2));
        let at = |seq| {
            Some(Position {
                epoch: ours,
                seq: Seq(seq),
            })
        };
        let mark = |epoch| LastMark {
            seq: Seq(1),
            epoch,
            mark: Mark {
                retention_seconds: 1,
            },
        };
        let behind = NewEpoch::Behind {
            acknowledged: Seq(9),
            tail: Seq(8),
        };
        let foreign = NewEpoch::Other {
            stored: ours,
            found: other,
        };
        let cases = [
            ("more than acknowledged", at(9), Some(ours), 12, Ok(9)),
            ("just what was acknowledged", at(9), Some(ours), 9, Ok(9)),
            ("less than acknowledged", at(9), Some(ours), 8, Err(behind)),
            ("no mark", at(9), None, 9, Err(NewEpoch::NoMark)),
            (
                "an epoch nobody recorded",
                at(9),
                Some(other),
                9,
                Err(foreign),
            ),
            (
                "nothing recorded",
                None,
                Some(ours),
                9,
                Err(NewEpoch::First),
            ),
            ("nothing at all", None, None, 0, Err(NewEpoch::First)),
        ];
        for (what, stored, epoch, tail, expected) in cases {
            let mark = epoch.map(mark);
            let judged = judge(stored, mark.as_ref(), Seq(tail));
            assert_eq!(judged.map(|position| position.seq.0), expected, "{what}");
        }
    }
}
