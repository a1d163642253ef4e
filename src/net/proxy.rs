//! An outbound HTTP proxy: a TCP connection through it by `CONNECT`, on which TLS goes from end to end.
//!
//! Where it is, and which hosts are reached without it, comes from a configuration; the open connection goes to whoever dials. The
//! proxy sees the coordinator's name and nothing else. Its answer is bounded in bytes and in time. It never asks the environment.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{StatusCode, Uri};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::limits::HANDSHAKE;
use crate::report;
use crate::secret::Secret;

/// Bytes of a proxy's answer at most.
const ANSWER: usize = 16 << 10;
/// Time for a proxy's answer: it has to reach the coordinator itself first.
const WAIT: Duration = Duration::from_secs(30);

/// Why a proxy cannot be used, or does not let through.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The URL is none.
    #[error("`{0}` is no proxy of the form http://HOST:PORT")]
    Url(String),
    /// User and password stand in the URL.
    #[error("a proxy's user and password do not belong into its URL, which is shown; put USER:PASSWORD into a file")]
    InUrl,
    /// No user and password in the text.
    #[error("the proxy's user and password must be one line, USER:PASSWORD")]
    Credentials,
    /// A host that is to be reached without it cannot be understood.
    #[error("`{0}` is no host, domain, address or network such as 10.0.0.0/8")]
    Except(String),
    /// Nobody there.
    #[error("cannot reach the proxy {0}")]
    Connect(String, #[source] io::Error),
    /// No answer in time.
    #[error("the proxy {0} did not answer in time")]
    Late(String),
    /// The connection to it broke.
    #[error("the connection to the proxy {0} broke off")]
    Broken(String, #[source] io::Error),
    /// It hung up.
    #[error("the proxy {0} hung up without an answer")]
    HungUp(String),
    /// It wants to know who we are.
    #[error("the proxy {0} wants a user and a password, and there is none to give")]
    Unknown(String),
    /// It does not take who we are.
    #[error("the proxy {0} refuses the user and the password that it was given")]
    Unwelcome(String),
    /// It does not let through.
    #[error("the proxy {proxy} refuses a connection to {target}: {status} {reason}")]
    Refused {
        /// The proxy.
        proxy: String,
        /// Where to.
        target: String,
        /// Its status.
        status: u16,
        /// Its own words.
        reason: String,
    },
    /// It answers something else than HTTP, or too much.
    #[error("{0} does not answer as an HTTP proxy does")]
    NoProxy(String),
}

/// A proxy, and what is reached without it.
#[derive(Clone)]
pub struct Proxy {
    host: String,
    port: u16,
    credentials: Option<Secret>,
    except: Vec<Except>,
}

/// What is reached without the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Except {
    All,
    /// A host, and all hosts of that domain.
    Name(String),
    /// Addresses whose first bits are these.
    Network(IpAddr, u8),
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("at", &self.at()).field("except", &self.except).finish_non_exhaustive()
    }
}

