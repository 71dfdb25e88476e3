//! The spine: the headers of every message of the log, in order, without a gap, or a typed end.
//!
//! It is an ephemeral pull consumer in the server's memory and a loop of our own around it. The client library has
//! ordered consumers, but they make themselves again in silence, and on a log that was replaced by a shorter one
//! they would wait for ever: the server takes a start beyond the end as given.
//!
//! What the loop holds to:
//! - the consumer's own count goes up by one with every message, and its heartbeats tell it, so that nothing is lost
//!   on the way unseen;
//! - the log's sequence only goes up; where it doesn't, the log was replaced;
//! - the server says something at least once a second; silence means that the consumer is gone;
//! - while nothing happens, the log's tail is read now and then: a tail below the position means that the log was
//!   replaced, one above it that the consumer stands still;
//! - one spine lives on one connection. A new connection is a reason to begin anew from the position.
//!
//! Pull and not push, because the server then sends no more than was asked for: a hub that is behind fills no
//! queue. A message that is asked for beforehand comes as fast as one that is pushed.

mod lost;
mod wire;

use std::time::{Duration, SystemTime};

use async_nats::Subscriber;
use crier_domain::log::{self, Head, HeadError};
use crier_domain::subject::STREAM;
use crier_domain::{Epoch, Seq};
use futures::StreamExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};

use crate::call::CALL_TIMEOUT;
use crate::connection::{Bus, Link};
use crate::error::Outage;
use crate::headers::Headers;
use crate::log::ReadError;
pub use lost::SpineLost;
use wire::{Place, Status};

#[cfg(test)]
mod tests;

/// Messages asked for and not yet received, at most.
const CREDIT: usize = 2_000;
/// Below this many more are asked for.
const LOW_CREDIT: usize = CREDIT / 2;
/// After so long without a request the server forgets the consumer: a dead gateway leaves nothing behind.
const INACTIVE: Duration = Duration::from_secs(60);

/// The times that a spine goes by.
#[derive(Clone, Copy)]
struct Pace {
    /// How often the server says that there is nothing to say.
    heartbeat: Duration,
    /// When its silence counts as its end. Some heartbeats may be late on a busy machine.
    silence: Duration,
    /// How long a request for messages is good for.
    request: Duration,
    /// How often an idle spine looks at the log's tail.
    tail_every: Duration,
}

const PACE: Pace = Pace {
    heartbeat: Duration::from_secs(1),
    silence: Duration::from_secs(4),
    request: Duration::from_secs(30),
    tail_every: Duration::from_secs(5),
};

/// One message of the log, without its body.
#[derive(Debug, Clone)]
pub struct SpineItem {
    /// Where it stands.
    pub seq: Seq,
    /// When it was stored, by the leader's clock.
    pub time: SystemTime,
    /// The size of its body in bytes.
    pub bytes: usize,
    /// How many messages the log had beyond it when the server sent it.
    pub behind: u64,
    /// What it is and the life of the log it belongs to. An error means that something else than the relay wrote
    /// it: an alarm.
    pub head: Result<(Epoch, Head), HeadError>,
}

/// The log in order. Made by [`Spine::start`], read by [`Spine::next`].
pub struct Spine {
    bus: Bus,
    link: Link,
    consumer: String,
    inbox: String,
    messages: Subscriber,
    position: Seq,
    /// How many messages the consumer has given.
    received: u64,
    /// Messages asked for and not yet received.
    credit: usize,
    pace: Pace,
    silent_at: Instant,
    /// When somebody last waited here: nobody can hear the server before that.
    listened_at: Instant,
    tail: Tail,
}

/// What an idle spine knows about the log's end.
enum Tail {
    /// Not asked since then.
    Unknown(Instant),
    /// Asked in vain: to be asked again at once, so that a server without the log is noticed.
    Unanswered,
    /// Being asked, since this position: the answer may be older than what came meanwhile.
    Asked(Seq, BoxFuture<'static, Result<Seq, ReadError>>),
    /// It was there then; a later heartbeat must have reached it.
    Known(Seq, Instant),
}

impl Spine {
    /// Begins right after `after`.
    ///
    /// # Errors
    /// When there is no connection or no stream within a few seconds, or the log ends before `after`.
    pub async fn start(bus: &Bus, after: Seq) -> Result<Self, SpineLost> {
        Self::start_at_pace(bus, after, PACE).await
    }

