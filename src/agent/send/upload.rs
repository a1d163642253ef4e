//! Uploads of one task: segments numbered, each repeated on whatever connection there is until it is acknowledged.
//!
//! Packed segments come in and stay in memory until the coordinator holds them. Cut connections and dead tokens are
//! waited out; only the coordinator's own word ends an upload.

use std::time::Duration;

use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::{mpsc, watch};

use super::backoff::Backoff;
use super::link::{Link, LinkError, Pieces, refusal};
use super::session::Lines;
use crate::agent::pack::Packed;
use crate::bundle::segment::{SegmentHead, VERSION};
use crate::id::TaskId;
use crate::limits::{BODY_IDLE, JSON_BODY};
use crate::net::body::capped;
use crate::protocol::agents::{Ack, Finish, Held, Order, Paused};
use crate::report;

/// Time for the answer to a short call.
const SHORT: Duration = Duration::from_secs(30);

/// Why a task cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The coordinator says that it is over.
    #[error("the task is over")]
    Over,
    /// The coordinator refuses what was sent.
    #[error("the coordinator refuses it: {0}")]
    Refused(String),
    /// The coordinator wants a segment that is no longer here.
    #[error("the coordinator asks for segment {wanted} after {sent} were acknowledged")]
    OutOfStep {
        /// What it wants.
        wanted: u64,
        /// What it has had.
        sent: u64,
    },
    /// The daemon stops.
    #[error("the agent is stopping")]
    Stopped,
}

/// Sends one task's segments over whatever link there is.
pub struct Uploader {
    links: watch::Receiver<Option<Link>>,
    /// Told the version of a link whose token is no longer taken.
    stale: mpsc::Sender<u64>,
    task: TaskId,
    attempt: u32,
    next: u64,
    bytes: u64,
}

impl Uploader {
    /// For an order.
    pub fn new(order: &Order, links: watch::Receiver<Option<Link>>, stale: mpsc::Sender<u64>) -> Self {
        Self { links, stale, task: order.task, attempt: order.attempt, next: 0, bytes: 0 }
    }

    /// Segments acknowledged.
    pub fn sent(&self) -> u64 {
        self.next
    }

    /// Bytes of acknowledged segments.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sends one segment and returns when it is held.
    ///
    /// # Errors
    /// When the coordinator will not have it.
    pub async fn segment(&mut self, packed: Packed) -> Result<(), UploadError> {
        let mut digest = blake3::Hasher::new();
        for frame in &packed.frames {
            digest.update(&frame.bytes);
        }
        let bytes = packed.wire();
        let head = SegmentHead {
            version: VERSION,
            task: self.task,
            attempt: self.attempt,
            number: self.next,
            digest: digest.finalize().to_hex().to_string(),
            boundary: packed.boundary,
            continues: packed.continues,
            estimate: packed.estimate,
            notes: packed.notes,
        };
        let prefix = [head.prefix()];
        let body = Pieces::new(prefix.into_iter().chain(packed.frames.into_iter().map(|frame| frame.bytes)));
        let path = format!("/agent/v1/tasks/{}/attempts/{}/segments/{}", self.task, self.attempt, self.next);
        let answer = self.call(Method::PUT, &path, &body, None).await?;
        let wanted = match answer.status() {
            StatusCode::CONFLICT => ack(answer).await.map_err(|error| UploadError::Refused(report::chain(&error)))?,
            status if status.is_success() => self.next + 1,
            _ => return Err(refused(answer).await),
        };
        // A repeated segment may find that it arrived the first time; any other number cannot be served.
        if wanted != self.next + 1 {
            return Err(UploadError::OutOfStep { wanted, sent: self.next });
        }
        self.next = wanted;
        self.bytes += bytes;
        Ok(())
    }

    /// Says that this node's part is over.
    ///
    /// # Errors
    /// When the coordinator will not have it.
    pub async fn finish(&mut self, finish: &Finish) -> Result<(), UploadError> {
        let body = Pieces::one(serde_json::to_vec(finish).expect("plain values serialise").into());
        let path = format!("/agent/v1/tasks/{}/finish", self.task);
        let answer = self.call(Method::POST, &path, &body, Some(SHORT)).await?;
        if answer.status().is_success() { Ok(()) } else { Err(refused(answer).await) }
    }

