//! Writing to many streams in a row, without waking any of their tasks.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use socket2::SockRef;
use tokio::net::TcpStream;

use super::{Queue, State, Writer};

/// Frames that one call hands to the kernel.
pub(crate) const AT_ONCE: usize = 32;
/// Bytes that are taken from a queue before what was taken is written: the rest counts against the client's bound.
pub(crate) const TAKEN_BYTES: usize = 64 * 1024;

/// A stream for which frames wait. Dropped unwritten, it leaves them to the stream's task.
pub(crate) struct Due(Option<Arc<Queue>>);

impl Due {
    pub(super) fn new(queue: &Arc<Queue>) -> Self {
        Self(Some(Arc::clone(queue)))
    }

    /// Writes what waits for these streams, as far as their sockets take it at once; the rest is left to their tasks.
    pub(crate) fn write_all(all: impl IntoIterator<Item = Self>) {
        let mut taken = VecDeque::new();
        for mut due in all {
            if let Some(queue) = due.0.take()
                && !queue.write(&mut taken)
            {
                queue.leave_to_task(&mut taken);
            }
        }
    }
}

impl Drop for Due {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            queue.leave_to_task(&mut VecDeque::new());
        }
    }
}

impl Queue {
    /// Whether everything was written, and who comes next may write.
    fn write(&self, taken: &mut VecDeque<Bytes>) -> bool {
        let Some(socket) = self.socket.get() else {
            return false;
        };
        loop {
            let mut state = self.lock();
            let mut bytes = 0;
            while taken.len() < AT_ONCE
                && bytes < TAKEN_BYTES
                && let Some(frame) = state.take()
            {
                bytes += frame.len();
                taken.push_back(frame);
            }
            if taken.is_empty() {
                state.writer = Writer::Nobody;
                if state.is_ended || state.is_awaited {
                    State::wake(state);
                }
                return true;
            }
            drop(state);
            // An error is the task's to see as well.
            if send(socket, taken).is_err() || !taken.is_empty() {
                return false;
            }
        }
    }

    /// The socket is full, or there is none: the stream's task goes on with what waits.
    fn leave_to_task(&self, taken: &mut VecDeque<Bytes>) {
        let mut state = self.lock();
        if state.is_gone {
            taken.clear();
        }
        while let Some(frame) = taken.pop_back() {
            state.bytes += frame.len();
            state.frames.push_front(frame);
        }
        state.writer = Writer::Task;
        State::wake(state);
    }
}

/// Sends as much as the socket takes at once. Past tokio, which would have to look its registration up: a socket that is
/// full is left to the stream's task, and that waits by it.
fn send(socket: &TcpStream, taken: &mut VecDeque<Bytes>) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let sent = match taken.front() {
        Some(frame) if taken.len() == 1 => socket.send(frame),
        _ => socket.send_vectored(slices(taken, &mut [IoSlice::new(&[]); AT_ONCE])),
    };
    advance(taken, sent?);
    Ok(())
}

/// The first frames, for one call.
pub(crate) fn slices<'a, 'b>(
    frames: &'a VecDeque<Bytes>,
    room: &'b mut [IoSlice<'a>; AT_ONCE],
) -> &'b [IoSlice<'a>] {
    let mut count = 0;
    for (slice, frame) in room.iter_mut().zip(frames) {
        *slice = IoSlice::new(frame);
        count += 1;
    }
    room.get(..count).unwrap_or_default()
}

