//! The packer's promises, held against the checker that the coordinator uses.

mod borders;
mod resume;
mod told;
mod trouble;

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use bytes::BytesMut;
use tokio_util::sync::CancellationToken;

use super::input::Input;
use super::{Packed, Packer, Settings, Totals};
use crate::agent::redact::CleanReport;
use crate::bundle::check::{Budget, Checker, EntryRow};
use crate::bundle::outcome::Outcome;
use crate::bundle::path::EntryPath;
use crate::bundle::segment::Note;
use crate::id::{BundleName, NodeName};
use crate::limits::{SEGMENT_FRAMES, SEGMENT_RAW};

const MIB: usize = 1 << 20;

/// A source of known bytes, and of the ways to go wrong.
#[derive(Clone)]
struct Fake {
    path: EntryPath,
    size: usize,
    seed: u64,
    /// Incompressible, so that the spool fills.
    noise: bool,
    /// Bytes of the second reading, where it works.
    again: Option<usize>,
    fails_at: Option<usize>,
    report: CleanReport,
    at: usize,
}

impl Fake {
    fn new(path: &str, size: usize) -> Self {
        Self {
            path: EntryPath::parse(path).expect("a path"),
            size,
            seed: size as u64,
            noise: false,
            again: None,
            fails_at: None,
            report: CleanReport::default(),
            at: 0,
        }
    }

    fn noise(self) -> Self {
        Self { noise: true, ..self }
    }

    fn content(&self, size: usize) -> Vec<u8> {
        (0..size).map(|at| self.byte(at)).collect()
    }

    fn byte(&self, at: usize) -> u8 {
        let x = (at as u64 ^ self.seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        if self.noise {
            ((x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 56) as u8
        } else {
            b"log line\n"[at % 9]
        }
    }
}

impl Read for Fake {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.fails_at.is_some_and(|at| self.at >= at) {
            return Err(io::Error::other("the disk is gone"));
        }
        // Odd pieces, as pipes and redaction give them.
        let end = self.fails_at.unwrap_or(self.size).min(self.size);
        let length = buffer.len().min(end - self.at).min(300_007);
        for (offset, byte) in buffer[..length].iter_mut().enumerate() {
            *byte = self.byte(self.at + offset);
        }
        self.at += length;
        Ok(length)
    }
}

impl Input for Fake {
    fn path(&self) -> &EntryPath {
        &self.path
    }
    fn collector(&self) -> &str {
        "fake"
    }
    fn mode(&self) -> Option<u32> {
        Some(0o100_644)
    }
    fn mtime_ns(&self) -> i128 {
        1_700_000_000_123_456_789
    }
    fn original(&self) -> Option<&str> {
        None
    }
    fn link(&self) -> Option<&str> {
        None
    }
    fn again(&self) -> bool {
        self.again.is_some()
    }
    fn rewind(&mut self) -> io::Result<()> {
        self.size = self.again.ok_or(io::ErrorKind::Unsupported)?;
        self.at = 0;
        Ok(())
    }
    fn finish(self) -> CleanReport {
        self.report
    }
}

/// What came out of a packer, as the checker sees it.
#[derive(Default)]
struct Seen {
    rows: Vec<EntryRow>,
    notes: Vec<Note>,
    raw: Vec<u8>,
    totals: Totals,
    segments: usize,
    /// Whether the packer tells rows.
    rows_told: bool,
}

fn settings(spool: Option<&Path>, spool_bytes: u64) -> Settings {
    Settings {
        bundle: BundleName::new("test", 0),
        node: "n1".parse().expect("a name"),
        spool: spool.map(Path::to_owned),
        spool_bytes,
        floor: crate::floor::Floor::of(0),
        entries: u64::MAX,
        bytes: u64::MAX,
        segment: SEGMENT_RAW,
        rows: true,
        stop: CancellationToken::new(),
    }
}

fn pack(settings: Settings, sources: Vec<Fake>) -> Seen {
    pack_with(settings, |packer| {
        for source in sources {
            packer.entry(source).expect("packed");
        }
    })
}

type Sink<'a> = &'a mut dyn FnMut(Packed) -> ControlFlow<()>;

fn pack_with(settings: Settings, add: impl FnOnce(&mut Packer<Sink<'_>>)) -> Seen {
    let node: NodeName = settings.node.clone();
    let budget = Budget { bytes: u64::MAX, entries: 1_000_000 };
    let mut checker = Checker::new(&settings.bundle, &node, budget).keep_raw(true);
    let mut seen = Seen { rows_told: settings.rows, ..Seen::default() };
    let mut sink = |packed: Packed| {
        check(&mut checker, packed, &mut seen);
        ControlFlow::Continue(())
    };
    let mut packer = Packer::new(settings, &mut sink as Sink<'_>).expect("a packer");
    add(&mut packer);
    let totals = packer.finish().expect("finished");
    seen.totals = totals;
    assert_eq!(totals.entries as usize, seen.rows.len());
    seen
}

/// Holds a segment against the rules, and its rows and notes against what is in it.
fn check(checker: &mut Checker, packed: Packed, seen: &mut Seen) {
    let mut frames = BytesMut::new();
    packed.frames.iter().for_each(|frame| frames.extend_from_slice(&frame.bytes));
    let piece = checker.check(&frames.freeze(), packed.boundary).expect("a legal segment");
    if seen.rows_told {
        assert!(piece.rows == packed.rows, "rows are what a checker would find");
    }
    assert!(packed.raw <= SEGMENT_RAW as u64 && packed.frames.len() <= SEGMENT_FRAMES);
    for row in &piece.rows {
        let below = row.path.as_str().strip_prefix("nodes/n1/").expect("below the node");
        assert!(packed.notes.iter().any(|note| note.entry && note.path == below), "{below} has its note beside it");
    }
    seen.raw.extend_from_slice(&piece.raw.expect("raw is kept"));
    seen.rows.extend(piece.rows);
    seen.notes.extend(packed.notes);
    seen.segments += 1;
}

impl Seen {
    fn holds(&self, path: &str, content: &[u8]) {
        let row = self.rows.iter().find(|row| row.path.as_str() == format!("nodes/n1/{path}")).expect("a row");
        assert_eq!((row.size, row.content), (content.len() as u64, blake3::hash(content)), "{path}");
    }

    fn note(&self, path: &str) -> &Note {
        self.notes.iter().find(|note| note.path == path).expect("a note")
    }
}
