//! A connection handed over: whoever answers with a stream that has no end writes it to the socket itself. hyper keeps
//! 16 KiB of buffers for a connection for as long as it lives, and takes a task's state of its own; a stream needs
//! neither.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use tokio::net::TcpStream;

/// What goes on with the socket.
pub(super) type Going = Pin<Box<dyn Future<Output = ()> + Send>>;
type Begin = Box<dyn FnOnce(TcpStream, Bytes) -> Going + Send>;

/// An extension of an answer, whose body is then not looked at: the socket, and the answer's head to write first.
/// Whatever stands in the way between the handler and the socket keeps it: layers see an ordinary answer.
#[derive(Clone)]
pub struct Handover(Arc<Mutex<Option<Begin>>>);

impl Handover {
    /// Goes on with `stream`. It isn't called for a `HEAD` request, and nothing of it is kept then.
    pub fn new<S, F>(stream: S) -> Self
    where
        S: FnOnce(TcpStream, Bytes) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let begin: Begin = Box::new(|socket, head| Box::pin(stream(socket, head)));
        Self(Arc::new(Mutex::new(Some(begin))))
    }

    fn take(&self) -> Option<Begin> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Where the answer of a request leaves what it hands over, for whoever drives the connection.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<(Begin, Bytes)>>>);

impl Slot {
    /// Whether this answer's socket is to be handed over. If so, hyper must not get to see the answer.
    pub(super) fn takes(&self, response: &mut Response) -> bool {
        let handover = response.extensions_mut().remove::<Handover>();
        let Some(begin) = handover.and_then(|handover| handover.take()) else {
            return false;
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((begin, head(response)));
        true
    }

    /// What was handed over, given its socket.
    pub(super) fn go_on(&self, socket: TcpStream) -> Option<Going> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.map(|(begin, head)| begin(socket, head))
    }

    pub(super) fn is_taken(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }
}

/// The head as hyper would write it. The body ends with the connection, so it needs no frames of its own.
fn head(response: &Response) -> Bytes {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in response.headers() {
        // Of the body that isn't looked at.
        if [CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
            continue;
        }
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    head.extend_from_slice(format!("connection: close\r\ndate: {date}\r\n\r\n").as_bytes());
    head.into()
}
