//! A bound socket that serves until it is told to stop, and then stops in time.
//!
//! HTTP/1.1 only: every connection is either a few short requests or one long stream, and a proxy in front speaks
//! anything newer. What one client, and all together, may take up stands in
//! [`SocketLimits`].

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::Method;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

mod handover;

pub use handover::Handover;
use handover::{Going, Slot};

/// A head larger than this is answered 431. It also bounds what a connection buffers.
const BUFFER_BYTES: usize = 64 * 1024;

/// Connections that the kernel completes while none is accepted: a fleet of browsers comes back at once.
const BACKLOG: u32 = 4096;

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What peers may take up.
#[derive(Clone, Copy, Debug)]
pub struct SocketLimits {
    /// Connections at once; a further one is closed as it comes.
    pub connections: usize,
    /// How long a client may take over a request's head, and how long it may keep an idle connection.
    pub head_timeout: Duration,
    /// A peer that takes not a single byte of what is sent to it for so long is cut off by the kernel.
    pub stall_timeout: Duration,
}

impl Default for SocketLimits {
    fn default() -> Self {
        Self {
            connections: usize::MAX,
            head_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
        }
    }
}

/// The connections of one server, to be counted.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    tasks: TaskTracker,
    refused: Arc<AtomicU64>,
}

impl Sockets {
    /// Those that are held.
    #[must_use]
    pub fn open(&self) -> usize {
        self.tasks.len()
    }

    /// Those that were closed as they came, one too many.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// Why no socket could be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Someone else has it.
    #[error("the address {address} is already in use")]
    InUse {
        /// As it was given.
        address: String,
    },
    /// Not an address, or a name that resolves to none.
    #[error("{address} is not an address to listen on; HOST:PORT is expected")]
    NoAddress {
        /// As it was given.
        address: String,
    },
    /// Anything else, such as a port for root alone.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// As it was given.
        address: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// A listening socket; connections wait in the kernel until [`serve`](Self::serve).
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    local_addr: SocketAddr,
    limits: SocketLimits,
    sockets: Sockets,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that were still open at the deadline and were cut.
    pub cut: usize,
}

impl Bound {
    /// Binds `address`, `HOST:PORT`; port 0 takes a free one.
    ///
    /// # Errors
    /// [`BindError`], one sentence that names the address.
    pub async fn bind(address: &str) -> Result<Self, BindError> {
        let candidates = lookup_host(address)
            .await
            .map_err(|_| BindError::NoAddress {
                address: address.to_owned(),
            })?;
        let mut last = BindError::NoAddress {
            address: address.to_owned(),
        };
        for candidate in candidates {
            let bound = listen(candidate).and_then(|listener| {
                let local_addr = listener.local_addr()?;
                Ok(Self {
                    listener,
                    local_addr,
                    limits: SocketLimits::default(),
                    sockets: Sockets::default(),
                })
            });
            match bound {
                Ok(bound) => return Ok(bound),
                Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                    last = BindError::InUse {
                        address: address.to_owned(),
                    };
                }
                Err(source) => {
                    last = BindError::Other {
                        address: address.to_owned(),
                        source,
                    };
                }
            }
        }
        Err(last)
    }

    /// The address with its real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Sets other limits than the usual ones.
    #[must_use]
    pub fn with_limits(mut self, limits: SocketLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The connections that it will have.
    #[must_use]
    pub fn sockets(&self) -> Sockets {
        self.sockets.clone()
    }

    /// Serves until `shutdown` is cancelled. Then accepts no more, lets requests under way end for `deadline`, and
    /// cuts what is left: a stream never ends by itself, whoever serves streams closes them before.
    ///
    /// Handlers find the peer as `ConnectInfo<SocketAddr>`.
    pub async fn serve(
        self,
        router: Router,
        shutdown: CancellationToken,
        deadline: Duration,
    ) -> Stopped {
        let connections = self.sockets.tasks;
        let cut = CancellationToken::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok(_) if connections.len() >= self.limits.connections => {
                    self.sockets.refused.fetch_add(1, Ordering::Relaxed);
                }
                Ok((stream, peer)) => {
                    let connection = Connection {
                        stream,
                        peer,
                        router: router.clone(),
                        limits: self.limits,
                    };
                    let (drain, cut) = (shutdown.clone(), cut.clone());
                    let streams = connections.clone();
                    connections.spawn(async move {
                        let going = tokio::select! {
                            going = connection.run(drain) => going,
                            () = cut.cancelled() => None,
                        };
                        if let Some(going) = going {
                            // A task of its own: this one's has room for all that a request takes.
                            streams.spawn(async move {
                                tokio::select! {
                                    () = going => {}
                                    () = cut.cancelled() => {}
                                }
                            });
                        }
                    });
                }
                Err(error) => pause_after(&error, &shutdown).await,
            }
        }
        // Closes the socket: the kernel refuses connections from here on.
        drop(self.listener);
        connections.close();
        if tokio::time::timeout(deadline, connections.wait())
            .await
            .is_ok()
        {
            return Stopped { cut: 0 };
        }
        let left = connections.len();
        tracing::warn!(connections = left, "cutting connections at the deadline");
        cut.cancel();
        connections.wait().await;
        Stopped { cut: left }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Out of file descriptors, most likely: wait for some to come free, without spinning or flooding the log.
