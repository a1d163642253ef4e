//! Small bundles for the tests of this room, made the way real ones are: a node's stream, through the checker, into the assembler.

use bytes::Bytes;

use super::Format;
use super::assemble::{Assembler, SealKey};
use super::check::{Budget, Checker, Piece};
use super::entry::{EntryHead, padding};
use super::frame::{Compressor, FRAME_RAW};
use super::manifest::{FORMAT, NodeRow, Request};
use super::outcome::Outcome;
use super::path::EntryPath;
use super::segment::Note;
use crate::id::{BundleName, NodeName};

/// 2026-11-21T09:30:00Z.
pub(super) const NOW: i64 = 1_795_253_400_000;
pub(super) const BUNDLE: &str = "sheaf_test_20261121T093000Z_00000000";

pub(super) fn bundle() -> BundleName {
    BundleName::try_from(BUNDLE.to_owned()).expect("name")
}

pub(super) fn node(name: &str) -> NodeName {
    name.parse().expect("name")
}

pub(super) fn path(text: &str) -> EntryPath {
    EntryPath::parse(text).expect("path")
}

/// One entry of a node, as tar.
pub(super) fn entry(node: &str, below: &str, content: &[u8]) -> Vec<u8> {
    let head = EntryHead {
        path: path(&format!("{BUNDLE}/nodes/{node}/{below}")),
        size: content.len() as u64,
        mode: 0o644,
        mtime_ns: i128::from(NOW) * 1_000_000 + 123_456_000,
    };
    let mut tar = head.encode();
    tar.extend_from_slice(content);
    tar.resize(tar.len() + padding(head.size) as usize, 0);
    tar
}

/// Frames of some tar.
pub(super) fn frames(tar: &[u8]) -> Bytes {
    let mut compressor = Compressor::new().expect("context");
    let frames: Vec<_> =
        tar.chunks(FRAME_RAW).map(|raw| compressor.frame(raw).expect("frame").bytes.to_vec()).collect();
    frames.concat().into()
}

pub(super) fn checker(name: &str) -> Checker {
    Checker::new(&bundle(), &node(name), Budget::default())
}

/// What the checker makes of whole entries.
pub(super) fn piece(name: &str, tar: &[u8]) -> Piece {
    checker(name).keep_raw(true).check(&frames(tar), true).expect("legal")
}

pub(super) fn request(nodes: &[&str]) -> Request {
    Request {
        format: FORMAT.to_owned(),
        bundle: BUNDLE.to_owned(),
        generator: "sheaf test".to_owned(),
        requested_at: crate::clock::rfc3339(NOW),
        requested_by: "admin".to_owned(),
        cluster: "test".to_owned(),
        nodes: nodes.iter().map(ToString::to_string).collect(),
        redaction: "default".to_owned(),
        redact: Vec::new(),
        ..Request::default()
    }
}

pub(super) fn note(path: &str, entry: bool, outcome: Outcome) -> Note {
    Note { path: path.to_owned(), entry, outcome, reason: "said so".to_owned(), ..Note::default() }
}

/// A complete bundle of two nodes, with a long path, an empty file, and a source that is absent.
pub(super) fn small(format: Format, key: &SealKey) -> Vec<u8> {
    let mut assembler = Assembler::new(Vec::new(), format, &request(&["a", "b"]), key).expect("begins");
    let long = format!("files/{}end.log", "long/".repeat(50));
    let one = [entry("a", "files/var/log/x", b"one\n"), entry("a", "files/empty", b""), entry("a", &long, b"deep")];
    let one = piece("a", &one.concat());
    let notes = [note("files/etc/shadow", false, Outcome::Skipped)];
    assembler.append(&node("a"), &one.frames, one.raw.as_deref(), &one.rows, &notes).expect("appends");
    let two = piece("b", &entry("b", "files/x", &[b'b'; 700]));
    assembler.append(&node("b"), &two.frames, None, &two.rows, &[]).expect("appends");
    for name in ["a", "b"] {
        assembler.node(NodeRow { name: name.to_owned(), ..NodeRow::default() }).expect("node");
    }
    assembler.seal(NOW).expect("seals").0
}

/// As little as a bundle can be and still have every part: one node, one file, one absent source.
pub(super) fn tiny(format: Format, key: &SealKey) -> Vec<u8> {
    let mut assembler = Assembler::new(Vec::new(), format, &request(&["a"]), key).expect("begins");
    let piece = piece("a", &entry("a", "x", b"one\n"));
    let notes = [note("y", false, Outcome::Skipped)];
    assembler.append(&node("a"), &piece.frames, None, &piece.rows, &notes).expect("appends");
    assembler.node(NodeRow { name: "a".to_owned(), ..NodeRow::default() }).expect("node");
    assembler.seal(NOW).expect("seals").0
}
