//! Puts a bundle together, into whatever takes bytes.
//!
//! Checked frames of nodes come in whole entries' order and go out as they are; beside them the assembler spools one row for each
//! entry, source and node (unlinked files, in memory while small), and at the end writes WARNINGS.txt, manifest.json, B3SUMS,
//! SEAL.json, and what closes the archive. Used by the coordinator's merge and by an agent for its own bundle. It checks nothing of
//! what a node sent, that is `check`'s; its memory does not grow with files or frames.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::path::Path;

use super::Format;
use super::check::EntryRow;
use super::entry::{EntryHead, Kind, padding};
use super::frame::Frame;
use super::manifest::{FORMAT, FileRow, NodeRow, Request, SourceRow, Statement, lines};
use super::outcome::{Outcome, Verdict};
use super::path::EntryPath;
pub use super::seal::SealKey;
use super::segment::Note;
use crate::clock;
use crate::id::{BundleName, NodeName};
use crate::report::{brief, escape};
use output::Output;
use spool::Rows;

pub(super) mod output;
mod spool;

/// Characters of a foreign reason at most, in the manifest and in WARNINGS.txt.
const REASON: usize = 500;
/// Characters of a foreign name (original, link) at most: a path on Linux with every byte percent-encoded.
const NAME: usize = 3 * 4096;
/// Rules counted for one file at most.
const RULES: usize = 64;

/// Writes one bundle.
pub struct Assembler<W> {
    out: Output<W>,
    name: BundleName,
    key: SealKey,
    /// When the request was made, in milliseconds; the time of REQUEST.json and of other own entries.
    requested_ms: i64,
    root: blake3::Hasher,
    entries: u64,
    /// Where the entry begins that ends next.
    next: u64,
    /// The last row, held back since it may turn out to be truncated.
    last: Option<(FileRow, Option<NodeName>)>,
    files: Rows,
    sources: Rows,
    nodes: Rows,
    warnings: Rows,
    sums: Rows,
    counts: BTreeMap<String, Counts>,
    expected: u64,
    collected: u64,
    partial: bool,
}

/// What is counted for a node.
#[derive(Clone, Copy, Default)]
struct Counts {
    files: u64,
    bytes: u64,
    warnings: u64,
    redacted: u64,
}

impl<W: Write> Assembler<W> {
    /// Begins a bundle and writes REQUEST.json; rows are spooled in the system's folder for temporary files.
    ///
    /// # Errors
    /// Any of `out`, and `InvalidInput` when the request's bundle is no bundle's name.
    pub fn new(out: W, format: Format, request: &Request, key: &SealKey) -> io::Result<Self> {
        Self::new_in(out, format, request, key, &std::env::temp_dir())
    }

    /// As [`Assembler::new`], with another folder for the spool.
    ///
    /// # Errors
    /// As [`Assembler::new`].
    pub fn new_in(out: W, format: Format, request: &Request, key: &SealKey, spool: &Path) -> io::Result<Self> {
        let invalid = |e| io::Error::new(io::ErrorKind::InvalidInput, e);
        let name = BundleName::try_from(request.bundle.clone()).map_err(invalid)?;
        let requested = request.requested_at.parse::<jiff::Timestamp>().unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let key = SealKey::from_pkcs8(key.pkcs8()).map_err(io::Error::other)?;
        let mut assembler = Self {
            out: Output::new(out, format, spool)?,
            name,
            key,
            requested_ms: requested.as_millisecond(),
            root: blake3::Hasher::new(),
            entries: 0,
            next: 0,
            last: None,
            files: Rows::json(spool),
            sources: Rows::json(spool),
            nodes: Rows::json(spool),
            warnings: Rows::text(spool),
            sums: Rows::text(spool),
            counts: BTreeMap::new(),
            expected: request.nodes.len() as u64,
            collected: 0,
            partial: false,
        };
        let mut text = serde_json::to_vec_pretty(request)?;
        text.push(b'\n');
        assembler.add(&EntryPath::parse("REQUEST.json").map_err(io::Error::other)?, &text)?;
        Ok(assembler)
    }

    /// The bundle's name.
    pub fn name(&self) -> &BundleName {
        &self.name
    }

    /// Bytes of tar so far.
    pub fn bytes(&self) -> u64 {
        self.out.position()
    }

    /// What takes the bytes.
    pub fn writer(&mut self) -> &mut W {
        self.out.writer()
    }

    /// Appends checked frames of `node`, the entries that end in them, and what the node says of those and of sources without one.
    /// `raw` is what the frames decompress to, where it is at hand. Between two nodes the frames must end at an entry's end.
    ///
    /// # Errors
    /// Any of the writer or the spool; the bundle is lost then.
    pub fn append(
        &mut self,
        node: &NodeName,
        frames: &[Frame],
        raw: Option<&[u8]>,
        rows: &[EntryRow],
        notes: &[Note],
    ) -> io::Result<()> {
        self.out.frames(frames, raw)?;
        let notes_by_path: HashMap<&str, &Note> =
            notes.iter().filter(|n| n.entry).map(|n| (n.path.as_str(), n)).collect();
        let folder = format!("nodes/{node}/");
        for row in rows {
            let below = row.path.as_str().strip_prefix(&folder).unwrap_or(row.path.as_str());
            self.entry(row, notes_by_path.get(below).copied(), Some(node))?;
        }
        for note in notes.iter().filter(|n| !n.entry) {
            self.source(node, note)?;
        }
        Ok(())
    }

