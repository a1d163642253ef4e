//! Writes files of a bundle below one folder, and nowhere else.
//!
//! Every component is opened by its own descriptor and never through a link, so that neither what the archive says nor what stands
//! in the folder already can lead outside. Files are made new and never overwritten; their modes are 0600 or 0644, folders' 0755,
//! less the umask; nothing gets an owner, a link or a set-id bit.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self as sys, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::entry::EntryHead;
use super::path::EntryPath;

/// A folder to extract into.
pub struct Into {
    root: OwnedFd,
    /// The folder that the last file was put into.
    last: Option<(String, OwnedFd)>,
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Into {
    /// Opens the folder, and makes it when it is not there. It is the user's own word, so it may be a link.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let root = sys::open(folder, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty())?;
        Ok(Self { root, last: None })
    }

    /// Makes a new file at `path`, and the folders it lies in.
    ///
    /// # Errors
    /// When it is there already, or a link or a file stands in the way.
    pub fn create(&mut self, path: &EntryPath, mode: u32) -> io::Result<File> {
        let (folder, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
        let folder = self.folder(folder)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match sys::openat(folder, name, flags, Mode::from_raw_mode(mode & 0o644)) {
            Ok(file) => Ok(file.into()),
            Err(Errno::EXIST) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is there already")),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a folder.
    ///
    /// # Errors
    /// When a link or a file stands in the way.
    pub fn folder(&mut self, path: &str) -> io::Result<&OwnedFd> {
        if path.is_empty() {
            return Ok(&self.root);
        }
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            let mut at = None;
            for component in path.split('/') {
                at = Some(step(at.as_ref().unwrap_or(&self.root), component)?);
            }
            self.last = at.map(|at| (path.to_owned(), at));
        }
        Ok(self.last.as_ref().map_or(&self.root, |(_, folder)| folder))
    }
}

/// Opens the folder `name` in `folder`, and makes it when it is not there.
fn step(folder: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    // An `EntryPath` has no such component; this is the last line.
    if matches!(name, "" | "." | "..") {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    match sys::mkdirat(folder, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    sys::openat(folder, name, FOLDER, Mode::empty()).map_err(|error| match error {
        Errno::LOOP | Errno::NOTDIR => io::Error::new(io::ErrorKind::NotADirectory, "a link or a file is in the way"),
        other => other.into(),
    })
}

/// Sets a file's times to the entry's.
///
/// # Errors
/// When the file system refuses.
pub fn stamp(file: &File, head: &EntryHead) -> io::Result<()> {
    let seconds = i64::try_from(head.mtime_ns.div_euclid(1_000_000_000)).unwrap_or(0);
    let time = Timespec { tv_sec: seconds, tv_nsec: head.mtime_ns.rem_euclid(1_000_000_000) as _ };
    Ok(sys::futimens(file, &Timestamps { last_access: time, last_modification: time })?)
}

#[cfg(test)]
mod tests;
