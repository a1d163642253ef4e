//! What is held of one large entry until it is whole: its frames and notes, in an unlinked file.
//!
//! [`Verified`] segments go in, frames and notes come out in the same order. Even the index stands in the file, so that memory grows
//! neither with the entry nor with the number of its parts. Its bytes are charged to a quota that all downloads share; nothing
//! of it survives the process.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::bundle::check::EntryRow;
use crate::bundle::frame::Frame;
use crate::bundle::segment::Note;
use crate::coordinator::verify::Verified;
use crate::floor::Floor;

/// Bytes of unlinked files, all downloads together; cheap to clone.
#[derive(Clone, Debug)]
pub struct Quota {
    used: Arc<AtomicU64>,
    most: u64,
    floor: Floor,
}

impl Quota {
    /// A quota of `most` bytes on disks that keep a floor.
    pub fn new(most: u64, floor: Floor) -> Self {
        Self { used: Arc::default(), most, floor }
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// A file in `folder` that nobody else can open, charged to this quota.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn file(&self, folder: &Path) -> io::Result<Charged> {
        Ok(Charged { file: tempfile::tempfile_in(folder)?, length: 0, quota: self.clone() })
    }

    fn take(&self, bytes: u64) -> io::Result<()> {
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= self.most)
        });
        taken.map(|_| ()).map_err(|_| io::Error::new(io::ErrorKind::QuotaExceeded, "the spool is full"))
    }
}

/// An unlinked file that only grows, and whose bytes are charged.
#[derive(Debug)]
pub struct Charged {
    file: File,
    length: u64,
    quota: Quota,
}

impl Charged {
    /// Appends all of `parts`, or nothing.
    ///
    /// # Errors
    /// When the quota or the disk is full, or the disk is at its floor; what was there before is still there.
    pub fn append(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        self.quota.floor.check(&self.file, bytes)?;
        self.quota.take(bytes)?;
        let mut at = self.length;
        for part in parts {
            if let Err(error) = self.file.write_all_at(part, at) {
                self.quota.used.fetch_sub(bytes, Ordering::Relaxed);
                return Err(error);
            }
            at += part.len() as u64;
        }
        self.length = at;
        Ok(())
    }

    /// Bytes in it.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Reads `length` bytes at `at`.
    ///
    /// # Errors
    /// Any error of the disk, and when there are not as many.
    pub fn read(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        self.quota.used.fetch_sub(self.length, Ordering::Relaxed);
    }
}

/// The parts of one entry, in order.
#[derive(Debug)]
pub struct Spool {
    file: Charged,
    // Only the part in which the entry ends has rows, and it is the last.
    rows: Vec<EntryRow>,
}

impl Spool {
    /// An empty one in `folder`.
    ///
    /// # Errors
    /// When its file cannot be made.
    pub fn new(folder: &Path, quota: &Quota) -> io::Result<Self> {
        Ok(Self { file: quota.file(folder)?, rows: Vec::new() })
    }

    /// Holds the entry's next part. Blocks.
    ///
    /// # Errors
    /// When the quota or the disk is full; what was held before still is.
    pub fn push(&mut self, verified: &Verified) -> io::Result<()> {
        let notes = serde_json::to_vec(verified.notes())?;
        let frames = verified.frames();
        let mut head = Vec::with_capacity(8 + frames.len() * 8);
        put(&mut head, frames.len())?;
        put(&mut head, notes.len())?;
        for frame in frames {
            put(&mut head, frame.bytes.len())?;
            put(&mut head, frame.raw as usize)?;
        }
        let mut parts: Vec<&[u8]> = vec![&head, &notes];
        parts.extend(frames.iter().map(|frame| &frame.bytes[..]));
        self.file.append(&parts)?;
        self.rows.extend_from_slice(verified.rows());
        Ok(())
    }

    /// Gives back part after part. Blocks.
    ///
    /// # Errors
    /// Any error of the disk or of `part`.
    pub fn replay(self, mut part: impl FnMut(&[Frame], &[EntryRow], &[Note]) -> io::Result<()>) -> io::Result<()> {
        let mut at = 0;
        while at < self.file.length() {
            let (count, notes) = self.pair(at)?;
            at += 8;
            let mut sizes = Vec::with_capacity(count);
            for _ in 0..count {
                sizes.push(self.pair(at)?);
                at += 8;
            }
            let whole = notes + sizes.iter().map(|(length, _)| length).sum::<usize>();
            let mut rest = Bytes::from(self.file.read(at, whole)?);
            at += whole as u64;
            let notes: Vec<Note> = serde_json::from_slice(&rest.split_to(notes))?;
            let frames: Vec<Frame> = sizes
                .into_iter()
                .map(|(length, raw)| Frame { bytes: rest.split_to(length), raw: raw as u32 })
                .collect();
            let rows = if at == self.file.length() { &self.rows[..] } else { &[] };
            part(&frames, rows, &notes)?;
        }
        Ok(())
    }

    fn pair(&self, at: u64) -> io::Result<(usize, usize)> {
        let bytes = self.file.read(at, 8)?;
        let number =
            |from: usize| bytes[from..from + 4].iter().rev().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
        Ok((number(0), number(4)))
    }
}

fn put(head: &mut Vec<u8>, number: usize) -> io::Result<()> {
    head.extend_from_slice(&u32::try_from(number).map_err(io::Error::other)?.to_le_bytes());
    Ok(())
}
