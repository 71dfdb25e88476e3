//! The readers: as many connections as asked for in one thread of one process, from many loopback addresses. Raw
//! sockets and one buffer, because the load shares the machine with what it measures.

pub(crate) mod http2;
mod seen;

use std::io::{BufRead as _, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Protocol, Socket, Type};

use super::wire::{Answer, Connect, Connected, Order, STAMP_BEGIN, STAMP_BYTES, now, read_stamp};
use seen::Seen;

/// Source addresses, 127.0.1.1 and up, in turn.
const SOURCES: usize = 64;
/// What of the end of a read may be the beginning of a stamp or of a marker.
const CARRY: usize = STAMP_BYTES - 1;
const BUFFER: usize = 256 * 1024;
const WAKER: Token = Token(usize::MAX);

enum State {
    Connecting,
    /// The head was sent, the marker has not come.
    Waiting,
    Open,
}

struct Connection {
    stream: TcpStream,
    state: State,
    carry: [u8; CARRY],
    carried: usize,
}

/// What is under way.
enum Job {
    Connect {
        order: Connect,
        heads: Vec<Vec<u8>>,
        next: usize,
        flying: usize,
        done: Connected,
        begun: Instant,
    },
    Collect {
        frames: u64,
        until: Instant,
    },
}

struct Client {
    poll: Poll,
    connections: Vec<Option<Connection>>,
    buffer: Vec<u8>,
    seen: Seen,
    job: Option<Job>,
}

/// Reads orders from standard input until it ends.
pub(crate) fn run() -> anyhow::Result<()> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let (sender, orders) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let order = line.ok().and_then(|line| serde_json::from_str(&line).ok());
            let ended = order.is_none() || sender.send(order).is_err();
            let _ = waker.wake();
            if ended {
                break;
            }
        }
        drop(sender);
        let _ = waker.wake();
    });
    let mut client = Client {
        poll,
        connections: Vec::new(),
        buffer: vec![0; CARRY + BUFFER],
        seen: Seen::default(),
        job: None,
    };
    let mut events = Events::with_capacity(1024);
    loop {
        while client.job.is_none() {
            match orders.try_recv() {
                Ok(Some(order)) => client.take(order)?,
                Ok(None) | Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
                Err(mpsc::TryRecvError::Empty) => break,
            }
        }
        match client.poll.poll(&mut events, client.patience()) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            polled => polled?,
        }
        for event in &events {
            if event.token() != WAKER {
                client.ready(event.token().0);
            }
        }
        client.go_on()?;
    }
}

fn tell(answer: &Answer) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, answer)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

impl Client {
    fn take(&mut self, order: Order) -> anyhow::Result<()> {
        match order {
            Order::Connect(order) => {
                let text = std::fs::read(&order.heads).context("the heads")?;
                self.job = Some(Job::Connect {
                    heads: heads(&text),
                    order,
                    next: 0,
                    flying: 0,
                    done: Connected::default(),
                    begun: Instant::now(),
                });
                self.go_on()
            }
            Order::Collect {
                frames,
                patience_ms,
            } => {
                self.job = Some(Job::Collect {
                    frames,
                    until: Instant::now() + Duration::from_millis(patience_ms),
                });
                self.go_on()
            }
            Order::Leave { keep } => {
                self.connections.truncate(keep);
                let open = self.connections.iter().flatten().count();
                tell(&Answer::Left { open })
            }
        }
    }

    fn patience(&self) -> Option<Duration> {
        match &self.job {
            None => None,
            Some(Job::Collect { until, .. }) => {
                Some(until.saturating_duration_since(Instant::now()))
            }
            Some(Job::Connect { .. }) => Some(Duration::from_millis(100)),
        }
    }

    /// Goes on with what is under way, and answers if it is done.
    fn go_on(&mut self) -> anyhow::Result<()> {
        match &mut self.job {
            None => Ok(()),
            Some(Job::Collect { frames, until }) => {
                if self.seen.frames() < *frames && Instant::now() < *until {
                    return Ok(());
                }
                self.job = None;
                tell(&Answer::Collected(Box::new(self.seen.take())))
            }
            Some(Job::Connect {
                order,
                next,
                flying,
                done,
                begun,
                ..
            }) => {
                while *next < order.count && *flying < order.at_once {
                    let at = self.connections.len();
                    let server = order.servers[*next % order.servers.len()];
                    *next += 1;
                    match open(server, at) {
                        Ok(mut stream) => {
                            self.poll.registry().register(
                                &mut stream,
                                Token(at),
                                Interest::READABLE | Interest::WRITABLE,
                            )?;
                            *flying += 1;
                            self.connections.push(Some(Connection {
                                stream,
                                state: State::Connecting,
                                carry: [0; CARRY],
                                carried: 0,
                            }));
                        }
                        Err(error) => {
                            done.failed += 1;
                            done.failure.get_or_insert_with(|| error.to_string());
                        }
                    }
                }
                let patience = Duration::from_millis(order.patience_ms);
                if done.open + done.failed < order.count && begun.elapsed() < patience {
                    return Ok(());
                }
                let mut done = std::mem::take(done);
                done.seconds = begun.elapsed().as_secs_f64();
                done.failed = order.count - done.open;
                self.job = None;
                tell(&Answer::Connected(done))
            }
        }
    }

