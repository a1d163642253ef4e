//! The checker of one node's stream: the only way from a node's bytes into a bundle.
//!
//! Whole frames of one segment go in; what comes out is checked against every rule of the format, confined to
//! `<bundle>/nodes/<node>/`, digested, and charged to a budget. A check either takes the whole segment or leaves the checker as it
//! was, so that a segment can come again. Bytes are decompressed once and hashed once; it never writes anything and never waits.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::entry::{EntryError, Head, Kind, padding};
use super::frame::{Decompressor, FRAME_RAW, Frame, FrameError, split};
use super::names::Names;
use super::path::EntryPath;
use super::stream::{Event, Parser};
use crate::id::{BundleName, NodeName};
use crate::limits::{NODE_BYTES, NODE_ENTRIES, SEGMENT_FRAMES, SEGMENT_RAW};

#[cfg(test)]
mod tests;
mod zeros;

/// How much one node may put into a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of headers and declared content.
    pub bytes: u64,
    /// Entries, and folders that they lie in.
    pub entries: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { bytes: NODE_BYTES, entries: NODE_ENTRIES }
    }
}

/// The rule that a node's stream breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An entry breaks a rule of the format.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// An entry that is not below `<bundle>/nodes/<node>/`.
    #[error("entry is outside of the node's folder")]
    Outside,
    /// A path that came before, or a file where a folder is needed.
    #[error("path is there already, or in the way of another")]
    Repeated,
    /// More bytes than the node may send.
    #[error("entry is beyond the node's budget of bytes")]
    Bytes,
    /// More entries than the node may send.
    #[error("entry is beyond the node's budget of entries")]
    Entries,
    /// A block of zeros between entries, at which tar would stop.
    #[error("stream carries an end of archive")]
    EndOfArchive,
    /// Not whole frames of ours.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// More frames, or more bytes when decompressed, than a segment holds.
    #[error("segment decompresses to more than it may")]
    Bomb,
    /// The frames do not end where the segment says they do.
    #[error("segment does not end as it says")]
    Boundary,
    /// Neither whole entries only, nor one part of one entry.
    #[error("segment holds part of an entry and something else")]
    Segment,
    /// It goes on from an earlier attempt, and nothing is open, or it is not the first of its attempt.
    #[error("segment goes on where there is nothing to go on with")]
    Continues,
}

/// An entry that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRow {
    /// Path below the bundle's folder.
    pub path: EntryPath,
    /// File or folder; folders stand in no manifest.
    pub kind: Kind,
    /// The header blocks.
    pub head: Vec<u8>,
    /// Bytes of content.
    pub size: u64,
    /// BLAKE3 of the content.
    pub content: blake3::Hash,
    /// Mode in the bundle.
    pub mode: u32,
    /// Nanoseconds since 1970.
    pub mtime_ns: i128,
}

/// A checked segment.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Its frames, as they came.
    pub frames: Vec<Frame>,
    /// What they decompress to, when the checker was told to keep it.
    pub raw: Option<Bytes>,
    /// The entries that end in it, in order.
    pub rows: Vec<EntryRow>,
    /// Whether it ends where an entry ends.
    pub boundary: bool,
}

/// The entry that the stream stands inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Path below the bundle's folder.
    pub path: EntryPath,
    /// Bytes it will have.
    pub declared: u64,
    /// Bytes still to come, tar's padding included.
    pub missing: u64,
    /// BLAKE3 of the content so far, padding not included.
    pub content: blake3::Hash,
}

impl Inside {
    /// Bytes of content so far.
    pub fn length(&self) -> u64 {
        self.declared - self.missing.saturating_sub(padding(self.declared))
    }

    /// Whether some of the padding is there already, but not all of it. Writers of whole blocks never stop there.
    pub fn is_in_padding(&self) -> bool {
        self.missing < padding(self.declared)
    }
}

/// Checks the segments of one node in order.
pub struct Checker {
    folder: String,
    bundle: usize,
    state: State,
    names: Names,
    keep_raw: bool,
    /// Where the stream stood before the entry that it stands inside.
    before_entry: Option<State>,
}

