//! The readers over HTTP/2 and TLS: each has a connection of its own, as each browser has. The same orders and answers.

use std::io::BufRead as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, stream};
use h2::client::Builder;
use http::{Request, header};
use memchr::memmem;
use tokio::net::TcpSocket;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, RootCertStore};

use super::seen::Seen;
use super::{CARRY, heads, source, stamps, tell};
use crate::peers::wire::{Answer, Connect, Connected, Order};

/// Bytes that may be under way on a stream and on its connection; browsers grant more.
const WINDOW: u32 = 1 << 20;

/// Ends with its handle.
struct Reader(JoinHandle<anyhow::Result<()>>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the readers have in common.
struct Shared {
    connector: TlsConnector,
    seen: Mutex<Seen>,
    came: Notify,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads orders from standard input until it ends. The server has this certificate.
pub(crate) async fn run(certificate: &Path) -> anyhow::Result<()> {
    let mut trusted = RootCertStore::empty();
    trusted.add(CertificateDer::from_pem_file(certificate)?)?;
    let mut config = ClientConfig::builder()
        .with_root_certificates(trusted)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    // They are as many browsers, which have nothing to resume.
    config.resumption = Resumption::disabled();
    let shared = Arc::new(Shared {
        connector: Arc::new(config).into(),
        seen: Mutex::default(),
        came: Notify::new(),
    });
    let mut readers = Vec::new();
    let (sender, mut orders) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if !line.is_ok_and(|line| sender.send(line).is_ok()) {
                break;
            }
        }
    });
    while let Some(order) = orders.recv().await {
        let answer = match serde_json::from_str(&order)? {
            Order::Connect(order) => {
                Answer::Connected(connect(&shared, order, &mut readers).await?)
            }
            Order::Collect {
                frames,
                patience_ms,
            } => {
                let came = async {
                    while shared.seen().frames() < frames {
                        shared.came.notified().await;
                    }
                };
                // What is missing is counted by whoever asks.
                let _ = timeout(Duration::from_millis(patience_ms), came).await;
                Answer::Collected(Box::new(shared.seen().take()))
            }
            Order::Leave { keep } => {
                readers.truncate(keep);
                let open = readers.len();
                Answer::Left { open }
            }
        };
        tell(&answer)?;
    }
    Ok(())
}

async fn connect(
    shared: &Arc<Shared>,
    order: Connect,
    readers: &mut Vec<Reader>,
) -> anyhow::Result<Connected> {
    let heads = heads(&std::fs::read(&order.heads).context("the heads")?);
    let patience = Duration::from_millis(order.patience_ms);
    let begun = Instant::now();
    let open = |number: usize| {
        let at = readers.len() + number;
        let server = order.servers[number % order.servers.len()];
        let head = heads[at % heads.len()].clone();
        let (shared, marker) = (Arc::clone(shared), order.marker.clone());
        async move {
            let (opened, is_open) = oneshot::channel();
            let reader = read(shared, server, at, head, marker, opened);
            let mut reader = Reader(tokio::spawn(reader));
            match timeout(patience, is_open).await {
                Ok(Ok(())) => Ok(reader),
                Ok(Err(_)) => Err(format!("{:?}", (&mut reader.0).await)),
                Err(_) => Err("it takes too long".to_owned()),
            }
        }
    };
    let all = stream::iter(0..order.count).map(open);
    let all: Vec<_> = all.buffer_unordered(order.at_once).collect().await;
    let mut done = Connected {
        seconds: begun.elapsed().as_secs_f64(),
        ..Connected::default()
    };
    for one in all {
        match one {
            Ok(reader) => {
                readers.push(reader);
                done.open += 1;
            }
            Err(failure) => {
                done.failed += 1;
                done.failure.get_or_insert(failure);
            }
        }
    }
    Ok(done)
}

/// Opens a stream and reads it to its end.
async fn read(
    shared: Arc<Shared>,
    server: SocketAddr,
    at: usize,
    head: Vec<u8>,
    marker: String,
    opened: oneshot::Sender<()>,
) -> anyhow::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(source(at))?;
    let socket = socket.connect(server).await?;
    let name = ServerName::try_from("localhost")?;
    let socket = shared.connector.connect(name, socket).await?;
    let (_, tls) = socket.get_ref();
    ensure!(
        tls.alpn_protocol() == Some(b"h2")
            && tls.protocol_version() == Some(ProtocolVersion::TLSv1_3),
        "the server does not speak HTTP/2 over TLS 1.3"
    );
    let (mut client, connection) = Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake::<_, bytes::Bytes>(socket)
        .await?;
    let request = request(&head)?;
    let body = async {
        let (response, _) = client.send_request(request, true)?;
        let response = response.await?;
        ensure!(response.status() == 200, "{}", response.status());
        let mut body = response.into_body();
        let mut text = Vec::new();
        let mut opened = Some(opened);
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            text.extend_from_slice(&data);
            if opened.is_some() && memmem::find(&text, marker.as_bytes()).is_some() {
                // Nobody waits for it any more: it took too long.
                let _ = opened.take().map(|opened| opened.send(()));
            }
            let rest = stamps(&text, data.len(), &mut shared.seen());
            let behind = text.len() - rest.len().min(CARRY);
            text.drain(..behind);
            shared.came.notify_one();
        }
        shared.seen().ended();
        Ok(())
    };
    tokio::select! {
        ended = body => ended,
        ended = connection => Ok(ended?),
    }
}

/// The request whose head this is in HTTP/1.1.
fn request(head: &[u8]) -> anyhow::Result<Request<()>> {
    let head = std::str::from_utf8(head)?;
    let path = head.split(' ').nth(1).context("a path")?;
    let mut request = Request::get(format!("https://localhost{path}"));
    for line in head.lines().skip(1) {
        match line.split_once(": ") {
            // It stands in the address.
            Some((name, _)) if name.eq_ignore_ascii_case(header::HOST.as_str()) => {}
            Some((name, value)) => request = request.header(name, value),
            None => {}
        }
    }
    Ok(request.body(())?)
}
