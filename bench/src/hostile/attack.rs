//! What hostile clients do, and how much of it they reach.

use std::fmt;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crier_testkit::SseClient;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// One that is not taken in this time was not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two bytes of a slow head.
const DRIP: Duration = Duration::from_millis(100);
/// Between two bytes that a slow reader takes.
const SIP: Duration = Duration::from_secs(1);
/// For a frame of what is old.
const PATIENCE: Duration = Duration::from_secs(30);
/// Whoever was refused comes again after this.
const AGAIN: Duration = Duration::from_millis(50);
/// As little as the kernel keeps for a reader, and as small as a segment gets.
const SMALL_BUFFER: u32 = 16 * 1024;
const SMALL_SEGMENT: u32 = 536;

/// What is attacked.
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) url: String,
    /// One for each hostile user.
    pub(super) tokens: Vec<String>,
    /// From before all that is old.
    pub(super) cursor: String,
    /// So many events stand behind it.
    pub(super) old: usize,
}

impl Target {
    fn token(&self, at: usize) -> &str {
        &self.tokens[at % self.tokens.len()]
    }

    fn head(&self, at: usize) -> String {
        let token = self.token(at);
        format!("GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n")
    }
}

/// One kind of attack.
#[derive(Clone, Copy)]
pub(super) enum Attack {
    Nothing,
    /// Connections that end at once, or as soon as they have asked for a stream.
    Connects {
        rate: u32,
        threads: u32,
        head: bool,
    },
    /// Heads that never end, so many at a time.
    Heads(usize),
    /// Readers of one byte a second.
    Readers(usize),
    /// Clients that read all that is old, and then again.
    Cursors(usize),
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Connects { head: false, .. } => f.write_str("connect, close"),
            Self::Connects { head: true, .. } => f.write_str("connect, ask for a stream, close"),
            Self::Heads(count) => write!(f, "{count} heads, a byte at a time"),
            Self::Readers(count) => write!(f, "{count} readers of one byte a second"),
            Self::Cursors(count) => write!(f, "{count} clients that replay the whole log"),
        }
    }
}

impl Attack {
    /// What it came to: `count` within so many seconds.
    pub(super) fn reached(self, count: u64, seconds: f64) -> String {
        let a_second = count as f64 / seconds;
        match self {
            Self::Nothing => "–".to_owned(),
            Self::Connects { .. } => format!("{a_second:.0} connections a second"),
            Self::Heads(_) | Self::Readers(_) => format!("{a_second:.0} bytes a second"),
            Self::Cursors(_) => format!("{a_second:.1} replays a second"),
        }
    }
}

/// An attack under way.
pub(super) struct Attacker {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<()>>,
    tasks: JoinSet<()>,
}

impl Attacker {
    pub(super) fn start(attack: Attack, target: &Arc<Target>) -> Self {
        let mut attacker = Self {
            stop: Arc::default(),
            count: Arc::default(),
            threads: Vec::new(),
            tasks: JoinSet::new(),
        };
        match attack {
            Attack::Nothing => {}
            Attack::Connects {
                rate,
                threads,
                head,
            } => {
                for thread in 0..threads {
                    let (target, stop, count) = attacker.shared(target);
                    let pace = Duration::from_secs(1) * threads / rate.max(1);
                    attacker.threads.push(thread::spawn(move || {
                        connects(&target, thread, pace, head, &stop, &count);
                    }));
                }
            }
            Attack::Heads(all) => {
                for _ in 0..all {
                    let (target, _, count) = attacker.shared(target);
                    attacker.tasks.spawn(drips(target, count));
                }
            }
            Attack::Readers(all) => {
                for at in 0..all {
                    let (target, _, count) = attacker.shared(target);
                    attacker.tasks.spawn(sips(target, at, count));
                }
            }
            Attack::Cursors(all) => {
                for at in 0..all {
                    let (target, _, count) = attacker.shared(target);
                    attacker.tasks.spawn(replays(target, at, count));
                }
            }
        }
        attacker
    }

