//! The packer's promises, held against the checker that the coordinator uses.

mod resume;

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use bytes::BytesMut;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::input::Input;
use super::{PackError, Packed, Packer, Settings, Totals};
use crate::agent::redact::CleanReport;
use crate::bundle::check::{Budget, Checker, EntryRow};
use crate::bundle::frame::FRAME_RAW;
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

/// Sizes around every border that the packer knows.
const BORDERS: [usize; 19] = [
    0,
    1,
    511,
    512,
    513,
    MIB - 512 - 1,
    MIB - 512,
    MIB - 511,
    MIB - 1,
    MIB,
    MIB + 1,
    2 * MIB,
    4 * MIB - 1536,
    4 * MIB - 1535,
    4 * MIB - 1,
    4 * MIB,
    4 * MIB + 1,
    8 * MIB - 1536,
    9 * MIB + 77,
];

#[test]
fn every_border_is_packed_legally_alone_and_in_a_row() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for noise in [false, true] {
        let make = |size: usize| Fake { noise, ..Fake::new(&format!("files/{size}"), size) };
        for size in BORDERS {
            let source = make(size);
            let content = source.content(size);
            pack(settings(Some(folder.path()), u64::MAX), vec![source]).holds(&format!("files/{size}"), &content);
        }
        let seen = pack(settings(Some(folder.path()), u64::MAX), BORDERS.map(make).to_vec());
        for size in BORDERS {
            seen.holds(&format!("files/{size}"), &make(size).content(size));
        }
        assert!(
            seen.notes.iter().all(|note| note.outcome == Outcome::Collected && note.mode.as_deref() == Some("0644"))
        );
    }
}

#[test]
fn seventy_mebibytes_of_noise_go_through_the_spool() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = Fake::new("files/big", 70 * MIB + 3).noise();
    let content = source.content(70 * MIB + 3);
    let seen = pack(settings(Some(folder.path()), u64::MAX), vec![Fake::new("a", 100), source, Fake::new("b", 100)]);
    seen.holds("files/big", &content);
    assert_eq!(seen.segments, 2 + 70_usize.div_ceil(4));
    assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 0);
}

#[test]
fn small_files_share_frames_and_segments() {
    let sources = (0..4000).map(|n| Fake::new(&format!("files/{n}"), 700)).collect();
    let seen = pack(settings(None, 0), sources);
    assert_eq!(seen.rows.len(), 4000);
    assert_eq!(seen.segments, (4000 * 1536 * 2_usize).div_ceil(SEGMENT_RAW).max(2), "no segment is wasted");
}

#[test]
fn segments_are_as_small_as_was_asked_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sizes = [700, 3 * MIB, 40_000, MIB + 5, 700, 2 * MIB - 1536, 2 * MIB, 5 * MIB + 1, 1];
    let (mut most, mut whole) = (0, Vec::new());
    let told = Settings { segment: 2 * MIB, ..settings(Some(folder.path()), u64::MAX) };
    let node = told.node.clone();
    let mut checker = Checker::new(&told.bundle, &node, Budget { bytes: u64::MAX, entries: 1000 });
    let mut sink = |packed: Packed| {
        most = most.max(packed.raw);
        let frames: Vec<u8> = packed.frames.iter().flat_map(|frame| frame.bytes.to_vec()).collect();
        whole.extend(checker.check(&frames.into(), packed.boundary).expect("a legal segment").rows);
        ControlFlow::Continue(())
    };
    let mut packer = Packer::new(told, &mut sink as Sink<'_>).expect("a packer");
    for (number, size) in sizes.iter().enumerate() {
        packer.entry(Fake::new(&format!("files/{number}"), *size).noise()).expect("packed");
    }
    packer.finish().expect("finished");
    assert_eq!(whole.iter().map(|row| row.size as usize).collect::<Vec<_>>(), sizes);
    assert!(most <= 2 * MIB as u64, "{most}");
}

/// A header that ends where its frame ends, one byte before it, and one behind.
#[test]
fn headers_stand_at_the_end_of_a_frame() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for before in [0, 512, 1024] {
        // Each entry is a header of 1536 bytes and content in whole blocks.
        let first = MIB - 2 * 1536 - before;
        for second in [0, 1, 5 * MIB] {
            let source = Fake::new("files/b", second).noise();
            let content = source.content(second);
            let told = settings(Some(folder.path()), u64::MAX);
            let seen = pack(told, vec![Fake::new("files/a", first), source, Fake::new("files/c", 9)]);
            seen.holds("files/b", &content);
            assert_eq!(seen.rows.len(), 3);
        }
    }
}

