//! Going on inside an entry that an earlier attempt left open, held against the checker that stands inside it.

use super::*;
use crate::bundle::check::Inside;
use crate::bundle::entry::EntryHead;
use crate::bundle::frame::{Compressor, FRAME_RAW};
use crate::bundle::segment::OpenEntry;

const NAME: &str = "files/big";

/// Settings of one bundle, whatever the attempt.
fn told() -> Settings {
    let bundle = BundleName::try_from("sheaf_test_20261121T093000Z_00000000".to_owned()).expect("a name");
    Settings { bundle, rows: false, ..settings(None, 0) }
}

/// A checker that holds the start of `source`: its header and `held` bytes of its content.
fn left_open(source: &Fake, held: usize) -> Checker {
    let Settings { bundle, node, .. } = told();
    let budget = Budget { bytes: u64::MAX, entries: 1_000_000 };
    let mut checker = Checker::new(&bundle, &node, budget).keep_raw(true);
    let path = EntryPath::parse(&format!("{bundle}/nodes/n1/{}", source.path)).expect("a path");
    let head = EntryHead { path, size: source.size as u64, mode: 0o600, mtime_ns: 0 };
    let raw = [head.encode(), source.content(held)].concat();
    let mut compressor = Compressor::new().expect("a compressor");
    // Frames and segments of odd lengths, as no agent of ours would make them.
    for (number, part) in raw.chunks(SEGMENT_RAW - 777).enumerate() {
        let frames: Vec<_> = part.chunks(FRAME_RAW).map(|raw| compressor.frame(raw).expect("a frame").bytes).collect();
        checker.check(&frames.concat().into(), false).unwrap_or_else(|fault| panic!("part {number}: {fault}"));
    }
    checker
}

fn open(checker: &Checker, placed: bool) -> OpenEntry {
    let inside: Inside = checker.inside().expect("an entry is open");
    let below = inside.path.as_str().strip_prefix("nodes/n1/").expect("below the node");
    let path = EntryPath::parse(below).expect("a path");
    OpenEntry {
        path,
        size: inside.declared,
        sent: inside.length(),
        blake3: inside.content.to_hex().to_string(),
        placed,
    }
}

