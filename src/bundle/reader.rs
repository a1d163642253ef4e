//! Reads from a whole bundle what is asked for, and no more: through seal, manifest and seek table.
//!
//! The seal's signature and the manifest's digest are checked on the way, and each file's digest when it is read to its end, so
//! what comes out is what the signer's manifest says. Whether the signer is the right one, and whether the rest of the file is in
//! order, is for `verify`. A bundle without its end is read by [`super::scan`].

use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;

use super::entry::{BLOCK, Decoded, EntryHead, Kind, decode, padding};
use super::frame::FRAME_RAW;
use super::index::{Index, IndexError};
use super::manifest::lines::{Beginning, Lines, ManifestError, RawRow, Row};
use super::manifest::{FORMAT, FileRow, Request, Seal, Statement};
use super::seal::{PublicKey, SealError};

/// Bytes before the end of a plain tar in which the seal is looked for, and bytes of a seal or a request at most.
pub(super) const SMALL: u64 = 8 << 20;

/// Why a bundle cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It has no end to start from: cut, or no bundle at all. Scanning may still read it.
    #[error("{0}")]
    NoEnd(String),
    /// Its seal is there and does not hold. Scanning may still read what it seals, for which nobody vouches then.
    #[error("{0}")]
    Unsealed(String),
    /// Something in it is not as it was written.
    #[error("{0}")]
    Damaged(String),
    /// What was asked for is not in it.
    #[error("no such file in the bundle: {0}")]
    NotFound(String),
    /// The file cannot be read, or what was read not be written.
    #[error("cannot read or write")]
    Io(#[from] io::Error),
}

impl From<IndexError> for ReadError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Io(error) => Self::Io(error),
            other => Self::Damaged(other.to_string()),
        }
    }
}
impl From<ManifestError> for ReadError {
    fn from(error: ManifestError) -> Self {
        Self::Damaged(crate::report::chain(&error))
    }
}
impl From<SealError> for ReadError {
    fn from(error: SealError) -> Self {
        Self::Unsealed(error.to_string())
    }
}

/// A bundle with its end in place.
pub struct Reader {
    index: Index,
    statement: Statement,
    key: PublicKey,
    seal: FileRow,
}

impl Reader {
    /// Opens a bundle by its end.
    ///
    /// # Errors
    /// [`ReadError::NoEnd`] when there is no end to start from, [`ReadError::Unsealed`] when the seal there does not hold; other
    /// errors when the file cannot be read.
    pub fn open(file: File) -> Result<Self, ReadError> {
        let mut index = match Index::open(file) {
            Err(IndexError::Io(error)) => return Err(error.into()),
            Err(other) => return Err(ReadError::NoEnd(other.to_string())),
            Ok(index) => index,
        };
        let (offset, content) = match find_seal(&mut index) {
            Err(ReadError::Io(error)) => return Err(error.into()),
            Err(other) => return Err(ReadError::NoEnd(other.to_string())),
            Ok(found) => found,
        };
        let (statement, key) = sealed(&content)?;
        let (size, blake3) = (content.len() as u64, blake3::hash(&content).to_hex().to_string());
        let seal = FileRow { path: "SEAL.json".into(), size, blake3, offset, ..FileRow::default() };
        Ok(Self { index, statement, key, seal })
    }

    /// What the seal states.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The key that the seal names.
    pub fn key(&self) -> PublicKey {
        self.key
    }