#[test]
fn without_room_a_source_is_read_twice() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (spool, quota) in [(None, u64::MAX), (Some(folder.path()), MIB as u64), (Some(Path::new("/nowhere")), u64::MAX)]
    {
        for size in [5 * MIB - 9, 3 * MIB + 600, 9 * MIB] {
            let source = Fake { again: Some(size), ..Fake::new("files/big", size).noise() };
            let content = source.content(size);
            let seen = pack(settings(spool, quota), vec![Fake::new("a", 9), source, Fake::new("b", 9)]);
            seen.holds("files/big", &content);
            assert_eq!(seen.note("files/big").outcome, Outcome::Collected);
            assert_eq!(seen.rows.len(), 3);
        }
    }
}

#[test]
fn a_source_that_differs_when_read_again_is_cut_or_filled() {
    let size = 6 * MIB + 100;
    for (second, length) in [(size - 2 * MIB - 7, Some((size - 2 * MIB - 7) as u64)), (size + 1, None), (0, Some(0))] {
        let source = Fake { again: Some(second), ..Fake::new("files/big", size).noise() };
        let mut content = source.content(second.min(size));
        content.resize(size, 0);
        let seen = pack(settings(None, 0), vec![source, Fake::new("b", 9)]);
        seen.holds("files/big", &content);
        let note = seen.note("files/big");
        assert_eq!((note.outcome, note.length), (Outcome::Truncated, length), "{}", note.reason);
        assert!(note.reason.contains("read twice"), "{}", note.reason);
    }
}

#[test]
fn without_room_and_without_a_second_reading_the_start_is_kept() {
    let source = Fake::new("commands/flood.txt", 9 * MIB).noise();
    let content = source.content(9 * MIB);
    let seen = pack(settings(None, u64::MAX), vec![Fake::new("a", 9), source, Fake::new("b", 9)]);
    let note = seen.note("commands/flood.txt");
    assert_eq!(note.outcome, Outcome::Truncated);
    assert!(note.reason.contains("no spool folder"), "{}", note.reason);
    let row = &seen.rows[1];
    assert!(row.size >= 2 * MIB as u64, "{}", row.size);
    assert_eq!(row.content, blake3::hash(&content[..row.size as usize]));
    assert_eq!(seen.totals.truncated, 1);
}

#[test]
fn a_failure_is_an_outcome_and_an_err_entry() {
    let failed = |at| Fake { fails_at: Some(at), ..Fake::new("files/bad", 2 * MIB) };
    let seen = pack(settings(None, 0), vec![failed(0), Fake::new("b", 9)]);
    let note = seen.note("files/bad");
    assert!(!note.entry && note.outcome == Outcome::Failed && note.reason == "the disk is gone", "{note:?}");
    let text = b"files/bad: failed: the disk is gone\n";
    seen.holds("files/bad.err", text);
    assert_eq!(seen.totals.missing, 1);
    for at in [5, MIB + 5] {
        let seen = pack(settings(None, 0), vec![failed(at), Fake::new("b", 9)]);
        let note = seen.note("files/bad");
        assert!(note.entry && note.outcome == Outcome::Truncated, "{note:?}");
        seen.holds("files/bad", &failed(at).content(at));
    }
}

#[test]
fn a_source_that_explains_its_failure_itself_is_not_explained_twice() {
    let failed = Fake { fails_at: Some(0), ..Fake::new("commands/x.txt", 1) };
    let seen = pack(settings(None, 0), vec![failed, Fake::new("commands/x.txt.err", 7), Fake::new("b", 9)]);
    let paths: Vec<_> = seen.rows.iter().map(|row| row.path.as_str()).collect();
    assert_eq!(paths, ["nodes/n1/commands/x.txt.err", "nodes/n1/b"]);
    assert_eq!(seen.rows[0].size, 7);
}

#[test]
fn a_withheld_source_gives_no_entry() {
    let report = CleanReport { outcome: Outcome::Skipped, reason: "withheld".to_owned(), ..CleanReport::default() };
    let seen = pack(settings(None, 0), vec![Fake { report, ..Fake::new("files/key", 0) }]);
    assert_eq!((seen.rows.len(), seen.notes.len(), seen.segments), (0, 1, 1));
    assert!(!seen.notes[0].entry && seen.notes[0].reason == "withheld");
}

#[test]
fn notes_alone_make_segments_of_bounded_heads() {
    let note =
        |n: usize| Note { path: format!("files/{n}/{}", "x".repeat(200)), reason: "y".repeat(5000), ..Note::default() };
    let seen = pack_with(settings(None, 0), |packer| {
        for n in 0..3000 {
            packer.note(Note { outcome: Outcome::Skipped, ..note(n) }).expect("noted");
        }
    });
    assert_eq!(seen.notes.len(), 3000);
    assert!(seen.segments >= 3, "{}", seen.segments);
}

