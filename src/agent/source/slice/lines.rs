//! Lines of a file that is read at offsets: where each begins, and as much of it as its time may stand in.
//!
//! Bytes come from a [`Place`]; memory is one block, however long a line is.

use std::io;

use super::reader::LOOK;

/// Bytes that are read together.
const BLOCK: usize = 2 * LOOK;

/// Whatever can be read at any offset.
pub(super) trait Place {
    /// Reads some bytes at `offset`; 0 behind the end.
    fn at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// Goes over the lines between two offsets.
pub(super) struct Lines<'a, P> {
    place: &'a mut P,
    /// No line that begins here or later is given.
    limit: u64,
    /// The file's end.
    size: u64,
    block: Vec<u8>,
    /// Where the block begins in the file.
    base: u64,
    /// Where the next line begins in the block.
    next: usize,
    /// Whether the line at `next` must be gone over first: it began before.
    inside: bool,
}

impl<'a, P: Place> Lines<'a, P> {
    /// Lines of `place`, which has `size` bytes, that begin at `from` or later, and before `limit`.
    pub(super) fn new(place: &'a mut P, from: u64, limit: u64, size: u64) -> Self {
        // The byte before tells whether a line begins at `from`.
        let base = from.saturating_sub(1);
        Self { place, limit: limit.min(size), size, block: Vec::new(), base, next: 0, inside: from > 0 }
    }

    /// The next line: where it begins, and its first bytes.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        if std::mem::take(&mut self.inside) && !self.pass()? {
            return Ok(None);
        }
        let start = self.offset();
        if start >= self.limit {
            return Ok(None);
        }
        let end = self.reach()?;
        if end == self.next {
            return Ok(None);
        }
        let from = self.next;
        self.inside = self.block[end - 1] != b'\n';
        self.next = end;
        Ok(Some((start, &self.block[from..end])))
    }

    /// How far it has read.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.next as u64
    }

    /// The end of the line at `next` in the block, or of as much of it as is looked at.
    fn reach(&mut self) -> io::Result<usize> {
        let mut seen = self.next;
        loop {
            let most = self.block.len().min(self.next + LOOK);
            if let Some(at) = memchr::memchr(b'\n', &self.block[seen..most]) {
                return Ok(seen + at + 1);
            }
            if most - self.next == LOOK {
                return Ok(most);
            }
            seen = most - self.next;
            let more = self.more()?;
            seen += self.next;
            if !more {
                return Ok(self.block.len());
            }
        }
    }

    /// Goes to the next line's start; `false` when there is none before the limit.
    fn pass(&mut self) -> io::Result<bool> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.block[self.next..]) {
                self.next += at + 1;
                return Ok(true);
            }
            self.next = self.block.len();
            if self.offset() >= self.limit || !self.more()? {
                return Ok(false);
            }
        }
    }

    /// Reads on, without what lies before the next line; `false` at the end.
    fn more(&mut self) -> io::Result<bool> {
        self.block.drain(..self.next);
        self.base += self.next as u64;
        self.next = 0;
        let (filled, at) = (self.block.len(), self.base + self.block.len() as u64);
        let most = usize::try_from(self.size.saturating_sub(at)).unwrap_or(BLOCK).min(BLOCK - filled.min(BLOCK));
        self.block.resize(filled + most, 0);
        let read = if most == 0 { 0 } else { self.place.at(&mut self.block[filled..], at)? };
        self.block.truncate(filled + read);
        Ok(read > 0)
    }
}
