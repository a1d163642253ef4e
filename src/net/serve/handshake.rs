//! The TLS handshake of a connection that has just come: so many at the same time, each within its time.
//!
//! A socket comes in from the accept loop; a TLS stream goes out, and who is at its other end. A handshake costs a signature and tens of
//! KiB while it lasts, and a fleet that comes back does thousands at once: those that are begun are finished before others begin. A peer
//! takes a place only with a whole hello, so that silent ones keep nobody out. It knows nothing of HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::Acceptor;
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Peer, ServeLimits};

/// The handshakes of one listener.
pub(super) struct Handshakes {
    places: Semaphore,
    whole: Duration,
    place: Duration,
}

impl Handshakes {
    pub(super) fn new(limits: &ServeLimits) -> Self {
        let places = Semaphore::new(limits.handshakes.max(1));
        // Whoever stands still in a place keeps others waiting: half of the time is left for the hello and the wait.
        Self { places, whole: limits.handshake, place: limits.handshake / 2 }
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// When the peer does not speak TLS with us, or not in time.
    pub(super) async fn shake(
        &self,
        socket: TcpStream,
        addr: SocketAddr,
        tls: Arc<ServerConfig>,
    ) -> io::Result<(TlsStream<TcpStream>, Peer)> {
        let shaking = async {
            let hello = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
            let _place = self.places.acquire().await.map_err(io::Error::other)?;
            within(self.place, hello.into_stream(tls)).await
        };
        let stream = within(self.whole, shaking).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).cloned();
        let certificate = certificate.map(CertificateDer::into_owned);
        Ok((stream, Peer { addr, certificate }))
    }
}

async fn within<T>(time: Duration, shaking: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "it took too long");
    tokio::time::timeout(time, shaking).await.unwrap_or_else(|_| Err(late()))
}