    /// The file under it.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// REQUEST.json.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn request(&mut self) -> Result<Request, ReadError> {
        let (head, start) = self.head(0, "REQUEST.json")?;
        let mut content = Vec::new();
        self.content(start, head.size.min(SMALL), &mut content)?;
        serde_json::from_slice(&content).map_err(|e| ReadError::Damaged(format!("REQUEST.json is malformed: {e}")))
    }

    /// Gives every row of the manifest to `sink`, which may stop; read to its end, the manifest is held against the seal.
    ///
    /// # Errors
    /// When the manifest is not what the seal says, or cannot be read, or `sink` fails.
    pub fn rows(
        &mut self,
        mut sink: impl FnMut(RawRow<'_>) -> Result<ControlFlow<()>, ReadError>,
    ) -> Result<(), ReadError> {
        let (head, mut at) = self.head(self.statement.manifest_at, "manifest.json")?;
        let mut lines = Lines::new(&self.statement.bundle);
        let mut digest = blake3::Hasher::new();
        let mut left = head.size;
        let mut stopped = false;
        while left > 0 && !stopped {
            let piece = self.index.read(at, usize::try_from(left).unwrap_or(usize::MAX).min(FRAME_RAW))?;
            if piece.is_empty() {
                return Err(ReadError::Damaged("manifest.json is cut".to_owned()));
            }
            digest.update(piece);
            lines.feed::<ReadError>(piece, |row| {
                stopped = stopped || sink(row)?.is_break();
                Ok(())
            })?;
            at += piece.len() as u64;
            left -= piece.len() as u64;
        }
        if stopped {
            return Ok(());
        }
        lines.finish()?;
        self.same(&self.statement.manifest, &digest.finalize(), "manifest.json")
    }

    /// The row of one file: of the manifest, or one of the three that follow its rows.
    ///
    /// # Errors
    /// [`ReadError::NotFound`], and as [`Reader::rows`].
    pub fn find(&mut self, path: &str) -> Result<FileRow, ReadError> {
        if let Some(row) = self.tail()?.into_iter().find(|row| row.path == path) {
            return Ok(row);
        }
        let beginning = Beginning::of(path);
        let mut found = None;
        self.rows(|row| {
            if found.is_none() && row.is(&beginning) {
                found = Some(row.parse()?);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        match found {
            Some(Row::File(row)) => Ok(row),
            _ => Err(ReadError::NotFound(path.to_owned())),
        }
    }

    /// The rows of manifest.json, B3SUMS and SEAL.json, which the manifest cannot list.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn tail(&mut self) -> Result<[FileRow; 3], ReadError> {
        let (manifest_at, b3sums_at) = (self.statement.manifest_at, self.statement.b3sums_at);
        let (manifest, b3sums) = (self.statement.manifest.clone(), self.statement.b3sums.clone());
        let mut row = |offset, path: &str, blake3: String| {
            let size = self.head(offset, path)?.0.size;
            Ok::<_, ReadError>(FileRow { path: path.to_owned(), size, blake3, offset, ..FileRow::default() })
        };
        Ok([row(manifest_at, "manifest.json", manifest)?, row(b3sums_at, "B3SUMS", b3sums)?, self.seal.clone()])
    }

    /// The header of a row's file.
    ///
    /// # Errors
    /// When there is another entry at its offset.
    pub fn stat(&mut self, row: &FileRow) -> Result<EntryHead, ReadError> {
        self.head(row.offset, &row.path).map(|(head, _)| head)
    }

    /// Writes a file's content to `out` and holds it against the row's digest.
    ///
    /// # Errors
    /// When the file is not what the row says; what was written until then is written.
    pub fn copy(&mut self, row: &FileRow, out: &mut impl Write) -> Result<EntryHead, ReadError> {
        let (head, start) = self.head(row.offset, &row.path)?;
        if head.size != row.size {
            return Err(ReadError::Damaged(format!("{} has another size than the manifest says", row.path)));
        }
        let digest = self.content(start, head.size, out)?;
        self.same(&row.blake3, &digest, &row.path)?;
        Ok(head)
    }

    fn same(&self, expected: &str, found: &blake3::Hash, what: &str) -> Result<(), ReadError> {
        if expected == found.to_hex().as_str() {
            return Ok(());
        }
        Err(ReadError::Damaged(format!("{what} is not what its digest says")))
    }

    /// Reads the header at `offset`, which must be that of `path`; gives also where its content begins.
    fn head(&mut self, offset: u64, path: &str) -> Result<(EntryHead, u64), ReadError> {
        let (head, blocks) = head_at(&mut self.index, offset)?
            .ok_or_else(|| ReadError::Damaged(format!("there is no entry at the offset of {path}")))?;
        let whole = head.path.as_str().strip_prefix(self.statement.bundle.as_str()).and_then(|p| p.strip_prefix('/'));
        if whole != Some(path) {
            return Err(ReadError::Damaged(format!("there is another entry at the offset of {path}")));
        }
        Ok((head, offset + blocks as u64))
    }

    fn content(&mut self, at: u64, size: u64, out: &mut impl Write) -> Result<blake3::Hash, ReadError> {
        copy_out(&mut self.index, at, size, out)
    }
}

/// What SEAL.json states, and the key that it names.
///
/// # Errors
/// [`ReadError::Unsealed`] when the seal does not hold, [`ReadError::Damaged`] when it is of a format that is not known.
pub fn sealed(content: &[u8]) -> Result<(Statement, PublicKey), ReadError> {
    let (statement, key) = Seal::open(content)?;
    if statement.format != FORMAT {
        let format = crate::report::brief(&statement.format, 40);
        return Err(ReadError::Damaged(format!("made in format {format}, which this version does not know")));
    }
    Ok((statement, key))
}

/// Copies bytes of tar and digests them.
fn copy_out(index: &mut Index, mut at: u64, size: u64, out: &mut impl Write) -> Result<blake3::Hash, ReadError> {
    let mut digest = blake3::Hasher::new();
    let end = at + size;
    while at < end {
        let piece = index.read(at, usize::try_from(end - at).unwrap_or(usize::MAX).min(FRAME_RAW))?;
        if piece.is_empty() {
            return Err(ReadError::Damaged("the archive is shorter than its manifest says".to_owned()));
        }
        digest.update(piece);
        out.write_all(piece)?;
        at += piece.len() as u64;
    }
    Ok(digest.finalize())
}

/// The file's header at `offset`, and its bytes; none when there is something else.
fn head_at(index: &mut Index, offset: u64) -> Result<Option<(EntryHead, usize)>, ReadError> {
    let mut blocks = Vec::new();
    let mut need = BLOCK;
    loop {
        while blocks.len() < need {
            let piece = index.read(offset.saturating_add(blocks.len() as u64), need - blocks.len())?;
            if piece.is_empty() {
                return Ok(None);
            }
            blocks.extend_from_slice(piece);
        }
        match decode(&blocks) {
            Ok(Decoded::Need(more)) => need = more,
            Ok(Decoded::Whole(Kind::File, head)) => return Ok(Some((head, need))),
            Ok(Decoded::Whole(Kind::Folder, _)) | Err(_) => return Ok(None),
        }
    }
}

/// Finds SEAL.json by the end of the archive: in the last frame, or going back block by block.
fn find_seal(index: &mut Index) -> Result<(u64, Vec<u8>), ReadError> {
    let none = || ReadError::NoEnd("there is no seal at its end".to_owned());
    let end =
        index.tar_length().checked_sub(2 * BLOCK as u64).filter(|end| end % BLOCK as u64 == 0).ok_or_else(none)?;
    let first = index.last_frame().unwrap_or_else(|| end.saturating_sub(64 << 10));
    let mut at = end;
    while at > first {
        at -= BLOCK as u64;
        if index.last_frame().is_some() {
            at = first;
        }
        let Some((head, blocks)) = head_at(index, at)? else { continue };
        let start = at + blocks as u64;
        let ends_there = start + head.size + padding(head.size) == end;
        if head.path.as_str().ends_with("/SEAL.json") && head.size <= SMALL && ends_there {
            let mut content = Vec::new();
            copy_out(index, start, head.size, &mut content)?;
            return Ok((at, content));
        }
    }
    Err(none())
}

#[cfg(test)]
mod tests;
