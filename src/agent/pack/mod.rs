//! Packing: redacted sources become tar entries in zstd frames, grouped into segments.
//!
//! [`crate::agent::redact::Clean`]s come in, [`Packed`] segments go out. It never sees a record that was not redacted.

use bytes::Bytes;

use crate::bundle::segment::Note;

/// A segment without its number: whole frames, and what stands in them.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Whole zstd frames, back to back.
    pub frames: Bytes,
    /// Bytes they decompress to.
    pub raw: u64,
    /// Whether they end where an entry ends.
    pub boundary: bool,
    /// Notes on entries that end here, and on sources that gave none.
    pub notes: Vec<Note>,
}
