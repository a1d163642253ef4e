//! The bytes of an opened file, at any place of it.
//!
//! An opened file comes in; bytes go out. Reads leave the page cache as they found it where the kernel can, and are asked for on threads
//! that can be left behind where the file's mount may hang. It never opens a path, and keeps no place.
//!
//! The node's own disks are read without such a thread: it would cost each read a copy and two changes of threads. A disk of those that hangs
//! holds the collection's thread, which nothing can interrupt, for as long as it hangs, and that collection alone: the daemon stays connected
//! and answers questions, the coordinator gives the node up as one that stalls and keeps what came of it, and an order that comes meanwhile
//! waits half a minute and is refused with `an earlier collection still hangs in a source`. When the disk answers, the thread sees that it was
//! stopped, and ends.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;

use rustix::fs::SeekFrom;
use rustix::io::{Errno, ReadWriteFlags};

use super::super::patience::Patient;

/// `RWF_DONTCACHE`, Linux 6.14.
const DONTCACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

/// Bytes that one thread reads where reading may hang.
const CHUNK: usize = 1 << 20;

/// Where bytes are read from.
#[derive(Debug)]
pub(super) struct Bytes {
    file: File,
    /// Whether this file system takes [`DONTCACHE`].
    uncached: bool,
    /// How reads are asked for, where the file's mount may hang.
    patient: Option<Patient>,
}

impl Bytes {
    pub(super) fn new(file: File) -> Self {
        Self { file, uncached: true, patient: None }
    }

    /// Reads on threads that can be left behind, where `patient` is given.
    pub(super) fn patiently(self, patient: Option<Patient>) -> Self {
        Self { patient, ..self }
    }

    /// Where its first data begins, before which it is a hole; none where nobody knows, or asking may hang. Reading has no place that it moves.
    pub(super) fn data(&self) -> Option<u64> {
        if self.patient.is_some() { None } else { rustix::fs::seek(&self.file, SeekFrom::Data(0)).ok() }
    }

    /// Where its first hole begins, its end being one; none where nobody knows, or asking may hang.
    pub(super) fn hole(&self) -> Option<u64> {
        if self.patient.is_some() { None } else { rustix::fs::seek(&self.file, SeekFrom::Hole(0)).ok() }
    }

    /// Reads some bytes at an offset; 0 behind its end.
    pub(super) fn at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if let Some(patient) = self.patient {
            let (file, most) = (self.file.try_clone()?, buffer.len().min(CHUNK));
            let read = move || {
                let mut chunk = vec![0; most];
                file.read_at(&mut chunk, offset).map(|n| (chunk, n))
            };
            let (chunk, n) = patient.ask(read).map_err(io::Error::other)??;
            buffer[..n].copy_from_slice(&chunk[..n]);
            return Ok(n);
        }
        loop {
            let read = if self.uncached {
                rustix::io::preadv2(self.file.as_fd(), &mut [IoSliceMut::new(buffer)], offset, DONTCACHE)
            } else {
                return self.file.read_at(buffer, offset);
            };
            match read {
                Err(Errno::INTR) => {}
                // Neither old kernels nor every file system know the flag; a real error shows again without it.
                Err(_) => self.uncached = false,
                Ok(n) => return Ok(n),
            }
        }
    }
}
