//! What came of each collector, as a small table: collected, skipped, redacted.
//!
//! Reads the bundle's own manifest, row by row, so that what it says is what the file says.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Context as _;

use crate::bundle::manifest::lines::Row;
use crate::bundle::manifest::{FileRow, SourceRow};
use crate::bundle::outcome::Outcome;
use crate::bundle::reader::Reader;
use crate::cli::output::{Table, bytes};

/// The table of a sealed bundle.
///
/// # Errors
/// When the file cannot be read as one.
pub fn of(path: &Path) -> anyhow::Result<String> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut reader = Reader::open(file).with_context(|| format!("cannot read {}", path.display()))?;
    let mut tally = Tally::default();
    reader.rows(|row| {
        match row.parse()? {
            Row::File(row) => tally.file(&row),
            Row::Source(row) => tally.source(&row),
            Row::Node(_) => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(tally.table())
}

/// What is counted of one collector.
#[derive(Default)]
struct Line {
    collected: u64,
    bytes: u64,
    skipped: u64,
    failed: u64,
    redacted: u64,
}

/// Counts by collector.
#[derive(Default)]
struct Tally {
    lines: BTreeMap<String, Line>,
}

impl Tally {
    /// Counts a file of a node; sheaf's own files do not count.
    pub fn file(&mut self, row: &FileRow) {
        if !row.path.starts_with("nodes/") {
            return;
        }
        let line = self.line(&row.collector);
        match row.outcome {
            Outcome::Collected | Outcome::Truncated => line.collected += 1,
            Outcome::Skipped => line.skipped += 1,
            Outcome::Failed => line.failed += 1,
        }
        line.bytes += row.size;
        line.redacted += row.redacted.values().sum::<u64>();
    }

    /// Counts a source that gave no file.
    pub fn source(&mut self, row: &SourceRow) {
        let line = self.line(&row.collector);
        match row.outcome {
            Outcome::Failed => line.failed += 1,
            _ => line.skipped += 1,
        }
    }

    fn line(&mut self, collector: &str) -> &mut Line {
        let name = if collector.is_empty() { "(agent)" } else { collector };
        self.lines.entry(name.to_owned()).or_default()
    }

    /// The table, with a line for the whole.
    pub fn table(&self) -> String {
        let mut table = Table::new(&["COLLECTOR", "COLLECTED", "SIZE", "SKIPPED", "FAILED", "REDACTED"]);
        let mut whole = Line::default();
        for (name, line) in &self.lines {
            whole.collected += line.collected;
            whole.bytes += line.bytes;
            whole.skipped += line.skipped;
            whole.failed += line.failed;
            whole.redacted += line.redacted;
            table.row(cells(name, line));
        }
        table.row(cells("total", &whole));
        table.aligned()
    }
}

fn cells(name: &str, line: &Line) -> [String; 6] {
    [
        name.to_owned(),
        line.collected.to_string(),
        bytes(line.bytes),
        line.skipped.to_string(),
        line.failed.to_string(),
        line.redacted.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_by_collector() {
        let mut tally = Tally::default();
        let file = |collector: &str, outcome| FileRow {
            path: "nodes/n/files/x".into(),
            size: 1024,
            collector: collector.into(),
            outcome,
            redacted: [("token".to_owned(), 2)].into(),
            ..FileRow::default()
        };
        tally.file(&file("logs", Outcome::Collected));
        tally.file(&file("logs", Outcome::Truncated));
        tally.file(&FileRow { path: "manifest.json".into(), ..file("logs", Outcome::Collected) });
        tally.source(&SourceRow { collector: "network".into(), outcome: Outcome::Skipped, ..SourceRow::default() });
        assert_eq!(
            tally.table(),
            "COLLECTOR  COLLECTED  SIZE     SKIPPED  FAILED  REDACTED\n\
             logs       2          2.0 KiB  0        0       4\n\
             network    0          0 B      1        0       0\n\
             total      2          2.0 KiB  1        0       4\n"
        );
    }
}
