//! Listeners: an accept loop of our own, so that the handshake, the peer's certificate and every time limit are in our hands.
//!
//! Connections come from the network and go, as requests with a [`Peer`] among their extensions, into an axum router that
//! the caller brings. It knows no route, reads no body, and never lets one slow peer hold up another.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::header::EXPECT;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use self::activity::{Activity, Tracked};
use self::guarded::{Rest, WriteGuard};
use self::handshake::Handshakes;
use super::tls::TlsHandle;
use crate::limits;
use crate::report;
use crate::shutdown::Shutdown;

mod activity;
mod guarded;
mod handshake;
mod unread;

/// Who sent a request: among the extensions of each.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where the connection came from.
    pub addr: SocketAddr,
    /// The client's certificate, checked against the listener's own CA, if it showed one.
    pub certificate: Option<CertificateDer<'static>>,
}

/// A bound port that does not serve yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    addr: SocketAddr,
}

impl Listener {
    /// Takes the port; `0` takes a free one.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(addr).await?;
        let addr = socket.local_addr()?;
        Ok(Self { socket, addr })
    }

    /// The address with the real port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// What one listener grants its peers.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// Connections at the same time; more wait in the kernel's queue.
    pub connections: usize,
    /// Time for the TLS handshake, the wait for its turn included.
    pub handshake: Duration,
    /// TLS handshakes at the same time; more wait for their turn.
    pub handshakes: usize,
    /// Time for a request's headers, and for the first request of a connection.
    pub header_wait: Duration,
    /// Time a connection may stand without a request in work.
    pub idle: Duration,
    /// Time a peer may take to accept bytes that we have for it.
    pub write_idle: Duration,
    /// Time for connections to end once the stop is asked for.
    pub drain: Duration,
    /// HTTP/2 receive window of one stream, bytes.
    pub stream_window: u32,
    /// HTTP/2 receive window of a connection, bytes.
    pub connection_window: u32,
    /// HTTP/2 requests of one connection at the same time.
    pub streams: u32,
    /// Whether answers say the date, as HTTP wants it for caches. Over HTTP/2 each second's date would stay in a table of each connection,
    /// on both sides, until that is full.
    pub dates: bool,
    /// Bytes that are taken of a request's body which nobody has read when its answer is there, for [`ServeLimits::header_wait`] at
    /// most, so that the peer gets to hear the answer.
    pub rest: u64,
    /// Time that it may stand still meanwhile.
    pub rest_idle: Duration,
}

impl ServeLimits {
    /// For people, scripts and foreign clients.
    pub fn public() -> Self {
        Self {
            connections: limits::CONNECTIONS,
            handshake: limits::HANDSHAKE,
            handshakes: limits::HANDSHAKES,
            header_wait: limits::HEADER_WAIT,
            idle: Duration::from_secs(120),
            write_idle: limits::DOWNLOAD_IDLE,
            // Half of the whole stop: a reader that stands still must not make the stop itself late.
            drain: limits::STOP / 2,
            stream_window: 64 << 10,
            connection_window: 1 << 20,
            streams: 64,
            dates: true,
            // More than any body that is read: whoever sends too much is to hear so, and most send all of it before they listen.
            rest: 16 << 20,
            rest_idle: Duration::from_secs(1),
        }
    }

    /// For agents: one long connection each. The connection's window exceeds the sum of the streams' windows, so that
    /// uploads that are held back never keep a heartbeat from arriving. An upload that is refused is cut.
    pub fn agents() -> Self {
        let streams = 32;
        let stream_window = 256 << 10;
        Self {
            idle: limits::NODE_GONE * 2,
            write_idle: limits::NODE_GONE,
            stream_window,
            connection_window: stream_window * (streams + 32),
            streams,
            dates: false,
            rest: limits::JSON_BODY as u64,
            ..Self::public()
        }
    }

    /// What is taken of a peer that still sends at the end of its connection.
    fn at_end(&self) -> Rest {
        Rest { most: self.rest, idle: self.rest_idle, whole: self.header_wait }
    }
}

/// Bytes of an HTTP/2 frame that we take.
const MAX_FRAME: u32 = 64 << 10;
/// Headers of one request.
const MAX_HEADERS: usize = 64;
/// How often a silent HTTP/2 peer is asked whether it is still there, and how long the answer may take.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(20));
/// Time for connections to be dropped past the drain.
const DRAIN_REST: Duration = Duration::from_secs(2);
/// Pause after the system refuses to accept, which it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `shutdown` is asked for, then lets connections finish what they are at, for
/// [`ServeLimits::drain`] at most.
pub async fn serve(listener: Listener, tls: TlsHandle, router: axum::Router, limits: ServeLimits, shutdown: Shutdown) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let (connections, handshakes) = (shutdown.child(), Arc::new(Handshakes::new(&limits)));
    loop {
        let accepted = tokio::select! {
            () = shutdown.stopping() => break,
            accepted = accept(&listener.socket, &slots) => accepted,
        };
        let (socket, addr, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(error = report::chain(&error), listener = %listener.addr, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (tls, router, stop) = (tls.current(), router.clone(), connections.clone());
        let handshakes = Arc::clone(&handshakes);
        connections.spawn(async move {
            let _slot = slot;
            // What a handshake needs is freed with it: a connection lasts, and there are thousands.
            let shaking = Box::pin(async move { handshakes.shake(socket, addr, tls).await });
            let (stream, peer) = tokio::select! {
                () = stop.stopping() => return,
                done = shaking => match done {
                    Ok(done) => done,
                    Err(error) => return debug!(%addr, error = report::chain(&error), "TLS handshake failed"),
                },
            };
            if let Err(error) = connection(stream, peer, router, limits, stop).await {
                debug!(%addr, error = report::chain(&error), "connection ended");
            }
        });
    }
    // Frees the port at once, so that a successor can take it while this one drains.
    drop(listener);
    // Each connection ends itself when the drain is over; the rest is for that.
    if !connections.finish(limits.drain + DRAIN_REST).await {
        warn!("connections were still open when the time to stop was over");
    }
}

async fn accept(
    socket: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, addr) = socket.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, addr, slot))
}

