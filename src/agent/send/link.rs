//! The agent's connection: TLS, HTTP/2, and requests on it that do not wait for a dead peer.
//!
//! Requests come from the other files of this room and go to the coordinator. Pings find a connection that is cut
//! without a word. Only the CA of the configuration is trusted.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::limits::{AGENT_BODY, BODY_IDLE, HANDSHAKE};
use crate::net::body::{BodyError, capped};
use crate::net::proxy::{Proxy, ProxyError};
use crate::net::tls::{self, Identity, TlsError};
use crate::protocol::problem::Problem;
use crate::report;
use crate::secret::Secret;
use crate::shutdown::Shutdown;

/// Port of the agents' listener where the URL names none.
const PORT: u16 = 25556;
/// After how much silence a ping asks whether the connection lives, and how long its answer may take: heartbeats are more frequent, so that
/// none is sent while they are answered.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(20));
/// Time for the head of a short answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Bytes that wait in memory per upload besides the segment itself, and what the peer may send unread.
const BUFFER: u32 = 256 << 10;

/// Why there is no connection, or no answer on it.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The configured URL is none.
    #[error("`{0}` is no URL of the form https://host[:port]")]
    Url(String),
    /// The CA cannot be used.
    #[error("the CA file cannot be used")]
    Ca(#[source] TlsError),
    /// Nobody there.
    #[error("cannot connect to {0}")]
    Connect(String, #[source] std::io::Error),
    /// The proxy does not let through.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// Not our coordinator, or not a TLS server.
    #[error("{0} does not prove to be the coordinator (is `ca_file` its CA, and the host one of its names?)")]
    Tls(String, #[source] std::io::Error),
    /// TLS works, HTTP/2 does not.
    #[error("the connection broke off")]
    Http(#[from] hyper::Error),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The answer's body could not be read.
    #[error("the answer could not be read")]
    Body(#[from] BodyError),
    /// The answer is not what it should be.
    #[error("the answer is not what a coordinator says")]
    Json(#[source] serde_json::Error),
    /// The coordinator answered, but not with what was asked for.
    #[error("the coordinator answered {status}: {message}")]
    Status {
        /// HTTP status.
        status: StatusCode,
        /// Its own sentence.
        message: String,
    },
}

/// Knows where the coordinator is and how to recognise it.
pub struct Dialer {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: TlsConnector,
    authority: Arc<str>,
    /// Only where it serves this host.
    proxy: Option<Proxy>,
}

impl Dialer {
    /// For `https://host[:port]`, trusting the CAs in `ca` (PEM).
    ///
    /// # Errors
    /// When the URL is none of ours, or the CA cannot be read.
    pub fn new(url: &str, ca: &[u8]) -> Result<Self, LinkError> {
        Self::by(url, tls::client_config(ca, tls::H2).map_err(LinkError::Ca)?)
    }

    /// The same with a certificate of our own to show.
    ///
    /// # Errors
    /// When the URL is none of ours, or CA, certificate and key cannot be used.
    pub fn with_identity(url: &str, ca: &[u8], identity: Identity) -> Result<Self, LinkError> {
        Self::by(url, tls::client_config_with(ca, identity, tls::H2).map_err(LinkError::Ca)?)
    }

    fn by(url: &str, config: ClientConfig) -> Result<Self, LinkError> {
        let none = || LinkError::Url(report::brief(url, 200));
        let uri: Uri = url.parse().map_err(|_| none())?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("https")).ok_or_else(none)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(PORT);
        let name = ServerName::try_from(host.clone()).map_err(|_| none())?;
        let authority = uri.authority().ok_or_else(none)?.as_str().into();
        Ok(Self { host, port, name, tls: TlsConnector::from(Arc::new(config)), authority, proxy: None })
    }

    /// The same by way of a proxy, unless the host is one of those that it is not for.
    #[must_use]
    pub fn through(self, proxy: Option<Proxy>) -> Self {
        Self { proxy: proxy.filter(|proxy| proxy.serves(&self.host)), ..self }
    }

    /// Connects. The connection's own work is a task of `shutdown`, and ends with it.
    ///
    /// # Errors
    /// When nobody answers, or it is not the coordinator.
    pub async fn connect(&self, shutdown: &Shutdown) -> Result<Link, LinkError> {
        let place = || format!("{}:{}", self.host, self.port);
        let late = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        let tcp = match &self.proxy {
            Some(proxy) => proxy.connect(&self.host, self.port).await?,
            None => tokio::time::timeout(HANDSHAKE, TcpStream::connect((self.host.as_str(), self.port)))
                .await
                .unwrap_or_else(|_| Err(late()))
                .map_err(|error| LinkError::Connect(place(), error))?,
        };
        // Small requests, such as heartbeats, must not wait for larger ones to fill a packet.
        tcp.set_nodelay(true).map_err(|error| LinkError::Connect(place(), error))?;
        let tls = tokio::time::timeout(HANDSHAKE, self.tls.connect(self.name.clone(), tcp))
            .await
            .unwrap_or_else(|_| Err(late()))
            .map_err(|error| LinkError::Tls(place(), error))?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(BUFFER)
            .initial_connection_window_size(BUFFER * 2)
            .max_send_buf_size(BUFFER as usize)
            .handshake(TokioIo::new(tls))
            .await?;
        let closed = CancellationToken::new();
        let (guard, stop) = (closed.clone().drop_guard(), shutdown.clone());
        let hang_up = CancellationToken::new();
        let hung_up = hang_up.clone();
        shutdown.spawn(async move {
            let _guard = guard;
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(error = %report::chain(&error), "connection ended");
                },
                () = hung_up.cancelled() => {}
                () = stop.stopping() => {}
            }
        });
        Ok(Link { sender, authority: Arc::clone(&self.authority), token: None, closed, hang_up, version: 0 })
    }
}

/// A connection to the coordinator, with the token that speaks for the node; cheap to clone.
#[derive(Clone)]
pub struct Link {
    sender: SendRequest<Pieces>,
    authority: Arc<str>,
    token: Option<Arc<Secret>>,
    closed: CancellationToken,
    hang_up: CancellationToken,
    version: u64,
}

impl Link {
    /// The same connection with another token, as its `version`-th.
    #[must_use]
    pub fn with(&self, token: Arc<Secret>, version: u64) -> Self {
        Self { token: Some(token), version, ..self.clone() }
    }

    /// Which of the links of this process it is.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Waits until the connection has ended. Cancel safe.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Ends the connection.
    pub fn close(&self) {
        self.hang_up.cancel();
    }

    /// One request; any status is an answer. It waits as long as the connection lives.
    ///
    /// # Errors
    /// When the connection breaks before the answer.
    pub async fn send(&self, method: Method, path: &str, body: Pieces) -> Result<Response<Incoming>, LinkError> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = Uri::builder()
            .scheme("https")
            .authority(&*self.authority)
            .path_and_query(path)
            .build()
            .map_err(|_| LinkError::Url(path.to_owned()))?;
        let headers = request.headers_mut();
        if let Some(token) = &self.token
            && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
        {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut sender = self.sender.clone();
        sender.ready().await?;
        Ok(sender.send_request(request).await?)
    }

    /// A short call with a JSON body and a JSON answer.
    ///
    /// # Errors
    /// When no answer comes in time, or one with another status than success.
    pub async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, LinkError> {
        let body = serde_json::to_vec(body).map_err(LinkError::Json)?;
        let answer = tokio::time::timeout(ANSWER, self.send(method, path, Pieces::one(body.into())))
            .await
            .map_err(|_| LinkError::Timeout(ANSWER))??;
        parse(answer).await
    }
}

/// Reads a short JSON answer.
///
/// # Errors
/// When it breaks off, is no JSON, or has another status than success.
async fn parse<T: DeserializeOwned>(answer: Response<Incoming>) -> Result<T, LinkError> {
    let status = answer.status();
    if !status.is_success() {
        return Err(refusal(answer).await);
    }
    let body = capped(answer.into_body(), AGENT_BODY, BODY_IDLE).await?;
    // An answer without content reads as JSON's null.
    serde_json::from_slice(if body.is_empty() { b"null" } else { &body }).map_err(LinkError::Json)
}

/// What a coordinator that refuses says.
pub(super) async fn refusal(answer: Response<Incoming>) -> LinkError {
    let status = answer.status();
    let body = capped(answer.into_body(), AGENT_BODY, BODY_IDLE).await.unwrap_or_default();
    LinkError::Status { status, message: sentence(&body) }
}

/// The sentence in a refusal: our own, or that of the dialect in which secrets are exchanged.
fn sentence(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Foreign {
        #[serde(rename = "errorMessage")]
        message: String,
    }
    let own = serde_json::from_slice::<Problem>(body).map(|problem| problem.message);
    let said = own.or_else(|_| serde_json::from_slice::<Foreign>(body).map(|foreign| foreign.message));
    match said {
        Ok(said) => report::brief(&said, 500),
        Err(_) => report::brief(&String::from_utf8_lossy(body), 500),
    }
}

/// A body of known pieces.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    pieces: VecDeque<Bytes>,
    left: u64,
}

impl Pieces {
    /// Of one piece.
    pub fn one(piece: Bytes) -> Self {
        Self::new([piece])
    }

    /// Of several, in order.
    pub fn new(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let pieces: VecDeque<_> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces, left }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn a_refusal_is_a_sentence_in_either_dialect() {
        let own = br#"{"code":"unauthenticated","message":"the token is over"}"#;
        let foreign = br#"{"errorCode":"X","errorMessage":"the secret is not known","errorDetails":{}}"#;
        assert_eq!(sentence(own), "the token is over");
        assert_eq!(sentence(foreign), "the secret is not known");
        assert_eq!(sentence(b"<html>\x1b"), "<html>\\u{1b}");
    }
}
