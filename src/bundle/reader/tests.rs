//! What is read, and how little of the file for it.

use std::io::Write as _;

use super::*;
use crate::bundle::Format;
use crate::bundle::assemble::{Assembler, SealKey};
use crate::bundle::check::{Budget, Checker};
use crate::bundle::fixture::{NOW, bundle, entry, frames, node, request, small};
use crate::bundle::manifest::NodeRow;
use crate::limits::SEGMENT_RAW;

fn open(bytes: &[u8]) -> Result<Reader, ReadError> {
    let mut file = tempfile::tempfile().expect("file");
    file.write_all(bytes).expect("writes");
    Reader::open(file)
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Forty files of 700 kB, none of which compresses.
fn large(format: Format) -> Vec<u8> {
    let mut assembler = Assembler::new(Vec::new(), format, &request(&["a"]), &SealKey::generate()).expect("begins");
    let mut checker = Checker::new(&bundle(), &node("a"), Budget::default());
    for number in 0..40 {
        let tar = entry("a", &format!("f{number}"), &noise(700_000, number));
        assert!(tar.len() < SEGMENT_RAW);
        let piece = checker.check(&frames(&tar), true).expect("legal");
        assembler.append(&node("a"), &piece.frames, None, &piece.rows, &[]).expect("appends");
    }
    assembler.node(NodeRow { name: "a".to_owned(), ..NodeRow::default() }).expect("node");
    assembler.seal(NOW).expect("seals").0
}

#[test]
fn one_file_costs_its_own_frames_and_the_manifest() {
    let mut reader = open(&large(Format::TarZst)).expect("opens");
    assert!(reader.index().frames() > 40);
    let row = reader.find("nodes/a/f17").expect("found");
    let before = reader.index().decoded();
    assert!(before <= 4, "seal, manifest and what follows: {before}");
    let mut content = Vec::new();
    reader.copy(&row, &mut content).expect("reads");
    assert!(content == noise(700_000, 17));
    assert_eq!(reader.index().decoded() - before, 1);
}

#[test]
fn both_formats_give_every_file_and_the_three_at_the_end() {
    for format in [Format::Tar, Format::TarZst] {
        let mut reader = open(&small(format, &SealKey::generate())).expect("opens");
        let mut rows = Vec::new();
        let collect = |row: RawRow<'_>| {
            rows.extend(match row.parse()? {
                Row::File(row) => Some(row),
                _ => None,
            });
            Ok(ControlFlow::Continue(()))
        };
        reader.rows(collect).expect("reads");
        rows.extend(reader.tail().expect("reads"));
        let paths: Vec<_> = rows.iter().map(|row| row.path.clone()).filter(|path| !path.contains("long/")).collect();
        let own = ["WARNINGS.txt", "manifest.json", "B3SUMS", "SEAL.json"];
        let nodes = ["REQUEST.json", "nodes/a/files/var/log/x", "nodes/a/files/empty", "nodes/b/files/x"];
        assert_eq!(paths, [nodes, own].concat());
        for row in rows {
            assert_eq!(reader.find(&row.path).expect("found"), row);
            let mut content = Vec::new();
            reader.copy(&row, &mut content).expect("is what its digest says");
            assert_eq!(content.len() as u64, row.size);
        }
        assert_eq!(reader.request().expect("reads").requested_by, "admin");
        assert!(matches!(reader.find("nodes/a/files/var/log/y"), Err(ReadError::NotFound(_))));
        assert!(matches!(reader.find("nodes/a"), Err(ReadError::NotFound(_))));
    }
}

#[test]
fn damage_is_found_on_the_way() {
    let good = small(Format::Tar, &SealKey::generate());
    let at = |text: &[u8]| good.windows(text.len()).position(|w| w == text).expect("there");
    let broken = |place: usize| {
        let mut bad = good.clone();
        bad[place] ^= 1;
        let mut reader = open(&bad)?;
        let row = reader.find("nodes/a/files/var/log/x")?;
        reader.copy(&row, &mut Vec::new())
    };
    assert!(matches!(broken(at(b"one\n")), Err(ReadError::Damaged(_))), "content");
    assert!(matches!(broken(at(b"nodes/a/files/var/log/x\0")), Err(ReadError::Damaged(_))), "header");
    assert!(
        matches!(broken(at(b"{\"path\":\"nodes/b") + 12), Err(ReadError::Damaged(_))),
        "another row of the manifest"
    );
    assert!(matches!(broken(at(b"\\\"verdict") + 14), Err(ReadError::Unsealed(_))), "statement");
}

#[test]
fn a_bundle_without_its_end_has_no_reader() {
    for format in [Format::Tar, Format::TarZst] {
        let good = small(format, &SealKey::generate());
        for cut in [0, 3, 100, good.len() / 2, good.len() - 1] {
            assert!(matches!(open(&good[..cut]), Err(ReadError::NoEnd(_))), "{format:?} {cut}");
        }
    }
}