#[test]
fn paths_that_collide_get_a_number_and_the_note_says_which() {
    let seen = pack(settings(None, 0), vec![Fake::new("a", 1), Fake::new("a", 2), Fake::new("a/b", 3)]);
    let paths: Vec<_> = seen.rows.iter().map(|row| row.path.as_str()).collect();
    assert_eq!(paths, ["nodes/n1/a", "nodes/n1/a~1", "nodes/n1/a~2/b"]);
    assert_eq!(seen.note("a~1").original.as_deref(), Some("a"));
    assert_eq!(seen.note("a").original, None);
}

#[test]
fn held_paths_are_not_packed_again() {
    let seen = pack_with(settings(None, 0), |packer| {
        packer.hold(&EntryPath::parse("a").expect("a path"));
        packer.hold(&EntryPath::parse("c.err").expect("a path"));
        for name in ["a", "b", "a"] {
            packer.entry(Fake::new(name, 5)).expect("packed");
        }
        packer.entry(Fake { fails_at: Some(0), ..Fake::new("c", 5) }).expect("packed");
    });
    let paths: Vec<_> = seen.rows.iter().map(|row| row.path.as_str()).collect();
    assert_eq!(paths, ["nodes/n1/b", "nodes/n1/a~1"]);
}

#[test]
fn budgets_of_a_node_are_kept() {
    let few = Settings { entries: 5, ..settings(None, 0) };
    let seen = pack(few, (0..9).map(|n| Fake::new(&format!("files/{n}"), 1)).collect());
    // Two folders above, `files` itself, and two files.
    assert_eq!(seen.rows.len(), 2);
    assert_eq!(seen.totals.missing, 7);
    let little = Settings { bytes: 3 * MIB as u64, ..settings(None, 0) };
    let seen = pack(little, vec![Fake::new("a", MIB), Fake::new("b", 9 * MIB), Fake::new("c", 1)]);
    let note = seen.note("b");
    assert!(note.outcome == Outcome::Truncated && note.reason.starts_with("cut at"), "{note:?}");
    assert!(seen.raw.len() <= 3 * MIB);
    assert!(!seen.note("c").entry);
}

#[test]
fn a_stop_ends_the_source_at_hand_legally() {
    struct Stopping(Fake, CancellationToken);
    impl Read for Stopping {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read(buffer);
            if self.0.at > 5 * MIB {
                self.1.cancel();
            }
            read
        }
    }
    impl Input for Stopping {
        fn path(&self) -> &EntryPath {
            self.0.path()
        }
        fn collector(&self) -> &str {
            self.0.collector()
        }
        fn mode(&self) -> Option<u32> {
            None
        }
        fn mtime_ns(&self) -> i128 {
            0
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
    let told = settings(None, 0);
    let stop = told.stop.clone();
    let seen = pack_with(told, |packer| {
        packer.entry(Stopping(Fake::new("endless", usize::MAX), stop)).expect("ended");
    });
    assert_eq!(seen.note("endless").outcome, Outcome::Truncated);
    assert!(seen.rows[0].size > 5 * MIB as u64);
}

#[test]
fn a_sink_that_wants_no_more_ends_the_packing() {
    let mut sink = |_: Packed| ControlFlow::Break(());
    let mut packer = Packer::new(settings(None, 0), &mut sink as Sink<'_>).expect("a packer");
    let error = (0..10).find_map(|n| packer.entry(Fake::new(&n.to_string(), MIB)).err());
    assert!(matches!(error, Some(PackError::Stopped)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_row_of_sources_is_packed_legally(
        sources in proptest::collection::vec((0..5 * FRAME_RAW, any::<bool>(), any::<bool>(), 0..8u8), 1..14),
        spooled in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let sources: Vec<_> = sources.into_iter().enumerate().map(|(n, (size, noise, again, kind))| {
            // Mostly small ones, as on a node.
            let size = if kind < 5 { size % 3000 } else { size };
            Fake { noise, again: again.then_some(size), ..Fake::new(&format!("files/{n}"), size) }
        }).collect();
        let seen = pack(settings(spooled.then(|| folder.path()), 3 << 20), sources.clone());
        prop_assert_eq!(seen.rows.len(), sources.len());
        for source in sources {
            let note = seen.note(source.path.as_str());
            if note.outcome == Outcome::Collected {
                seen.holds(source.path.as_str(), &source.content(source.size));
            }
        }
    }
}
