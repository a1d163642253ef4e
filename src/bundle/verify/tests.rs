//! Every cut and every flipped bit of a small bundle, and what a writer could get wrong.

use super::*;
use crate::bundle::assemble::{Assembler, SealKey};
use crate::bundle::check::EntryRow;
use crate::bundle::entry::Kind;
use crate::bundle::fixture::{BUNDLE, NOW, entry, node, note, path, piece, request, small, tiny};
use crate::bundle::frame::FRAME_RAW;
use crate::bundle::manifest::NodeRow;
use crate::bundle::outcome::Outcome;

fn check(bytes: &[u8], key: Option<&PublicKey>) -> (Report, Vec<Finding>) {
    let mut findings = Vec::new();
    let report = verify(bytes, key, &std::env::temp_dir(), &mut |f| findings.push(f.clone())).expect("reads");
    (report, findings)
}

const BOTH: [Format; 2] = [Format::Tar, Format::TarZst];

#[test]
fn a_whole_bundle_is_complete_and_says_what_is_absent() {
    let key = SealKey::generate();
    for format in BOTH {
        let bytes = small(format, &key);
        let (report, findings) = check(&bytes, None);
        assert_eq!((report.verdict, report.signer), (Verdict::Complete, Signer::Unchecked), "{findings:?}");
        assert_eq!((report.format, report.bytes), (Some(format), bytes.len() as u64));
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["skipped: a: files/etc/shadow: said so"]);
        assert_eq!(check(&bytes, Some(&key.public())).0.signer, Signer::Matches);
        let other = check(&bytes, Some(&SealKey::generate().public())).0;
        assert_eq!((other.verdict, other.signer), (Verdict::WrongSigner, Signer::Other));
    }
}

#[test]
fn both_formats_have_one_root_and_one_manifest() {
    let key = SealKey::generate();
    let [tar, zst] = BOTH.map(|format| check(&small(format, &key), None).0.statement.expect("sealed"));
    assert_eq!(tar, zst);
}

#[test]
fn every_cut_is_truncated() {
    let key = SealKey::generate();
    for format in BOTH {
        let bytes = small(format, &key);
        for cut in 0..bytes.len() {
            let (report, findings) = check(&bytes[..cut], None);
            assert_eq!(report.verdict, Verdict::Truncated, "{format:?} cut at {cut}: {findings:?}");
            assert!(findings.iter().any(|f| f.matter == Matter::Cut), "{format:?} cut at {cut}");
        }
    }
}

#[test]
fn a_cut_bundle_names_the_entry_and_the_nodes_that_are_lost() {
    let bytes = small(Format::Tar, &SealKey::generate());
    let at = bytes.windows(4).position(|w| w == b"one\n").expect("content");
    let (_, findings) = check(&bytes[..at + 2], None);
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "cut: nodes/a/files/var/log/x: file ends inside an entry: 2 of 4 bytes of this entry are there",
            "cut: b: the file ends before anything of this node"
        ]
    );
}

#[test]
fn every_flipped_bit_shows() {
    let key = SealKey::generate();
    for format in BOTH {
        let good = tiny(format, &key);
        assert_eq!(check(&good, None).0.verdict, Verdict::Complete);
        std::thread::scope(|scope| {
            for part in 0..4 {
                let good = &good;
                scope.spawn(move || {
                    let mut bytes = good.clone();
                    for (at, bit) in (part..good.len()).step_by(4).flat_map(|at| (0..8).map(move |bit| (at, 1 << bit)))
                    {
                        bytes[at] ^= bit;
                        let (report, findings) = check(&bytes, None);
                        let shows = matches!(report.verdict, Verdict::Corrupt | Verdict::Truncated);
                        assert!(shows, "{format:?} byte {at} bit {bit}: {} {findings:?}", report.verdict);
                        let named = findings.iter().any(|f| matches!(f.matter, Matter::Wrong | Matter::Cut));
                        assert!(named, "{format:?} byte {at} bit {bit}: {findings:?}");
                        bytes[at] ^= bit;
                    }
                });
            }
        });
    }
}

#[test]
fn what_follows_the_end_is_seen() {
    for format in BOTH {
        let bytes = small(format, &SealKey::generate());
        for tail in [vec![0], vec![0; 512], vec![b'x'; 10], bytes.clone()] {
            let longer = [bytes.clone(), tail].concat();
            assert_eq!(check(&longer, None).0.verdict, Verdict::Corrupt, "{format:?}");
        }
    }
}

#[test]
fn what_is_no_bundle_is_said_to_be_none() {
    assert_eq!(check(b"", None).0.verdict, Verdict::Truncated);
    let (report, findings) = check(b"plain text that is no bundle", None);
    assert_eq!(report.verdict, Verdict::Corrupt);
    assert!(findings[0].reason.contains("no bundle"), "{findings:?}");
    let stranger = zstd::bulk::compress(b"not a tar at all", 3).expect("compresses");
    assert_eq!(check(&stranger, None).0.verdict, Verdict::Corrupt);
}

fn begin(nodes: &[&str]) -> (SealKey, Assembler<Vec<u8>>) {
    let key = SealKey::generate();
    let assembler = Assembler::new(Vec::new(), Format::TarZst, &request(nodes), &key).expect("begins");
    (key, assembler)
}

