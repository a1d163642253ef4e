//! An entry in the making: its header, what is known of it, and how far it was read.

use crate::agent::redact::CleanReport;
use crate::bundle::entry::{BLOCK, EntryHead};
use crate::bundle::outcome::Outcome;
use crate::bundle::path::EntryPath;
use crate::bundle::segment::Note;

/// An entry in the making.
pub(super) struct Entry {
    pub(super) head: EntryHead,
    pub(super) path: EntryPath,
    /// Names that it takes, its own and new folders'.
    pub(super) names: u64,
    /// What is known of it before it is read.
    pub(super) note: Note,
    /// Whether it is one of the node's sources.
    pub(super) source: bool,
    /// Bytes of the header, and where it stands in its frame.
    pub(super) head_length: usize,
    pub(super) start: usize,
    pub(super) hasher: Option<blake3::Hasher>,
    pub(super) bytes: u64,
    pub(super) limit: u64,
    /// Why reading ended before the source did.
    pub(super) cut: Option<String>,
    pub(super) failed: Option<String>,
    /// True bytes, where zeros follow them.
    pub(super) length: Option<u64>,
}

/// Why a reading into the open frame ended.
#[derive(PartialEq, Eq)]
pub(super) enum Filled {
    Frame,
    End,
}

impl Entry {
    pub(super) fn remaining(&self) -> u64 {
        self.limit - self.bytes
    }

    pub(super) fn padded(&self) -> u64 {
        self.head_length as u64 + self.head.size.next_multiple_of(BLOCK as u64)
    }

    pub(super) fn took(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
    }
}

/// What became of an entry: what the source says, unless packing knows worse.
pub(super) fn judge(said: CleanReport, entry: &Entry) -> CleanReport {
    let nothing = entry.bytes == 0;
    let outcome = if nothing { Outcome::Failed } else { Outcome::Truncated };
    match (&entry.failed, &entry.cut) {
        (Some(reason), _) if said.outcome == Outcome::Collected => {
            CleanReport { outcome, reason: reason.clone(), ..said }
        }
        (None, Some(reason)) => {
            let outcome = if nothing { Outcome::Skipped } else { Outcome::Truncated };
            CleanReport { outcome, reason: reason.clone(), ..said }
        }
        _ => said,
    }
}
