//! An EventSource for tests: one stream, with the status, the headers and every block in sight.

mod parser;

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, HOST};
use hyper::{HeaderMap, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

pub use parser::{Frame, SseParser};

use crate::DEADLINE;

/// Why there is no further frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The server closed the stream, or it broke.
    Closed,
    /// The deadline passed first.
    TimedOut,
}

/// One open stream. Dropping it closes the connection.
pub struct SseClient {
    status: u16,
    headers: HeaderMap,
    body: Incoming,
    parser: SseParser,
    ready: VecDeque<Frame>,
    /// Of what was handed out; the parser may have read on.
    last_event_id: String,
    connection: JoinHandle<hyper::Result<()>>,
}

impl SseClient {
    /// Opens `url` with the given headers and reads the answer's head. Whatever its status: see
    /// [`status`](Self::status).
    ///
    /// # Errors
    /// When there is no connection, or no answer within [`DEADLINE`].
    pub async fn connect(url: &str, headers: &[(&str, &str)]) -> anyhow::Result<Self> {
        let opened = tokio::time::timeout(DEADLINE, Self::open(url, headers));
        opened
            .await
            .context("no answer in time")?
            .with_context(|| format!("open {url}"))
    }

    async fn open(url: &str, headers: &[(&str, &str)]) -> anyhow::Result<Self> {
        let uri: Uri = url.parse()?;
        let authority = uri.authority().context("an address with a host")?;
        let socket = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80)));
        let io = TokioIo::new(socket.await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        let connection = tokio::spawn(connection);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::get(path)
            .header(HOST, authority.as_str())
            .header(ACCEPT, "text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender
            .send_request(request.body(Empty::<Bytes>::new())?)
            .await?;
        let (head, body) = response.into_parts();
        Ok(Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            parser: SseParser::default(),
            ready: VecDeque::new(),
            last_event_id: String::new(),
            connection,
        })
    }

    /// The status code of the answer.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The headers of the answer.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A header's value; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// What an EventSource that has dispatched what was handed out would send as `Last-Event-ID` now; empty before
    /// the first id.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The next block, also one that an EventSource would not dispatch; `None` when the stream has ended or nothing
    /// came within `deadline`. Where the difference matters: [`frame`](Self::frame).
    pub async fn next_frame(&mut self, deadline: Duration) -> Option<Frame> {
        self.frame(deadline).await.ok()
    }

    /// The next block that has data, as an EventSource dispatches; comments and bare ids are passed over.
    pub async fn next_event(&mut self, deadline: Duration) -> Option<Frame> {
        let last = tokio::time::Instant::now() + deadline;
        loop {
            let left = last.saturating_duration_since(tokio::time::Instant::now());
            let frame = self.frame(left).await.ok()?;
            if frame.data.is_some() {
                return Some(frame);
            }
        }
    }

    /// The next block.
    ///
    /// # Errors
    /// Why there is none. After [`Ended::TimedOut`] the stream can be read on.
    pub async fn frame(&mut self, deadline: Duration) -> Result<Frame, Ended> {
        let frame = tokio::time::timeout(deadline, self.read_frame())
            .await
            .unwrap_or(Err(Ended::TimedOut))?;
        if let Some(id) = &frame.id {
            self.last_event_id.clone_from(id);
        }
        Ok(frame)
    }

    /// The rest of the body as text, for an answer that is no stream.
    pub async fn text(mut self) -> String {
        let whole = tokio::time::timeout(DEADLINE, (&mut self.body).collect()).await;
        let body = whole.ok().and_then(Result::ok).map(|body| body.to_bytes());
        String::from_utf8_lossy(&body.unwrap_or_default()).into_owned()
    }

    /// Stopping between two reads loses nothing: what was read is in `ready` or in the parser.
    async fn read_frame(&mut self) -> Result<Frame, Ended> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(frame);
            }
            let chunk = self
                .body
                .frame()
                .await
                .and_then(Result::ok)
                .ok_or(Ended::Closed)?;
            if let Ok(data) = chunk.into_data() {
                self.ready.extend(self.parser.push(&data));
            }
        }
    }
}

impl Drop for SseClient {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
