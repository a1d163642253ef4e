//! Rows that wait for the end of the bundle: in memory while they are few, then in an unlinked file.
//!
//! Where the disk takes no more of them they stay in memory again up to a bound, since a bundle on its way should not be lost for a few rows;
//! beyond it the error names the folder.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Bytes that stay in memory before there is a file.
const MEMORY: usize = 256 << 10;
/// Bytes that go to the file at once.
const PENDING: usize = 16 << 10;
/// Bytes that stay in memory where the disk takes no more.
const STRANDED: usize = 4 << 20;

/// Bytes that are read once, from the front, when all are there.
pub(super) struct Spool {
    folder: PathBuf,
    file: Option<File>,
    written: u64,
    /// Bytes behind those in the file, so that a row costs no call of the system.
    pending: Vec<u8>,
    /// Pending bytes with which the file is tried next.
    due: usize,
}

impl Spool {
    /// An empty one; its file is made in `folder` when it is needed.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), file: None, written: 0, pending: Vec::new(), due: MEMORY }
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// When the disk takes no more, and neither does memory.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() < self.due {
            return Ok(());
        }
        match self.write() {
            Ok(()) => {
                self.written += self.pending.len() as u64;
                self.pending.clear();
                self.due = PENDING;
            }
            Err(_) if self.pending.len() < STRANDED => self.due = (self.pending.len() + MEMORY).min(STRANDED),
            Err(error) => {
                let folder = self.folder.display();
                let reason = format!("there is no room in {folder} for what is to stand at the bundle's end: {error}");
                return Err(io::Error::new(error.kind(), reason));
            }
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile_in(&self.folder)?),
        };
        // What a failed attempt left of it is written over.
        file.write_all_at(&self.pending, self.written)
    }

    /// Gives everything to `sink`, in pieces.
    ///
    /// # Errors
    /// Any of the disk or of `sink`.
    pub(super) fn read(&self, mut sink: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut piece = vec![0; if self.file.is_some() { 64 << 10 } else { 0 }];
        let mut at = 0;
        while let Some(file) = self.file.as_ref().filter(|_| at < self.written) {
            let room = usize::try_from(self.written - at).unwrap_or(usize::MAX).min(piece.len());
            file.read_exact_at(&mut piece[..room], at)?;
            sink(&piece[..room])?;
            at += room as u64;
        }
        if self.pending.is_empty() { Ok(()) } else { sink(&self.pending) }
    }
}

/// Lines in the order they came.
pub(super) struct Rows {
    spool: Spool,
    bytes: u64,
    /// Whether lines are elements of a JSON array.
    json: bool,
}

impl Rows {
    /// Rows of a JSON array: `{…},` on each line but the last.
    pub(super) fn json(folder: &Path) -> Self {
        Self { spool: Spool::new(folder), bytes: 0, json: true }
    }

    /// Plain lines.
    pub(super) fn text(folder: &Path) -> Self {
        Self { json: false, ..Self::json(folder) }
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: &[u8]) -> io::Result<()> {
        if self.json && self.bytes > 0 {
            self.put(b",\n")?;
        }
        self.put(row)?;
        if self.json { Ok(()) } else { self.put(b"\n") }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.spool.push(bytes)
    }

    /// The rows, ended and ready to be read; what is pushed after that goes nowhere.
    pub(super) fn take(&mut self) -> Self {
        let empty = Self { spool: Spool::new(&self.spool.folder), bytes: 0, json: self.json };
        std::mem::replace(self, empty)
    }

    /// Bytes that [`Rows::read`] gives.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes + u64::from(self.json && self.bytes > 0)
    }

    /// Gives all rows to `sink`, in pieces.
    pub(super) fn read(&mut self, mut sink: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.spool.read(&mut sink)?;
        if self.json && self.bytes > 0 { sink(b"\n") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(spool: &Spool) -> Vec<u8> {
        let mut bytes = Vec::new();
        spool
            .read(|piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            })
            .expect("read");
        bytes
    }

    #[test]
    fn bytes_come_back_in_order_from_memory_and_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (mut spool, mut wanted) = (Spool::new(folder.path()), Vec::new());
        for number in 0..200_000_u32 {
            spool.push(&number.to_le_bytes()).expect("room");
            wanted.extend_from_slice(&number.to_le_bytes());
            if number == 1000 {
                assert!(spool.file.is_none() && all(&spool) == wanted);
            }
        }
        assert!(spool.file.is_some() && !spool.pending.is_empty());
        assert!(all(&spool) == wanted);
    }

    #[test]
    fn without_a_disk_memory_takes_some_and_then_the_folder_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let gone = folder.path().join("gone");
        let (mut spool, mut taken) = (Spool::new(&gone), 0);
        let error = loop {
            match spool.push(&[7; 1000]) {
                Ok(()) => taken += 1000,
                Err(error) => break error,
            }
        };
        assert!((STRANDED - 2000..STRANDED).contains(&taken), "{taken}");
        assert!(error.to_string().contains(&gone.display().to_string()), "{error}");
    }

    #[test]
    fn a_bundle_outlives_a_disk_without_room() {
        use crate::bundle::Format;
        use crate::bundle::assemble::{Assembler, SealKey};
        use crate::bundle::fixture::{NOW, node, note, request};
        use crate::bundle::manifest::NodeRow;
        use crate::bundle::outcome::{Outcome, Verdict};
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (key, gone) = (SealKey::generate(), folder.path().join("gone"));
        for format in [Format::Tar, Format::TarZst] {
            let mut assembler = Assembler::new_in(Vec::new(), format, &request(&["a"]), &key, &gone).expect("begins");
            for number in 0..4000 {
                let note = note(&format!("files/var/log/{number}.log"), false, Outcome::Skipped);
                assembler.append(&node("a"), &[], None, &[], &[note]).expect("room in memory");
            }
            assembler.node(NodeRow { name: "a".to_owned(), ..NodeRow::default() }).expect("a row");
            let bundle = assembler.seal(NOW).expect("sealed").0;
            let mut skipped = 0;
            let mut count = |_: &crate::bundle::verify::Finding| skipped += 1;
            let seen = crate::bundle::verify::verify(&mut &bundle[..], None, folder.path(), &mut count);
            assert_eq!((seen.expect("read").verdict, skipped), (Verdict::Complete, 4000));
        }
    }

    #[test]
    fn a_disk_that_has_room_again_takes_what_was_held() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let later = folder.path().join("later");
        let mut spool = Spool::new(&later);
        spool.push(&vec![1; MEMORY + 1]).expect("held");
        std::fs::create_dir(&later).expect("a folder");
        spool.push(&vec![2; MEMORY]).expect("written");
        assert!(spool.file.is_some() && spool.pending.is_empty());
        assert!(all(&spool) == [vec![1; MEMORY + 1], vec![2; MEMORY]].concat());
    }
}
