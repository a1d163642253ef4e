//! Paths already taken in a node's part of the bundle, so that none stands there twice.
//!
//! Paths come in as sources give them and go out as they may be packed. Only 16 bytes of each are kept, since there may be
//! a million.

use std::collections::HashSet;

use crate::bundle::entry::Kind;
use crate::bundle::names;
use crate::bundle::path::EntryPath;

/// Taken paths, and those that the coordinator already holds from an earlier attempt.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: names::Names,
    held: HashSet<u128>,
}

fn key(path: &EntryPath) -> u128 {
    let hash = blake3::hash(path.as_str().as_bytes());
    let mut first = [0; 16];
    first.copy_from_slice(&hash.as_bytes()[..16]);
    u128::from_le_bytes(first)
}

impl Names {
    /// Notes that `path` is held already.
    pub(super) fn hold(&mut self, path: &EntryPath) {
        self.held.insert(key(path));
    }

    /// Takes `path` for good, whatever is packed.
    pub(super) fn reserve(&mut self, path: &EntryPath) {
        // Where it does not fit it was in nobody's way.
        if self.taken.add(path, Kind::File).is_some() {
            self.taken.mark();
        } else {
            self.taken.undo();
        }
    }

    /// Whether what would be packed as `path` is `wanted`.
    pub(super) fn gives(&mut self, path: &EntryPath, wanted: &EntryPath) -> bool {
        let (free, _) = self.take(path);
        self.give_back();
        free == *wanted
    }

    /// Whether what would be packed as `path` is held already. The path is taken then, as if it had been packed again.
    pub(super) fn skip(&mut self, path: &EntryPath) -> bool {
        if self.held.is_empty() {
            return false;
        }
        let (free, _) = self.take(path);
        let held = self.held.contains(&key(&free));
        if held {
            self.taken.mark()
        } else {
            self.taken.undo()
        }
        held
    }

    /// Takes `path`, or the first of `path~1`, `path~2`… that is free, until [`Names::keep`] or [`Names::give_back`]. Says how
    /// many names that makes, folders included.
    pub(super) fn take(&mut self, path: &EntryPath) -> (EntryPath, u64) {
        if let Some(new) = self.add(path) {
            return (path.clone(), new);
        }
        // A file may also stand where this path needs a folder: then it is the folder that gets another name.
        let (folders, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
        let mut stem = String::new();
        for folder in folders.split_terminator('/') {
            let free = numbered(&format!("{stem}{folder}")).find(|candidate| self.could_be_folder(candidate));
            stem = free.map_or_else(|| stem.clone(), |free| format!("{free}/"));
        }
        numbered(&format!("{stem}{name}"))
            .find_map(|candidate| self.add(&candidate).map(|new| (candidate, new)))
            .expect("one of four billion names is free")
    }

    fn could_be_folder(&mut self, path: &EntryPath) -> bool {
        let could = self.taken.add(path, Kind::Folder).is_some();
        self.taken.undo();
        could
    }

    /// What was taken is used.
    pub(super) fn keep(&mut self) {
        self.taken.mark();
    }

    /// What was taken is not used.
    pub(super) fn give_back(&mut self) {
        self.taken.undo();
    }

    fn add(&mut self, path: &EntryPath) -> Option<u64> {
        let new = self.taken.add(path, Kind::File);
        if new.is_none() {
            self.taken.undo();
        }
        new
    }
}

/// `stem`, `stem~1`, `stem~2`…
fn numbered(stem: &str) -> impl Iterator<Item = EntryPath> {
    let numbers = (1u32..).filter_map(move |n| suffixed(stem, &format!("~{n}")));
    EntryPath::parse(stem).into_iter().chain(numbers)
}

/// `stem` and `suffix` as a path, with the end of `stem` left out where the whole would be too long.
pub(super) fn suffixed(stem: &str, suffix: &str) -> Option<EntryPath> {
    let ends = stem.char_indices().rev().map(|(at, _)| at);
    std::iter::once(stem.len())
        .chain(ends)
        .take_while(|end| *end > 0 && !stem[..*end].ends_with('/'))
        .find_map(|end| EntryPath::parse(&format!("{}{suffix}", &stem[..end])).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text).expect("a path")
    }

    fn take(names: &mut Names, text: &str) -> String {
        let (path, _) = names.take(&path(text));
        names.keep();
        path.into()
    }

    #[test]
    fn a_path_is_given_out_once() {
        let mut names = Names::default();
        let given: Vec<_> = (0..3).map(|_| take(&mut names, "files/a")).collect();
        assert_eq!(given, ["files/a", "files/a~1", "files/a~2"]);
        assert_eq!(take(&mut names, "files/a~1"), "files/a~1~1");
        names.take(&path("files/b"));
        names.give_back();
        assert_eq!(take(&mut names, "files/b"), "files/b");
    }

    #[test]
    fn a_file_and_a_folder_of_one_name_are_told_apart() {
        let mut names = Names::default();
        assert_eq!(take(&mut names, "files/a"), "files/a");
        assert_eq!(take(&mut names, "files/a/b"), "files/a~1/b");
        assert_eq!(take(&mut names, "files/a/b"), "files/a~1/b~1");
        assert_eq!(take(&mut names, "files/c/d/e"), "files/c/d/e");
        assert_eq!(take(&mut names, "files/c"), "files/c~1");
    }

    #[test]
    fn a_long_name_is_shortened_for_its_suffix() {
        let long = format!("files/{}", "é".repeat(127));
        let mut names = Names::default();
        take(&mut names, &long);
        let second = take(&mut names, &long);
        assert!(second.ends_with("é~1") && second.len() <= 6 + 255, "{second}");
    }

    #[test]
    fn held_paths_are_skipped_in_the_order_they_were_packed() {
        let mut names = Names::default();
        names.hold(&path("files/a"));
        names.hold(&path("files/a~1"));
        assert!(names.skip(&path("files/a")));
        assert!(names.skip(&path("files/a")));
        assert!(!names.skip(&path("files/a")));
        assert_eq!(take(&mut names, "files/a"), "files/a~2");
        assert!(!names.skip(&path("files/b")));
    }
}
