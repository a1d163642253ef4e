//! What one collection may give, and who gets how much of it where that is less than there is.
//!
//! A survey of sizes ([`super::estimate`]) comes in; what goes out is each file's share. State comes first, then logs as they are written,
//! then rotated ones, newest first, so that what falls out is the oldest; a collector's `priority` stands above that. Shares are by size
//! alone, but for large files that may turn out to be binary, which are withheld: their first bytes are looked at. [`cut`] finds out where a file
//! is cut.

pub(super) mod cut;
pub(super) mod shares;

use std::ops::ControlFlow;
use std::path::Path;

use rustix::fs::{FileType, Stat};

use self::shares::{Class, Row, Shares};
use super::collector::{Collector, Files};
use super::ends::{self, Most};
use super::estimate::{Patience, sizes};
use super::walk::Ground;
use super::{Kind, kind, rotated};
use crate::agent::host::READ;
use crate::bundle::entry::BLOCK;
use crate::bundle::outcome::CutBy;

/// Bytes that an entry takes beside its content, at most for most: its headers and its padding.
pub(super) const HEADS: u64 = 2048;
/// Part of a budget that is kept for what redaction and growing files add, and bytes of that at most.
const MARGIN: (u64, u64) = (64, 16 << 20);
/// Part of what is left that journals have when files would take everything.
const JOURNALS: u64 = 4;
/// What is looked at, and time for it, where shares depend on it.
const PATIENCE: Patience = Patience { files: 200_000, time: std::time::Duration::from_secs(10) };
/// Part of its size that a file takes on its disk at least, unless it is mostly holes: no file system packs logs as densely.
const HOLES: u64 = 64;
/// Bytes from which on a file is looked at: smaller ones are no others' loss.
const LARGE: u64 = 1 << 20;
/// Folders whose files are state and no logs.
const STATE: &[&str] = &["/proc", "/sys", "/etc", "/run", "/usr", "/boot", "/var/lib"];

/// What an entry of so many bytes is charged.
pub(super) fn cost(bytes: u64) -> u64 {
    bytes.saturating_add(HEADS).next_multiple_of(BLOCK as u64)
}

/// Bytes of content that cost so much at most.
pub(super) fn content(cost: u64) -> u64 {
    (cost / BLOCK as u64 * BLOCK as u64).saturating_sub(HEADS)
}

/// What a collection may still give.
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes that it was given.
    pub(super) total: u64,
    /// Bytes that are left.
    pub(super) left: u64,
    /// Bytes of those that only journals may take.
    kept: u64,
    /// Entries that are left.
    pub(super) entries: u64,
    shares: Shares,
}

impl Budget {
    pub(super) fn new(total: u64, entries: u64) -> Self {
        let margin = (total / MARGIN.0).min(MARGIN.1);
        Self { total, left: total - margin, kept: 0, entries, shares: Shares::default() }
    }

    /// Whether files of so many bytes, all heads counted, are more than is left.
    pub(super) fn is_short_of(&self, bytes: u64) -> bool {
        bytes > self.left
    }

    /// Shares out what is left among the files, and keeps something for `journals` bytes of journals.
    pub(super) fn share_out(&mut self, ready: &[&Collector], ground: &Ground<'_>, journals: u64) {
        self.kept = journals.min(self.left / JOURNALS);
        let mut rows = Vec::new();
        sizes(ready, ground, PATIENCE, &mut |collector, files, path, stat| {
            let mut row = row(collector, files, path, stat, ground.file_bytes);
            if row.size >= LARGE && is_withheld(files, path, ground) {
                row.size = 0;
            }
            rows.push(row);
            ControlFlow::Continue(())
        });
        self.shares = Shares::of(rows, self.left - self.kept);
    }

    /// Files are through: what was kept may be taken.
    pub(super) fn release(&mut self) {
        self.kept = 0;
    }

    /// Bytes of content that a file may give now.
    pub(super) fn room(&self, stat: &Stat) -> u64 {
        let left = content(self.left.saturating_sub(self.kept));
        self.shares.share(shares::key(stat)).map_or(left, |share| share.min(left))
    }

    /// Bytes of content that something of unknown size may give, where `of` such are to come.
    pub(super) fn part(&self, of: u64) -> u64 {
        content(self.left / of.max(1))
    }

    /// What something of unknown size may give that has a limit of its own, where `of` such are to come; `None` where that is too little to be
    /// of use. `what` it is stands in a mark.
    pub(super) fn most(&self, limit: u64, of: u64, what: &str) -> Option<Most> {
        let part = self.part(of);
        let most = match part < limit {
            true => Most { bytes: part, by: CutBy::Budget, why: format!("budget of {} bytes", self.total) },
            false => Most { bytes: limit, by: CutBy::Limit, why: format!("limit of {limit} bytes for {what}") },
        };
        Some(most).filter(|most| most.by == CutBy::Limit || most.bytes >= ends::LEAST)
    }

    /// Whether an entry of so many bytes may still be given, which it then is.
    pub(super) fn take(&mut self, bytes: u64) -> bool {
        let cost = cost(bytes);
        let fits = self.entries > 0 && cost <= self.left;
        if fits {
            self.left -= cost;
            self.entries -= 1;
        }
        fits
    }

    /// Bytes that turned out to be given.
    pub(super) fn charge(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
    }
}

/// Whether a file is state, and no log.
pub(super) fn is_state(path: &Path) -> bool {
    STATE.iter().any(|folder| path.starts_with(folder))
}

/// Bytes that a file takes on its disk, where it is mostly holes by that.
pub(super) fn holed(stat: &Stat) -> Option<u64> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let on_disk = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    (size >= LARGE && on_disk < size / HOLES).then_some(on_disk)
}

/// Bytes of content that a file has, as far as its size and its place on the disk tell.
pub(super) fn bytes(files: &Files, path: &Path, stat: &Stat, most: u64) -> u64 {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    if !files.binary && kind::is_binary_name(name) {
        return 0;
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    holed(stat).unwrap_or(size).min(files.max_bytes.unwrap_or(most))
}

/// Whether a file's first bytes say that redaction will withhold it. What may hang is not asked.
fn is_withheld(files: &Files, path: &Path, ground: &Ground<'_>) -> bool {
    if files.binary || ground.mounts.may_hang(path) {
        return false;
    }
    let Ok(file) = ground.host.open_plain(path, READ) else { return false };
    let is_file = |stat: Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let mut head = [0; kind::HEAD];
    let read = match rustix::fs::fstat(&file) {
        Ok(stat) if is_file(stat) => rustix::io::pread(&file, &mut head, 0).unwrap_or(0),
        _ => 0,
    };
    let (head, name) = (&head[..read], path.file_name().unwrap_or_default().as_encoded_bytes());
    read > 0 && !kind::is_zeros(head) && kind::detect(head, name, false) == Kind::Binary { declared: false }
}

fn row(collector: &Collector, files: &Files, path: &Path, stat: &Stat, most: u64) -> Row {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let class = if is_state(path) {
        Class::State
    } else if rotated::originals(name).next().is_some() {
        Class::Rotated
    } else {
        Class::Live
    };
    let size = bytes(files, path, stat, most);
    let whole = files.binary || kind::is_never_cut(name);
    Row { file: shares::key(stat), size, priority: collector.priority, class, mtime: stat.st_mtime, whole }
}