/// Packs with the open entry of `checker`, which takes what comes: as it is, or after the coordinator gave the entry up.
fn packed(mut checker: Checker, placed: bool, add: impl FnOnce(&mut Packer<Sink<'_>>)) -> (Seen, Vec<bool>) {
    let left = open(&checker, placed);
    let (mut seen, mut continues) = (Seen::default(), Vec::new());
    let mut sink = |packed: Packed| {
        if continues.is_empty() && !packed.continues {
            if placed { while checker.pad().is_some() {} } else { checker.abandon() }
        }
        assert!(continues.is_empty() || !packed.continues, "only the first segment may say so");
        continues.push(packed.continues);
        check(&mut checker, packed, &mut seen);
        ControlFlow::Continue(())
    };
    let mut packer = Packer::new(told(), &mut sink as Sink<'_>).expect("a packer");
    packer.resume(left);
    add(&mut packer);
    seen.totals = packer.finish().expect("finished");
    (seen, continues)
}

fn big(size: usize) -> Fake {
    Fake { again: Some(size), seed: 7, ..Fake::new(NAME, size).noise() }
}

fn paths(seen: &Seen) -> Vec<&str> {
    seen.rows.iter().map(|row| row.path.as_str().strip_prefix("nodes/n1/").expect("below the node")).collect()
}

#[test]
fn the_rest_follows_whatever_was_held() {
    let size = 9 * MIB + 300;
    // The last ones stand inside the last block, and where only tar's padding is missing.
    for held in [0, 1, 511, 512, 4 * MIB - 512, 5 * MIB + 77, 9 * MIB, 9 * MIB + 299, size] {
        for placed in [false, true] {
            let (seen, continues) = packed(left_open(&big(size), held), placed, |packer| {
                packer.note(Note { path: "files/gone".into(), ..Note::default() }).expect("noted");
                packer.entry(Fake { fails_at: Some(0), ..Fake::new("files/gone.too", 1) }).expect("noted");
                packer.hold(&EntryPath::parse("files/gone.too.err").expect("a path"));
                packer.entry(big(size)).expect("packed");
                packer.entry(Fake::new("z", 9)).expect("packed");
            });
            assert_eq!(paths(&seen), [NAME, "z"], "{held}");
            seen.holds(NAME, &big(size).content(size));
            assert_eq!(seen.note(NAME).outcome, Outcome::Collected, "{held}");
            assert_eq!(seen.notes.len(), 4, "what was said before the entry comes with its end");
            assert!(continues[0], "{held}");
            let rest = size + 212 - held;
            // The small one has a header of three blocks, for its time.
            assert_eq!(seen.raw.len(), rest + 2048, "nothing is sent twice");
        }
    }
}

#[test]
fn a_source_of_whole_blocks_needs_no_padding() {
    let size = 8 * MIB;
    let (seen, _) = packed(left_open(&big(size), 4 * MIB + 100), true, |packer| {
        packer.entry(big(size)).expect("packed");
    });
    seen.holds(NAME, &big(size).content(size));
}

#[test]
fn a_source_that_grew_keeps_the_size_that_was_declared() {
    let (size, held) = (6 * MIB + 9, 4 * MIB);
    let (seen, continues) = packed(left_open(&big(size), held), true, |packer| {
        packer.entry(big(size + 3 * MIB)).expect("packed");
    });
    seen.holds(NAME, &big(size).content(size));
    let note = seen.note(NAME);
    assert_eq!((note.outcome, note.length, note.reason.as_str()), (Outcome::Collected, None, ""));
    assert!(continues[0]);
}

#[test]
fn a_source_that_shrank_behind_what_is_held_is_filled_with_zeros() {
    let (size, held, now) = (6 * MIB + 9, 4 * MIB, 5 * MIB + 3);
    let failing = Fake { fails_at: Some(now), ..big(size) };
    for (source, reason) in [(big(now), "it shrank while its agent was restarted"), (failing, "the disk is gone")] {
        let (seen, continues) = packed(left_open(&big(size), held), true, |packer| {
            packer.entry(source).expect("packed");
        });
        let mut content = big(size).content(now);
        content.resize(size, 0);
        seen.holds(NAME, &content);
        let note = seen.note(NAME);
        assert_eq!((note.outcome, note.length), (Outcome::Truncated, Some(now as u64)));
        assert_eq!(note.reason, reason);
        assert!(continues[0]);
    }
}

#[test]
fn a_source_that_is_another_now_is_packed_anew() {
    let (size, held) = (6 * MIB + 9, 4 * MIB);
    let changed = Fake { seed: 8, ..big(size) };
    let shorter = big(held - 1);
    let small = Fake { seed: 8, ..big(100) };
    for source in [changed, shorter, small] {
        for (placed, name) in [(true, "files/big~1"), (false, NAME)] {
            let (seen, continues) = packed(left_open(&big(size), held), placed, |packer| {
                packer.entry(source.clone()).expect("packed");
                packer.entry(Fake::new("z", 9)).expect("packed");
            });
            assert_eq!(paths(&seen), [name, "z"]);
            seen.holds(name, &source.content(source.size));
            assert_eq!(seen.note(name).original.as_deref(), placed.then_some(NAME));
            assert!(!continues[0]);
        }
    }
}

#[test]
fn another_source_that_comes_first_gives_the_entry_up() {
    let (size, held) = (6 * MIB + 9, 4 * MIB);
    for first in [Fake::new("a", 9), Fake { again: Some(5 * MIB), ..Fake::new("a", 5 * MIB).noise() }] {
        for (placed, name) in [(true, "files/big~1"), (false, NAME)] {
            let (seen, continues) = packed(left_open(&big(size), held), placed, |packer| {
                packer.entry(first.clone()).expect("packed");
                packer.entry(big(size)).expect("packed");
            });
            assert_eq!(paths(&seen), ["a", name]);
            seen.holds(name, &big(size).content(size));
            assert!(!continues[0]);
        }
    }
}

#[test]
fn a_source_that_cannot_be_read_twice_is_not_even_tried() {
    let once = Fake { again: None, ..Fake::new(NAME, 2 * MIB) };
    let (seen, continues) = packed(left_open(&big(6 * MIB), 4 * MIB), true, |packer| {
        packer.entry(once.clone()).expect("packed");
    });
    seen.holds("files/big~1", &once.content(2 * MIB));
    assert!(!continues[0]);
}

#[test]
fn notes_wait_for_the_entry_as_long_as_there_is_room() {
    let note = |n: usize| Note { path: format!("files/{n}/{}", "x".repeat(200)), ..Note::default() };
    for (notes, goes_on) in [(3000, true), (9000, false)] {
        let (seen, continues) = packed(left_open(&big(6 * MIB), 4 * MIB), false, |packer| {
            for n in 0..notes {
                packer.note(note(n)).expect("noted");
                packer.flush().expect("flushed");
            }
            packer.entry(big(6 * MIB)).expect("packed");
        });
        seen.holds(NAME, &big(6 * MIB).content(6 * MIB));
        assert_eq!((seen.notes.len(), continues[0]), (notes + 1, goes_on));
    }
}

#[test]
fn an_open_entry_whose_source_is_gone_is_given_up_at_the_end() {
    let (seen, continues) = packed(left_open(&big(6 * MIB), 4 * MIB), true, |packer| {
        packer.note(Note { path: NAME.into(), ..Note::default() }).expect("noted");
    });
    assert_eq!((seen.notes.len(), continues.as_slice()), (1, &[false][..]));
    let (_, continues) = packed(left_open(&big(6 * MIB), 4 * MIB), true, |_| {});
    assert!(continues.is_empty(), "the end says it");
}

#[test]
fn what_was_noted_before_is_not_noted_again() {
    let note = |reason: &str| Note { path: "files/gone".into(), reason: reason.into(), ..Note::default() };
    let seen = pack_with(settings(None, 0), |packer| {
        packer.hold_note(note("not there").key());
        packer.note(note("not there")).expect("noted");
        packer.note(note("not allowed")).expect("noted");
    });
    assert_eq!(seen.notes, [note("not allowed")]);
}
