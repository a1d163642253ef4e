//! Requests to servers on this node: one GET over loopback or a socket of the file system, bounded in time and bytes.
//!
//! Where and what comes from a collector file, and nothing of it from the wire; the answer goes out as a stream. HTTP/1.0 is spoken, so that
//! the end of the answer is the end of the connection. It follows no redirect, sends no header but its own fixed ones, and a token only
//! from a file below a declared root; it can reach no other machine.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio_util::sync::CancellationToken;

use super::Content;
use super::collector::Address;
use super::command::Ending;
use crate::bundle::outcome::Outcome;
use crate::report;
use crate::secret::Secret;

/// How often the stop is looked at while the server is silent.
const LOOK: Duration = Duration::from_millis(100);
/// Bytes of an answer's head at most.
const HEAD: usize = 32 << 10;

/// A request, ready to be sent.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub at: &'a Address,
    pub path: &'a str,
    pub statuses: &'a [u16],
    pub time: Duration,
    pub bytes: u64,
    pub token: Option<Secret>,
    pub stop: &'a CancellationToken,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Nobody listens, or what it takes to ask is not there.
    #[error("{0}")]
    Absent(String),
    /// The agent may not ask; somebody may let it.
    #[error("{0}")]
    Denied(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// Connects to a socket without waiting, since a server that hangs lets those who call wait for ever.
pub(super) fn knock(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// A connection to a server of this node.
#[derive(Debug)]
enum Link {
    Port(TcpStream),
    Socket(UnixStream),
}

impl Link {
    fn to(at: &Address, time: Duration) -> io::Result<Self> {
        match at {
            Address::Port(at) => TcpStream::connect_timeout(at, time).map(Self::Port),
            Address::Socket(path) => {
                let socket = knock(path)?;
                rustix::io::ioctl_fionbio(&socket, false)?;
                Ok(Self::Socket(socket.into()))
            }
        }
    }

    fn wait(&self, time: Duration) -> io::Result<()> {
        match self {
            Self::Port(link) => link.set_read_timeout(Some(time)).and_then(|()| link.set_write_timeout(Some(time))),
            Self::Socket(link) => link.set_read_timeout(Some(time)).and_then(|()| link.set_write_timeout(Some(time))),
        }
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        match self {
            Self::Port(link) => link.write_all(text),
            Self::Socket(link) => link.write_all(text),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Port(link) => link.read(buffer),
            Self::Socket(link) => link.read(buffer),
        }
    }
}

impl Request<'_> {
    /// Sends it, and reads the head of the answer.
    ///
    /// # Errors
    /// When nobody listens, nobody answers in time, or what answers is no server that can be read.
    pub(super) fn send(&self) -> Result<Answer, Refusal> {
        let failed = |error: io::Error| Refusal::Failed(format!("{} cannot be asked: {error}", self.at));
        let link = Link::to(self.at, self.time).map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::CONNREFUSED | Errno::NOENT | Errno::NOTSOCK | Errno::ADDRNOTAVAIL) => {
                Refusal::Absent(format!("nothing listens on {}", self.at))
            }
            Some(Errno::ACCESS | Errno::PERM) => Refusal::Denied(format!("the agent may not ask {}", self.at)),
            Some(Errno::AGAIN) => failed(io::Error::other("it has more callers waiting than it takes")),
            _ => failed(error),
        })?;
        let mut answer = Answer {
            link: Some(link),
            deadline: Instant::now() + self.time,
            time: self.time,
            bytes: self.bytes,
            left: self.bytes,
            promised: None,
            ahead: Vec::new(),
            stop: self.stop.clone(),
            trouble: None,
            ending: Arc::default(),
        };
        answer.ask(&self.text()).map_err(failed)?;
        let status = answer.head().map_err(Refusal::Failed)?;
        if !self.statuses.contains(&status) {
            let why = if (300..400).contains(&status) { ", and redirects are not followed" } else { "" };
            answer.trouble = Some((Outcome::Failed, format!("the server answers {status}{why}")));
        }
        Ok(answer)
    }

    fn text(&self) -> Secret {
        let host = match self.at {
            Address::Port(at) => at.to_string(),
            Address::Socket(_) => "localhost".to_owned(),
        };
        let token = self.token.as_ref().map(|token| format!("Authorization: Bearer {}\r\n", token.expose()));
        let token = token.unwrap_or_default();
        let (path, version) = (self.path, env!("CARGO_PKG_VERSION"));
        Secret::new(format!(
            "GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: sheaf/{version}\r\nAccept: */*\r\n{token}Connection: close\r\n\r\n"
        ))
    }
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub(super) struct Answer {
    link: Option<Link>,
    deadline: Instant,
    time: Duration,
    bytes: u64,
    left: u64,
    /// Bytes of the body that the server promised and did not send yet.
    promised: Option<u64>,
    /// What came behind the head.
    ahead: Vec<u8>,
    stop: CancellationToken,
    trouble: Option<(Outcome, String)>,
    ending: Arc<Mutex<Ending>>,
}