/// So many bytes of the frames are written.
pub(crate) fn advance(frames: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = frames.front_mut() {
        if written < first.len() {
            first.advance(written);
            break;
        }
        written -= first.len();
        frames.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::super::{Frames, Outlet, channel};
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    /// A stream that has begun on a real socket, and its client.
    async fn begun() -> (Outlet, Frames, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (outlet, frames) = channel(10_000, 100 << 20);
        frames.begun(accepted.unwrap().0);
        assert_eq!(asked(&frames).await, None, "nothing waits");
        (outlet, frames, client.unwrap())
    }

    /// What the stream's task has to write now.
    async fn asked(frames: &Frames) -> Option<Bytes> {
        let next = std::future::poll_fn(|context| frames.poll_next(context));
        timeout(Duration::ZERO, next).await.ok().flatten()
    }

    async fn read(client: &mut TcpStream, length: usize) -> Vec<u8> {
        let mut read = vec![0; length];
        timeout(SOON, client.read_exact(&mut read))
            .await
            .unwrap()
            .unwrap();
        read
    }

    #[tokio::test]
    async fn frames_are_written_in_order_without_the_streams_task() {
        let (outlet, frames, mut client) = begun().await;
        for round in 0..3_u8 {
            let mut due = Vec::new();
            // More than one call takes.
            for number in 0..100 {
                due.extend(outlet.push(Bytes::from(vec![round, number])).unwrap());
            }
            assert_eq!(due.len(), 1, "a stream is due once");
            assert_eq!(asked(&frames).await, None, "it is another's to write");
            Due::write_all(due);
            let expected: Vec<u8> = (0..100).flat_map(|number| [round, number]).collect();
            assert_eq!(read(&mut client, 200).await, expected);
        }
        assert_eq!(asked(&frames).await, None);
    }

    #[tokio::test]
    async fn what_a_socket_does_not_take_at_once_is_left_to_its_task_in_order() {
        let (outlet, frames, mut client) = begun().await;
        let frame = |number: u16| Bytes::from(number.to_be_bytes().repeat(2_000));
        let mut sent = 0;
        // Until the socket is full, however much it takes; then some more.
        loop {
            let mut due = Vec::new();
            for number in sent..sent + 5 {
                due.extend(outlet.push(frame(number)).unwrap());
            }
            sent += 5;
            if due.is_empty() {
                break;
            }
            Due::write_all(due);
        }
        let written = async {
            let mut waiting = VecDeque::new();
            loop {
                match asked(&frames).await {
                    Some(frame) => waiting.push_back(frame),
                    None if waiting.is_empty() => return,
                    None => {}
                }
                let socket = frames.queue.socket.get().unwrap();
                socket.writable().await.unwrap();
                let room = &mut [IoSlice::new(&[]); AT_ONCE];
                if let Ok(written) = socket.try_write_vectored(slices(&waiting, room)) {
                    advance(&mut waiting, written);
                }
            }
        };
        let length = usize::from(sent) * 4_000;
        let ((), read) = tokio::join!(written, read(&mut client, length));
        let expected: Vec<u8> = (0..sent).flat_map(frame).collect();
        assert!(
            read == expected,
            "the bytes are those of the frames in order"
        );
        assert!(
            outlet.push(frame(0)).unwrap().is_some(),
            "with nothing left, the task is not needed"
        );
    }

    #[tokio::test]
    async fn a_stream_that_was_not_written_is_left_to_its_task() {
        let (outlet, frames, _client) = begun().await;
        let frame = Bytes::from_static(b"frame");
        drop(outlet.push(frame.clone()).unwrap());
        assert_eq!(asked(&frames).await, Some(frame));
    }

    #[tokio::test]
    async fn a_stream_ends_when_everything_is_written() {
        let (outlet, frames, _client) = begun().await;
        let due = outlet.push(Bytes::from_static(b"bye")).unwrap();
        drop(outlet);
        assert!(
            timeout(
                Duration::ZERO,
                std::future::poll_fn(|context| frames.poll_next(context))
            )
            .await
            .is_err(),
            "the last frame is not written yet"
        );
        let end =
            tokio::spawn(
                async move { std::future::poll_fn(|context| frames.poll_next(context)).await },
            );
        tokio::task::yield_now().await;
        Due::write_all(due);
        assert_eq!(timeout(SOON, end).await.unwrap().unwrap(), None);
    }
}
