//! Rows that wait for the end of the bundle: in memory while they are few, then in an unlinked file.

use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use tempfile::SpooledTempFile;

/// Bytes of rows that stay in memory.
const MEMORY: usize = 256 << 10;
/// Bytes of rows that go to the file at once.
const PENDING: usize = 16 << 10;

/// Lines in the order they came.
pub(super) struct Rows {
    file: SpooledTempFile,
    /// Lines that are not in the file yet, so that a row costs no call of the system.
    pending: Vec<u8>,
    bytes: u64,
    /// Whether lines are elements of a JSON array.
    json: bool,
}

impl Rows {
    /// Rows of a JSON array: `{…},` on each line but the last.
    pub(super) fn json(folder: &Path) -> Self {
        Self { file: tempfile::spooled_tempfile_in(MEMORY, folder), pending: Vec::new(), bytes: 0, json: true }
    }

    /// Plain lines.
    pub(super) fn text(folder: &Path) -> Self {
        Self { json: false, ..Self::json(folder) }
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: &[u8]) -> io::Result<()> {
        let before = self.pending.len();
        if self.json && self.bytes > 0 {
            self.pending.extend_from_slice(b",\n");
        }
        self.pending.extend_from_slice(row);
        if !self.json {
            self.pending.push(b'\n');
        }
        self.bytes += (self.pending.len() - before) as u64;
        if self.pending.len() >= PENDING {
            self.file.write_all(&self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }

    /// The rows, ended and ready to be read; what is pushed after that goes nowhere.
    pub(super) fn take(&mut self) -> Self {
        let empty = Self { file: SpooledTempFile::new(0), pending: Vec::new(), bytes: 0, json: self.json };
        std::mem::replace(self, empty)
    }

    /// Bytes that [`Rows::read`] gives.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes + u64::from(self.json && self.bytes > 0)
    }

    /// Gives all rows to `sink`, in pieces.
    pub(super) fn read(&mut self, mut sink: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.file.write_all(&self.pending)?;
        self.pending.clear();
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