impl Proxy {
    /// The proxy at `http://HOST:PORT`, with `USER:PASSWORD` if it wants that; hosts of `except` are reached without it.
    ///
    /// # Errors
    /// When one of them is none.
    pub fn new(url: &str, credentials: Option<Secret>, except: &[String]) -> Result<Self, ProxyError> {
        let none = || ProxyError::Url(report::brief(url, 200));
        let uri: Uri = url.parse().map_err(|_| none())?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(ProxyError::InUrl);
        }
        let plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/") && uri.query().is_none();
        let (Some(host), Some(port), true) = (uri.host().filter(|host| !host.is_empty()), uri.port_u16(), plain) else {
            return Err(none());
        };
        let host = bare(host).to_owned();
        let except = except.iter().map(|text| Except::read(text)).collect::<Result<_, _>>()?;
        Ok(Self { host, port, credentials: credentials.map(|text| authorization(&text)).transpose()?, except })
    }

    /// Whether a host is reached through it.
    pub fn serves(&self, host: &str) -> bool {
        let host = bare(host);
        !self.except.iter().any(|except| except.covers(host))
    }

    /// A connection to `host` through it.
    ///
    /// # Errors
    /// When it cannot be reached, or does not let through.
    pub async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, ProxyError> {
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        let mut tcp = tokio::time::timeout(HANDSHAKE, TcpStream::connect((self.host.as_str(), self.port)))
            .await
            .unwrap_or_else(|_| Err(late()))
            .map_err(|error| ProxyError::Connect(self.at(), error))?;
        let host = bare(host);
        let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        tokio::time::timeout(WAIT, self.ask(&mut tcp, &target)).await.map_err(|_| ProxyError::Late(self.at()))??;
        Ok(tcp)
    }

    async fn ask(&self, tcp: &mut TcpStream, target: &str) -> Result<(), ProxyError> {
        let broken = |error| ProxyError::Broken(self.at(), error);
        let mut request = zeroize::Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
        if let Some(credentials) = &self.credentials {
            request.push_str(&format!("Proxy-Authorization: {}\r\n", credentials.expose()));
        }
        request.push_str("\r\n");
        tcp.write_all(request.as_bytes()).await.map_err(broken)?;
        let (head, end) = self.head(tcp).await?;
        let first = head[..end].lines().next().unwrap_or_default();
        let (status, reason) = status_line(first).ok_or_else(|| ProxyError::NoProxy(self.at()))?;
        match status {
            // In TLS the server waits for the client: nothing may come before.
            _ if status.is_success() && head.len() == end => Ok(()),
            _ if status.is_success() => Err(ProxyError::NoProxy(self.at())),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED if self.credentials.is_none() => {
                Err(ProxyError::Unknown(self.at()))
            }
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Err(ProxyError::Unwelcome(self.at())),
            _ => Err(ProxyError::Refused {
                proxy: self.at(),
                target: report::brief(target, 200),
                status: status.as_u16(),
                reason: report::brief(reason, 200),
            }),
        }
    }

    /// The answer's head and whatever came with it, and where the head ends.
    async fn head(&self, tcp: &mut TcpStream) -> Result<(String, usize), ProxyError> {
        let mut bytes = Vec::with_capacity(512);
        loop {
            if let Some(at) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
                // What is no ASCII is shown, and changes no length before the end.
                let text = bytes.iter().map(|byte| if byte.is_ascii() { *byte as char } else { '?' }).collect();
                return Ok((text, at + 4));
            }
            if bytes.len() >= ANSWER {
                return Err(ProxyError::NoProxy(self.at()));
            }
            let mut piece = [0; 1024];
            match tcp.read(&mut piece).await {
                Ok(0) if bytes.is_empty() => return Err(ProxyError::HungUp(self.at())),
                Ok(0) => return Err(ProxyError::NoProxy(self.at())),
                Ok(read) => bytes.extend_from_slice(&piece[..read]),
                Err(error) => return Err(ProxyError::Broken(self.at(), error)),
            }
        }
    }

    fn at(&self) -> String {
        format!("{}:{}", report::brief(&self.host, 200), self.port)
    }
}

impl PartialEq for Proxy {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.credentials, &other.credentials) {
            (Some(one), Some(other)) => one.same(other.expose()),
            (one, other) => one.is_none() && other.is_none(),
        };
        same && (&self.host, self.port, &self.except) == (&other.host, other.port, &other.except)
    }
}

impl Except {
    fn read(text: &str) -> Result<Self, ProxyError> {
        let none = || ProxyError::Except(report::brief(text, 200));
        if text == "*" {
            return Ok(Self::All);
        }
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        if let Ok(address) = bare(address).parse::<IpAddr>() {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Ok(most), str::parse).ok().filter(|bits| *bits <= most).ok_or_else(none)?;
            return Ok(Self::Network(address, bits));
        }
        let name = text.trim_start_matches("*.").trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase();
        let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if good { Ok(Self::Name(name)) } else { Err(none()) }
    }

    fn covers(&self, host: &str) -> bool {
        match self {
            Self::All => true,
            Self::Name(name) => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                host == *name || host.strip_suffix(name.as_str()).is_some_and(|before| before.ends_with('.'))
            }
            Self::Network(network, bits) => host.parse().is_ok_and(|address| same_network(*network, address, *bits)),
        }
    }
}

fn same_network(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let same = |one: u128, other: u128, width: u8| bits == 0 || (one ^ other) >> (width - bits) == 0;
    match (one, other.to_canonical()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => same(one.to_bits().into(), other.to_bits().into(), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => same(one.to_bits(), other.to_bits(), 128),
        _ => false,
    }
}

/// `Basic …` of `USER:PASSWORD`.
fn authorization(text: &Secret) -> Result<Secret, ProxyError> {
    let line = text.expose().trim_end_matches(['\r', '\n']);
    let good = line.split_once(':').is_some_and(|(user, _)| !user.is_empty()) && !line.contains(['\r', '\n', '\0']);
    if !good {
        return Err(ProxyError::Credentials);
    }
    Ok(Secret::new(format!("Basic {}", STANDARD.encode(line))))
}

/// Status and words of `HTTP/1.1 200 OK`.
fn status_line(line: &str) -> Option<(StatusCode, &str)> {
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))?;
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    Some((status.parse().ok()?, reason))
}

/// A host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests;
