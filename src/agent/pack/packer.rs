//! The packer: one source after the other becomes an entry, and entries become segments.
//!
//! Content is read straight into the open frame, behind room for its header; the header is filled in when the size is known.
//! What outgrows the frame is compressed on, and its frames wait in the spool. Where the spool has no room, the source is
//! read twice; where that cannot be, its start is kept.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::names::{Names, suffixed};
use super::spool::Spool;
use super::{PackError, Packed};
use crate::agent::redact::{Clean, CleanReport};
use crate::bundle::check::EntryRow;
use crate::bundle::entry::{BLOCK, EntryHead, Kind};
use crate::bundle::frame::{Compressor, FRAME_RAW, Frame};
use crate::bundle::outcome::Outcome;
use crate::bundle::path::EntryPath;
use crate::bundle::segment::Note;
use crate::id::{BundleName, NodeName};
use crate::limits::{NODE_BYTES, NODE_ENTRIES, PAX_BYTES, SEGMENT_RAW};
use crate::report;

/// Mode of a node's files in the bundle; the real one stands in the manifest.
const MODE: u32 = 0o600;
/// Bytes of an entry's header and padding at most.
const OVERHEAD: u64 = (PAX_BYTES + 3 * BLOCK) as u64;
/// Characters of a reason at most, in notes and `.err` entries.
const REASON: usize = 1000;
/// Age after which a segment goes out although it has room: slow sources are seen to make progress.
const LINGER: Duration = Duration::from_secs(1);

/// What a packer is told at its start.
pub struct Settings {
    /// The bundle, the first component of every path.
    pub bundle: BundleName,
    /// The node, in `<bundle>/nodes/<node>/…`.
    pub node: NodeName,
    /// Folder of the spool; without one, large sources are read twice.
    pub spool: Option<PathBuf>,
    /// Bytes of the spool at most.
    pub spool_bytes: u64,
    /// Entries at most.
    pub entries: u64,
    /// Bytes of content at most.
    pub bytes: u64,
    /// Whether segments carry the rows of their entries, with digests.
    pub rows: bool,
    /// Set from elsewhere to end the source that is being read.
    pub stop: Arc<AtomicBool>,
}

/// What was packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries.
    pub entries: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Compressed bytes of the segments.
    pub wire: u64,
    /// Sources that gave no entry.
    pub missing: u64,
    /// Entries that are not whole.
    pub truncated: u64,
    /// Replacements by redaction.
    pub redacted: u64,
}

/// What the packer reads: a [`Clean`], and its own short explanations.
trait Input: Read + Sized {
    fn path(&self) -> &EntryPath;
    fn collector(&self) -> &str;
    fn mode(&self) -> Option<u32>;
    fn mtime_ns(&self) -> i128;
    fn original(&self) -> Option<&str>;
    fn link(&self) -> Option<&str>;
    fn again(&self) -> bool;
    fn rewind(&mut self) -> io::Result<()>;
    fn finish(self) -> CleanReport;
}

/// Makes segments of redacted sources and hands them to its sink.
pub struct Packer<S> {
    sink: S,
    prefix: EntryPath,
    folder: String,
    most: (u64, u64),
    rows: bool,
    stop: Arc<AtomicBool>,
    compressor: Compressor,
    /// The open frame, [`FRAME_RAW`] bytes, of which `used` are content.
    stage: Vec<u8>,
    used: usize,
    /// The frame with the header of an entry that outgrew it.
    first: Vec<u8>,
    batch: Batch,
    spool: Spool,
    names: Names,
    totals: Totals,
    /// Names and bytes as a checker charges them.
    charged: (u64, u64),
    last: Instant,
}

