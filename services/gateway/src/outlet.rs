//! The rule for the slow client: a queue bounded in messages and bytes between the hub and one socket.
//!
//! The hub never waits. What doesn't fit closes the stream; the client comes back with its cursor, and
//! nobody else has noticed.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use crier_hub::ConnectionId;
use tokio::sync::mpsc;

/// The hub's end of a connection.
pub(crate) struct Outlet {
    queue: Arc<Queue>,
    limit_messages: usize,
    limit_bytes: usize,
}

/// Frames that wait. A channel would keep room for 32 of them for each stream, and two more allocations; here a quiet
/// stream has room for a few. The lock is one stream's own, and held for a push or a take.
#[derive(Default)]
struct Queue(Mutex<State>);

#[derive(Default)]
struct State {
    frames: VecDeque<Bytes>,
    /// Of these frames.
    bytes: usize,
    /// Waits for the next one.
    reader: Option<Waker>,
    /// No more will come.
    is_ended: bool,
    /// Nobody reads any more.
    is_gone: bool,
    /// The feed wants to know when nothing waits any more.
    is_awaited: bool,
    /// There is to be no stream.
    is_refused: bool,
}

/// Room that is kept while nothing waits.
const ROOM: usize = 4;

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        if self.frames.is_empty() && self.frames.capacity() > ROOM {
            self.frames = VecDeque::new();
        }
        Some(frame)
    }
}

/// A frame that found no room, or nobody to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The client doesn't keep up.
    Full,
    /// The client is gone.
    Gone,
}

/// How a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With a frame, be it a `bye`.
    Frame,
    /// Not at all: the token has been withdrawn.
    Refused,
    /// The feed has ended and said nothing.
    Silence,
}

/// The socket's end: what the body of the response is made of.
pub(crate) struct Frames {
    queue: Arc<Queue>,
    /// Taken from the queue to see how the stream begins.
    first: Option<Bytes>,
    told: Option<(ConnectionId, mpsc::UnboundedSender<Told>)>,
}

/// What the socket's end tells the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The client has taken everything, and more is awaited.
    Drained(ConnectionId),
    /// The response was dropped, whoever ended it.
    Closed(ConnectionId),
}

/// Both ends of a queue for at most this much.
pub(crate) fn channel(messages: usize, bytes: usize) -> (Outlet, Frames) {
    let queue = Arc::new(Queue::default());
    let outlet = Outlet {
        queue: Arc::clone(&queue),
        limit_messages: messages.max(1),
        limit_bytes: bytes,
    };
    (
        outlet,
        Frames {
            queue,
            first: None,
            told: None,
        },
    )
}

/// How a block with an id begins.
const ID: &[u8] = b"id: ";

/// The first frame of a stream, with the client's own cursor if it has no other: a stream may end before it has begun,
/// and by the letter of the standard a first block without an id makes an EventSource forget the one it had.
pub(crate) fn keeping(cursor: Option<&str>, first: Bytes) -> Bytes {
    match cursor {
        Some(cursor) if !first.starts_with(ID) => {
            [ID, cursor.as_bytes(), b"\n", &first].concat().into()
        }
        _ => first,
    }
}

