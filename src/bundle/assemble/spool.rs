//! Rows that wait for the end of the bundle: in memory while they are few, then in an unlinked file.

use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use tempfile::SpooledTempFile;

/// Bytes of rows that stay in memory.
const MEMORY: usize = 256 << 10;

/// Lines in the order they came.
pub(super) struct Rows {
    file: SpooledTempFile,
    bytes: u64,
    /// Whether lines are elements of a JSON array.
    json: bool,
}

impl Rows {
    /// Rows of a JSON array: `{…},` on each line but the last.
    pub(super) fn json(folder: &Path) -> Self {
        Self { file: tempfile::spooled_tempfile_in(MEMORY, folder), bytes: 0, json: true }
    }

    /// Plain lines.
    pub(super) fn text(folder: &Path) -> Self {
        Self { json: false, ..Self::json(folder) }
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: &[u8]) -> io::Result<()> {
        let mut line = Vec::with_capacity(row.len() + 2);
        if self.json && self.bytes > 0 {
            line.extend_from_slice(b",\n");
        }
        line.extend_from_slice(row);
        if !self.json {
            line.push(b'\n');
        }
        self.file.write_all(&line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// The rows, ended and ready to be read; what is pushed after that goes nowhere.
    pub(super) fn take(&mut self) -> Self {
        let empty = Self { file: SpooledTempFile::new(0), bytes: 0, json: self.json };
        std::mem::replace(self, empty)
    }

    /// Bytes that [`Rows::read`] gives.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes + u64::from(self.json && self.bytes > 0)
    }

    /// Gives all rows to `sink`, in pieces.
    pub(super) fn read(&mut self, mut sink: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.file.rewind()?;
        let mut piece = vec![0; 64 << 10];
        loop {
            match self.file.read(&mut piece)? {
                0 => break,
                length => sink(&piece[..length])?,
            }
        }
        if self.json && self.bytes > 0 { sink(b"\n") } else { Ok(()) }
    }
}