    async fn start_at_pace(bus: &Bus, after: Seq, pace: Pace) -> Result<Self, SpineLost> {
        let connected = timeout(CALL_TIMEOUT, bus.connected()).await;
        let link = connected
            .unwrap_or(Err(Outage::Disconnected))
            .map_err(SpineLost::Unavailable)?;
        let inbox = bus.client().new_inbox();
        let subscribing = bus.client().subscribe(inbox.clone());
        let messages = timeout(CALL_TIMEOUT, subscribing)
            .await
            .map_err(|_| SpineLost::Unavailable(Outage::NoAnswer(CALL_TIMEOUT)))?
            .map_err(|error| SpineLost::Unavailable(Outage::client(error)))?;
        let mut spine = Self {
            bus: bus.clone(),
            link,
            consumer: format!("spine-{:016x}", rand::random::<u64>()),
            inbox,
            messages,
            position: after,
            received: 0,
            credit: 0,
            pace,
            silent_at: Instant::now() + pace.silence,
            listened_at: Instant::now(),
            tail: Tail::Unknown(Instant::now()),
        };
        spine.create().await?;
        let tail = bus.log().tail().await.map_err(unreadable)?;
        not_replaced(after, tail)?;
        spine.ask().await?;
        Ok(spine)
    }

    /// The last message given, or where it began.
    #[must_use]
    pub const fn position(&self) -> Seq {
        self.position
    }

    /// The next message. It may be dropped while it waits and called again, and nothing is lost.
    ///
    /// # Errors
    /// When the spine has ended. It stays ended.
    pub async fn next(&mut self) -> Result<SpineItem, SpineLost> {
        loop {
            if self.credit <= LOW_CREDIT {
                self.ask().await?;
            }
            self.listen();
            // What has arrived comes first: it is in order whatever happened since.
            let message = tokio::select! {
                biased;
                message = timeout_at(self.silent_at, self.messages.next()) => message,
                () = self.link.lost() => return Err(SpineLost::Disconnected),
                tail = self.tail.known() => {
                    self.tail = match tail {
                        Ok((asked_at, tail)) => {
                            not_replaced(asked_at, tail)?;
                            Tail::Known(tail, Instant::now())
                        }
                        Err(_) => Tail::Unanswered,
                    };
                    continue;
                }
            };
            let message = match message {
                Ok(Some(message)) => message,
                Ok(None) => return Err(SpineLost::Disconnected),
                Err(_) => return Err(SpineLost::Silent(self.pace.silence)),
            };
            self.listened_at = Instant::now();
            self.silent_at = self.listened_at + self.pace.silence;
            if message.status.is_none() {
                return self.item(&message);
            }
            self.status(&message)?;
        }
    }

    /// A caller that was away, or a machine that stood still, has not heard what the server said meanwhile, and our
    /// last request may still be on its way through our own tasks: the next heartbeat but one must be there.
    fn listen(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.listened_at) > self.pace.heartbeat {
            self.silent_at = self.silent_at.max(now + 2 * self.pace.heartbeat);
        }
        self.listened_at = now;
    }

    fn item(&mut self, message: &async_nats::Message) -> Result<SpineItem, SpineLost> {
        self.credit = self.credit.saturating_sub(1);
        let reply = message.reply.as_ref().map_or("", |reply| reply.as_str());
        let place =
            Place::parse(reply).ok_or_else(|| SpineLost::Malformed(message.subject.to_string()))?;
        let expected = self.received.saturating_add(1);
        if place.consumer_seq != expected {
            return Err(SpineLost::Gap {
                expected,
                found: place.consumer_seq,
            });
        }
        if place.seq <= self.position {
            return Err(SpineLost::Replaced {
                position: self.position,
                found: place.seq,
            });
        }
        self.received = expected;
        self.position = place.seq;
        let headers = Headers::of(message.headers.as_ref());
        Ok(SpineItem {
            seq: place.seq,
            time: place.time,
            behind: place.behind,
            bytes: headers
                .parsed(wire::MSG_SIZE)
                .unwrap_or(message.payload.len()),
            head: log::read(&message.subject, |name| headers.get(name)),
        })
    }