impl Outlet {
    /// Queues a frame.
    ///
    /// # Errors
    /// When it doesn't fit or the client is gone. One frame larger than the whole bound still passes an
    /// empty queue: it would never fit otherwise.
    pub(crate) fn push(&self, frame: Bytes) -> Result<(), Refused> {
        let mut state = self.queue.lock();
        if state.is_gone {
            return Err(Refused::Gone);
        }
        let waiting = state.frames.len();
        if waiting >= self.limit_messages
            || (waiting > 0 && state.bytes + frame.len() > self.limit_bytes)
        {
            return Err(Refused::Full);
        }
        state.bytes += frame.len();
        state.frames.push_back(frame);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    /// Ends a stream before its first frame, because its token has been withdrawn.
    pub(crate) fn refuse(self) {
        self.queue.lock().is_refused = true;
    }

    /// Nobody is there to read.
    pub(crate) fn is_closed(&self) -> bool {
        self.queue.lock().is_gone
    }

    /// Has it told when nothing waits any more. Whether that is so already, and then it isn't told.
    pub(crate) fn await_drained(&self) -> bool {
        let mut state = self.queue.lock();
        state.is_awaited = !state.frames.is_empty();
        !state.is_awaited
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.is_ended = true;
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Frames {
    /// Has the feed told of what becomes of this connection.
    pub(crate) fn tell(mut self, id: ConnectionId, told: mpsc::UnboundedSender<Told>) -> Self {
        self.told = Some((id, told));
        self
    }

    /// Waits until it is known how the stream begins. It may be dropped while it waits, and nothing is lost.
    pub(crate) async fn begin(&mut self) -> Begin {
        let Some(first) = poll_fn(|context| self.poll_next(context)).await else {
            return if self.queue.lock().is_refused {
                Begin::Refused
            } else {
                Begin::Silence
            };
        };
        self.first = Some(first);
        Begin::Frame
    }

    /// The stream begins with an id, be it the one that the client came with.
    pub(crate) fn keeping(mut self, cursor: Option<&str>) -> Self {
        self.first = self.first.take().map(|first| keeping(cursor, first));
        self
    }

    /// The next frame; none when the feed has ended the stream.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        let mut state = self.queue.lock();
        if let Some(frame) = state.take() {
            return Poll::Ready(Some(frame));
        }
        if state.is_ended {
            return Poll::Ready(None);
        }
        match &mut state.reader {
            Some(reader) => reader.clone_from(context.waker()),
            reader => *reader = Some(context.waker().clone()),
        }
        if std::mem::take(&mut state.is_awaited)
            && let Some((id, told)) = &self.told
        {
            // Unbounded, but each was asked for, one at a time. Nobody listens any more: the gateway ends.
            let _ = told.send(Told::Drained(*id));
        }
        Poll::Pending
    }

    /// A frame that waits already.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        self.queue.lock().take()
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // Closed before it is told: a feed that has heard of it and then takes the stream sees that it is closed.
        let mut state = self.queue.lock();
        state.is_gone = true;
        state.frames = VecDeque::new();
        drop(state);
        if let Some((id, told)) = self.told.take() {
            // Unbounded, but each connection says this once. Nobody listens any more: the gateway ends.
            let _ = told.send(Told::Closed(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn next(frames: &mut Frames) -> Bytes {
        poll_fn(|context| frames.poll_next(context)).await.unwrap()
    }

    fn frame(size: usize) -> Bytes {
        Bytes::from(vec![b'x'; size])
    }

    #[tokio::test]
    async fn a_queue_is_bounded_in_messages_and_in_bytes() {
        let (outlet, mut frames) = channel(2, 100);
        assert_eq!(outlet.push(frame(60)), Ok(()));
        assert_eq!(outlet.push(frame(60)), Err(Refused::Full), "bytes");
        assert_eq!(outlet.push(frame(30)), Ok(()));
        assert_eq!(outlet.push(frame(1)), Err(Refused::Full), "messages");
        next(&mut frames).await;
        next(&mut frames).await;
        assert_eq!(outlet.push(frame(100)), Ok(()), "what was read makes room");
    }

    #[tokio::test]
    async fn one_frame_larger_than_the_bound_passes_an_empty_queue() {
        let (outlet, _frames) = channel(2, 100);
        assert_eq!(outlet.push(frame(500)), Ok(()));
        assert_eq!(outlet.push(frame(1)), Err(Refused::Full));
    }

    #[tokio::test]
    async fn how_a_stream_begins_is_known_before_its_first_byte() {
        let (outlet, mut frames) = channel(2, 100);
        outlet.push(frame(60)).unwrap();
        assert_eq!(frames.begin().await, Begin::Frame);
        assert_eq!(outlet.push(frame(60)), Ok(()), "the first has left");
        for _ in 0..2 {
            assert_eq!(next(&mut frames).await, frame(60));
        }

        let (outlet, mut frames) = channel(2, 100);
        outlet.refuse();
        assert_eq!(frames.begin().await, Begin::Refused);

        // A gateway that is cut off at its deadline must not end an EventSource for good.
        let (outlet, mut frames) = channel(2, 100);
        drop(outlet);
        assert_eq!(frames.begin().await, Begin::Silence);
    }

    #[tokio::test]
    async fn a_stream_that_ends_before_it_begins_keeps_the_clients_cursor() {
        for (cursor, first, expected) in [
            (Some("abc"), "event: bye\n\n", "id: abc\nevent: bye\n\n"),
            (None, "event: bye\n\n", "event: bye\n\n"),
            (
                Some("abc"),
                "id: d\nevent: ready\n\n",
                "id: d\nevent: ready\n\n",
            ),
        ] {
            let (outlet, mut frames) = channel(2, 100);
            outlet.push(first.into()).unwrap();
            assert_eq!(frames.begin().await, Begin::Frame);
            assert_eq!(next(&mut frames.keeping(cursor)).await, expected);
        }
    }

    #[tokio::test]
    async fn the_end_of_a_response_is_told() {
        let (closed, mut told) = mpsc::unbounded_channel();
        let (outlet, frames) = channel(2, 100);
        let frames = frames.tell(ConnectionId(7), closed);
        assert!(!outlet.is_closed());
        drop(frames);
        assert!(outlet.is_closed());
        assert_eq!(told.recv().await, Some(Told::Closed(ConnectionId(7))));
        assert_eq!(outlet.push(frame(1)), Err(Refused::Gone));
    }

    #[tokio::test]
    async fn that_everything_was_taken_is_told_once_and_only_if_awaited() {
        let (sender, mut told) = mpsc::unbounded_channel();
        let (outlet, frames) = channel(2, 100);
        let mut frames = frames.tell(ConnectionId(7), sender);
        assert!(outlet.await_drained(), "nothing waits");
        outlet.push(frame(1)).unwrap();
        assert!(!outlet.await_drained());
        next(&mut frames).await;
        assert!(
            told.try_recv().is_err(),
            "the socket has not asked for more"
        );
        for _ in 0..2 {
            let more = tokio::time::timeout(std::time::Duration::ZERO, next(&mut frames));
            assert!(more.await.is_err());
        }
        assert_eq!(told.try_recv(), Ok(Told::Drained(ConnectionId(7))));
        assert!(told.try_recv().is_err());
    }
}
