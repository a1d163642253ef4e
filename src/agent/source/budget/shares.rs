//! Shares: which files are taken whole, which are cut to what, and which are left out.
//!
//! Sizes come in, and what each file may give goes out. Plain arithmetic; no file is touched.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use rustix::fs::Stat;

use super::{HEADS, content, cost};

/// Bytes below which a part of a file helps nobody.
const LEAST: u64 = 16 << 10;

/// Device and inode.
pub(in super::super) type Key = (u64, u64);

pub(super) fn key(stat: &Stat) -> Key {
    (stat.st_dev, stat.st_ino)
}

/// What a file is to a budget, the more important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// State and configuration.
    State,
    /// Logs that are written now.
    Live,
    /// Logs that were put aside.
    Rotated,
}

/// One file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) file: Key,
    /// Bytes that would be read of it.
    pub(super) size: u64,
    /// Its collector's.
    pub(super) priority: u8,
    pub(super) class: Class,
    /// Seconds since 1970.
    pub(super) mtime: i64,
    /// Whether it is of no use in parts.
    pub(super) whole: bool,
}

/// The files that may not give all they have.
#[derive(Debug, Default)]
pub(super) struct Shares(HashMap<Key, u64>);

impl Shares {
    /// Shares out `left` bytes.
    pub(super) fn of(mut rows: Vec<Row>, mut left: u64) -> Self {
        let mut shares = Self::default();
        rows.sort_unstable_by_key(|row| (Reverse(row.priority), row.class, Reverse(row.mtime), row.file));
        for group in rows.chunk_by(|a, b| (a.priority, a.class) == (b.priority, b.class)) {
            let wanted = group.iter().map(|row| cost(row.size)).fold(0, u64::saturating_add);
            if wanted <= left {
                left -= wanted;
            } else if group[0].class == Class::Rotated || !shares.level(group, &mut left) {
                shares.newest_first(group, &mut left);
            }
        }
        shares
    }

    /// Bytes of content that a file may give; `None` for all it has.
    pub(super) fn share(&self, file: Key) -> Option<u64> {
        self.0.get(&file).copied()
    }

    /// As many as there is room for; the one at the edge is cut.
    fn newest_first(&mut self, group: &[Row], left: &mut u64) {
        for row in group {
            let cost = cost(row.size);
            if cost <= *left {
                *left -= cost;
                continue;
            }
            let part = content(*left);
            let is_cut = !row.whole && part >= LEAST;
            self.0.insert(row.file, if is_cut { part } else { 0 });
            if is_cut {
                *left = 0;
            }
        }
    }

    /// Small files whole and large ones cut to the same size, so that none is lost for another's sake. `false` where that would
    /// leave too little of each.
    fn level(&mut self, group: &[Row], left: &mut u64) -> bool {
        let mut rows: Vec<&Row> = group.iter().collect();
        rows.sort_unstable_by_key(|row| row.size);
        let level = loop {
            let Some(level) = water(&rows, *left) else { break u64::MAX };
            if level < HEADS + LEAST {
                return false;
            }
            let before = rows.len();
            rows.retain(|row| !row.whole || cost(row.size) <= level);
            if rows.len() == before {
                break level;
            }
        };
        for row in &rows {
            if cost(row.size) > level {
                self.0.insert(row.file, content(level));
            }
            *left = left.saturating_sub(cost(row.size).min(level));
        }
        let is_in: HashSet<Key> = rows.iter().map(|row| row.file).collect();
        self.0.extend(group.iter().filter(|row| !is_in.contains(&row.file)).map(|row| (row.file, 0)));
        true
    }
}