    /// Something happened to a socket.
    fn ready(&mut self, at: usize) {
        let Some(Some(connection)) = self.connections.get_mut(at) else {
            return;
        };
        let mut failed = None;
        if matches!(connection.state, State::Connecting)
            && let Some(Job::Connect { heads, .. }) = &self.job
        {
            let head = &heads[at % heads.len()];
            match connection.stream.write(head) {
                Ok(written) if written == head.len() => connection.state = State::Waiting,
                Ok(_) => failed = Some("a head was not taken whole".to_owned()),
                Err(error) if error.kind() == ErrorKind::NotConnected => return,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => failed = Some(error.to_string()),
            }
        }
        while failed.is_none() {
            match connection.stream.read(&mut self.buffer[CARRY..]) {
                Ok(0) => failed = Some("ended by the server".to_owned()),
                Ok(read) => {
                    let from = CARRY - connection.carried;
                    self.buffer[from..CARRY]
                        .copy_from_slice(&connection.carry[..connection.carried]);
                    let text = &self.buffer[from..CARRY + read];
                    if matches!(connection.state, State::Waiting) {
                        failed = begun(connection, text, &mut self.job);
                    }
                    let rest = stamps(text, read, &mut self.seen);
                    connection.carried = rest.len().min(CARRY);
                    connection.carry[..connection.carried]
                        .copy_from_slice(&rest[rest.len() - connection.carried..]);
                    // Fewer than there was room for: there are no more.
                    if read < BUFFER {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => failed = Some(error.to_string()),
            }
        }
        if let Some(failure) = failed {
            let was_open = matches!(connection.state, State::Open);
            self.connections[at] = None;
            if was_open {
                self.seen.ended();
            } else if let Some(Job::Connect { done, flying, .. }) = &mut self.job {
                *flying = flying.saturating_sub(1);
                done.failed += 1;
                done.failure.get_or_insert(failure);
            }
        }
    }
}

/// The answer has begun. Gives what is wrong with it.
fn begun(connection: &mut Connection, text: &[u8], job: &mut Option<Job>) -> Option<String> {
    let Some(Job::Connect {
        order,
        flying,
        done,
        ..
    }) = job
    else {
        return None;
    };
    if text.starts_with(b"HTTP/1.1 ") && !text.starts_with(b"HTTP/1.1 200") {
        return Some(String::from_utf8_lossy(&text[..text.len().min(500)]).into_owned());
    }
    if memmem::find(text, order.marker.as_bytes()).is_some() {
        connection.state = State::Open;
        *flying = flying.saturating_sub(1);
        done.open += 1;
    }
    None
}

/// Counts the stamps in what was read. Gives what is behind the last one.
fn stamps<'a>(text: &'a [u8], read: usize, seen: &mut Seen) -> &'a [u8] {
    let at = now();
    let (mut rest, mut found) = (text, 0);
    while let Some(from) = memmem::find(rest, STAMP_BEGIN) {
        let Some(stamp) = rest.get(from..from + STAMP_BYTES) else {
            break;
        };
        let Some((number, published)) = read_stamp(stamp) else {
            break;
        };
        seen.frame(number, at.saturating_sub(published) / 1000);
        found += 1;
        rest = &rest[from + STAMP_BYTES..];
    }
    seen.read(read, found);
    rest
}

fn heads(text: &[u8]) -> Vec<Vec<u8>> {
    let mut heads = Vec::new();
    let mut rest = text;
    while let Some(end) = memmem::find(rest, b"\r\n\r\n") {
        let (head, behind) = rest.split_at(end + 4);
        heads.push(head.to_vec());
        rest = behind;
    }
    heads
}

/// Where a connection comes from.
fn source(at: usize) -> SocketAddr {
    let last = u8::try_from(at % SOURCES).unwrap_or_default() + 1;
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 1, last)), 0)
}

/// A socket that is connecting, from an address of its own.
fn open(server: SocketAddr, at: usize) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&source(at).into())?;
    match socket.connect(&server.into()) {
        // EINPROGRESS.
        Err(error) if error.raw_os_error() == Some(115) => {}
        connecting => connecting?,
    }
    Ok(TcpStream::from_std(socket.into()))
}