    fn shared(&self, target: &Arc<Target>) -> (Arc<Target>, Arc<AtomicBool>, Arc<AtomicU64>) {
        let (stop, count) = (Arc::clone(&self.stop), Arc::clone(&self.count));
        (Arc::clone(target), stop, count)
    }

    /// What it has done so far.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.shutdown().await;
        for thread in self.threads {
            let _ = tokio::task::spawn_blocking(|| thread.join()).await;
        }
    }
}

/// Connects by the clock; whoever falls behind goes on as fast as it can.
fn connects(
    target: &Target,
    thread: u32,
    pace: Duration,
    head: bool,
    stop: &AtomicBool,
    count: &AtomicU64,
) {
    let mut due = Instant::now();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due = (due + pace).max(Instant::now().checked_sub(PATIENCE).unwrap_or(due));
        let Ok(mut socket) = connection(target.address, thread, number) else {
            continue;
        };
        if head {
            let at = usize::try_from(number).unwrap_or_default();
            let _ = socket.write_all(target.head(at).as_bytes());
        }
        drop(socket);
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// From one address after the other of this machine's own, for a port that was used is not to be had for a minute.
fn connection(to: SocketAddr, thread: u32, number: u32) -> std::io::Result<StdStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if to.ip().is_loopback() {
        let [.., third, fourth] = (number % 60_000).to_be_bytes();
        let second = u8::try_from(thread % 200).unwrap_or_default() + 1;
        let from = Ipv4Addr::new(127, second, third, fourth.max(1));
        socket.bind(&SocketAddr::from((from, 0)).into())?;
    }
    socket.connect_timeout(&to.into(), CONNECT_TIMEOUT)?;
    Ok(socket.into())
}

/// A head that goes on for ever, and begins again when it is cut off. Counts its bytes.
async fn drips(target: Arc<Target>, count: Arc<AtomicU64>) {
    loop {
        if let Ok(mut socket) = TcpStream::connect(target.address).await {
            let begin = b"GET /events HTTP/1.1\r\nHost: x\r\nX-Slow: ";
            let mut goes_on = socket.write_all(begin).await.is_ok();
            while goes_on {
                tokio::time::sleep(DRIP).await;
                goes_on = socket.write_all(b"a").await.is_ok();
                count.fetch_add(u64::from(goes_on), Ordering::Relaxed);
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// A stream that is read too slowly, and opened again when it is given up. Counts its bytes.
async fn sips(target: Arc<Target>, at: usize, count: Arc<AtomicU64>) {
    loop {
        if let Ok(mut socket) = small(target.address).await
            && socket.write_all(target.head(at).as_bytes()).await.is_ok()
        {
            let mut byte = [0];
            while matches!(socket.read(&mut byte).await, Ok(1..)) {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(SIP).await;
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn small(to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(SMALL_BUFFER)?;
    SockRef::from(&socket).set_tcp_mss(SMALL_SEGMENT)?;
    socket.connect(to).await
}

/// Comes back by the same old cursor each time, and reads all that is behind it. Counts how often.
async fn replays(target: Arc<Target>, at: usize, count: Arc<AtomicU64>) {
    let authorization = format!("Bearer {}", target.token(at));
    let headers = [
        ("authorization", authorization.as_str()),
        ("last-event-id", target.cursor.as_str()),
    ];
    let url = format!("{}/events", target.url);
    loop {
        let mut read = 0;
        if let Ok(mut stream) = SseClient::connect(&url, &headers).await {
            while read < target.old {
                let Some(frame) = stream.next_frame(PATIENCE).await else {
                    break;
                };
                // Not parsed: it is the gateway that is to be busy.
                read += usize::from(frame.event.is_none() && frame.data.is_some());
            }
        }
        if read == target.old {
            count.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(AGAIN).await;
    }
}
