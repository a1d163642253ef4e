//! The same question as [`super::Names`] for bundles of any size: every key is kept, sorted in runs on an unlinked file beyond what
//! memory may hold, and the answer is found when the runs are merged at the end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::{folders, key};
use crate::bundle::entry::Kind;

/// Keys in memory: 17 MiB of them.
const KEYS: usize = 1 << 20;
/// Bytes of a run read at once.
const PIECE: usize = 17 << 10;

const FILE: u8 = 0;
const FOLDER: u8 = 1;
const IMPLIED: u8 = 2;

/// A path's key and what it was seen as.
type Key = [u8; 17];

/// A set of paths of any size.
pub struct Sorted {
    keys: Vec<Key>,
    most: usize,
    /// The path before: the folders it shares with the next are not said again.
    last: String,
    spool: PathBuf,
    file: Option<File>,
    /// Start and end of each run in the file.
    runs: Vec<(u64, u64)>,
}

impl Sorted {
    /// An empty set that spills into `spool`.
    pub fn new(spool: PathBuf) -> Self {
        Self { keys: Vec::new(), most: KEYS, last: String::new(), spool, file: None, runs: Vec::new() }
    }

    /// Adds an entry's path and the folders it lies in.
    ///
    /// # Errors
    /// When the spool cannot be written.
    pub fn add(&mut self, path: &str, kind: Kind) -> io::Result<()> {
        self.push(path, if kind == Kind::File { FILE } else { FOLDER })?;
        for folder in folders(path) {
            if self.last.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')) {
                break;
            }
            self.push(folder, IMPLIED)?;
        }
        self.last.clear();
        self.last.push_str(path);
        Ok(())
    }

    fn push(&mut self, path: &str, seen: u8) -> io::Result<()> {
        let mut whole = [seen; 17];
        whole[..16].copy_from_slice(&key(path));
        self.keys.push(whole);
        if self.keys.len() < self.most { Ok(()) } else { self.spill() }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.keys.sort_unstable();
        let mut file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.spool)?,
        };
        let start = self.runs.last().map_or(0, |run| run.1);
        file.write_all(self.keys.as_flattened())?;
        self.runs.push((start, start + (self.keys.len() * 17) as u64));
        self.keys.clear();
        self.file = Some(file);
        Ok(())
    }

    /// The key of a path that came twice, or of a file where a folder has to be; `None` when there is none.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn conflict(mut self) -> io::Result<Option<[u8; 16]>> {
        if self.file.is_some() && !self.keys.is_empty() {
            self.spill()?;
        }
        self.keys.sort_unstable();
        let mut last: Option<Key> = None;
        let mut clash = |next: Key| {
            let before = last.replace(next)?;
            // Sorted, so that the strictest use of a key comes first: only implied folders may repeat or follow a folder.
            let meet = before[..16] == next[..16];
            (meet && (next[16] != IMPLIED || before[16] == FILE)).then(|| super::prefix(&next))
        };
        let Some(file) = self.file else { return Ok(self.keys.into_iter().find_map(clash)) };
        let mut runs: Vec<Run> =
            self.runs.iter().map(|(at, end)| Run { at: *at, end: *end, piece: Vec::new() }).collect();
        let mut heap = BinaryHeap::new();
        for (index, run) in runs.iter_mut().enumerate() {
            heap.extend(run.next(&file)?.map(|key| Reverse((key, index))));
        }
        while let Some(Reverse((key, index))) = heap.pop() {
            if let Some(clash) = clash(key) {
                return Ok(Some(clash));
            }
            heap.extend(runs[index].next(&file)?.map(|key| Reverse((key, index))));
        }
        Ok(None)
    }
}

/// A sorted run of keys in the file.
struct Run {
    at: u64,
    end: u64,
    /// Keys read and not yet given, last first.
    piece: Vec<Key>,
}

impl Run {
    fn next(&mut self, file: &File) -> io::Result<Option<Key>> {
        if self.piece.is_empty() && self.at < self.end {
            let length = (self.end - self.at).min(PIECE as u64);
            let mut bytes = vec![0; length as usize];
            file.read_exact_at(&mut bytes, self.at)?;
            self.at += length;
            self.piece = bytes.as_chunks::<17>().0.iter().rev().copied().collect();
        }
        Ok(self.piece.pop())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clash(most: usize, entries: &[(&str, Kind)]) -> bool {
        let mut sorted = Sorted { most, ..Sorted::new(std::env::temp_dir()) };
        for (path, kind) in entries {
            sorted.add(path, *kind).expect("spool");
        }
        sorted.conflict().expect("spool").is_some()
    }

    #[test]
    fn clashes_are_found_in_memory_and_over_runs() {
        use Kind::{File, Folder};
        for most in [1, 2, 3, 1000] {
            assert!(!clash(most, &[]));
            assert!(!clash(most, &[("a/b", File), ("a/c", File), ("a", Folder), ("d/a", File), ("a/d", File)]));
            assert!(clash(most, &[("a/b", File), ("c/d", File), ("a/b", File)]));
            assert!(clash(most, &[("a/b", File), ("a/b", Folder)]));
            assert!(clash(most, &[("a", Folder), ("c/d", File), ("a", Folder)]));
            assert!(clash(most, &[("a/b/c", File), ("c/d", File), ("a/b", File)]));
            assert!(clash(most, &[("a", File), ("c/d", File), ("a/b/c", File)]));
        }
    }

    proptest::proptest! {
        #[test]
        fn it_answers_as_the_set_in_memory_does(paths in proptest::collection::vec("[ab](/[ab]){0,3}", 0..12), most in 1usize..20) {
            let mut names = super::super::Names::default();
            let fits = paths.iter().all(|p| {
                names.add(&crate::bundle::path::EntryPath::parse(p).expect("path"), Kind::File).is_some()
            });
            let entries: Vec<_> = paths.iter().map(|p| (p.as_str(), Kind::File)).collect();
            proptest::prop_assert_eq!(clash(most, &entries), !fits);
        }
    }
}
