//! The segment that is being filled: closed frames, and the notes and rows that travel with them.

use super::Packed;
use crate::bundle::check::EntryRow;
use crate::bundle::frame::Frame;
use crate::bundle::segment::Note;
use crate::limits::{FRAME_RAW, SEGMENT_FRAMES, SEGMENT_HEAD, SEGMENT_RAW};

/// Bytes of notes after which a segment is closed: half of what its head may have, since the last note comes on top.
const NOTES: usize = SEGMENT_HEAD / 2;

/// Frames that a whole entry may take: what stands before its content, its content, and what is open.
const WHOLE: usize = SEGMENT_RAW / FRAME_RAW + 3;

/// A segment in the making.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Raw bytes at most.
    most: u64,
    frames: Vec<Frame>,
    raw: u64,
    notes: Vec<Note>,
    note_bytes: usize,
    rows: Vec<EntryRow>,
}

impl Batch {
    /// An empty one, for segments of `most` raw bytes.
    pub(super) fn new(most: u64) -> Self {
        Self { most, ..Self::default() }
    }

    /// Whether `raw` more bytes of whole entries still make a legal segment: in as many frames as they may take, and one more
    /// for what is open.
    pub(super) fn fits(&self, raw: u64) -> bool {
        self.raw + raw <= self.most && self.frames.len() + WHOLE < SEGMENT_FRAMES
    }

    /// Whether one more frame of a large entry does, and what is open behind it.
    pub(super) fn fits_part(&self, raw: u64) -> bool {
        self.raw + raw <= self.most && self.frames.len() + 1 < SEGMENT_FRAMES
    }

    /// Whether an entry of so many bytes, with its header, may stand whole in a segment.
    pub(super) fn takes(&self, padded: u64) -> bool {
        padded <= self.most
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.notes.is_empty()
    }

    /// Whether its notes are as many as a head takes.
    pub(super) fn is_noted(&self) -> bool {
        self.note_bytes >= NOTES
    }

    /// Adds a closed frame.
    pub(super) fn push(&mut self, frame: Frame) {
        self.raw += u64::from(frame.raw);
        self.frames.push(frame);
    }

    /// Adds what is said of an entry that ends here, or of a source that gave none.
    pub(super) fn note(&mut self, note: Note) {
        self.note_bytes += serde_json::to_vec(&note).map_or(0, |json| json.len() + 1);
        self.notes.push(note);
    }

    /// Adds the row of an entry that ends here.
    pub(super) fn row(&mut self, row: EntryRow) {
        self.rows.push(row);
    }

    /// Closes the segment and begins the next. Notes stay until an entry ends, since a part may be thrown away with its entry.
    pub(super) fn take(&mut self, boundary: bool) -> Packed {
        let before = std::mem::replace(self, Self::new(self.most));
        let Self { frames, raw, notes, rows, note_bytes, most: _ } = before;
        let mut packed = Packed { frames, raw, boundary, continues: false, estimate: None, notes, rows };
        if !boundary {
            self.notes = std::mem::take(&mut packed.notes);
            self.note_bytes = note_bytes;
        }
        packed
    }
}
