//! Packing: redacted sources become tar entries in zstd frames, grouped into segments.
//!
//! [`crate::agent::redact::Clean`]s come in, [`Packed`] segments go out. It never sees a record that was not redacted, never
//! holds a large source whole in memory, and never declares a size that it does not keep.

mod batch;
mod entry;
mod input;
mod large;
mod ledger;
mod names;
mod packer;
mod resume;
mod spool;

use crate::bundle::check::EntryRow;
use crate::bundle::frame::Frame;
use crate::bundle::segment::Note;

pub use packer::{Packer, Settings, Totals};

/// A segment without its number: whole frames, and what stands in them.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Whole zstd frames, in order.
    pub frames: Vec<Frame>,
    /// Bytes they decompress to.
    pub raw: u64,
    /// Whether they end where an entry ends.
    pub boundary: bool,
    /// Whether they go on inside an entry that an earlier attempt left open.
    pub continues: bool,
    /// Bytes of content that are expected from here on, when that was just found out.
    pub estimate: Option<u64>,
    /// Notes on entries that end here, and on sources that gave none.
    pub notes: Vec<Note>,
    /// Rows of the entries that end here, where they were asked for ([`Settings::rows`]).
    pub rows: Vec<EntryRow>,
}

impl Packed {
    /// Bytes of the frames on the wire.
    pub fn wire(&self) -> u64 {
        self.frames.iter().map(|frame| frame.bytes.len() as u64).sum()
    }
}

/// Why packing ended early.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Who takes the segments wants no more of them.
    #[error("no more segments are wanted")]
    Stopped,
    /// zstd failed, which is no property of a source.
    #[error("cannot compress")]
    Compress(#[source] std::io::Error),
    /// What was spooled cannot be read back.
    #[error("cannot read the spool back")]
    Spool(#[source] std::io::Error),
}

#[cfg(test)]
mod tests;
