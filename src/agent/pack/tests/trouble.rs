//! Sources and sinks that fail, differ, or are stopped: what is kept of them, and what is said.

use super::super::PackError;
use super::*;

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
