//! Sizes around every border of blocks, frames and segments: what goes in comes out, in segments that a checker takes.

use proptest::prelude::*;

use super::*;
use crate::bundle::frame::FRAME_RAW;

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
