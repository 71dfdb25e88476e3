//! The rule for the slow client: a queue bounded in messages and bytes between the hub and one socket.
//!
//! The hub never waits. What doesn't fit closes the stream; the client comes back with its cursor, and
//! nobody else has noticed.
//!
//! Who writes changes. As long as the socket takes everything, no task is woken for a frame: a push says that the stream is
//! [`Due`], and whoever pushed has it written, many streams in a row. What a socket doesn't take waits for the stream's own
//! task, which then writes until nothing waits.

mod due;
mod waiting;

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use crier_hub::ConnectionId;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

pub(crate) use due::{AT_ONCE, Due, TAKEN_BYTES, advance, slices};
use waiting::Waiting;

/// The hub's end of a connection.
pub(crate) struct Outlet {
    queue: Arc<Queue>,
    limit_messages: usize,
    limit_bytes: usize,
}

/// Frames that wait, and the socket they wait for. A channel would keep room for 32 of them for each stream, and two more
/// allocations; here a quiet stream has room for one. The lock is one stream's own, and held for a push or a take.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    /// From the moment on at which the stream has begun.
    socket: OnceLock<TcpStream>,
}

#[derive(Default)]
struct State {
    frames: Waiting,
    /// Of these frames.
    bytes: usize,
    writer: Writer,
    /// The stream's task, which waits for its turn to write, or for the end.
    task: Option<Waker>,
    /// No more will come.
    is_ended: bool,
    /// Nobody reads any more.
    is_gone: bool,
    /// The feed wants to know when nothing waits any more.
    is_awaited: bool,
    /// There is to be no stream.
    is_refused: bool,
}

/// Who writes what waits. One at a time, so that frames keep their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Writer {
    /// The stream's own task: the stream has not begun yet, or its socket was full.
    #[default]
    Task,
    /// Nothing waits, and the socket took everything so far.
    Nobody,
    /// Whoever has the [`Due`].
    Due,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }

    /// The stream's task waits.
    fn wait(&mut self, context: &Context<'_>) {
        match &mut self.task {
            Some(task) => task.clone_from(context.waker()),
            task => *task = Some(context.waker().clone()),
        }
    }

    /// Has the stream's task look again, once it can.
    fn wake(mut state: MutexGuard<'_, Self>) {
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
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
    (outlet, Frames { queue, told: None })
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
    /// Queues a frame. What comes back is to be written soon.
    ///
    /// # Errors
    /// When it doesn't fit or the client is gone. One frame larger than the whole bound still passes an
    /// empty queue: it would never fit otherwise.
    pub(crate) fn push(&self, frame: Bytes) -> Result<Option<Due>, Refused> {
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
        match state.writer {
            Writer::Task => {
                State::wake(state);
                Ok(None)
            }
            Writer::Due => Ok(None),
            Writer::Nobody => {
                state.writer = Writer::Due;
                drop(state);
                Ok(Some(Due::new(&self.queue)))
            }
        }
    }

    /// Looks at what a push needs, and leaves it as it is. A processor fetches from memory for several streams at once, but
    /// for one after the other where each is locked: so many are looked at before the first is pushed to.
    pub(crate) fn glance(&self) -> bool {
        self.queue.state.is_poisoned() | self.queue.socket.get().is_some()
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
        State::wake(state);
    }
}

impl Frames {
    /// Has the feed told of what becomes of this connection.
    pub(crate) fn tell(mut self, id: ConnectionId, told: mpsc::UnboundedSender<Told>) -> Self {
        self.told = Some((id, told));
        self
    }

    /// Waits until it is known how the stream begins. It may be dropped while it waits, and nothing is lost.
    pub(crate) async fn begin(&self) -> Begin {
        poll_fn(|context| self.poll_begin(context)).await
    }

    fn poll_begin(&self, context: &mut Context<'_>) -> Poll<Begin> {
        let mut state = self.queue.lock();
        if !state.frames.is_empty() {
            return Poll::Ready(Begin::Frame);
        }
        if state.is_refused {
            return Poll::Ready(Begin::Refused);
        }
        if state.is_ended {
            return Poll::Ready(Begin::Silence);
        }
        state.wait(context);
        Poll::Pending
    }

    /// The stream begins with an id, be it the one that the client came with.
    pub(crate) fn keeping(self, cursor: Option<&str>) -> Self {
        let mut state = self.queue.lock();
        if let Some(first) = state.frames.pop_front() {
            let kept = keeping(cursor, first.clone());
            state.bytes = state.bytes - first.len() + kept.len();
            state.frames.push_front(kept);
        }
        drop(state);
        self
    }