/// An entry in the making.
struct Entry {
    head: EntryHead,
    path: EntryPath,
    /// Names that it takes, its own and new folders'.
    names: u64,
    /// What is known of it before it is read.
    note: Note,
    /// Bytes of the header, and where it stands in its frame.
    head_length: usize,
    start: usize,
    hasher: Option<blake3::Hasher>,
    bytes: u64,
    limit: u64,
    /// Why reading ended before the source did.
    cut: Option<String>,
    failed: Option<String>,
    /// True bytes, where zeros follow them.
    length: Option<u64>,
}

/// Why [`Packer::fill`] returned.
#[derive(PartialEq, Eq)]
enum Filled {
    Frame,
    End,
}

impl Entry {
    fn remaining(&self) -> u64 {
        self.limit - self.bytes
    }

    fn padded(&self) -> u64 {
        self.head_length as u64 + self.head.size.next_multiple_of(BLOCK as u64)
    }

    fn took(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
    }
}

impl<S: FnMut(Packed) -> ControlFlow<()>> Packer<S> {
    /// A packer that hands its segments to `sink`, which ends it by [`ControlFlow::Break`].
    ///
    /// # Errors
    /// When memory for the compressor is not to be had.
    ///
    /// # Panics
    /// Never: both names are components of a path by their types.
    pub fn new(settings: Settings, sink: S) -> Result<Self, PackError> {
        let folder = format!("nodes/{}", settings.node);
        let prefix = EntryPath::parse(&format!("{}/{folder}", settings.bundle)).expect("names are components");
        Ok(Self {
            sink,
            prefix,
            folder,
            most: (settings.entries.min(NODE_ENTRIES), settings.bytes.min(NODE_BYTES)),
            rows: settings.rows,
            stop: settings.stop,
            compressor: Compressor::new().map_err(PackError::Compress)?,
            stage: vec![0; FRAME_RAW],
            used: 0,
            first: Vec::new(),
            batch: Batch::default(),
            spool: Spool::new(settings.spool, settings.spool_bytes),
            names: Names::default(),
            totals: Totals::default(),
            // The folders `nodes` and the node's own count too.
            charged: (2, 0),
            last: Instant::now(),
        })
    }

    /// Notes that the coordinator holds `path` already, from an earlier attempt.
    pub fn hold(&mut self, path: &EntryPath) {
        self.names.hold(path);
    }

    /// Whether the next source of `path` is held already and need not be read.
    pub fn skip(&mut self, path: &EntryPath) -> bool {
        self.names.skip(path)
    }

    /// What was packed so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Packs one source. What goes wrong with it becomes an outcome.
    ///
    /// # Errors
    /// When the sink ends the packing, or compression itself fails.
    pub fn add(&mut self, clean: Clean) -> Result<(), PackError> {
        self.entry(clean)
    }

    /// Takes what is said of a source that gave nothing; a failed one gets an `.err` in its place.
    ///
    /// # Errors
    /// As [`Packer::add`].
    pub fn note(&mut self, mut note: Note) -> Result<(), PackError> {
        note.reason = report::brief(&note.reason, REASON);
        self.totals.missing += 1;
        let path = EntryPath::parse(&note.path).ok().filter(|path| !path.as_str().contains(['*', '?', '[']));
        if let (Outcome::Failed, false, Some(path)) = (note.outcome, note.entry, path)
            && let Some(path) = suffixed(path.as_str(), ".err", "")
        {
            self.entry(Reason::new(path, &note))?;
        }
        self.batch.note(note);
        self.flush_noted()
    }

    /// Packs the rest.
    ///
    /// # Errors
    /// As [`Packer::add`].
    pub fn finish(mut self) -> Result<Totals, PackError> {
        self.flush()?;
        Ok(self.totals)
    }

    /// Sends what is packed although the segment has room.
    ///
    /// # Errors
    /// As [`Packer::add`].
    pub fn flush(&mut self) -> Result<(), PackError> {
        self.close_frame(self.used)?;
        self.used = 0;
        if self.batch.is_empty() { Ok(()) } else { self.emit(true) }
    }

