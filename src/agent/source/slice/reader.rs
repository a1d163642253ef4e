//! Reads the time of one line after the other, and remembers in which form a file writes it.
//!
//! Whoever cuts files asks it; each line is tried by all anchored forms, so that a file may change its form at any line. Only a file whose
//! first lines have a time behind a level or a name is looked at further inside.

use super::civil::{Calendar, Stamp, Unsaid, Written};
use super::forms;
use crate::bundle::slice::Rule;

/// Bytes of a line that are looked at: the time may be the last member of a container's JSON, behind 16 KiB of what was logged.
pub(super) const LOOK: usize = 32 << 10;

/// Reads the times of one file's lines.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) calendar: Calendar,
    /// The form of the first line that had a time, and whether it stood behind something.
    form: Option<(Rule, bool)>,
    /// Whether the first time was one without a zone that may be another than the node's.
    unsaid: bool,
}

impl Reader {
    pub(super) fn new(calendar: Calendar) -> Self {
        Self { calendar, form: None, unsaid: false }
    }

    /// By what the file's times are read.
    pub(super) fn rule(&self) -> Option<Rule> {
        self.form.map(|(rule, _)| rule)
    }

    /// Whether the file's own zone is open.
    pub(super) fn is_open(&self) -> bool {
        self.unsaid
    }

    /// When a line was written, by its beginning.
    pub(super) fn stamp(&mut self, line: &[u8]) -> Option<Stamp> {
        let inner = self.form.is_some_and(|(_, inner)| inner);
        self.take(forms::read(line, inner)?, inner)
    }

    /// As [`Reader::stamp`], for one of a file's first lines.
    pub(super) fn first(&mut self, line: &[u8]) -> Option<Stamp> {
        match forms::read(line, false) {
            Some(found) => self.take(found, false),
            None => self.take(forms::read(line, true)?, true),
        }
    }

    fn take(&mut self, (rule, written): (Rule, Written), inner: bool) -> Option<Stamp> {
        let stamp = self.calendar.stamp(written)?;
        if self.form.is_none() {
            self.form = Some((rule, inner));
            self.unsaid = matches!(written, Written::Civil(_) | Written::Yearless { own: false, .. });
        }
        Some(stamp)
    }

    /// Settles in which zone the file is written, by its last line: that one was written when the file was.
    pub(super) fn settle(&mut self, last: &[u8]) {
        const NEAR: i64 = 120_000;
        if !self.unsaid {
            return;
        }
        let mtime = self.calendar.mtime;
        let mut near = |unsaid| {
            self.calendar.unsaid = unsaid;
            let inner = self.form.is_some_and(|(_, inner)| inner);
            let written = forms::read(last, inner)?.1;
            let stamp = self.calendar.stamp(written)?;
            Some(stamp.earliest <= mtime + NEAR && stamp.latest >= mtime - NEAR)
        };
        let (node, utc) = (near(Unsaid::Node), near(Unsaid::Utc));
        self.calendar.unsaid = match (node, utc) {
            (Some(true), _) => Unsaid::Node,
            (_, Some(true)) => Unsaid::Utc,
            _ => Unsaid::Either,
        };
    }
}
