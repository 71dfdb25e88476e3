//! A stream once it has begun: its head, the client's end, and what its socket did not take at once. Everything else is
//! written past this task, which sleeps meanwhile; see [`crate::outlet`].

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::outlet::{AT_ONCE, Frames, TAKEN_BYTES, advance, slices};

/// A client has nothing to say once it has asked. After this nobody listens, and that it is gone is seen by writing.
const HEARD_BYTES: usize = 16 * 1024;

/// Writes the answer's head and all frames until they end or the client is gone.
pub(super) async fn run(socket: TcpStream, head: Bytes, frames: Frames) {
    let mut waiting = VecDeque::from([head]);
    let mut heard = 0;
    let socket = frames.begun(socket);
    loop {
        if write(socket, &mut waiting).await.is_err() {
            return;
        }
        // Most streams need no room here again.
        waiting = VecDeque::new();
        match poll_fn(|context| next(socket, &frames, &mut heard, context)).await {
            Some(Next::Frame(frame)) => {
                waiting.push_back(frame);
                take_more(&frames, &mut waiting);
            }
            // The feed has ended it: what is on its way arrives, and then the end.
            Some(Next::End) => {
                let _ = SockRef::from(socket).shutdown(Shutdown::Write);
                return;
            }
            None => return,
        }
    }
}

enum Next {
    Frame(Bytes),
    End,
}

/// The next frame; none if the client is gone.
fn next(
    socket: &TcpStream,
    frames: &Frames,
    heard: &mut usize,
    context: &mut Context<'_>,
) -> Poll<Option<Next>> {
    if let Poll::Ready(next) = frames.poll_next(context) {
        return Poll::Ready(Some(next.map_or(Next::End, Next::Frame)));
    }
    while *heard < HEARD_BYTES {
        if ready!(socket.poll_read_ready(context)).is_err() {
            return Poll::Ready(None);
        }
        match socket.try_read(&mut [0; 512]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(read) if read > 0 => *heard += read,
            Ok(_) | Err(_) => return Poll::Ready(None),
        }
    }
    Poll::Pending
}

/// What else waits already.
fn take_more(frames: &Frames, waiting: &mut VecDeque<Bytes>) {
    let mut taken = waiting.iter().map(Bytes::len).sum::<usize>();
    while waiting.len() < AT_ONCE
        && taken < TAKEN_BYTES
        && let Some(frame) = frames.take()
    {
        taken += frame.len();
        waiting.push_back(frame);
    }
}

async fn write(socket: &TcpStream, waiting: &mut VecDeque<Bytes>) -> io::Result<()> {
    while !waiting.is_empty() {
        let room = &mut [IoSlice::new(&[]); AT_ONCE];
        match socket.try_write_vectored(slices(waiting, room)) {
            Ok(written) => advance(waiting, written),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                poll_fn(|context| socket.poll_write_ready(context)).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
