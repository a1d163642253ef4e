//! Receiving: a segment's body comes in from the agents' listener, within the memory there is.
//!
//! Memory is taken before the first byte of a body is read, so that what there is no room for stays with the agent: HTTP/2
//! holds it back. What was read goes out as an [`Inbound`], decoded and addressed, but not yet checked. Nothing here looks into a frame.

mod memory;
mod pace;

use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use crate::bundle::segment::{Segment, SegmentError, SegmentHead};
use crate::id::TaskId;
use crate::limits::{BODY_IDLE, SEGMENT_HEAD, SEGMENT_WIRE};
use crate::net::body::{self, BodyError};

pub use memory::{Lease, Memory, Share};
pub use pace::Pace;

/// Bytes of a segment's body at most.
pub const BODY: usize = 4 + SEGMENT_HEAD + SEGMENT_WIRE;

/// Which segment a request says it brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: u32,
    /// The number.
    pub number: u64,
}

/// A segment that was read and decoded, with the memory it takes.
#[derive(Debug)]
pub struct Inbound {
    segment: Segment,
    lease: Lease,
}

impl Inbound {
    /// Which it is.
    pub fn address(&self) -> Address {
        address(&self.segment.head)
    }

    /// Whether it goes on inside the entry that the last attempt left open.
    pub fn continues(&self) -> bool {
        self.segment.head.continues
    }

    /// Bytes that the node expects to send from it on, if it says so.
    pub fn estimate(&self) -> Option<u64> {
        self.segment.head.estimate
    }

    /// The segment, and the memory to give back when it is gone.
    pub fn into_parts(self) -> (Segment, Lease) {
        (self.segment, self.lease)
    }
}

/// Why a body is no segment.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The body did not come whole.
    #[error("the segment did not arrive")]
    Body(#[source] BodyError),
    /// The body is not a segment.
    #[error("the segment is malformed")]
    Segment(#[source] SegmentError),
    /// The head names another segment than the request.
    #[error("the segment's head names another segment than the request")]
    Address,
}

impl ReceiveError {
    /// Whether an honest agent's body can end like this, over a bad line.
    pub fn honest_body(error: &BodyError) -> bool {
        matches!(error, BodyError::Idle(_) | BodyError::Broken(_))
    }
}

fn address(head: &SegmentHead) -> Address {
    Address { task: head.task, attempt: head.attempt, number: head.number }
}

/// Reads the segment that `address` says, once there is memory for it.
///
/// # Errors
/// When it does not come whole, or is another or none.
///
/// # Cancel safety
/// What was read is lost, and the memory given back.
pub async fn read(body: Body, address: Address, share: &Share, pace: &Pace) -> Result<Inbound, ReceiveError> {
    let announced = body.size_hint().exact().and_then(|n| usize::try_from(n).ok());
    if announced.is_some_and(|n| n > BODY) {
        return Err(ReceiveError::Body(BodyError::TooLarge(BODY)));
    }
    let lease = {
        // A node that waits for our memory is not a node that stands still.
        let _excused = pace.excuse();
        share.lease(announced.unwrap_or(BODY)).await
    };
    let counted = std::pin::pin!(body.map_frame(|frame| {
        pace.moved();
        frame
    }));
    let wire = body::capped(counted, BODY, BODY_IDLE).await.map_err(ReceiveError::Body)?;
    let segment = Segment::decode(&wire).map_err(ReceiveError::Segment)?;
    if self::address(&segment.head) != address {
        return Err(ReceiveError::Address);
    }
    Ok(Inbound { segment, lease })
}
