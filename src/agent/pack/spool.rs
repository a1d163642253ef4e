//! Frames of one large entry that wait until its size is known: in memory up to a bound, then in an unlinked file.
//!
//! Frames come from the packer and go back to it in the same order. The file has no name, so that nothing of it stays
//! behind whatever happens to the process.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use bytes::Bytes;

use crate::bundle::frame::Frame;
use crate::floor::Floor;

/// Compressed bytes kept in memory before the file is used: most logs of a few MiB never touch a disk.
const MEMORY: usize = 1 << 20;
/// Compressed bytes kept in memory where no file can be had.
const ALONE: usize = 2 << 20;

/// The waiting frames.
#[derive(Debug)]
pub(super) struct Spool {
    folder: Option<PathBuf>,
    quota: u64,
    /// What stays free on its disk.
    floor: Floor,
    memory: VecDeque<Frame>,
    in_memory: usize,
    /// Lengths, compressed and raw, of the frames in the file.
    in_file: VecDeque<(u32, u32)>,
    file: Option<File>,
    written: u64,
    read: u64,
    raw: u64,
}

impl Spool {
    /// A spool of at most `quota` bytes in `folder`, whose disk keeps a floor; without one it is memory alone.
    pub(super) fn new(folder: Option<PathBuf>, quota: u64, floor: Floor) -> Self {
        Self {
            folder,
            quota,
            floor,
            memory: VecDeque::new(),
            in_memory: 0,
            in_file: VecDeque::new(),
            file: None,
            written: 0,
            read: 0,
            raw: 0,
        }
    }

    /// Raw bytes that wait.
    pub(super) fn raw(&self) -> u64 {
        self.raw
    }

    /// Adds a frame at the end; gives it back with the reason when there is no room for it.
    pub(super) fn push(&mut self, frame: Frame) -> Result<(), (Frame, io::Error)> {
        let raw = u64::from(frame.raw);
        let after = if self.in_file.is_empty() { self.in_memory + frame.bytes.len() } else { usize::MAX };
        let written = if after <= MEMORY { None } else { Some(self.write(&frame)) };
        match written {
            Some(Ok(())) => {}
            Some(Err(error)) if after > ALONE => return Err((frame, error)),
            _ => {
                self.in_memory = after;
                self.memory.push_back(frame);
            }
        }
        self.raw += raw;
        Ok(())
    }

    fn write(&mut self, frame: &Frame) -> io::Result<()> {
        let length = frame.bytes.len() as u64;
        if self.written + length > self.quota {
            return Err(io::Error::other(format!("the spool's {} bytes are used up", self.quota)));
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let folder = self.folder.as_ref().ok_or_else(|| io::Error::other("there is no spool folder"))?;
                none.insert(tempfile::tempfile_in(folder)?)
            }
        };
        self.floor.check(&*file, length)?;
        file.write_all_at(&frame.bytes, self.written)?;
        self.written += length;
        self.in_file.push_back((frame.bytes.len() as u32, frame.raw));
        Ok(())
    }

    /// The first frame that waits; `None` when there is none left.
    pub(super) fn next(&mut self) -> Option<io::Result<Frame>> {
        if let Some(frame) = self.memory.pop_front() {
            self.in_memory -= frame.bytes.len();
            self.raw -= u64::from(frame.raw);
            return Some(Ok(frame));
        }
        let (length, raw) = self.in_file.pop_front()?;
        self.raw -= u64::from(raw);
        let mut bytes = vec![0; length as usize];
        let file = self.file.as_ref().expect("frames in the file have a file");
        let result = file.read_exact_at(&mut bytes, self.read);
        self.read += u64::from(length);
        Some(result.map(|()| Frame { bytes: Bytes::from(bytes), raw }))
    }

    /// Drops what waits and gives the disk its room back.
    pub(super) fn clear(&mut self) {
        self.memory.clear();
        self.in_file.clear();
        (self.in_memory, self.read, self.raw) = (0, 0, 0);
        if self.written > 0 {
            // A file that cannot be emptied is closed, which frees it as well.
            if self.file.as_ref().is_some_and(|file| file.set_len(0).is_err()) {
                self.file = None;
            }
            self.written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(byte: u8, length: usize) -> Frame {
        Frame { bytes: Bytes::from(vec![byte; length]), raw: 1 << 20 }
    }

    #[test]
    fn frames_come_back_in_order_from_memory_and_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut spool = Spool::new(Some(folder.path().to_owned()), 64 << 20, Floor::of(0));
        for round in 0..2 {
            for n in 0..8u8 {
                spool.push(frame(n + round, 700_000)).expect("room");
            }
            assert_eq!(spool.raw(), 8 << 20);
            assert!(spool.written > 0, "the file was used");
            for n in 0..8u8 {
                assert_eq!(spool.next().expect("a frame").expect("read"), frame(n + round, 700_000));
            }
            assert!(spool.next().is_none());
            spool.clear();
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 0, "the file has no name");
    }

    #[test]
    fn a_full_spool_gives_the_frame_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for mut spool in [
            Spool::new(Some(folder.path().to_owned()), 1 << 20, Floor::of(0)),
            Spool::new(None, 1 << 30, Floor::of(0)),
            Spool::new(Some(folder.path().to_owned()), 1 << 30, Floor::unreachable()),
        ] {
            let refused = loop {
                if let Err((frame, _)) = spool.push(frame(1, 900_000)) {
                    break frame;
                }
            };
            assert_eq!(refused.bytes.len(), 900_000);
            assert!(spool.raw() >= 2 << 20, "what had room stays");
        }
    }
}
