//! A way to NATS that can be broken, between one process and the server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::wait_for;

/// How the way is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Way {
    /// Everything gets through.
    Open,
    /// What was connected is cut, and nobody gets through.
    Cut,
    /// Connections stay, and carry nothing.
    Frozen,
    /// What clients send gets through, and nothing comes back.
    Unanswered,
    /// Everything takes this much longer.
    Slow(Duration),
    /// Of the live copies, this share is lost.
    LosesLive(f64),
    /// Of what consumers of a stream are given, this share is lost.
    LosesConsumed(f64),
}

/// The way, on a port of its own. Ends with all its connections when dropped.
pub struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    /// What clients have sent since it was frozen, as far as it has come here.
    held: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A way to the server at this address, open.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("the port's number");
        let (way, seen) = watch::channel(Way::Open);
        let held = Arc::default();
        let holds = Arc::clone(&held);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, seen.clone(), Arc::clone(&holds)));
            }
        });
        Self {
            address,
            way,
            held,
            task,
        }
    }

    /// Where clients connect: `nats://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// From now on the way is so.
    pub fn set(&self, way: Way) {
        self.held().clear();
        self.way.send_replace(way);
    }

    /// Waits until a client has sent this, and it is held back because the way is frozen.
    ///
    /// # Panics
    /// When that does not happen within [`DEADLINE`](crate::DEADLINE).
    pub async fn holds(&self, text: &str) {
        let what = format!("{text:?} to be held back");
        wait_for(&what, async || self.held().contains(text).then_some(())).await;
    }

    fn held(&self) -> MutexGuard<'_, String> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        // A connection ends when its way is cut.
        self.way.send_replace(Way::Cut);
    }
}

async fn carry(
    client: TcpStream,
    server: SocketAddr,
    mut way: watch::Receiver<Way>,
    held: Arc<Mutex<String>>,
) {
    if *way.borrow() == Way::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (up, down) = (way.clone(), way.clone());
    let cut = async {
        let _ = way.wait_for(|way| *way == Way::Cut).await;
    };
    // Whichever ends first ends both: the halves are dropped with the other.
    tokio::select! {
        _ = pump(from_client, to_server, up, Towards::Server(held)) => {}
        _ = pump(from_server, to_client, down, Towards::Client(Filter::default())) => {}
        () = cut => {}
    }
}

/// Where bytes go, and what is done with them.
enum Towards {
    /// They are noted while they are held back.
    Server(Arc<Mutex<String>>),
    /// Live copies may be left out.
    Client(Filter),
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    mut towards: Towards,
) -> anyhow::Result<()> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        let bytes = chunk.get(..read).context("what was read")?;
        if *way.borrow() == Way::Frozen
            && let Towards::Server(held) = &towards
        {
            let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
            held.push_str(&String::from_utf8_lossy(bytes));
        }
        let is_answer = matches!(towards, Towards::Client(_));
        way.wait_for(|way| match way {
            Way::Frozen => false,
            Way::Unanswered => !is_answer,
            _ => true,
        })
        .await?;
        let now = *way.borrow();
        if let Way::Slow(delay) = now {
            tokio::time::sleep(delay).await;
        }
        match &mut towards {
            Towards::Server(_) => to.write_all(bytes).await?,
            Towards::Client(filter) => to.write_all(&filter.pass(bytes, now)).await?,
        }
    }
}

/// Cuts the server's bytes into messages of NATS's protocol, of which some may be left out.
#[derive(Default)]
struct Filter {
    rest: Vec<u8>,
}

impl Filter {
    /// The whole messages that these bytes complete, but for those that are lost.
    fn pass(&mut self, bytes: &[u8], way: Way) -> Vec<u8> {
        self.rest.extend_from_slice(bytes);
        let mut passed = Vec::with_capacity(self.rest.len());
        while let Some((length, kind)) = first_message(&self.rest) {
            if length > self.rest.len() {
                break;
            }
            let later = self.rest.split_off(length);
            let message = std::mem::replace(&mut self.rest, later);
            let share = match (way, kind) {
                (Way::LosesLive(share), Kind::Live)
                | (Way::LosesConsumed(share), Kind::Consumed) => share,
                _ => 0.0,
            };
            if rand::random::<f64>() >= share {
                passed.extend(message);
            }
        }
        passed
    }
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Live,
    Consumed,
    Other,
}

/// How long the first message is, and what it is; none if that can't be seen yet.
fn first_message(bytes: &[u8]) -> Option<(usize, Kind)> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let line = String::from_utf8_lossy(bytes.get(..end)?);
    let mut words = line.split_ascii_whitespace();
    if !matches!(words.next(), Some("MSG" | "HMSG")) {
        return Some((end, Kind::Other));
    }
    let mut kind = Kind::Other;
    if words.next()?.starts_with("live.") {
        kind = Kind::Live;
    } else if line.contains(" $JS.ACK.") {
        kind = Kind::Consumed;
    }
    let payload: usize = words.next_back()?.parse().ok()?;
    Some((end + payload + 2, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_left_out_whole_wherever_the_bytes_are_cut() {
        let parts: [&[u8]; 5] = [
            b"INFO {}\r\nPING\r\n",
            b"MSG live.a 7 4\r\n\r\nxy\r\n",
            b"HMSG b 8 reply 3 5\r\nabcde\r\n",
            b"HMSG b 8 $JS.ACK.S.c.1.2.3.4.5 3 5\r\nfghij\r\n",
            b"+OK\r\n",
        ];
        let without = |left_out| {
            let left = parts.iter().enumerate();
            let left = left.filter(|(part, _)| *part != left_out);
            left.flat_map(|(_, bytes)| bytes.to_vec())
                .collect::<Vec<u8>>()
        };
        let stream = parts.concat();
        for cut in 0..stream.len() {
            for (way, expected) in [
                (Way::Open, stream.clone()),
                (Way::LosesLive(0.0), stream.clone()),
                (Way::LosesLive(1.0), without(1)),
                (Way::LosesConsumed(1.0), without(3)),
            ] {
                let mut filter = Filter::default();
                let mut passed = filter.pass(&stream[..cut], way);
                passed.extend(filter.pass(&stream[cut..], way));
                assert_eq!(passed, expected, "{way:?} cut at {cut}");
            }
        }
    }
}
