//! Messages on their way, each expecting the one before.

use std::collections::VecDeque;
use std::pin::{Pin, pin};

use crier_domain::Seq;
use crier_domain::log::Message;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{Instrument, Span};

use crate::lease::Lease;
use crate::plan::{Item, LogEnd, size};
use crate::relay::Parts;
use crate::sink::{PublishError, Sink};
use crate::source::Source;
use crate::trouble::Trouble;

/// How far a pass came: the first `acked` items are stored, each right behind the one before. `failure`
/// is the trouble with the item after them; of all behind it nothing is known.
pub(crate) struct Outcome {
    pub(crate) acked: usize,
    pub(crate) failure: Option<Trouble>,
}

/// Publishes `items` in order behind the log's end, and waits until all are stored or one is not.
///
/// `end` is out of date afterwards: its position has not moved, while its communities' last events have.
pub(crate) async fn send<S: Source, K: Sink>(
    parts: &Parts<S, K>,
    lease: &Lease<'_, S>,
    end: &mut LogEnd,
    items: &[Item],
) -> Outcome {
    let mut flight = Flight {
        parts,
        lease,
        queue: VecDeque::new(),
        bytes: 0,
        acked: 0,
    };
    let failure = flight.send(end, items).await.err();
    Outcome {
        acked: flight.acked,
        failure,
    }
}

struct Pending<A> {
    ack: Pin<Box<A>>,
    seq: Seq,
    bytes: usize,
    sent: Instant,
    deadline: Instant,
    span: Span,
}

struct Flight<'a, S, K: Sink> {
    parts: &'a Parts<S, K>,
    lease: &'a Lease<'a, S>,
    queue: VecDeque<Pending<K::Ack>>,
    bytes: usize,
    acked: usize,
}

impl<S: Source, K: Sink> Flight<'_, S, K> {
    async fn send(&mut self, end: &mut LogEnd, items: &[Item]) -> Result<(), Trouble> {
        let config = &self.parts.config;
        let mut expected = end.position.seq;
        for item in items {
            let seq = expected.next();
            let span = item.span(seq);
            let traceparent = match item {
                Item::Mark => None,
                _ => (config.trace)(&span, item.traceparent()),
            };
            let message = item.message(end, seq, config.retention, traceparent.as_deref());
            if let Err(trouble) = self.publish(&message, expected, span).await {
                // Not worth finishing what is on its way if it may not be marked.
                while !matches!(trouble, Trouble::Lost) && !self.queue.is_empty() {
                    self.acknowledged().await?;
                }
                return Err(trouble);
            }
            expected = seq;
        }
        while !self.queue.is_empty() {
            self.acknowledged().await?;
        }
        Ok(())
    }

    fn is_full(&self, more: usize) -> bool {
        let config = &self.parts.config;
        let too_many = self.queue.len() >= config.max_in_flight;
        let too_large = self.bytes + more > config.max_in_flight_bytes;
        !self.queue.is_empty() && (too_many || too_large)
    }

    /// Puts a message on its way, taking in what is acknowledged meanwhile.
    async fn publish(
        &mut self,
        message: &Message,
        expected: Seq,
        span: Span,
    ) -> Result<(), Trouble> {
        let bytes = size(message);
        while self.is_full(bytes) {
            self.acknowledged().await?;
        }
        self.lease.check()?;
        let sink = &self.parts.sink;
        let limit = sink.ack_timeout();
        let sent = Instant::now();
        let mut publish =
            pin!(timeout(limit, sink.publish(message, expected)).instrument(span.clone()));
        // The sink may hold a message back until earlier ones are acknowledged.
        let handed_over = loop {
            tokio::select! {
                biased;
                acknowledged = self.acknowledged(), if !self.queue.is_empty() => acknowledged?,
                handed_over = &mut publish => break handed_over,
            }
        };
        let ack = handed_over.map_err(|_| no_answer())??;
        self.bytes += bytes;
        self.queue.push_back(Pending {
            ack: Box::pin(ack),
            seq: expected.next(),
            bytes,
            sent,
            deadline: sent + limit,
            span,
        });
        Ok(())
    }

    /// Waits for the first acknowledgement outstanding. May be dropped and called again. When it is none
    /// or a wrong one, all behind it are given up as well.
    async fn acknowledged(&mut self) -> Result<(), Trouble> {
        let Some(first) = self.queue.front_mut() else {
            return Ok(());
        };
        let answer = timeout_at(first.deadline, &mut first.ack).await;
        match answer.unwrap_or_else(|_| Err(no_answer())) {
            Ok(seq) if seq == first.seq => {
                first.span.record("crier.stored", true);
                self.parts.stats.acknowledged(first.sent.elapsed());
                self.bytes -= first.bytes;
                self.acked += 1;
                self.queue.pop_front();
                Ok(())
            }
            // It had been stored before.
            Ok(seq) => {
                let text = format!("stored at {seq} instead of {}", first.seq);
                self.queue.clear();
                Err(PublishError::Refused(text).into())
            }
            Err(error) => {
                self.queue.clear();
                Err(error.into())
            }
        }
    }
}

fn no_answer() -> PublishError {
    PublishError::Unavailable("no acknowledgement in time".to_owned())
}
