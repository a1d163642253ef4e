//! The packer: one source after the other becomes an entry, and entries become segments.
//!
//! Content is read straight into the open frame, behind room for its header; the header is filled in when the size is known.
//! What outgrows the frame is compressed on, and its frames wait in the spool. Where the spool has no room, the source is
//! read twice; where that cannot be, its start is kept.

use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::entry::{Entry, Filled, judge};
use super::input::{Input, Reason, describe, more};
use super::ledger::Ledger;
use super::names::{Names, suffixed};
use super::spool::Spool;
use super::{PackError, Packed};
use crate::agent::redact::{About, Clean, CleanReport};
use crate::bundle::check::EntryRow;
use crate::bundle::entry::{BLOCK, EntryHead, Kind};
use crate::bundle::frame::{Compressor, FRAME_RAW, Frame};
use crate::bundle::manifest::RedactedRow;
use crate::bundle::outcome::Outcome;
use crate::bundle::path::EntryPath;
use crate::bundle::segment::{Note, OpenEntry};
use crate::floor::Floor;
use crate::id::{BundleName, NodeName};
use crate::limits::{LEAST_BUDGET, NODE_BYTES, NODE_ENTRIES, PAX_BYTES, SEGMENT_RAW};
use crate::report;

/// Mode of a node's files in the bundle; the real one stands in the manifest.
const MODE: u32 = 0o600;
/// Bytes of an entry's header and padding at most.
const OVERHEAD: u64 = (PAX_BYTES + 3 * BLOCK) as u64;
/// Characters of a reason at most, in notes and `.err` entries.
const REASON: usize = 1000;
/// Name of the account of redaction, and bytes that are kept back for it.
const REDACTION: &str = "REDACTION.json";
const ACCOUNT: u64 = 64 << 10;
/// Part of what the node may give that is kept back for it where that is less.
const ACCOUNT_PART: u64 = 8;
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
    /// What stays free on the spool's disk.
    pub floor: Floor,
    /// Entries at most.
    pub entries: u64,
    /// Bytes of content at most.
    pub bytes: u64,
    /// Raw bytes of a segment at most: as many as it may have where it travels, fewer where it is written at once.
    pub segment: usize,
    /// Whether segments carry the rows of their entries, with digests.
    pub rows: bool,
    /// Cancelled from elsewhere to end the source that is being read.
    pub stop: CancellationToken,
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
    /// Milliseconds of pauses under pressure; whoever pauses fills it in.
    pub paused_ms: u64,
}