    fn flush_noted(&mut self) -> Result<(), PackError> {
        if self.batch.is_noted() { self.flush() } else { Ok(()) }
    }

    fn entry(&mut self, mut input: impl Input) -> Result<(), PackError> {
        if self.last.elapsed() >= LINGER {
            self.flush()?;
        }
        if self.names.skip(input.path()) {
            return Ok(());
        }
        let (path, names) = self.names.take(input.path());
        let mut entry = match self.begin(&input, path, names) {
            Ok(entry) => entry,
            Err(reason) => {
                self.names.give_back();
                return self.note(Note { outcome: Outcome::Skipped, reason, ..describe(&input) });
            }
        };
        if self.used + entry.head_length > FRAME_RAW {
            self.close_frame(self.used)?;
            self.used = 0;
        }
        entry.start = self.used;
        self.used += entry.head_length;
        if self.fill(&mut input, &mut entry) == Filled::Frame {
            return self.large(input, entry);
        }
        let report = judge(input.finish(), &entry);
        if entry.bytes == 0 && matches!(report.outcome, Outcome::Failed | Outcome::Skipped) {
            self.used = entry.start;
            self.names.give_back();
            return self.note(Note { outcome: report.outcome, reason: report.reason, ..entry.note });
        }
        self.end_small(entry, report)
    }

    /// The entry's header without its size, unless the node has no room for it.
    fn begin(&self, input: &impl Input, path: EntryPath, names: u64) -> Result<Entry, String> {
        let (entries, bytes) = self.most;
        if self.charged.0 + names > entries {
            return Err(format!("the node may give {entries} entries"));
        }
        // The header and the padding are charged as well.
        let limit = bytes.saturating_sub(self.charged.1 + OVERHEAD);
        if limit == 0 {
            return Err(format!("the node may give {bytes} bytes"));
        }
        let full = self.prefix.join(path.as_str()).map_err(|error| error.to_string())?;
        let head = EntryHead { path: full, size: 0, mode: MODE, mtime_ns: input.mtime_ns() };
        let head_length = head.encode().len();
        let hasher = self.rows.then(blake3::Hasher::new);
        let mut note = describe(input);
        if path != *input.path() {
            note.original.get_or_insert_with(|| input.path().as_str().to_owned());
        }
        Ok(Entry {
            head,
            path,
            names,
            note,
            head_length,
            start: 0,
            hasher,
            bytes: 0,
            limit,
            cut: None,
            failed: None,
            length: None,
        })
    }

    /// Reads into the open frame until it is full or the source ends.
    fn fill(&mut self, input: &mut impl Input, entry: &mut Entry) -> Filled {
        while self.used < FRAME_RAW {
            if self.stop.load(Ordering::Relaxed) {
                entry.cut = Some("the collection was stopped".to_owned());
                return Filled::End;
            }
            let room = (FRAME_RAW - self.used).min(usize::try_from(entry.remaining()).unwrap_or(usize::MAX));
            if room == 0 {
                if more(input) {
                    entry.cut = Some(format!("cut at {} bytes", entry.bytes));
                }
                return Filled::End;
            }
            match input.read(&mut self.stage[self.used..self.used + room]) {
                Ok(0) => return Filled::End,
                Ok(read) => {
                    entry.took(&self.stage[self.used..self.used + read]);
                    self.used += read;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    entry.failed = Some(report::chain(&error));
                    return Filled::End;
                }
            }
        }
        Filled::Frame
    }

    /// Ends an entry that stands whole in the open frame.
    fn end_small(&mut self, mut entry: Entry, report: CleanReport) -> Result<(), PackError> {
        self.pad();
        if !self.batch.fits(self.used as u64) {
            // The entry would cross the segment's end: what is before it goes out, and it begins the next.
            self.close_frame(entry.start)?;
            self.stage.copy_within(entry.start..self.used, 0);
            self.used -= entry.start;
            entry.start = 0;
            self.emit(true)?;
        }
        entry.head.size = entry.bytes;
        self.stage[entry.start..entry.start + entry.head_length].copy_from_slice(&entry.head.encode());
        self.end(entry, report);
        self.flush_noted()
    }

