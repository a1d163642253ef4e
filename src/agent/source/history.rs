//! The node's history as a source: the lines of its ring buffer, read from the file while they are packed.

use std::io::{self, Read};
use std::path::Path;

use super::{Content, Kind, Record};
use crate::agent::history::{HistoryError, Lines};
use crate::bundle::outcome::Outcome;
use crate::bundle::path::EntryPath;

/// Where it stands below `nodes/<node>/`.
pub(super) const PATH: &str = "vitals/history.ndjson";

/// Lines that are read from the file as they are wanted.
struct HistoryContent {
    lines: Lines,
    opened: bool,
    /// Whether the oldest lines are left out.
    cut: bool,
}

/// The history in this file, as a record; its newest lines, where all of them have no room in `most` bytes.
///
/// # Errors
/// When there is none, or nothing in it.
pub(super) fn record(file: &Path, path: EntryPath, collector: &str, most: u64) -> Result<Record, HistoryError> {
    let mut lines = Lines::open(file)?;
    let cut = lines.keep(most);
    let bytes = lines.probable_bytes();
    let content = HistoryContent { lines, opened: false, cut };
    Ok(Record {
        path,
        collector: collector.to_owned(),
        kind: Kind::Text,
        mode: None,
        mtime_ns: 0,
        size_hint: Some(bytes),
        original: None,
        link: None,
        lens: None,
        content: Box::new(content),
    })
}

impl Content for HistoryContent {
    fn open(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.opened, true) {
            Err(io::Error::other("the history is read once"))
        } else {
            Ok(())
        }
    }

    fn again(&self) -> bool {
        // The daemon goes on writing: what was oldest may be gone.
        false
    }

    fn after(&mut self) -> Option<(Outcome, String)> {
        self.cut.then(|| (Outcome::Truncated, "cut by the budget: only the newest lines are here".to_owned()))
    }
}

impl Read for HistoryContent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.lines.read(buffer)
    }
}