/// A connection's whole life after the handshake, as one value of its own size and no more.
fn connection(
    stream: TlsStream<TcpStream>,
    peer: Peer,
    router: axum::Router,
    limits: ServeLimits,
    stop: Shutdown,
) -> BoxFuture<'static, hyper::Result<()>> {
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if h2 { serve_h2(stream, peer, router, limits, stop) } else { serve_h1(stream, peer, router, limits, stop) }
}

fn serve_h1(
    stream: TlsStream<TcpStream>,
    peer: Peer,
    router: axum::Router,
    limits: ServeLimits,
    stop: Shutdown,
) -> BoxFuture<'static, hyper::Result<()>> {
    let activity = Activity::default();
    let io = TokioIo::new(WriteGuard::new(stream, limits.write_idle, limits.at_end()));
    let service = service_fn(answer(router, peer, activity.clone(), None));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_wait)
        .max_headers(MAX_HEADERS)
        .max_buf_size(limits::HEADERS.max(16 << 10));
    let connection = Box::pin(builder.serve_connection(io, service));
    Box::pin(drive(connection, |c| c.graceful_shutdown(), activity, limits, stop))
}

fn serve_h2(
    stream: TlsStream<TcpStream>,
    peer: Peer,
    router: axum::Router,
    limits: ServeLimits,
    stop: Shutdown,
) -> BoxFuture<'static, hyper::Result<()>> {
    let activity = Activity::default();
    let io = TokioIo::new(WriteGuard::new(stream, limits.write_idle, limits.at_end()));
    let service = service_fn(answer(router, peer, activity.clone(), Some((limits, stop.clone()))));
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_frame_size(MAX_FRAME)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits::HEADERS as u32)
        .auto_date_header(limits.dates)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    let connection = Box::pin(builder.serve_connection(io, service));
    Box::pin(drive(connection, |c| c.graceful_shutdown(), activity, limits, stop))
}

/// Runs a connection to its end; asks it to end when the stop is asked for or when it stands without work for too long.
async fn drive<C>(
    mut connection: Pin<Box<C>>,
    ask_to_end: impl Fn(Pin<&mut C>),
    activity: Activity,
    limits: ServeLimits,
    stop: Shutdown,
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.stopping() => {}
        () = activity.idle(limits.header_wait, limits.idle) => {}
    }
    ask_to_end(connection.as_mut());
    if stop.is_stopping() {
        return tokio::time::timeout(limits.drain, connection).await.unwrap_or(Ok(()));
    }
    // A peer that never spoke does not answer the farewell either.
    tokio::time::timeout(limits.header_wait, connection).await.unwrap_or(Ok(()))
}

type Answering = BoxFuture<'static, Result<hyper::Response<Tracked>, Infallible>>;

/// Answers by `router`; with limits, what it leaves unread of a body is taken before the answer goes out. HTTP/1.1 needs none: there
/// hyper answers first and then ends the connection, which takes the rest.
fn answer(
    router: axum::Router,
    peer: Peer,
    activity: Activity,
    rest: Option<(ServeLimits, Shutdown)>,
) -> impl Fn(hyper::Request<Incoming>) -> Answering + Clone {
    move |mut request| {
        let (router, work) = (router.clone(), activity.begin());
        request.extensions_mut().insert(peer.clone());
        // Who waits to be told to go on with a body gets the answer instead.
        let waits = request.headers().contains_key(EXPECT);
        let (parts, body) = request.into_parts();
        let (body, unread) = match &rest {
            Some((limits, stop)) if !body.is_end_stream() && !waits => {
                let (lent, unread) = unread::lend(body);
                (axum::body::Body::new(lent), Some((unread, *limits, stop.clone())))
            }
            _ => (axum::body::Body::new(body), None),
        };
        let request = hyper::Request::from_parts(parts, body);
        Box::pin(async move {
            let response = router.oneshot(request).await?;
            if let Some((unread, limits, stop)) = unread
                && let Some(body) = unread.take(limits.rest, limits.rest_idle, limits.header_wait).await
            {
                stop.spawn(async move {
                    // The answer is on its way by now; at the stop the connection's own end ends this too.
                    unread::take(body, limits.rest, limits.rest_idle, limits.header_wait).await;
                });
            }
            Ok(response.map(|body| Tracked::new(body, work)))
        })
    }
}

#[cfg(test)]
mod tests;