    /// Goes on with an entry that filled the open frame: its frames wait in the spool until its size is known.
    fn large(&mut self, mut input: impl Input, mut entry: Entry) -> Result<(), PackError> {
        if self.first.is_empty() {
            self.first = vec![0; FRAME_RAW];
        }
        std::mem::swap(&mut self.stage, &mut self.first);
        self.used = 0;
        self.spool.clear();
        let mut last = None;
        while self.fill(&mut input, &mut entry) == Filled::Frame {
            let frame = self.compress(FRAME_RAW)?;
            self.used = 0;
            let raw = (FRAME_RAW - entry.start) as u64 + self.spool.raw() + u64::from(frame.raw);
            if !self.batch.fits(entry.start as u64 + raw) {
                self.split(&mut entry)?;
            }
            if let Err((frame, error)) = self.spool.push(frame) {
                if let Some(length) = self.measure(&mut input, &entry) {
                    return self.twice(input, entry, length);
                }
                entry.cut = Some(format!("there was no room to keep more of it: {}", report::chain(&error)));
                last = Some(frame);
                break;
            }
        }
        self.end_large(input, entry, last)
    }

    /// Sends what stands before the entry in its first frame, so that it begins a segment.
    fn split(&mut self, entry: &mut Entry) -> Result<(), PackError> {
        if entry.start > 0 {
            let frame = self.compressor.frame(&self.first[..entry.start]).map_err(PackError::Compress)?;
            self.batch.push(frame);
            self.first.copy_within(entry.start.., 0);
            self.first.truncate(FRAME_RAW - entry.start);
            entry.start = 0;
        }
        if self.batch.is_empty() { Ok(()) } else { self.emit(true) }
    }

    /// Ends an entry of more than one frame: its header is written, its frames leave the spool.
    fn end_large(&mut self, input: impl Input, mut entry: Entry, last: Option<Frame>) -> Result<(), PackError> {
        let report = judge(input.finish(), &entry);
        self.pad();
        entry.head.size = entry.bytes;
        if !self.batch.fits(entry.start as u64 + entry.padded()) {
            self.split(&mut entry)?;
        }
        let whole = entry.padded() <= SEGMENT_RAW as u64;
        self.write_head(&entry)?;
        while let Some(frame) = self.spool.next() {
            self.part(frame.map_err(PackError::Spool)?)?;
        }
        self.spool.clear();
        if let Some(frame) = last {
            self.part(frame)?;
        }
        self.end_parts(entry, report, whole)
    }

    /// Closes the frame with the header, now that the size is known.
    fn write_head(&mut self, entry: &Entry) -> Result<(), PackError> {
        let head = entry.head.encode();
        let content = entry.start + entry.head_length;
        if head.len() == entry.head_length {
            self.first[entry.start..content].copy_from_slice(&head);
        } else {
            // A size above 8 GiB needs a record of its own, and the header grows.
            self.first.splice(entry.start..content, head);
        }
        let mut first = std::mem::take(&mut self.first);
        for chunk in first.chunks(FRAME_RAW) {
            let frame = self.compressor.frame(chunk).map_err(PackError::Compress)?;
            self.part(frame)?;
        }
        first.resize(FRAME_RAW, 0);
        self.first = first;
        Ok(())
    }

    /// Ends an entry whose frames are all in segments but the open one.
    fn end_parts(&mut self, entry: Entry, report: CleanReport, whole: bool) -> Result<(), PackError> {
        if whole {
            // It shares its segment and its last frame with what follows.
            self.end(entry, report);
            return self.flush_noted();
        }
        if self.used > 0 {
            let frame = self.compress(self.used)?;
            self.used = 0;
            self.part(frame)?;
        }
        self.end(entry, report);
        self.emit(true)
    }

