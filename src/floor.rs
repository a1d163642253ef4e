//! The floor: free space that a disk keeps whatever we would like to put there for a while.
//!
//! Numbers come from the configuration and from the file system that holds an open file or folder; an error that says what is missing goes
//! out. It never frees anything: who is refused has another way, or waits, or gives up for a reason that people can read.

use std::io;
use std::os::fd::AsFd;

use crate::limits::DISK_FLOOR;

/// Free space to keep: a part of the disk, and never more than so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// Percent of the disk.
    percent: u64,
    /// Bytes at most.
    most: u64,
}

impl Default for Floor {
    fn default() -> Self {
        Self::of(DISK_FLOOR.1)
    }
}

impl Floor {
    /// At most so many bytes; 0 for none at all.
    pub fn of(most: u64) -> Self {
        Self { percent: DISK_FLOOR.0, most }
    }

    /// Whether `bytes` more may be written where this file or folder lies. A file system that does not say how much is free is not stopped
    /// for it.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`], with the numbers.
    pub fn check(&self, place: impl AsFd, bytes: u64) -> io::Result<()> {
        if self.most == 0 {
            return Ok(());
        }
        let Ok(disk) = rustix::fs::fstatvfs(place) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let size = disk.f_blocks.saturating_mul(disk.f_frsize);
        self.holds(size, free, bytes)
    }

    fn holds(&self, size: u64, free: u64, bytes: u64) -> io::Result<()> {
        let least = (size / 100).saturating_mul(self.percent).min(self.most);
        if free >= least.saturating_add(bytes) {
            return Ok(());
        }
        let reason = format!("the disk has {free} bytes free, of which {least} are to stay free");
        Err(io::Error::new(io::ErrorKind::StorageFull, reason))
    }

    /// One that no disk holds.
    #[cfg(test)]
    pub fn unreachable() -> Self {
        Self { percent: 101, most: u64::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_the_part_and_the_bytes_stays_free() {
        let floor = Floor::of(1 << 30);
        let small = 1_000_000_000;
        assert!(floor.holds(small, 50_000_100, 100).is_ok());
        let error = floor.holds(small, 50_000_100, 101).expect_err("below");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(error.to_string(), "the disk has 50000100 bytes free, of which 50000000 are to stay free");
        assert!(floor.holds(1 << 50, (1 << 30) + 5, 5).is_ok());
        assert!(floor.holds(1 << 50, (1 << 30) + 5, 6).is_err());
    }

    #[test]
    fn real_disks_are_asked() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = std::fs::File::open(folder.path()).expect("opened");
        assert!(Floor::unreachable().check(&folder, 0).is_err());
        assert!(Floor::of(0).check(&folder, u64::MAX).is_ok(), "none is none");
        assert!(Floor::of(1).check(&folder, 0).is_ok());
    }
}