    /// Writes a small entry of our own.
    ///
    /// # Errors
    /// Any of the writer or the spool.
    pub fn add(&mut self, path: &EntryPath, content: &[u8]) -> io::Result<()> {
        let head = self.head(path, content.len() as u64, self.requested_ms)?;
        self.out.entry(&head.encode(), content)?;
        let row = EntryRow {
            path: path.clone(),
            kind: Kind::File,
            head: head.encode(),
            size: head.size,
            content: blake3::hash(content),
            mode: head.mode,
            mtime_ns: head.mtime_ns,
        };
        self.entry(&row, None, None)
    }

    /// Marks the entry that padding has just completed: `length` bytes of it are true.
    ///
    /// # Errors
    /// Any of the spool, and `InvalidInput` when `path` is not the last entry.
    pub fn truncated(&mut self, node: &NodeName, path: &EntryPath, length: u64, reason: &str) -> io::Result<()> {
        let Some((row, _)) = self.last.as_mut().filter(|(row, _)| row.path == path.as_str()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "only the last entry can be marked truncated"));
        };
        row.outcome = Outcome::Truncated;
        row.length = Some(length.min(row.size));
        row.reason = brief(reason, REASON);
        self.partial = true;
        self.warn(Some(node), &format!("{node}: {path}: truncated: {reason}"))
    }

    /// Says what became of a node; files, bytes, warnings and replacements are counted here. One that is not collected makes the
    /// bundle partial.
    ///
    /// # Errors
    /// Any of the spool.
    pub fn node(&mut self, mut row: NodeRow) -> io::Result<()> {
        let counts = self.counts.remove(&row.name).unwrap_or_default();
        (row.files, row.bytes) = (counts.files, counts.bytes);
        (row.warnings, row.redacted) = (counts.warnings, counts.redacted);
        row.reason = brief(&row.reason, REASON);
        row.agent_version = brief(&row.agent_version, 64);
        if row.outcome == Outcome::Collected {
            self.collected += 1;
        } else {
            self.partial = true;
            self.warn(None, &format!("{}: {}: {}", row.name, row.outcome, row.reason))?;
        }
        self.nodes.push(&serde_json::to_vec(&row)?)
    }

    /// Seals the bundle: complete, or partial when a node or an entry is.
    ///
    /// # Errors
    /// Any of the writer or the spool; also when an entry is not at its end.
    pub fn seal(self, now_ms: i64) -> io::Result<(W, Statement)> {
        // A node of which nothing was said is missing too.
        let partial = self.partial || self.collected < self.expected;
        let verdict = if partial { Verdict::Partial } else { Verdict::Complete };
        self.finish(verdict, String::new(), now_ms)
    }

    /// Seals a bundle that is given up, and says so in it. Only for files that are written by sheaf itself.
    ///
    /// # Errors
    /// As [`Assembler::seal`].
    pub fn abort(mut self, reason: &str, now_ms: i64) -> io::Result<(W, Statement)> {
        self.warn(None, &format!("aborted: {reason}"))?;
        self.finish(Verdict::Aborted, brief(reason, REASON), now_ms)
    }

    fn head(&self, path: &EntryPath, size: u64, ms: i64) -> io::Result<EntryHead> {
        let path = EntryPath::parse(&format!("{}/{path}", self.name)).map_err(io::Error::other)?;
        Ok(EntryHead { path, size, mode: 0o644, mtime_ns: i128::from(ms.div_euclid(1000)) * 1_000_000_000 })
    }

    /// Takes one whole entry into the root, the rows and the counts.
    fn entry(&mut self, row: &EntryRow, note: Option<&Note>, node: Option<&NodeName>) -> io::Result<()> {
        self.root.update(&row.head);
        self.root.update(row.content.as_bytes());
        self.entries += 1;
        let offset = self.next;
        self.next += row.head.len() as u64 + row.size + padding(row.size);
        if row.kind == Kind::Folder {
            return Ok(());
        }
        self.flush_last()?;
        let mut file = FileRow {
            path: row.path.to_string(),
            size: row.size,
            blake3: row.content.to_hex().to_string(),
            offset,
            ..FileRow::default()
        };
        if let Some(note) = note {
            describe(&mut file, note);
        }
        if let Some(node) = node {
            let counts = self.counts.entry(node.to_string()).or_default();
            counts.files += 1;
            counts.bytes += row.size;
            counts.redacted =
                counts.redacted.saturating_add(file.redacted.values().fold(0, |a, b| a.saturating_add(*b)));
            if file.outcome != Outcome::Collected {
                self.partial |= file.outcome == Outcome::Truncated;
                self.warn(Some(node), &format!("{node}: {}: {}: {}", file.path, file.outcome, file.reason))?;
            }
        }
        self.last = Some((file, node.cloned()));
        Ok(())
    }

    fn flush_last(&mut self) -> io::Result<()> {
        let Some((row, _)) = self.last.take() else { return Ok(()) };
        self.files.push(&serde_json::to_vec(&row)?)?;
        self.sums.push(format!("{}  {}", row.blake3, row.path).as_bytes())
    }

    fn source(&mut self, node: &NodeName, note: &Note) -> io::Result<()> {
        let row = SourceRow {
            node: node.to_string(),
            path: brief(&note.path, NAME),
            collector: brief(&note.collector, 63),
            outcome: note.outcome,
            reason: brief(&note.reason, REASON),
        };
        self.warn(Some(node), &format!("{node}: {}: {}: {}", row.path, row.outcome, row.reason))?;
        self.sources.push(&serde_json::to_vec(&row)?)
    }

    fn warn(&mut self, node: Option<&NodeName>, line: &str) -> io::Result<()> {
        if let Some(node) = node {
            self.counts.entry(node.to_string()).or_default().warnings += 1;
        }
        self.warnings.push(escape(line).as_bytes())
    }

    /// Writes the last four entries and the end of the archive.
    fn finish(mut self, verdict: Verdict, reason: String, now_ms: i64) -> io::Result<(W, Statement)> {
        if self.next != self.out.position() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "bundle ends inside an entry"));
        }
        self.requested_ms = now_ms;
        let mut warnings = self.warnings.take();
        self.spooled("WARNINGS.txt", b"", &mut [(&mut warnings, "")])?;
        self.flush_last()?;
        let (mut files, mut sources, mut nodes) = (self.files.take(), self.sources.take(), self.nodes.take());
        let manifest_at = self.out.position();
        let manifest = self.spooled(
            "manifest.json",
            lines::opening(self.name.as_str()).as_bytes(),
            &mut [(&mut files, lines::SOURCES), (&mut sources, lines::NODES), (&mut nodes, lines::END)],
        )?;
        self.flush_last()?;
        let mut sums = self.sums.take();
        let b3sums_at = self.out.position();
        let b3sums = self.spooled("B3SUMS", b"", &mut [(&mut sums, "")])?;
        let statement = Statement {
            format: FORMAT.to_owned(),
            bundle: self.name.to_string(),
            verdict,
            reason,
            sealed_at: clock::rfc3339(now_ms),
            nodes: self.expected,
            nodes_collected: self.collected,
            entries: self.entries,
            bytes: self.out.position(),
            manifest_at,
            b3sums_at,
            manifest: manifest.to_hex().to_string(),
            b3sums: b3sums.to_hex().to_string(),
            root: self.root.finalize().to_hex().to_string(),
        };
        let seal = self.key.seal(&statement).encode();
        let head = self.head(&EntryPath::parse("SEAL.json").map_err(io::Error::other)?, seal.len() as u64, now_ms)?;
        let out = self.out.finish(&head.encode(), &seal)?;
        Ok((out, statement))
    }

    /// Writes an entry from spooled rows, each spool followed by some text; begins and ends a frame with it.
    fn spooled(&mut self, name: &str, opening: &[u8], parts: &mut [(&mut Rows, &str)]) -> io::Result<blake3::Hash> {
        let size =
            opening.len() as u64 + parts.iter().map(|(rows, after)| rows.bytes() + after.len() as u64).sum::<u64>();
        let path = EntryPath::parse(name).map_err(io::Error::other)?;
        let head = self.head(&path, size, self.requested_ms)?;
        let blocks = head.encode();
        let mut content = blake3::Hasher::new();
        self.out.write(&blocks)?;
        let mut write = |out: &mut Output<W>, bytes: &[u8]| {
            content.update(bytes);
            out.write(bytes)
        };
        write(&mut self.out, opening)?;
        for (rows, after) in parts {
            rows.read(|bytes| write(&mut self.out, bytes))?;
            write(&mut self.out, after.as_bytes())?;
        }
        self.out.pad(size)?;
        let content = content.finalize();
        let (mode, mtime_ns) = (head.mode, head.mtime_ns);
        self.entry(&EntryRow { path, kind: Kind::File, head: blocks, size, content, mode, mtime_ns }, None, None)?;
        Ok(content)
    }
}

/// Takes what a node says of an entry into its row, cut to what a row may hold.
fn describe(row: &mut FileRow, note: &Note) {
    row.length = note.length.filter(|l| *l < row.size);
    row.outcome = note.outcome;
    row.reason = brief(&note.reason, REASON);
    row.cut = note.cut;
    row.collector = brief(&note.collector, 63);
    row.original = note.original.as_deref().map(|t| brief(t, NAME));
    row.mode = note.mode.as_deref().map(|t| brief(t, 8));
    row.link = note.link.as_deref().map(|t| brief(t, NAME));
    row.window = note.window;
    row.redacted = note.redacted.iter().take(RULES).map(|(rule, count)| (brief(rule, 64), *count)).collect();
}