#[derive(Clone)]
struct State {
    parser: Parser,
    open: Option<Open>,
    left: Budget,
}

#[derive(Clone)]
struct Open {
    head: Head,
    path: EntryPath,
    content: blake3::Hasher,
}

/// What a worker needs for a check: shared by all checkers, since frames are independent.
struct Bench {
    decompressor: Decompressor,
    raw: Vec<u8>,
}

/// Benches at rest; more than a few are never needed, since checks are bound by processors.
static BENCHES: Mutex<Vec<Bench>> = Mutex::new(Vec::new());
const BENCHES_KEPT: usize = 8;

impl Bench {
    fn take() -> Result<Self, FrameError> {
        let kept = BENCHES.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.map_or_else(
            || {
                let decompressor = Decompressor::new().map_err(|e| FrameError::Content(e.to_string()))?;
                Ok(Self { decompressor, raw: Vec::with_capacity(FRAME_RAW) })
            },
            Ok,
        )
    }

    fn put_back(self) {
        let mut benches = BENCHES.lock().unwrap_or_else(PoisonError::into_inner);
        if benches.len() < BENCHES_KEPT {
            benches.push(self);
        }
    }
}

impl Checker {
    /// A checker for what `node` sends for `bundle`.
    pub fn new(bundle: &BundleName, node: &NodeName, budget: Budget) -> Self {
        Self {
            folder: format!("{bundle}/nodes/{node}/"),
            bundle: bundle.as_str().len() + 1,
            state: State { parser: Parser::default(), open: None, left: budget },
            names: Names::default(),
            keep_raw: false,
            before_entry: None,
        }
    }

    /// Whether pieces carry what their frames decompress to; a plain tar needs it, a compressed one does not.
    #[must_use]
    pub fn keep_raw(mut self, keep: bool) -> Self {
        self.keep_raw = keep;
        self
    }

    /// Checks the frames of the next segment; `boundary` is what the segment says of its end.
    ///
    /// # Errors
    /// The first rule that it breaks; the checker is then as it was before.
    pub fn check(&mut self, frames: &Bytes, boundary: bool) -> Result<Piece, Fault> {
        let frames = split(frames)?;
        let raw: usize = frames.iter().map(|f| f.raw as usize).sum();
        if raw > SEGMENT_RAW || frames.len() > SEGMENT_FRAMES {
            return Err(Fault::Bomb);
        }
        let before = self.state.clone();
        let mut bench = Bench::take()?;
        let walked = self.walk(&mut bench, &frames, raw, boundary);
        bench.put_back();
        let began_inside = before.open.is_some();
        match walked {
            Ok((rows, raw)) => {
                if boundary {
                    self.settle();
                } else if !began_inside {
                    self.before_entry = Some(before);
                }
                Ok(Piece { frames, raw, rows, boundary })
            }
            Err(fault) => {
                self.state = before;
                // The name of an entry that goes on stays taken: it can still be abandoned.
                if !began_inside {
                    self.names.undo();
                }
                Err(fault)
            }
        }
    }

    /// The stream stands between entries, and there is no way back.
    fn settle(&mut self) {
        self.names.mark();
        self.before_entry = None;
    }

    /// Forgets the entry that the stream stands inside, as if it had never begun; its path may come again. For whoever threw
    /// away all pieces of it.
    pub fn abandon(&mut self) {
        if let Some(before) = self.before_entry.take() {
            self.state = before;
            self.names.undo();
        }
    }