/// Makes segments of redacted sources and hands them to its sink.
pub struct Packer<S> {
    pub(super) sink: S,
    pub(super) prefix: EntryPath,
    pub(super) folder: String,
    pub(super) most: (u64, u64),
    pub(super) rows: bool,
    pub(super) stop: CancellationToken,
    pub(super) compressor: Compressor,
    /// The open frame, [`FRAME_RAW`] bytes, of which `used` are content.
    pub(super) stage: Vec<u8>,
    pub(super) used: usize,
    /// What stood in the open frame before the content of an entry that outgrew it, with the entry's header at its end.
    pub(super) first: Vec<u8>,
    pub(super) batch: Batch,
    pub(super) spool: Spool,
    pub(super) names: Names,
    pub(super) totals: Totals,
    /// Names and bytes as a checker charges them.
    pub(super) charged: (u64, u64),
    pub(super) last: Instant,
    /// What was said of sources without an entry, and is held from an earlier attempt.
    noted: HashSet<String>,
    /// The entry that an earlier attempt left open, until it is gone on with or given up.
    pub(super) open: Option<OpenEntry>,
    /// Whether the next segment goes on inside it.
    pub(super) continues: bool,
    /// Bytes to come, until a segment has said so.
    estimate: Option<u64>,
    /// The `.err` of a source that failed, until it is known that the source brings none itself.
    owed: Option<Reason>,
    /// What redaction did, source by source.
    ledger: Ledger,
    /// Entries and bytes that are kept back for the account of that.
    kept: (u64, u64),
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
            batch: Batch::new(settings.segment.min(SEGMENT_RAW) as u64),
            spool: Spool::new(settings.spool, settings.spool_bytes, settings.floor),
            names: Names::default(),
            totals: Totals::default(),
            // The folders `nodes` and the node's own count too.
            charged: (2, 0),
            last: Instant::now(),
            noted: HashSet::new(),
            open: None,
            continues: false,
            estimate: None,
            owed: None,
            ledger: Ledger::default(),
            kept: (0, 0),
        })
    }

    /// Notes that the coordinator holds `path` already, from an earlier attempt.
    pub fn hold(&mut self, path: &EntryPath) {
        self.names.hold(path);
    }

    /// Notes that the coordinator holds a note of this [`Note::key`] already.
    pub fn hold_note(&mut self, key: String) {
        self.noted.insert(key);
    }

    /// Notes that the coordinator stands inside an entry. The packer goes on with it, if its source comes before any other that
    /// gives something, and still begins with what is held.
    pub fn resume(&mut self, open: OpenEntry) {
        self.open = Some(open);
    }

    /// Notes how many bytes will probably come from here on.
    pub fn expect(&mut self, bytes: u64) {
        self.estimate = Some(bytes);
    }

    /// Notes what redaction did to an entry that is held.
    pub fn hold_redacted(&mut self, row: &RedactedRow) {
        self.ledger.row(row);
    }

    /// Whether the next source of `path` is held already and need not be read.
    pub fn skip(&mut self, path: &EntryPath) -> bool {
        let held = self.names.skip(path);
        if held {
            self.ledger.held();
        }
        held
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

    /// Takes what is said of a source that gave nothing.
    ///
    /// # Errors
    /// As [`Packer::add`].
    pub fn note(&mut self, mut note: Note) -> Result<(), PackError> {
        note.reason = report::brief(&note.reason, REASON);
        self.totals.missing += 1;
        if self.noted.is_empty() || !self.noted.contains(&note.key()) {
            self.batch.note(note);
        }
        if self.batch.is_noted() {
            self.give_up();
        }
        self.flush_noted()
    }

    /// Keeps room for [`Packer::account`], where the node may give so much that it is worth it: entries and bytes that sources do not have.
    pub fn keep_account(&mut self) -> (u64, u64) {
        if self.most.0 > 16 && self.most.1 >= LEAST_BUDGET {
            self.kept = (1, ACCOUNT.min(self.most.1 / ACCOUNT_PART));
            self.most = (self.most.0 - self.kept.0, self.most.1 - self.kept.1);
        }
        self.kept
    }

    /// Packs REDACTION.json: what was taken out and withheld of the sources so far.
    ///
    /// # Errors
    /// As [`Packer::add`].
    ///
    /// # Panics
    /// Never: its path is one.
    pub fn account(&mut self, about: &About) -> Result<(), PackError> {
        self.explain(None)?;
        let (entries, bytes) = std::mem::take(&mut self.kept);
        self.most = (self.most.0 + entries, self.most.1 + bytes);
        let room = self.most.1.saturating_sub(self.charged.1 + OVERHEAD);
        let text = self.ledger.text(about, usize::try_from(room).unwrap_or(usize::MAX));
        self.entry(Reason::text(EntryPath::parse(REDACTION).expect("a constant path"), text))
    }

    /// Packs the rest.
    ///
    /// # Errors
    /// As [`Packer::add`].
    pub fn finish(mut self) -> Result<Totals, PackError> {
        self.explain(None)?;
        self.give_up();
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
        // The first segment after a restart says whether the open entry is gone on with: that must be known first.
        if self.batch.is_empty() || self.open.is_some() { Ok(()) } else { self.emit(true) }
    }

    pub(super) fn flush_noted(&mut self) -> Result<(), PackError> {
        if self.batch.is_noted() { self.flush() } else { Ok(()) }
    }

    /// Packs the `.err` of the source that failed last, unless that is what comes next anyway.
    fn explain(&mut self, next: Option<&EntryPath>) -> Result<(), PackError> {
        match self.owed.take() {
            Some(reason) if Some(reason.path()) != next => self.entry(reason),
            _ => Ok(()),
        }
    }

    pub(super) fn entry(&mut self, mut input: impl Input) -> Result<(), PackError> {
        self.explain(Some(input.path()))?;
        if self.last.elapsed() >= LINGER {
            self.flush()?;
        }
        if self.names.skip(input.path()) {
            return Ok(());
        }
        if self.open.as_ref().is_some_and(|open| self.names.gives(input.path(), &open.path)) {
            match self.go_on(input)? {
                Some(back) => input = back,
                None => return Ok(()),
            }
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
            self.give_up();
            return self.large(input, entry);
        }
        let report = judge(input.finish(), &entry);
        if entry.bytes == 0 && matches!(report.outcome, Outcome::Failed | Outcome::Skipped) {
            self.used = entry.start;
            self.names.give_back();
            if entry.source {
                self.ledger.add(&entry.note.path, &entry.note.collector, &report);
            }
            let note = Note { outcome: report.outcome, reason: report.reason, ..entry.note };
            if note.outcome == Outcome::Failed {
                self.owed = suffixed(&note.path, ".err").map(|path| Reason::new(path, &note));
            }
            return self.note(note);
        }
        self.give_up();
        self.end_small(entry, report)
    }

    /// The entry's header without its size, unless the node has no room for it.
    pub(super) fn begin(&self, input: &impl Input, path: EntryPath, names: u64) -> Result<Entry, String> {
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
        let head = EntryHead { path: full, size: 0, mode: MODE, mtime_ns: whole_micros(input.mtime_ns()) };
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
            source: input.is_source(),
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
    pub(super) fn fill(&mut self, input: &mut impl Input, entry: &mut Entry) -> Filled {
        while self.used < FRAME_RAW {
            if self.stop.is_cancelled() {
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

    /// Notes and counts an entry whose last byte is in the open frame or before it.
    pub(super) fn end(&mut self, entry: Entry, report: CleanReport) {
        self.names.keep();
        self.charged = (self.charged.0 + entry.names, self.charged.1 + entry.padded());
        self.totals.entries += 1;
        self.totals.bytes += entry.head.size;
        self.totals.truncated += u64::from(report.outcome != Outcome::Collected);
        self.totals.redacted += report.redacted.values().sum::<u64>();
        if entry.source {
            self.ledger.add(entry.path.as_str(), &entry.note.collector, &report);
        }
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
            cut: report.cut,
            length: entry.length,
            window: report.window,
            redacted: report.redacted,
            ..entry.note
        });
    }

    /// Zeros up to the next block of tar.
    pub(super) fn pad(&mut self) {
        let end = self.used.next_multiple_of(BLOCK);
        self.stage[self.used..end].fill(0);
        self.used = end;
    }

    pub(super) fn compress(&mut self, length: usize) -> Result<Frame, PackError> {
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

    pub(super) fn emit(&mut self, boundary: bool) -> Result<(), PackError> {
        let mut packed = self.batch.take(boundary);
        packed.continues = std::mem::take(&mut self.continues);
        packed.estimate = self.estimate.take();
        self.totals.wire += packed.wire();
        self.last = Instant::now();
        match (self.sink)(packed) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(PackError::Stopped),
        }
    }
}

/// What a header can say of a time.
fn whole_micros(ns: i128) -> i128 {
    ns.div_euclid(1000).max(0) * 1000
}
