//! Paths already taken in a node's part of the bundle, so that none stands there twice.
//!
//! Paths come in as sources give them and go out unique. Only 16 bytes of each are kept, since there may be a million.

use std::collections::HashSet;

use crate::bundle::path::EntryPath;

/// Taken paths, and those that the coordinator already holds from an earlier attempt.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: HashSet<u128>,
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

    /// Whether what would be packed as `path` is held already. The path is taken then, as if it had been packed again.
    pub(super) fn skip(&mut self, path: &EntryPath) -> bool {
        if self.held.is_empty() {
            return false;
        }
        let key = key(&self.free(path));
        self.held.contains(&key) && self.taken.insert(key)
    }

    /// Takes `path`, or the first of `path~1`, `path~2`… that is free.
    pub(super) fn take(&mut self, path: &EntryPath) -> EntryPath {
        let free = self.free(path);
        self.taken.insert(key(&free));
        free
    }

    /// Gives a path back that was taken and not used.
    pub(super) fn give_back(&mut self, path: &EntryPath) {
        self.taken.remove(&key(path));
    }

    fn free(&self, path: &EntryPath) -> EntryPath {
        if !self.taken.contains(&key(path)) {
            return path.clone();
        }
        (1u32..)
            .map(|n| suffixed(path, &format!("~{n}")))
            .find(|candidate| !self.taken.contains(&key(candidate)))
            .expect("one of four billion names is free")
    }
}

/// `path` with `suffix` at its end, shortened before it where the whole would be too long.
pub(super) fn suffixed(path: &EntryPath, suffix: &str) -> EntryPath {
    let mut stem = path.as_str();
    loop {
        if let Ok(path) = EntryPath::parse(&format!("{stem}{suffix}")) {
            return path;
        }
        // A path that parses has a last component longer than any suffix used here, or room for one.
        let Some((at, _)) = stem.char_indices().next_back() else { return path.clone() };
        stem = &stem[..at];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text).expect("a path")
    }

    #[test]
    fn a_path_is_given_out_once() {
        let mut names = Names::default();
        let given: Vec<_> = (0..3).map(|_| names.take(&path("files/a")).to_string()).collect();
        assert_eq!(given, ["files/a", "files/a~1", "files/a~2"]);
        assert_eq!(names.take(&path("files/a~1")).as_str(), "files/a~1~1");
        names.give_back(&path("files/a"));
        assert_eq!(names.take(&path("files/a")).as_str(), "files/a");
    }

    #[test]
    fn a_long_name_is_shortened_for_its_suffix() {
        let long = path(&format!("files/{}", "é".repeat(127)));
        let mut names = Names::default();
        names.take(&long);
        let second = names.take(&long);
        assert!(second.as_str().ends_with("é~1") && second.as_str().len() <= 6 + 255, "{second}");
    }

    #[test]
    fn held_paths_are_skipped_in_the_order_they_were_packed() {
        let mut names = Names::default();
        names.hold(&path("files/a"));
        names.hold(&path("files/a~1"));
        assert!(names.skip(&path("files/a")));
        assert!(names.skip(&path("files/a")));
        assert!(!names.skip(&path("files/a")));
        assert_eq!(names.take(&path("files/a")).as_str(), "files/a~2");
        assert!(!names.skip(&path("files/b")));
    }
}