    /// Walks all frames, and holds the rule of segments: whole entries only, or one part of one entry.
    fn walk(
        &mut self,
        bench: &mut Bench,
        frames: &[Frame],
        raw: usize,
        boundary: bool,
    ) -> Result<(Vec<EntryRow>, Option<Bytes>), Fault> {
        let began_inside = self.state.open.is_some();
        let mut kept = Vec::with_capacity(if self.keep_raw { raw } else { 0 });
        let mut rows = Vec::new();
        for frame in frames {
            let out = if self.keep_raw { &mut kept } else { &mut bench.raw };
            let from = if self.keep_raw { out.len() } else { 0 };
            out.truncate(from);
            bench.decompressor.append(&frame.bytes, out)?;
            let raw = if self.keep_raw { &kept[from..] } else { &bench.raw[..] };
            self.events(raw, began_inside, &mut rows)?;
        }
        let inside = self.state.open.is_some();
        if self.state.parser.inside_head() || (inside && !rows.is_empty()) || (began_inside && frames.is_empty()) {
            return Err(Fault::Segment);
        }
        if boundary == inside {
            return Err(Fault::Boundary);
        }
        Ok((rows, self.keep_raw.then(|| kept.into())))
    }

    fn events(&mut self, mut raw: &[u8], began_inside: bool, rows: &mut Vec<EntryRow>) -> Result<(), Fault> {
        while let Some(event) = self.state.parser.next(&mut raw)? {
            match event {
                Event::Head(_) if began_inside => return Err(Fault::Segment),
                Event::Head(head) => self.open(head)?,
                Event::Data(data) => {
                    if let Some(open) = &mut self.state.open {
                        open.content.update(data);
                    }
                }
                Event::End => rows.extend(self.state.open.take().map(Open::row)),
                Event::ZeroBlock => return Err(Fault::EndOfArchive),
            }
        }
        Ok(())
    }

    /// Holds an entry's header against what the node may do, and charges it.
    fn open(&mut self, head: Head) -> Result<(), Fault> {
        let whole = head.entry.path.as_str();
        if !whole.starts_with(&self.folder) {
            return Err(Fault::Outside);
        }
        let path = EntryPath::parse(&whole[self.bundle..]).map_err(EntryError::Path)?;
        let charged = head.entry.size.saturating_add(padding(head.entry.size) + head.blocks.len() as u64);
        self.state.left.bytes = self.state.left.bytes.checked_sub(charged).ok_or(Fault::Bytes)?;
        let names = self.names.add(&path, head.kind).ok_or(Fault::Repeated)?;
        // A folder that was implied before still costs an entry.
        self.state.left.entries = self.state.left.entries.checked_sub(names.max(1)).ok_or(Fault::Entries)?;
        self.state.open = Some(Open { head, path, content: blake3::Hasher::new() });
        Ok(())
    }

    /// The entry that the stream stands inside, if it does.
    pub fn inside(&self) -> Option<Inside> {
        let open = self.state.open.as_ref()?;
        let missing = self.state.parser.missing()?;
        let content = open.content.finalize();
        Some(Inside { path: open.path.clone(), declared: open.head.entry.size, missing, content })
    }

    /// What is left of the budget.
    pub fn left(&self) -> Budget {
        self.state.left
    }

    /// The next piece of zeros, for an entry whose rest will never come; `None` when the stream stands between entries.
    ///
    /// # Panics
    /// When there is no memory to compress zeros.
    pub fn pad(&mut self) -> Option<Piece> {
        let missing = self.inside()?.missing;
        let length = usize::try_from(missing).unwrap_or(usize::MAX).min(SEGMENT_RAW);
        let mut rows = Vec::new();
        let mut frames = Vec::new();
        let mut left = length;
        while left > 0 {
            let part = left.min(FRAME_RAW);
            frames.push(zeros::frame(part));
            // Zeros break no rule inside an entry: neither as content nor as padding.
            self.events(&zeros::ZEROS[..part], false, &mut rows).expect("zeros inside an entry are legal");
            left -= part;
        }
        let raw = self.keep_raw.then(|| zeros::bytes(length));
        Some(Piece { frames, raw, rows, boundary: self.state.open.is_none() })
    }
}

impl Open {
    fn row(self) -> EntryRow {
        let Head { kind, entry, blocks } = self.head;
        EntryRow {
            path: self.path,
            kind,
            head: blocks,
            size: entry.size,
            content: self.content.finalize(),
            mode: entry.mode,
            mtime_ns: entry.mtime_ns,
        }
    }
}
