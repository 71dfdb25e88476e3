//! Live copies: the payloads of followed communities as the server stores them, early and unreliable.
//!
//! The server republishes every stored message, and a gateway subscribes to the communities it needs. A copy may
//! be missing, and copies come in no particular order across communities: the spine says what exists, and a payload
//! that didn't come is read by its sequence. So a copy that finds the queue full is dropped and counted, and never
//! holds the connection up.
//!
//! One task owns all subscriptions. [`Live::add`] and [`Live::remove`] only say what is wanted; the task brings the
//! subscriptions in line, also when there is no connection for a while.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use crier_domain::log::header;
use crier_domain::subject::live_filter;
use crier_domain::{CommunityId, Epoch, Seq};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{AbortHandle, Abortable, SelectAll, abortable};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::connection::Bus;
use crate::headers::Headers;

/// How long handing a subscription to the connection may take before it is tried again.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(2);

/// One live copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveMessage {
    /// Where the message stands in the log.
    pub seq: Seq,
    /// The life of the log it belongs to.
    pub epoch: Epoch,
    /// Its body.
    pub payload: Bytes,
}

/// How much may wait for the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveCapacity {
    /// Copies.
    pub messages: usize,
    /// Bytes of their bodies, all together.
    pub bytes: usize,
}

impl Default for LiveCapacity {
    fn default() -> Self {
        Self {
            messages: 8_192,
            bytes: 64 << 20,
        }
    }
}

/// A gateway's interests. Dropping it ends all subscriptions.
pub struct Live {
    shared: Arc<Shared>,
    _stop: DropGuard,
}

/// Where the copies of all interests arrive.
pub struct LiveReceiver {
    queue: mpsc::Receiver<LiveMessage>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    changed: Notify,
    queued_bytes: AtomicUsize,
    dropped: AtomicU64,
    malformed: AtomicU64,
}

#[derive(Default)]
struct Wanted {
    communities: HashSet<CommunityId>,
    /// Those that the task hasn't looked at since they were added or removed.
    changed: HashSet<CommunityId>,
}

impl Shared {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// Interests over this connection, none yet. Needs a tokio runtime.
    #[must_use]
    pub fn new(bus: &Bus, capacity: LiveCapacity) -> (Self, LiveReceiver) {
        let shared = Arc::new(Shared::default());
        let (sender, queue) = mpsc::channel(capacity.messages.max(1));
        let stop = CancellationToken::new();
        let task = Task {
            bus: bus.clone(),
            shared: Arc::clone(&shared),
            queue: sender,
            byte_limit: capacity.bytes,
            held: HashMap::new(),
            copies: SelectAll::new(),
            subscribing: None,
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(task.run()));
        let receiver = LiveReceiver {
            queue,
            shared: Arc::clone(&shared),
        };
        let live = Self {
            shared,
            _stop: stop.drop_guard(),
        };
        (live, receiver)
    }

    /// Subscribes to a community, soon. Nothing happens if it already is.
    pub fn add(&self, community: CommunityId) {
        let mut wanted = self.shared.wanted();
        if wanted.communities.insert(community) {
            wanted.changed.insert(community);
            self.shared.changed.notify_one();
        }
    }

    /// Ends the subscription, soon. Copies that are already queued still come.
    pub fn remove(&self, community: CommunityId) {
        let mut wanted = self.shared.wanted();
        if wanted.communities.remove(&community) {
            wanted.changed.insert(community);
            self.shared.changed.notify_one();
        }
    }

    /// How many communities are followed.
    #[must_use]
    pub fn interests(&self) -> usize {
        self.shared.wanted().communities.len()
    }

    /// How many copies were dropped because the receiver was behind.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// How many copies came that the server can't have made: somebody else publishes there.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.shared.malformed.load(Ordering::Relaxed)
    }
}

impl LiveReceiver {
    /// The next copy; `None` when [`Live`] was dropped. It may be dropped while it waits, and nothing is lost.
    pub async fn recv(&mut self) -> Option<LiveMessage> {
        let message = self.queue.recv().await?;
        Some(self.taken(message))
    }

    /// The next copy if one is there.
    pub fn try_recv(&mut self) -> Option<LiveMessage> {
        let message = self.queue.try_recv().ok()?;
        Some(self.taken(message))
    }

    fn taken(&self, message: LiveMessage) -> LiveMessage {
        let bytes = message.payload.len();
        self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        message
    }
}

struct Task {
    bus: Bus,
    shared: Arc<Shared>,
    queue: mpsc::Sender<LiveMessage>,
    byte_limit: usize,
    /// The subscriptions there are; aborting one ends its stream, which unsubscribes.
    held: HashMap<CommunityId, AbortHandle>,
    copies: SelectAll<Abortable<Subscriber>>,
    subscribing: Option<BoxFuture<'static, (CommunityId, Option<Subscriber>)>>,
}

impl Task {
    async fn run(mut self) {
        loop {
            self.subscribe_next();
            tokio::select! {
                () = self.shared.changed.notified() => {}
                (community, subscriber) = pending_or(&mut self.subscribing) => {
                    self.subscribing = None;
                    self.subscribed(community, subscriber);
                }
                Some(copy) = self.copies.next() => self.forward(&copy),
            }
        }
    }

    /// Brings one community after the other in line; a removal at once, an addition while copies go on.
    fn subscribe_next(&mut self) {
        while self.subscribing.is_none() {
            let (community, wanted) = {
                let mut wanted = self.shared.wanted();
                let Some(community) = wanted.changed.iter().next().copied() else {
                    return;
                };
                wanted.changed.remove(&community);
                (community, wanted.communities.contains(&community))
            };
            if !wanted {
                if let Some(subscription) = self.held.remove(&community) {
                    subscription.abort();
                }
            } else if !self.held.contains_key(&community) {
                let client = self.bus.client().clone();
                self.subscribing = Some(Box::pin(async move {
                    let subscribing = client.subscribe(live_filter(community));
                    let subscriber = tokio::time::timeout(SUBSCRIBE_TIMEOUT, subscribing).await;
                    (community, subscriber.ok().and_then(Result::ok))
                }));
            }
        }
    }

    fn subscribed(&mut self, community: CommunityId, subscriber: Option<Subscriber>) {
        let mut wanted = self.shared.wanted();
        match subscriber {
            Some(subscriber) if wanted.communities.contains(&community) => {
                let (copies, handle) = abortable(subscriber);
                self.copies.push(copies);
                self.held.insert(community, handle);
            }
            // Removed meanwhile: dropping it unsubscribes.
            Some(_) => {}
            // The connection takes nothing at present. The time-out was the pause before trying again.
            None => {
                wanted.changed.insert(community);
            }
        }
    }

    fn forward(&self, copy: &Message) {
        let headers = Headers::of(copy.headers.as_ref());
        let (Some(seq), Some(epoch)) = (
            headers.parsed(header::SEQUENCE),
            headers.parsed(header::EPOCH),
        ) else {
            self.shared.malformed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let bytes = copy.payload.len();
        // Counted before it is sent: the receiver may take it off at once.
        let queued = self.shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let message = LiveMessage {
            seq: Seq(seq),
            epoch,
            payload: copy.payload.clone(),
        };
        let full = queued.saturating_add(bytes) > self.byte_limit;
        if full || self.queue.try_send(message).is_err() {
            self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn pending_or<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
