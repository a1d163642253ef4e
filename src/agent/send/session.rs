//! The session: a long-lived answer on which orders come down, a line of JSON each.
//!
//! Lines come from the coordinator and go to the daemon's loop. Silence ends it: a coordinator that lives answers heartbeats, or sends
//! lines.

use bytes::{Buf as _, Bytes, BytesMut};
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::link::{Link, LinkError, Pieces, refusal};
use crate::limits::{AGENT_BODY, HANDSHAKE, NODE_GONE};
use crate::net::body::BodyError;
use crate::protocol::agents::{Down, Hello};

/// An open session.
pub struct Session {
    lines: Lines,
}

impl Session {
    /// Says hello.
    ///
    /// # Errors
    /// When the coordinator does not answer, or with a refusal.
    pub async fn open(link: &Link, hello: &Hello) -> Result<Self, LinkError> {
        let body = serde_json::to_vec(hello).map_err(LinkError::Json)?;
        let call = link.send(Method::POST, "/agent/v1/session", Pieces::one(body.into()));
        let answer = tokio::time::timeout(HANDSHAKE, call).await.map_err(|_| LinkError::Timeout(HANDSHAKE))??;
        if !answer.status().is_success() {
            return Err(refusal(answer).await);
        }
        Ok(Self { lines: Lines::new(answer.into_body()) })
    }

    /// The next thing that comes down; `None` when the coordinator ended the session. Cancel safe.
    ///
    /// # Errors
    /// When the connection breaks, is silent for too long, or a line is no JSON.
    pub async fn next(&mut self) -> Result<Option<Down>, LinkError> {
        let line = self.lines.next().await?;
        line.map(|line| serde_json::from_slice(&line).map_err(LinkError::Json)).transpose()
    }

    /// The coordinator has just answered a heartbeat, which it does for a node that has a session: that is a sign of life as well.
    pub fn heard(&mut self) {
        self.lines.heard = Instant::now();
    }
}

/// Lines of a body, each of bounded length.
pub(super) struct Lines {
    body: Incoming,
    buffer: BytesMut,
    /// Bytes of the buffer that hold no line's end.
    searched: usize,
    /// When the last bytes came, or another sign of life.
    heard: Instant,
}

impl Lines {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0, heard: Instant::now() }
    }

    /// The next line that is not empty, without its end. What follows the last end is dropped: it was cut. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, LinkError> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
                let line = self.buffer.split_to(self.searched + at).freeze();
                self.buffer.advance(1);
                self.searched = 0;
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched > AGENT_BODY {
                return Err(BodyError::TooLarge(AGENT_BODY).into());
            }
            // Counted from the last bytes, not from this call, which a loop may begin anew at any time.
            let frame = tokio::time::timeout_at(self.heard + NODE_GONE, self.body.frame())
                .await
                .map_err(|_| BodyError::Idle(NODE_GONE))?;
            self.heard = Instant::now();
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}
