//! The bundle's file: what is written goes to its disk meanwhile, so that the end waits for the last of it alone.
//!
//! Bytes come from the assembler; they go to an opened file, which is given back. It opens nothing, and waits for no disk.

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroU64;

use rustix::fs::Advice;

/// Bytes that are sent to the disk together.
const SHARE: u64 = 4 << 20;

/// A file that is written from its start.
#[derive(Debug)]
pub(super) struct Flowing {
    file: File,
    written: u64,
    /// Bytes of that which are on their way.
    sent: u64,
}

impl Flowing {
    /// Writes to an empty file.
    pub(super) fn new(file: File) -> Self {
        Self { file, written: 0, sent: 0 }
    }

    /// The file, with all that was written.
    pub(super) fn into_file(self) -> File {
        self.file
    }
}

impl Write for Flowing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        let waits = self.written - self.sent;
        if waits >= SHARE {
            // On Linux this begins to write what is not on the disk yet, which therefore stays in memory. It is a hint, like its failure.
            let _ = rustix::fs::fadvise(&self.file, self.sent, NonZeroU64::new(waits), Advice::DontNeed);
            self.sent = self.written;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;

    #[test]
    fn what_is_written_is_in_the_file_and_was_sent_in_shares() {
        let bytes: Vec<u8> = (0..10_000_000_u32).map(|n| (n >> 3) as u8).collect();
        let mut flowing = Flowing::new(tempfile::tempfile().expect("a temporary file"));
        bytes.chunks(300_001).for_each(|piece| flowing.write_all(piece).expect("written"));
        assert_eq!(flowing.written, bytes.len() as u64);
        assert!(flowing.written - flowing.sent < SHARE);
        let (mut file, mut read) = (flowing.into_file(), Vec::new());
        file.rewind().and_then(|()| file.read_to_end(&mut read)).expect("read");
        assert!(read == bytes);
    }
}