/// The cost to which the largest of these, smallest first, must be cut for all to fit; `None` where they do.
fn water(rows: &[&Row], mut left: u64) -> Option<u64> {
    for (before, row) in rows.iter().enumerate() {
        let each = left / (rows.len() - before) as u64;
        if cost(row.size) > each {
            return Some(each);
        }
        left -= cost(row.size);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;

    fn row(number: u64, class: Class, kib: u64, mtime: i64) -> Row {
        Row { file: (1, number), size: kib * KIB, priority: 5, class, mtime, whole: false }
    }

    /// What each file gives, in KiB: all, a part, nothing.
    fn given(rows: &[Row], left: u64) -> Vec<u64> {
        let shares = Shares::of(rows.to_vec(), left * KIB);
        rows.iter().map(|row| shares.share(row.file).unwrap_or(row.size) / KIB).collect()
    }

    #[test]
    fn what_fits_is_whole() {
        let rows = [row(1, Class::Live, 100, 1), row(2, Class::Rotated, 100, 1)];
        assert_eq!(given(&rows, 204), [100, 100]);
        assert_eq!(Shares::of(rows.to_vec(), 204 * KIB).0.len(), 0, "nothing is kept of those that are whole");
    }

    #[test]
    fn the_oldest_falls_out_and_the_edge_is_cut() {
        let rows = [
            row(1, Class::Rotated, 100, 10),
            row(2, Class::Rotated, 100, 30),
            row(3, Class::Rotated, 100, 20),
            row(4, Class::State, 10, 1),
            row(5, Class::Live, 50, 1),
        ];
        assert_eq!(given(&rows, 12 + 52 + 102 + 60), [0, 100, 58, 10, 50], "state, live, newest, a part, nothing");
        assert_eq!(given(&rows, 12 + 52 + 102 + 10), [0, 100, 0, 10, 50], "a part of 8 KiB helps nobody");
    }

    #[test]
    fn one_large_log_does_not_push_out_the_others() {
        let rows = [
            row(1, Class::Live, 10_000, 30),
            row(2, Class::Live, 20, 10),
            row(3, Class::Live, 5000, 20),
            row(4, Class::Rotated, 20, 40),
        ];
        assert_eq!(given(&rows, 22 + 2 * 102), [100, 20, 100, 0]);
    }

    #[test]
    fn what_is_no_use_in_parts_is_whole_or_left_out() {
        let packed = |number, kib, mtime| Row { whole: true, ..row(number, Class::Rotated, kib, mtime) };
        assert_eq!(given(&[packed(1, 500, 30), packed(2, 50, 20), packed(3, 50, 10)], 110), [0, 50, 50]);
        let large = Row { whole: true, ..row(1, Class::Live, 500, 30) };
        assert_eq!(given(&[large, row(2, Class::Live, 90, 20)], 92), [0, 90], "its place is the others'");
    }

    #[test]
    fn a_collectors_priority_stands_above_all() {
        let dear = Row { priority: 9, ..row(1, Class::Rotated, 100, 1) };
        let cheap = Row { priority: 0, ..row(2, Class::State, 100, 9) };
        assert_eq!(given(&[dear, cheap], 110), [100, 0]);
    }

    proptest::proptest! {
        #[test]
        fn no_more_is_given_than_there_is(
            sizes in proptest::collection::vec((0u64..5_000_000, 0u8..3, 0i64..9, proptest::bool::ANY), 0..60),
            left in 0u64..20_000_000,
        ) {
            let classes = [Class::State, Class::Live, Class::Rotated];
            let rows: Vec<Row> = (1..).zip(&sizes).map(|(number, (size, class, mtime, whole))| Row {
                size: *size, whole: *whole, ..row(number, classes[usize::from(*class)], 0, *mtime)
            }).collect();
            let shares = Shares::of(rows.clone(), left);
            let given = |row: &Row| match shares.share(row.file) { Some(0) => 0, share => cost(share.unwrap_or(row.size)) };
            let sum: u64 = rows.iter().map(given).sum();
            // Each part is rounded up to a block.
            proptest::prop_assert!(sum <= left + 512 * rows.len() as u64, "{sum} of {left}");
            for row in &rows {
                let share = shares.share(row.file);
                proptest::prop_assert!(share.is_none_or(|share| share < row.size.max(1)), "{share:?} of {}", row.size);
                proptest::prop_assert!(!row.whole || matches!(share, None | Some(0)));
            }
        }
    }
}