#[test]
fn nodes_that_failed_and_entries_that_are_cut_make_it_partial() {
    let (_, mut assembler) = begin(&["a", "b", "c"]);
    let piece = piece("a", &entry("a", "files/x", &[7; 3000]));
    assembler.append(&node("a"), &piece.frames, None, &piece.rows, &[]).expect("appends");
    assembler.truncated(&node("a"), &path("nodes/a/files/x"), 1000, "went\naway").expect("marks");
    assembler.node(NodeRow { name: "a".into(), outcome: Outcome::Truncated, ..NodeRow::default() }).expect("node");
    let reason = "no answer".to_owned();
    assembler.node(NodeRow { name: "b".into(), outcome: Outcome::Failed, reason, ..NodeRow::default() }).expect("node");
    assembler.node(NodeRow { name: "c".into(), ..NodeRow::default() }).expect("node");
    let (bytes, statement) = assembler.seal(NOW).expect("seals");
    assert_eq!((statement.nodes, statement.nodes_collected), (3, 1));
    let (report, findings) = check(&bytes, None);
    assert_eq!(report.verdict, Verdict::Partial, "{findings:?}");
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["cut: nodes/a/files/x: went\\naway", "cut: a: ", "failed: b: no answer"]);
}

#[test]
fn a_node_of_which_nothing_was_said_makes_it_partial() {
    let (_, assembler) = begin(&["a"]);
    let (bytes, statement) = assembler.seal(NOW).expect("seals");
    assert_eq!(statement.verdict, Verdict::Partial);
    assert_eq!(check(&bytes, None).0.verdict, Verdict::Partial);
}

#[test]
fn an_aborted_bundle_says_so() {
    let (key, assembler) = begin(&[]);
    let (bytes, _) = assembler.abort("disk full", NOW).expect("seals");
    let (report, findings) = check(&bytes, Some(&key.public()));
    assert_eq!((report.verdict, report.signer), (Verdict::Aborted, Signer::Matches));
    assert!(findings.iter().any(|f| f.reason.ends_with("disk full")), "{findings:?}");
}

/// A bundle whose rows say something else than its frames hold.
fn lying(change: impl FnOnce(&mut Vec<EntryRow>)) -> (Verdict, Vec<String>) {
    let (_, mut assembler) = begin(&["a"]);
    let mut piece = piece("a", &[entry("a", "x", b"1"), entry("a", "y", b"2"), entry("a", "z", b"3")].concat());
    change(&mut piece.rows);
    assembler.append(&node("a"), &piece.frames, None, &piece.rows, &[]).expect("appends");
    assembler.node(NodeRow { name: "a".into(), ..NodeRow::default() }).expect("node");
    let (report, findings) = check(&assembler.seal(NOW).expect("seals").0, None);
    (report.verdict, findings.iter().map(ToString::to_string).collect())
}

#[test]
fn a_manifest_that_differs_from_the_archive_is_named_row_by_row() {
    assert_eq!(lying(|_| {}).0, Verdict::Complete);
    let (verdict, lines) = lying(|rows| rows[1].content = blake3::hash(b"other"));
    assert_eq!(verdict, Verdict::Corrupt);
    assert!(lines[0].starts_with("wrong: nodes/a/y: its content"), "{lines:?}");
    let (verdict, lines) = lying(|rows| rows[2].path = path("nodes/a/missing"));
    assert_eq!(verdict, Verdict::Corrupt);
    assert!(lines[0].starts_with("wrong: nodes/a/z: it is not what the manifest lists"), "{lines:?}");
    // An entry in the archive that no row lists: a folder has none, and here a file poses as one.
    let (verdict, lines) = lying(|rows| rows[1].kind = Kind::Folder);
    assert_eq!(verdict, Verdict::Corrupt);
    assert!(lines[0].starts_with("wrong: nodes/a/y"), "{lines:?}");
}

#[test]
fn a_repeated_path_is_named() {
    let (_, mut assembler) = begin(&["a"]);
    for content in [b"1", b"2"] {
        // Two checkers, as a merge that forgot one would use.
        let piece = piece("a", &entry("a", "files/x", content));
        assembler.append(&node("a"), &piece.frames, None, &piece.rows, &[]).expect("appends");
    }
    assembler.node(NodeRow { name: "a".into(), ..NodeRow::default() }).expect("node");
    let (report, findings) = check(&assembler.seal(NOW).expect("seals").0, None);
    assert_eq!(report.verdict, Verdict::Corrupt);
    assert_eq!(findings[0].path.as_deref(), Some("nodes/a/files/x"));
}

#[test]
fn entries_of_many_frames_and_many_warnings_verify() {
    let (_, mut assembler) = begin(&["a"]);
    let large: Vec<u8> = (0..FRAME_RAW * 2 + 77).map(|i| (i % 251) as u8).collect();
    let piece = piece("a", &entry("a", "files/large", &large));
    let notes: Vec<_> = (0..20_000).map(|i| note(&format!("files/absent/{i}"), false, Outcome::Skipped)).collect();
    assembler.append(&node("a"), &piece.frames, None, &piece.rows, &notes).expect("appends");
    assembler.node(NodeRow { name: "a".into(), ..NodeRow::default() }).expect("node");
    let (bytes, _) = assembler.seal(NOW).expect("seals");
    let (report, findings) = check(&bytes, None);
    assert_eq!((report.verdict, findings.len()), (Verdict::Complete, 20_000));
    assert_eq!(report.bundle.as_deref(), Some(BUNDLE));
}