impl Answer {
    /// Where its ending will stand once it was read.
    pub(super) fn ending(&self) -> Arc<Mutex<Ending>> {
        Arc::clone(&self.ending)
    }

    fn ask(&mut self, text: &Secret) -> io::Result<()> {
        let Some(link) = &mut self.link else { return Ok(()) };
        link.wait(self.time)?;
        link.write(text.expose().as_bytes())
    }

    /// Reads the head, and gives the status.
    fn head(&mut self) -> Result<u16, String> {
        let mut head = Vec::new();
        let end = loop {
            let mut piece = [0; 4 << 10];
            match self.pull(&mut piece) {
                Ok(0) => return Err("the server says nothing, or breaks off".to_owned()),
                Ok(n) => head.extend_from_slice(&piece[..n]),
                Err(reason) => return Err(reason.1),
            }
            if let Some(end) = end_of_head(&head) {
                break end;
            }
            if head.len() > HEAD {
                return Err(format!("the head of the answer is larger than {HEAD} bytes"));
            }
        };
        self.ahead = head.split_off(end);
        let (status, promised) = parse(&head)?;
        self.promised = promised;
        Ok(status)
    }

    /// Waits for bytes; none at the end of the connection.
    fn pull(&mut self, buffer: &mut [u8]) -> Result<usize, (Outcome, String)> {
        loop {
            let Some(link) = &mut self.link else { return Ok(0) };
            if self.stop.is_cancelled() {
                return Err((Outcome::Truncated, "stopped".to_owned()));
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let reason = format!("not whole within {} s", self.time.as_secs_f32());
                return Err((Outcome::Truncated, reason));
            }
            let read = link.wait(left.min(LOOK)).and_then(|()| link.read(buffer));
            match read {
                Ok(n) => return Ok(n),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(error) => return Err((Outcome::Truncated, format!("the connection broke: {error}"))),
            }
        }
    }

    /// The next bytes of the body.
    fn body(&mut self, buffer: &mut [u8]) -> Result<usize, (Outcome, String)> {
        if self.promised == Some(0) {
            return Ok(0);
        }
        let n = if self.ahead.is_empty() {
            self.pull(buffer)?
        } else {
            let n = self.ahead.len().min(buffer.len());
            buffer[..n].copy_from_slice(&self.ahead[..n]);
            self.ahead.drain(..n);
            n
        };
        let Some(promised) = &mut self.promised else { return Ok(n) };
        if n == 0 {
            return Err((Outcome::Truncated, format!("the server broke off {promised} bytes before the end")));
        }
        let n = n.min(usize::try_from(*promised).unwrap_or(usize::MAX));
        *promised -= n as u64;
        Ok(n)
    }

    /// Ends it, with what is to be said.
    fn end(&mut self, trouble: Option<(Outcome, String)>) {
        self.link = None;
        self.ahead = Vec::new();
        // A status that is no success says more than that its page was cut.
        let trouble = self.trouble.take().or(trouble);
        let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        *ending = Ending { trouble, stderr: Vec::new(), bytes: self.bytes - self.left };
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.link.is_none() || buffer.is_empty() {
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let mut probe = [0; 1];
        let full = most == 0;
        match self.body(if full { &mut probe } else { &mut buffer[..most] }) {
            Ok(0) => self.end(None),
            Ok(_) if full => {
                let reason = format!("stopped at the limit of {} bytes", self.bytes);
                self.end(Some((Outcome::Truncated, reason)));
            }
            Ok(n) => {
                self.left -= n as u64;
                return Ok(n);
            }
            Err(trouble) => self.end(Some(trouble)),
        }
        Ok(0)
    }
}

impl Content for Answer {
    fn open(&mut self) -> io::Result<()> {
        match self.link {
            Some(_) => Ok(()),
            None => Err(io::Error::new(io::ErrorKind::Unsupported, "an answer is read once")),
        }
    }

    fn again(&self) -> bool {
        false
    }

    fn after(&mut self) -> Option<(Outcome, String)> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).trouble.clone()
    }
}

/// Where the body begins, once the head is whole.
fn end_of_head(text: &[u8]) -> Option<usize> {
    let at = |end: &[u8]| memchr::memmem::find(text, end).map(|at| at + end.len());
    match (at(b"\r\n\r\n"), at(b"\n\n")) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The status of an answer, and how long its body will be.
fn parse(head: &[u8]) -> Result<(u16, Option<u64>), String> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let mut words = first.split(' ');
    let version = words.next().filter(|version| version.starts_with("HTTP/1."));
    let status = words.next().and_then(|status| status.parse().ok()).filter(|status| (200..600).contains(status));
    let (Some(_), Some(status)) = (version, status) else {
        return Err(format!("the server does not speak HTTP: `{}`", report::brief(first, 80)));
    };
    let mut promised = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        match name.trim().to_ascii_lowercase().as_str() {
            "content-length" => {
                promised = Some(value.trim().parse().map_err(|_| "the server says no length that can be meant")?);
            }
            "transfer-encoding" => return Err("the server codes an answer to HTTP/1.0, which may not be".to_owned()),
            _ => {}
        }
    }
    Ok((status, promised))
}

#[cfg(test)]
mod tests;
