//! A stream once it has begun: its frames to the socket, several at once when several wait, and nothing kept while
//! none does.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::outlet::Frames;

/// Frames that one call hands to the kernel.
const AT_ONCE: usize = 32;
/// Bytes that are taken from the queue before what was taken is written: the rest counts against the client's bound.
const TAKEN_BYTES: usize = 64 * 1024;
/// A client has nothing to say once it has asked. After this nobody listens, and that it is gone is seen by writing.
const HEARD_BYTES: usize = 16 * 1024;
/// Frames for which room is kept while nothing waits.
const ROOM: usize = 4;

/// Writes the answer's head and all frames until they end or the client is gone.
pub(super) async fn run(mut socket: TcpStream, head: Bytes, mut frames: Frames) {
    let mut waiting = VecDeque::with_capacity(ROOM);
    waiting.push_back(head);
    let mut heard = 0;
    loop {
        if write(&socket, &mut waiting).await.is_err() {
            return;
        }
        if waiting.capacity() > ROOM {
            waiting = VecDeque::with_capacity(ROOM);
        }
        match poll_fn(|context| next(&socket, &mut frames, &mut heard, context)).await {
            Some(Next::Frame(frame)) => {
                waiting.push_back(frame);
                take_more(&mut frames, &mut waiting);
            }
            // The feed has ended it: what is on its way arrives, and then the end.
            Some(Next::End) => {
                let _ = socket.shutdown().await;
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
    frames: &mut Frames,
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
fn take_more(frames: &mut Frames, waiting: &mut VecDeque<Bytes>) {
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
        match write_some(socket, waiting) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                poll_fn(|context| socket.poll_write_ready(context)).await?;
            }
            written => written?,
        }
    }
    Ok(())
}

fn write_some(socket: &TcpStream, waiting: &mut VecDeque<Bytes>) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]); AT_ONCE];
    let mut count = 0;
    for (slice, frame) in slices.iter_mut().zip(waiting.iter()) {
        *slice = IoSlice::new(frame);
        count += 1;
    }
    let mut written = socket.try_write_vectored(slices.get(..count).unwrap_or_default())?;
    while let Some(first) = waiting.front_mut() {
        if written < first.len() {
            first.advance(written);
            break;
        }
        written -= first.len();
        waiting.pop_front();
    }
    Ok(())
}