    fn status(&mut self, message: &async_nats::Message) -> Result<(), SpineLost> {
        match Status::of(message) {
            Status::Heartbeat { given, .. } if given.is_some_and(|given| given > self.received) => {
                // The last one was lost, and none has come since to show it.
                Err(SpineLost::Gap {
                    expected: self.received.saturating_add(1),
                    found: given.unwrap_or_default().saturating_add(1),
                })
            }
            Status::Heartbeat { at, .. } => self.heartbeat(at),
            Status::Expired { unused } => {
                self.credit = self.credit.saturating_sub(unused);
                Ok(())
            }
            Status::Gone(error) => Err(SpineLost::Gone(error)),
        }
    }

    fn heartbeat(&mut self, at: Option<Seq>) -> Result<(), SpineLost> {
        match (&self.tail, at) {
            // One heartbeat later, so that the server made this heartbeat after it told the tail.
            (Tail::Known(tail, since), Some(at)) if since.elapsed() >= self.pace.heartbeat => {
                if at < *tail {
                    return Err(SpineLost::Stalled { at, tail: *tail });
                }
                self.tail = Tail::Unknown(Instant::now());
            }
            (Tail::Unknown(since), _) if since.elapsed() < self.pace.tail_every => {}
            (Tail::Unknown(_) | Tail::Unanswered, _) => {
                let log = self.bus.log();
                let answer = Box::pin(async move { log.tail().await });
                self.tail = Tail::Asked(self.position, answer);
            }
            _ => {}
        }
        Ok(())
    }

    async fn create(&mut self) -> Result<(), SpineLost> {
        let request = json!({
            "stream_name": STREAM,
            "action": "create",
            "config": {
                "name": self.consumer,
                "description": "the spine of a gateway",
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": self.position.next().0,
                "ack_policy": "none",
                "replay_policy": "instant",
                "headers_only": true,
                "mem_storage": true,
                "num_replicas": 1,
                "inactive_threshold": wire::nanos(INACTIVE),
            },
        });
        let endpoint = format!("CONSUMER.CREATE.{STREAM}.{}", self.consumer);
        let answer = self.bus.api::<Value>(&endpoint, &request).await;
        match answer.map_err(SpineLost::Unavailable)? {
            Ok(_) => Ok(()),
            Err(error) => Err(SpineLost::Unavailable(Outage::Server(error))),
        }
    }

    /// Asks for as many messages as there is room for.
    async fn ask(&mut self) -> Result<(), SpineLost> {
        let batch = CREDIT.saturating_sub(self.credit);
        let asking = self.bus.client().publish_with_reply(
            format!("$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{}", self.consumer),
            self.inbox.clone(),
            wire::pull(batch, &self.pace),
        );
        timeout(self.pace.silence, asking)
            .await
            .map_err(|_| SpineLost::Silent(self.pace.silence))?
            .map_err(|error| SpineLost::Unavailable(Outage::client(error)))?;
        self.credit = self.credit.saturating_add(batch);
        Ok(())
    }
}

/// A log that ended before a position which had been reached when it was asked is another log.
fn not_replaced(position: Seq, tail: Seq) -> Result<(), SpineLost> {
    if tail < position {
        return Err(SpineLost::Replaced {
            position,
            found: tail,
        });
    }
    Ok(())
}

impl Tail {
    /// The position at which it was asked for, and the answer, when it is there; never, if it was not asked for.
    async fn known(&mut self) -> Result<(Seq, Seq), ReadError> {
        match self {
            Self::Asked(asked_at, answer) => Ok((*asked_at, answer.await?)),
            Self::Unknown(_) | Self::Unanswered | Self::Known(..) => std::future::pending().await,
        }
    }
}

impl Drop for Spine {
    /// Takes the consumer away, as a courtesy: the server would forget it by itself.
    fn drop(&mut self) {
        let (Ok(runtime), true) = (
            tokio::runtime::Handle::try_current(),
            self.bus.is_connected(),
        ) else {
            return;
        };
        let client = self.bus.client().clone();
        let subject = format!("$JS.API.CONSUMER.DELETE.{STREAM}.{}", self.consumer);
        runtime.spawn(async move {
            let deleting = client.publish(subject, bytes::Bytes::new());
            timeout(CALL_TIMEOUT, deleting).await.ok();
        });
    }
}

fn unreadable(error: ReadError) -> SpineLost {
    SpineLost::Unavailable(match error {
        ReadError::Unavailable(outage) => outage,
        other => Outage::client(other),
    })
}
