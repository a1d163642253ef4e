//! Reads the time of one line after the other, and remembers in which form a file writes it.
//!
//! Whoever cuts files asks it; each line is tried by all anchored forms, so that a file may change its form at any line. Only a file whose
//! first lines have a time behind a level or a name is looked at further inside.

use super::civil::{Calendar, Stamp, Written};
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
    /// Where the first time was one without a zone, whether it is surely the node's own.
    own: Option<bool>,
}

impl Reader {
    pub(super) fn new(calendar: Calendar) -> Self {
        Self { calendar, form: None, own: None }
    }

    /// By what the file's times are read.
    pub(super) fn rule(&self) -> Option<Rule> {
        self.form.map(|(rule, _)| rule)
    }

    /// Where the file's times do not say their zone, whether it is surely the node's own.
    pub(super) fn own(&self) -> Option<bool> {
        self.own
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
            self.own = self.calendar.own(written);
        }
        Some(stamp)
    }

    /// Whether a line has a time, though it may be one of which something else has to tell what it means.
    pub(super) fn learns(&mut self, line: &[u8]) -> bool {
        let inner = self.form.is_some_and(|(_, inner)| inner);
        let Some((_, written)) = forms::read(line, inner) else { return false };
        self.calendar.stamp(written).is_some() || matches!(written, Written::Numbers { .. })
    }

    /// Settles in which zone, and in which order, the file's times are, by its last line. Whether that told the zone.
    pub(super) fn settle(&mut self, last: &[u8]) -> bool {
        let inner = self.form.is_some_and(|(_, inner)| inner);
        let last = forms::read(last, inner).map(|found| found.1);
        if let Some(last) = last {
            self.calendar.settle_order(last);
        }
        self.own.is_none_or(|own| self.calendar.settle(last, own))
    }
}