    /// Says that nothing comes for a while. Once, and as well as it goes: a coordinator that does not know of pauses has patience too.
    pub async fn pause(&mut self, reason: &str, most: Duration) {
        let most_ms = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        let paused = Paused { attempt: self.attempt, reason: reason.to_owned(), most_ms };
        let body = Pieces::one(serde_json::to_vec(&paused).expect("plain values serialise").into());
        let Some(link) = self.links.borrow().clone() else { return };
        let path = format!("/agent/v1/tasks/{}/pause", self.task);
        if let Ok(Err(error)) = tokio::time::timeout(SHORT, link.send(Method::POST, &path, body)).await {
            tracing::debug!(task = %self.task, error = %report::chain(&error), "a pause was not said");
        }
    }

    /// Tells `each` what the coordinator holds from earlier attempts.
    ///
    /// # Errors
    /// When the task is over.
    pub async fn held(&mut self, mut each: impl FnMut(Held)) -> Result<(), UploadError> {
        let path = format!("/agent/v1/tasks/{}/held", self.task);
        let mut backoff = Backoff::default();
        loop {
            let answer = self.call(Method::GET, &path, &Pieces::default(), Some(SHORT)).await?;
            if !answer.status().is_success() {
                return Err(refused(answer).await);
            }
            match read_held(answer, &mut each).await {
                Ok(()) => return Ok(()),
                // A cut list is asked for again: the paths of it that came are true all the same.
                Err(error) => {
                    tracing::debug!(task = %self.task, error = %report::chain(&error), "list of held paths broke off")
                }
            }
            tokio::time::sleep(backoff.wait()).await;
        }
    }

    /// One call, repeated until somebody answers with something other than "come back".
    async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: &Pieces,
        within: Option<Duration>,
    ) -> Result<Response<Incoming>, UploadError> {
        let mut backoff = Backoff::default();
        loop {
            let link = self.links.wait_for(|link| link.is_some()).await.map_err(|_| UploadError::Stopped)?.clone();
            let Some(link) = link else { continue };
            let call = link.send(method.clone(), path, body.clone());
            let answer = match within {
                None => call.await,
                Some(within) => tokio::time::timeout(within, call).await.unwrap_or(Err(LinkError::Timeout(within))),
            };
            let only_new = match answer {
                Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED => {
                    let _ = self.stale.try_send(link.version());
                    true
                }
                Ok(answer) if !is_passing(answer.status()) => return Ok(answer),
                Ok(answer) => {
                    let error = refusal(answer).await;
                    tracing::debug!(task = %self.task, error = %report::chain(&error), "call is repeated");
                    false
                }
                Err(error) => {
                    tracing::debug!(task = %self.task, error = %report::chain(&error), "call is repeated");
                    link.is_closed()
                }
            };
            let version = link.version();
            drop(link);
            let pause = backoff.wait();
            tokio::select! {
                other = self.links.wait_for(|link| link.as_ref().is_some_and(|link| link.version() != version)) => {
                    other.map_err(|_| UploadError::Stopped)?;
                }
                // The connection may end a moment after the call that it broke: then the next turn finds out.
                () = tokio::time::sleep(pause), if !only_new => {}
            }
        }
    }
}

/// Statuses after which the same call may work.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// The number that a coordinator wants instead. Its status is no success, and its body is an answer all the same.
async fn ack(answer: Response<Incoming>) -> Result<u64, LinkError> {
    let body = capped(answer.into_body(), JSON_BODY, BODY_IDLE).await?;
    serde_json::from_slice::<Ack>(&body).map(|ack| ack.next).map_err(LinkError::Json)
}

async fn refused(answer: Response<Incoming>) -> UploadError {
    match answer.status() {
        StatusCode::GONE | StatusCode::NOT_FOUND => UploadError::Over,
        _ => UploadError::Refused(report::chain(&refusal(answer).await)),
    }
}

async fn read_held(answer: Response<Incoming>, each: &mut impl FnMut(Held)) -> Result<(), LinkError> {
    let mut lines = Lines::new(answer.into_body());
    while let Some(line) = lines.next().await? {
        each(serde_json::from_slice(&line).map_err(LinkError::Json)?);
    }
    Ok(())
}