async fn pause_after(error: &io::Error, shutdown: &CancellationToken) {
    let is_the_clients = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    );
    if is_the_clients {
        return;
    }
    tracing::error!(%error, "connections cannot be accepted");
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
    }
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: SocketLimits,
}

impl Connection {
    async fn run(self, drain: CancellationToken) -> Option<Going> {
        let Self {
            stream,
            peer,
            router,
            limits,
        } = self;
        if let Err(error) = tune(&stream, limits.stall_timeout) {
            tracing::debug!(%error, %peer, "a socket could not be tuned");
        }
        let slot = Slot::default();
        let handed = slot.clone();
        let service = service_fn(move |request: http::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let (router, slot) = (router.clone(), slot.clone());
            let has_body = request.method() != Method::HEAD;
            async move {
                let mut response = answer(router, request).await;
                if has_body && slot.takes(&mut response) {
                    // Whoever drives the connection takes the socket, and drops this.
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_timeout)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let ended = tokio::select! {
            ended = drive(&mut connection, &handed) => ended,
            () = drain.cancelled() => {
                // The request under way is the last one; an idle connection closes at once.
                Pin::new(&mut connection).graceful_shutdown();
                drive(&mut connection, &handed).await
            }
        };
        match ended {
            // Of what was sent behind the request, nothing is wanted.
            None => handed.go_on(connection.into_parts().io.into_inner()),
            Some(Ok(())) => None,
            Some(Err(error)) => {
                tracing::debug!(%error, %peer, "a connection ended early");
                None
            }
        }
    }
}

/// Until the connection has ended; none if its socket is to be handed over.
async fn drive<C>(connection: &mut C, slot: &Slot) -> Option<C::Output>
where
    C: Future + Unpin,
{
    poll_fn(|context| {
        let polled = Pin::new(&mut *connection).poll(context);
        // Its handler is polled in there, so this is seen as soon as it is so.
        if slot.is_taken() {
            return Poll::Ready(None);
        }
        polled.map(Some)
    })
    .await
}

#[cfg_attr(not(target_os = "linux"), expect(unused_variables))]
fn tune(stream: &TcpStream, stall_timeout: Duration) -> io::Result<()> {
    // Events are small and must not wait for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    // Neither a peer that is gone nor one that doesn't read keeps a socket and what is queued for it.
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(stall_timeout))?;
    Ok(())
}

async fn answer(router: Router, request: http::Request<Body>) -> axum::response::Response {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