    /// The source's whole length, found by reading the rest, if it can be read once more from its start.
    fn measure(&mut self, input: &mut impl Input, entry: &Entry) -> Option<u64> {
        if !input.again() {
            return None;
        }
        let mut length = entry.bytes;
        loop {
            let room = (entry.limit - length).min(FRAME_RAW as u64) as usize;
            if room == 0 || self.stop.load(Ordering::Relaxed) {
                break;
            }
            match input.read(&mut self.stage[..room]) {
                Ok(0) => break,
                Ok(read) => length += read as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        input.rewind().ok().map(|()| length)
    }

    /// Packs a source of known length by reading it again: nothing waits, and what differs is cut or filled with zeros.
    fn twice(&mut self, mut input: impl Input, mut entry: Entry, length: u64) -> Result<(), PackError> {
        self.split(&mut entry)?;
        self.spool.clear();
        self.first.resize(FRAME_RAW, 0);
        entry.head.size = length;
        let budget = entry.limit;
        (entry.bytes, entry.limit, entry.hasher) = (0, length, self.rows.then(blake3::Hasher::new));
        let head = entry.head.encode();
        entry.head_length = head.len();
        self.stage[..head.len()].copy_from_slice(&head);
        self.used = head.len();
        while self.fill(&mut input, &mut entry) == Filled::Frame {
            let frame = self.compress(FRAME_RAW)?;
            self.used = 0;
            self.part(frame)?;
        }
        if entry.cut.is_some() && entry.bytes == length && length < budget {
            entry.cut = Some("it grew while it was read twice, for want of room to spool it".to_owned());
        }
        let report = judge(input.finish(), &entry);
        let report = self.fill_up(&mut entry, length, report)?;
        self.pad();
        let whole = entry.padded() <= SEGMENT_RAW as u64;
        self.end_parts(entry, report, whole)
    }

    /// Zeros up to the length that the header declares already.
    fn fill_up(&mut self, entry: &mut Entry, length: u64, report: CleanReport) -> Result<CleanReport, PackError> {
        if entry.bytes == length {
            return Ok(report);
        }
        entry.length = Some(entry.bytes);
        while entry.bytes < length {
            let room = (length - entry.bytes).min((FRAME_RAW - self.used) as u64) as usize;
            self.stage[self.used..self.used + room].fill(0);
            entry.took(&self.stage[self.used..self.used + room]);
            self.used += room;
            if self.used == FRAME_RAW {
                let frame = self.compress(FRAME_RAW)?;
                self.used = 0;
                self.part(frame)?;
            }
        }
        let reason =
            if report.reason.is_empty() { "it shrank while it was read twice".to_owned() } else { report.reason };
        Ok(CleanReport { outcome: Outcome::Truncated, reason, ..report })
    }

    /// Notes and counts an entry whose last byte is in the open frame or before it.
    fn end(&mut self, entry: Entry, report: CleanReport) {
        self.names.keep();
        self.charged = (self.charged.0 + entry.names, self.charged.1 + entry.padded());
        self.totals.entries += 1;
        self.totals.bytes += entry.head.size;
        self.totals.truncated += u64::from(report.outcome != Outcome::Collected);
        self.totals.redacted += report.redacted.values().sum::<u64>();
        if let Some(hasher) = entry.hasher {
            let path =
                EntryPath::parse(&format!("{}/{}", self.folder, entry.path)).expect("a part of a path that parsed");
            self.batch.row(EntryRow {
                path,
                kind: Kind::File,
                head: entry.head.encode(),
                size: entry.head.size,
                content: hasher.finalize(),
                mode: entry.head.mode,
                mtime_ns: entry.head.mtime_ns,
            });
        }
        self.batch.note(Note {
            path: entry.path.into(),
            entry: true,
            outcome: report.outcome,
            reason: report::brief(&report.reason, REASON),
            length: entry.length,
            redacted: report.redacted,
            ..entry.note
        });
    }

    /// Adds a frame of a large entry; a full segment goes out as a part of it.
    fn part(&mut self, frame: Frame) -> Result<(), PackError> {
        if !self.batch.fits(u64::from(frame.raw)) {
            self.emit(false)?;
        }
        self.batch.push(frame);
        Ok(())
    }

    /// Zeros up to the next block of tar.
    fn pad(&mut self) {
        let end = self.used.next_multiple_of(BLOCK);
        self.stage[self.used..end].fill(0);
        self.used = end;
    }

    fn compress(&mut self, length: usize) -> Result<Frame, PackError> {
        self.compressor.frame(&self.stage[..length]).map_err(PackError::Compress)
    }

    /// Closes the first `length` bytes of the open frame.
    fn close_frame(&mut self, length: usize) -> Result<(), PackError> {
        if length > 0 {
            let frame = self.compress(length)?;
            self.batch.push(frame);
        }
        Ok(())
    }

    fn emit(&mut self, boundary: bool) -> Result<(), PackError> {
        let packed = self.batch.take(boundary);
        self.totals.wire += packed.wire();
        self.last = Instant::now();
        match (self.sink)(packed) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(PackError::Stopped),
        }
    }
}

/// Whether a source has a byte left.
fn more(input: &mut impl Input) -> bool {
    loop {
        match input.read(&mut [0]) {
            Ok(read) => return read > 0,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

/// What became of an entry: what the source says, unless packing knows worse.
fn judge(said: CleanReport, entry: &Entry) -> CleanReport {
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

/// What is known of a source before it is read.
fn describe(input: &impl Input) -> Note {
    Note {
        path: input.path().as_str().to_owned(),
        collector: input.collector().to_owned(),
        original: input.original().map(str::to_owned),
        mode: input.mode().map(|mode| format!("{:04o}", mode & 0o7777)),
        link: input.link().map(str::to_owned),
        ..Note::default()
    }
}

impl Input for Clean {
    fn path(&self) -> &EntryPath {
        self.path()
    }
    fn collector(&self) -> &str {
        self.collector()
    }
    fn mode(&self) -> Option<u32> {
        self.mode()
    }
    fn mtime_ns(&self) -> i128 {
        self.mtime_ns()
    }
    fn original(&self) -> Option<&str> {
        self.original()
    }
    fn link(&self) -> Option<&str> {
        self.link()
    }
    fn again(&self) -> bool {
        self.again()
    }
    fn rewind(&mut self) -> io::Result<()> {
        self.rewind()
    }
    fn finish(self) -> CleanReport {
        self.finish()
    }
}

/// The content of an `.err` entry.
struct Reason {
    path: EntryPath,
    collector: String,
    text: io::Cursor<Vec<u8>>,
}

impl Reason {
    fn new(path: EntryPath, note: &Note) -> Self {
        let text = format!("{}: {}: {}\n", report::escape(&note.path), note.outcome, note.reason);
        Self { path, collector: note.collector.clone(), text: io::Cursor::new(text.into_bytes()) }
    }
}

impl Read for Reason {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.text.read(buffer)
    }
}

impl Input for Reason {
    fn path(&self) -> &EntryPath {
        &self.path
    }
    fn collector(&self) -> &str {
        &self.collector
    }
    fn mode(&self) -> Option<u32> {
        None
    }
    fn mtime_ns(&self) -> i128 {
        jiff::Timestamp::now().as_nanosecond()
    }
    fn original(&self) -> Option<&str> {
        None
    }
    fn link(&self) -> Option<&str> {
        None
    }
    fn again(&self) -> bool {
        false
    }
    fn rewind(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn finish(self) -> CleanReport {
        CleanReport::default()
    }
}
