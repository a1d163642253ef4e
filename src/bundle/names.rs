//! Which paths were seen: refuses a path that comes twice, and a file where a folder has to be.
//!
//! Holds 16 bytes of BLAKE3 for each path, never the path, so that a million entries cost tens of megabytes. What it costs is
//! told to the caller, who charges it to a budget.

use std::collections::HashMap;

use super::entry::Kind;
use super::path::EntryPath;

pub mod sorted;

/// What a path was seen as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    File,
    Folder,
    /// A folder that no entry made, but one lies in.
    Implied,
}

/// The key of a path.
pub(super) fn key(path: &str) -> [u8; 16] {
    prefix(blake3::hash(path.as_bytes()).as_bytes())
}

fn prefix(bytes: &[u8]) -> [u8; 16] {
    let mut prefix = [0; 16];
    prefix.copy_from_slice(&bytes[..16]);
    prefix
}

/// The folders above a path, nearest first.
pub(super) fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(at, _)| &path[..at])
}

/// A set of paths that can be taken back to its last mark.
#[derive(Debug, Default)]
pub struct Names {
    seen: HashMap<[u8; 16], Seen>,
    undo: Vec<([u8; 16], Option<Seen>)>,
}

impl Names {
    /// Adds an entry's path and the folders it lies in; says how many names are new, `None` when it does not fit to the others.
    pub fn add(&mut self, path: &EntryPath, kind: Kind) -> Option<u64> {
        let path = path.as_str();
        let own = key(path);
        let before = self.seen.get(&own).copied();
        let now = match (before, kind) {
            (None, Kind::File) => Seen::File,
            (None | Some(Seen::Implied), Kind::Folder) => Seen::Folder,
            _ => return None,
        };
        let mut new = u64::from(before.is_none());
        self.set(own, now);
        for folder in folders(path) {
            let key = key(folder);
            match self.seen.get(&key) {
                Some(Seen::File) => return None,
                // The folders above this one were added with it.
                Some(_) => break,
                None => {
                    self.set(key, Seen::Implied);
                    new += 1;
                }
            }
        }
        Some(new)
    }

    fn set(&mut self, key: [u8; 16], now: Seen) {
        let before = self.seen.insert(key, now);
        self.undo.push((key, before));
    }

    /// What was added since stays.
    pub fn mark(&mut self) {
        self.undo.clear();
    }

    /// Takes back what was added since the last mark.
    pub fn undo(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            match before {
                Some(seen) => self.seen.insert(key, seen),
                None => self.seen.remove(&key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(names: &mut Names, path: &str, kind: Kind) -> Option<u64> {
        names.add(&EntryPath::parse(path).expect("path"), kind)
    }

    #[test]
    fn repeated_paths_and_files_in_the_way_are_refused() {
        let mut names = Names::default();
        assert_eq!(add(&mut names, "a/b/c", Kind::File), Some(3));
        assert_eq!(add(&mut names, "a/b/d", Kind::File), Some(1));
        assert_eq!(add(&mut names, "a/b", Kind::Folder), Some(0));
        names.mark();
        for (path, kind) in [
            ("a/b/c", Kind::File),
            ("a/b/c", Kind::Folder),
            ("a/b", Kind::Folder),
            ("a", Kind::File),
            ("a/b/c/x", Kind::File),
            ("a/b/c/x/y", Kind::Folder),
        ] {
            assert_eq!(add(&mut names, path, kind), None, "{path} {kind:?}");
            names.undo();
        }
        assert_eq!(add(&mut names, "a/b/c", Kind::File), None);
    }

    #[test]
    fn undo_goes_back_to_the_mark() {
        let mut names = Names::default();
        assert_eq!(add(&mut names, "x/y", Kind::File), Some(2));
        names.mark();
        assert_eq!(add(&mut names, "x", Kind::Folder), Some(0));
        assert_eq!(add(&mut names, "z/y", Kind::File), Some(2));
        names.undo();
        assert_eq!(add(&mut names, "x", Kind::Folder), Some(0));
        assert_eq!(add(&mut names, "z/y", Kind::File), Some(2));
    }
}