    /// The stream has begun, on this socket.
    pub(crate) fn begun(&self, socket: TcpStream) -> &TcpStream {
        self.queue.socket.get_or_init(|| socket)
    }

    /// The next frame that the stream's task has to write; none when the feed has ended the stream and all is written.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.queue.lock();
        if state.writer == Writer::Task {
            if let Some(frame) = state.take() {
                return Poll::Ready(Some(frame));
            }
            if self.queue.socket.get().is_some() {
                state.writer = Writer::Nobody;
            }
        }
        let is_idle = state.writer != Writer::Due;
        if is_idle && state.is_ended {
            return Poll::Ready(None);
        }
        state.wait(context);
        if is_idle
            && std::mem::take(&mut state.is_awaited)
            && let Some((id, told)) = &self.told
        {
            // Unbounded, but each was asked for, one at a time. Nobody listens any more: the gateway ends.
            let _ = told.send(Told::Drained(*id));
        }
        Poll::Pending
    }

    /// Another frame for the stream's task, if one waits.
    pub(crate) fn take(&self) -> Option<Bytes> {
        let mut state = self.queue.lock();
        (state.writer == Writer::Task)
            .then(|| state.take())
            .flatten()
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // Closed before it is told: a feed that has heard of it and then takes the stream sees that it is closed.
        let mut state = self.queue.lock();
        state.is_gone = true;
        state.frames = Waiting::default();
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

    /// Whether it was taken, by a stream whose task writes.
    fn push(outlet: &Outlet, frame: Bytes) -> Result<(), Refused> {
        outlet.push(frame).map(|due| assert!(due.is_none()))
    }

    async fn next(frames: &Frames) -> Bytes {
        poll_fn(|context| frames.poll_next(context)).await.unwrap()
    }

    fn frame(size: usize) -> Bytes {
        Bytes::from(vec![b'x'; size])
    }

    #[tokio::test]
    async fn a_queue_is_bounded_in_messages_and_in_bytes() {
        let (outlet, frames) = channel(2, 100);
        assert_eq!(push(&outlet, frame(60)), Ok(()));
        assert_eq!(push(&outlet, frame(60)), Err(Refused::Full), "bytes");
        assert_eq!(push(&outlet, frame(30)), Ok(()));
        assert_eq!(push(&outlet, frame(1)), Err(Refused::Full), "messages");
        next(&frames).await;
        next(&frames).await;
        assert_eq!(
            push(&outlet, frame(100)),
            Ok(()),
            "what was read makes room"
        );
    }

    #[tokio::test]
    async fn one_frame_larger_than_the_bound_passes_an_empty_queue() {
        let (outlet, _frames) = channel(2, 100);
        assert_eq!(push(&outlet, frame(500)), Ok(()));
        assert_eq!(push(&outlet, frame(1)), Err(Refused::Full));
    }

    #[tokio::test]
    async fn how_a_stream_begins_is_known_before_its_first_byte() {
        let (outlet, frames) = channel(2, 100);
        push(&outlet, frame(60)).unwrap();
        for _ in 0..2 {
            assert_eq!(frames.begin().await, Begin::Frame);
        }
        assert_eq!(next(&frames).await, frame(60));

        let (outlet, frames) = channel(2, 100);
        outlet.refuse();
        assert_eq!(frames.begin().await, Begin::Refused);

        // A gateway that is cut off at its deadline must not end an EventSource for good.
        let (outlet, frames) = channel(2, 100);
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
            let (outlet, frames) = channel(2, 100);
            push(&outlet, first.into()).unwrap();
            assert_eq!(frames.begin().await, Begin::Frame);
            assert_eq!(next(&frames.keeping(cursor)).await, expected);
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
        assert_eq!(push(&outlet, frame(1)), Err(Refused::Gone));
    }

    #[tokio::test]
    async fn that_everything_was_taken_is_told_once_and_only_if_awaited() {
        let (sender, mut told) = mpsc::unbounded_channel();
        let (outlet, frames) = channel(2, 100);
        let frames = frames.tell(ConnectionId(7), sender);
        assert!(outlet.await_drained(), "nothing waits");
        push(&outlet, frame(1)).unwrap();
        assert!(!outlet.await_drained());
        next(&frames).await;
        assert!(
            told.try_recv().is_err(),
            "the socket has not asked for more"
        );
        for _ in 0..2 {
            let more = tokio::time::timeout(std::time::Duration::ZERO, next(&frames));
            assert!(more.await.is_err());
        }
        assert_eq!(told.try_recv(), Ok(Told::Drained(ConnectionId(7))));
        assert!(told.try_recv().is_err());
    }
}
