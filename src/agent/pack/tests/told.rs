//! What is told of sources and not packed, or packed under another name, and the budgets of a node.

use super::*;

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
