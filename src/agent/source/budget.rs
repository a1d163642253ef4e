//! What one collection may give, and who gets how much of it where that is less than there is.
//!
//! A survey of sizes ([`super::estimate`]) comes in; what goes out is each file's share. State comes first, then logs as they are written,
//! then rotated ones, newest first, so that what falls out is the oldest; a collector's `priority` stands above that. Shares are by size
//! alone: nothing here opens or reads a file, but for [`cut`], which finds out where one is cut.

pub(super) mod cut;
pub(super) mod shares;

use std::ops::ControlFlow;
use std::path::Path;

use rustix::fs::Stat;

use self::shares::{Class, Row, Shares};
use super::collector::{Collector, Files};
use super::ends::{self, Most};
use super::estimate::{Patience, sizes};
use super::walk::Ground;
use super::{kind, rotated};
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
            rows.push(row(collector, files, path, stat, ground.file_bytes));
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

fn row(collector: &Collector, files: &Files, path: &Path, stat: &Stat, most: u64) -> Row {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let class = if is_state(path) {
        Class::State
    } else if rotated::originals(name).next().is_some() {
        Class::Rotated
    } else {
        Class::Live
    };
    let size = u64::try_from(stat.st_size).unwrap_or(0).min(files.max_bytes.unwrap_or(most));
    let whole = files.binary || kind::is_never_cut(name);
    Row { file: shares::key(stat), size, priority: collector.priority, class, mtime: stat.st_mtime, whole }
}
