//! An HTTPS client for the command line: one base URL, one CA, bodies that do not stand still for ever.
//!
//! Requests come from the CLI and answers go back to it; errors say what to do next. It follows no redirect, keeps no
//! cookie, and trusts only the CA it was given.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::CertificateError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::body::{BodyError, IdleTimeout, capped};
use super::tls::{self, TlsError};
use crate::limits;
use crate::protocol::problem::Problem;

/// Time for the connection to stand.
const CONNECT: Duration = Duration::from_secs(10);
/// How often a silent peer is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Body of a JSON answer at most.
const ANSWER: usize = 64 << 20;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is not one of ours.
    #[error("`{0}` is no URL of the form https://host[:port]")]
    Url(String),
    /// The CA cannot be used.
    #[error("the CA file cannot be used")]
    Ca(#[source] TlsError),
    /// Nobody there.
    #[error("cannot connect to {url}")]
    Connect {
        /// Where to.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server's certificate is not from the CA we trust.
    #[error(
        "the certificate of {url} is not signed by the CA that was given; give the coordinator's ca.pem with --ca or SHEAF_CA"
    )]
    NotTrusted {
        /// Where to.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The certificate is trusted, but made for other names.
    #[error(
        "the certificate of {url} is not made for this host; use one of its names, or add this one to `names` of the coordinator"
    )]
    WrongName {
        /// Where to.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The certificate is over, or not yet good.
    #[error("the certificate of {url} is out of its time; are both clocks right?")]
    OutOfTime {
        /// Where to.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke before the answer.
    #[error("the connection to {url} broke off")]
    Broken {
        /// Where to.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("{0} did not answer in time")]
    Timeout(String),
    /// The answer's body could not be read.
    #[error("the answer could not be read")]
    Body(#[from] BodyError),
    /// The answer is not what it should be.
    #[error("the answer is not what a coordinator says")]
    Json(#[source] serde_json::Error),
    /// The coordinator refused; its own sentence.
    #[error("{problem}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// What it says.
        problem: Problem,
    },
}

/// An answer whose body ends when it stands still.
pub type Answer = Response<IdleTimeout<Incoming>>;

/// The client; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    inner: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Time the headers of an answer may take.
    wait: Duration,
}

impl Client {
    /// A client for `https://host[:port]`, trusting the CAs in `ca` (PEM).
    ///
    /// # Errors
    /// When the URL is none, or the CA cannot be read.
    pub fn new(base: &str, ca: &[u8]) -> Result<Self, ClientError> {
        let base = base.trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().map_err(|_| ClientError::Url(base.clone()))?;
        if uri.scheme_str() != Some("https") || uri.host().is_none() || !matches!(uri.path(), "" | "/") {
            return Err(ClientError::Url(base));
        }
        // The connector sets ALPN itself.
        let tls = tls::client_config(ca, &[]).map_err(ClientError::Ca)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_nodelay(true);
        // Whoever waits long for an answer must learn that nobody is there any more.
        tcp.set_keepalive(Some(KEEPALIVE));
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        let inner = legacy::Client::builder(TokioExecutor::new()).build(https);
        Ok(Self { base, inner, wait: limits::DOWNLOAD_IDLE })
    }

    /// The same client, whose answers may take so long to begin.
    pub fn patient(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// The base URL, without a slash at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// One call; any status is an answer. `path` begins with a slash.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let uri: Uri = format!("{}{path}", self.base).parse().map_err(|_| ClientError::Url(path.to_owned()))?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        if let Some(authority) = uri.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok()) {
            request.headers_mut().insert(HOST, authority);
        }
        *request.uri_mut() = uri;
        match tokio::time::timeout(self.wait, self.inner.request(request)).await {
            Err(_) => Err(ClientError::Timeout(self.base.clone())),
            Ok(Err(error)) => Err(self.explain(error)),
            Ok(Ok(answer)) => Ok(answer.map(|body| IdleTimeout::new(body, limits::DOWNLOAD_IDLE))),
        }
    }

    /// A call with a JSON body and a JSON answer; a status that is no success becomes [`ClientError::Refused`].
    ///
    /// # Errors
    /// When no answer comes, the coordinator refuses, or the answer is not what was expected.
    pub async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<T, ClientError> {
        let bytes = match body {
            None => Bytes::new(),
            Some(value) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                serde_json::to_vec(value).map_err(ClientError::Json)?.into()
            }
        };
        let answer = success(self.send(method, path, headers, bytes).await?).await?;
        let bytes = capped(answer.into_body(), ANSWER, limits::BODY_IDLE).await?;
        // An answer without content reads as JSON's null.
        serde_json::from_slice(if bytes.is_empty() { b"null" } else { &bytes }).map_err(ClientError::Json)
    }

    fn explain(&self, error: legacy::Error) -> ClientError {
        let url = self.base.clone();
        match certificate_error(&error) {
            Some(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
                ClientError::WrongName { url, source: error.into() }
            }
            Some(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => ClientError::OutOfTime { url, source: error.into() },
            Some(_) => ClientError::NotTrusted { url, source: error.into() },
            None if error.is_connect() => ClientError::Connect { url, source: error.into() },
            None => ClientError::Broken { url, source: error.into() },
        }
    }
}

/// The answer itself when its status is a success, else what the coordinator says in it.
///
/// # Errors
/// [`ClientError::Refused`], or that its body cannot be read.
pub async fn success(answer: Answer) -> Result<Answer, ClientError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let bytes = capped(answer.into_body(), limits::JSON_BODY, limits::BODY_IDLE).await?;
    let problem = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Problem::new("unexpected", format!("the server answered {status}")));
    Err(ClientError::Refused { status, problem })
}

fn certificate_error(error: &legacy::Error) -> Option<&CertificateError> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
            return Some(why);
        }
        // TLS errors come inside io errors, more than one deep, whose `source` skips the error they hold.
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests;
