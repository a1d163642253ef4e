//! What was seen of each file, in order, kept until the manifest comes: in memory while it is little, then in an unlinked file.

use std::io::{self, BufReader, Read, Seek as _, Write as _};
use std::path::Path;

use tempfile::SpooledTempFile;

/// Bytes that stay in memory.
const MEMORY: usize = 1 << 20;
/// Bytes of rows that go to the file, or come from it, at once.
const PENDING: usize = 16 << 10;

/// A file as seen in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) offset: u64,
    pub(super) content: blake3::Hash,
}

/// All files seen; written first, then read from the front as often as needed.
pub(super) struct Observed {
    file: BufReader<SpooledTempFile>,
    /// Rows that are not in the file yet, so that a row costs no call of the system.
    pending: Vec<u8>,
}

impl Observed {
    pub(super) fn new(spool: &Path) -> Self {
        let file = BufReader::with_capacity(PENDING, tempfile::spooled_tempfile_in(MEMORY, spool));
        Self { file, pending: Vec::new() }
    }

    /// Adds a file at the end.
    pub(super) fn push(&mut self, seen: &Seen) -> io::Result<()> {
        let row = &mut self.pending;
        row.extend_from_slice(&(seen.path.len() as u16).to_le_bytes());
        row.extend_from_slice(seen.path.as_bytes());
        row.extend_from_slice(&seen.size.to_le_bytes());
        row.extend_from_slice(&seen.offset.to_le_bytes());
        row.extend_from_slice(seen.content.as_bytes());
        if self.pending.len() >= PENDING { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.get_mut().write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    /// Goes to the front, to read.
    pub(super) fn rewind(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.rewind()
    }

    /// Goes to the end, to write.
    pub(super) fn forward(&mut self) -> io::Result<()> {
        self.file.seek(io::SeekFrom::End(0)).map(drop)
    }

    /// The next file.
    pub(super) fn next(&mut self) -> io::Result<Option<Seen>> {
        let mut length = [0; 2];
        match self.file.read(&mut length[..1])? {
            0 => return Ok(None),
            _ => self.file.read_exact(&mut length[1..])?,
        }
        let mut path = vec![0; usize::from(u16::from_le_bytes(length))];
        self.file.read_exact(&mut path)?;
        let (mut size, mut offset, mut content) = ([0; 8], [0; 8], [0; 32]);
        self.file.read_exact(&mut size)?;
        self.file.read_exact(&mut offset)?;
        self.file.read_exact(&mut content)?;
        Ok(Some(Seen {
            path: String::from_utf8(path).map_err(io::Error::other)?,
            size: u64::from_le_bytes(size),
            offset: u64::from_le_bytes(offset),
            content: content.into(),
        }))
    }
}
