//! A client of which only the socket is there: it sends what it likes and reads when it likes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crier_testkit::DEADLINE;
use socket2::{SockFilter, SockRef};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// As small as a segment gets, so that the kernels between hold little.
const SMALL_SEGMENT: u32 = 536;

pub(crate) struct Client(TcpStream);

fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().unwrap()
}

impl Client {
    pub(crate) async fn connect(url: &str) -> Self {
        Self(TcpStream::connect(address(url)).await.unwrap())
    }

    /// One for which the kernels keep as little as they can.
    pub(crate) async fn small(url: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Less, and its window would open so seldom that the kernel takes any reading for a stall.
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        SockRef::from(&socket).set_tcp_mss(SMALL_SEGMENT).unwrap();
        Self(socket.connect(address(url)).await.unwrap())
    }

    /// Whether all of it could be sent.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = tokio::time::timeout(DEADLINE, self.0.write_all(bytes)).await;
        sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Asks for a stream.
    pub(crate) async fn get_events(&mut self, token: &str, more: Option<&str>) {
        let head = events_head("GET", token, more.unwrap_or_default());
        self.send(head.as_bytes()).await.unwrap();
    }

    /// Reads until this text has come, or the end.
    pub(crate) async fn read_until(&mut self, text: &str) -> String {
        let (mut all, mut chunk) = (String::new(), vec![0; 16 * 1024]);
        let reading = async {
            while !all.contains(text) {
                match self.0.read(&mut chunk).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => all.push_str(&String::from_utf8_lossy(&chunk[..read])),
                }
            }
        };
        let read = tokio::time::timeout(DEADLINE, reading).await;
        assert!(read.is_ok(), "neither {text:?} nor an end in time: {all}");
        all
    }

    /// All that comes until the end, which must come.
    pub(crate) async fn rest(&mut self) -> String {
        self.read_until("\0 never sent \0").await
    }

    /// At most this much, unless it has ended.
    pub(crate) async fn sip(&mut self, bytes: usize) -> bool {
        let mut chunk = vec![0; bytes];
        self.0.read(&mut chunk).await.is_ok_and(|read| read > 0)
    }

    /// Whether the connection ended within this time.
    pub(crate) async fn ends_within(&mut self, time: Duration) -> bool {
        let mut chunk = [0; 1024];
        let ending = async { while matches!(self.0.read(&mut chunk).await, Ok(1..)) {} };
        tokio::time::timeout(time, ending).await.is_ok()
    }

    /// From now on nothing that the other side sends arrives, and nothing is acknowledged: as a machine that lost
    /// its network.
    pub(crate) fn vanish(&self) {
        const RETURN_NOTHING: u16 = 0x06;
        let filter = [SockFilter::new(RETURN_NOTHING, 0, 0, 0)];
        SockRef::from(&self.0).attach_filter(&filter).unwrap();
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        let _ = SockRef::from(&self.0).set_linger(Some(Duration::ZERO));
    }
}

/// The head of a request for a stream.
pub(crate) fn events_head(method: &str, token: &str, more: &str) -> String {
    format!("{method} /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
}
