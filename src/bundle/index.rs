//! Tar bytes of a bundle file at any offset, through the seek table: only the frames that hold them are read and decompressed.
//!
//! For a plain tar it is the file itself. Whether the bytes are right is for the digests to say that stand in the manifest.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::Format;
use super::frame::{self, Decompressor, FRAME_RAW, FRAME_WIRE};
use super::seek::{DIGEST_FRAME, ENTRY, FOOT, table_foot, table_head};

/// Frames of a bundle at most, for the sake of memory: 16 TiB of tar.
const FRAMES: u64 = 16 << 20;

/// Why a file cannot be read by offset.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// There is no seek table at its end, or a wrong one.
    #[error("{0}")]
    Table(&'static str),
    /// A frame is not what it was.
    #[error(transparent)]
    Frame(#[from] frame::FrameError),
    /// The file cannot be read.
    #[error("cannot read")]
    Io(#[from] io::Error),
}

/// Where a frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Start {
    /// In the file.
    file: u64,
    /// In the tar.
    tar: u64,
}

/// A bundle file that can be read at any offset of its tar.
pub struct Index {
    file: File,
    length: u64,
    /// One for each frame, and one for the end; empty for a plain tar.
    frames: Vec<Start>,
    decompressor: Decompressor,
    /// The frame decompressed last.
    current: Option<usize>,
    raw: Vec<u8>,
    wire: Vec<u8>,
    decoded: u64,
}

impl Index {
    /// Reads the seek table, if the file is a `.tar.zst`.
    ///
    /// # Errors
    /// When the file has no seek table, a wrong one, or cannot be read.
    pub fn open(file: File) -> Result<Self, IndexError> {
        let length = file.metadata()?.len();
        let mut magic = [0; 4];
        file.read_exact_at(&mut magic, 0).map_err(|_| IndexError::Table("file is too short"))?;
        let frames = if magic == frame::MAGIC { table(&file, length)? } else { Vec::new() };
        Ok(Self {
            file,
            length,
            frames,
            decompressor: Decompressor::new()?,
            current: None,
            raw: Vec::new(),
            wire: Vec::new(),
            decoded: 0,
        })
    }

    /// Which of the two formats it is.
    pub fn format(&self) -> Format {
        if self.frames.is_empty() { Format::Tar } else { Format::TarZst }
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of tar.
    pub fn tar_length(&self) -> u64 {
        self.frames.last().map_or(self.length, |end| end.tar)
    }

    /// Frames of the file; none for a plain tar.
    pub fn frames(&self) -> usize {
        self.frames.len().saturating_sub(1)
    }

    /// Where the last frame begins in the tar; for a plain tar, nothing is known.
    pub fn last_frame(&self) -> Option<u64> {
        self.frames.len().checked_sub(2).map(|last| self.frames[last].tar)
    }

    /// Frames decompressed so far.
    pub fn decoded(&self) -> u64 {
        self.decoded
    }

    /// Some bytes of tar from `offset` on, `most` at most; none at the end.
    ///
    /// # Errors
    /// When a frame is not what it was, or the file cannot be read.
    pub fn read(&mut self, offset: u64, most: usize) -> Result<&[u8], IndexError> {
        if offset >= self.tar_length() {
            return Ok(&[]);
        }
        if self.frames.is_empty() {
            let length = usize::try_from(self.length - offset).unwrap_or(usize::MAX).min(most).min(FRAME_RAW);
            self.raw.resize(length, 0);
            self.file.read_exact_at(&mut self.raw, offset)?;
            return Ok(&self.raw);
        }
        let at = self.frames.partition_point(|start| start.tar <= offset) - 1;
        self.decode(at)?;
        let from = (offset - self.frames[at].tar) as usize;
        let to = from.saturating_add(most).min(self.raw.len());
        Ok(&self.raw[from..to])
    }

    fn decode(&mut self, at: usize) -> Result<(), IndexError> {
        if self.current == Some(at) {
            return Ok(());
        }
        self.current = None;
        let (start, end) = (self.frames[at], self.frames[at + 1]);
        self.wire.resize((end.file - start.file) as usize, 0);
        self.file.read_exact_at(&mut self.wire, start.file)?;
        self.raw.clear();
        self.decompressor.append(&self.wire, &mut self.raw)?;
        self.decoded += 1;
        if self.raw.len() as u64 != end.tar - start.tar {
            return Err(IndexError::Table("seek table and frames differ"));
        }
        self.current = Some(at);
        Ok(())
    }
}

/// Reads the seek table at the end of the file, and holds it against the file's length.
fn table(file: &File, length: u64) -> Result<Vec<Start>, IndexError> {
    let mut foot = [0; FOOT];
    let foot_at = length.checked_sub(FOOT as u64).ok_or(IndexError::Table("file is too short"))?;
    file.read_exact_at(&mut foot, foot_at)?;
    let count = u32::from_le_bytes([foot[0], foot[1], foot[2], foot[3]]);
    if foot != table_foot(count) {
        return Err(IndexError::Table("file has no seek table at its end"));
    }
    if u64::from(count) > FRAMES || count < 2 {
        return Err(IndexError::Table("seek table is too large or too small"));
    }
    let rows_at = foot_at.checked_sub(u64::from(count) * ENTRY as u64).ok_or(IndexError::Table("file is too short"))?;
    let head_at = rows_at.checked_sub(8).ok_or(IndexError::Table("file is too short"))?;
    let mut head = [0; 8];
    file.read_exact_at(&mut head, head_at)?;
    if head != table_head(count)? {
        return Err(IndexError::Table("seek table has a wrong head"));
    }
    let mut rows = vec![0; (foot_at - rows_at) as usize];
    file.read_exact_at(&mut rows, rows_at)?;
    starts(&rows)
        .filter(|(_, end)| *end == head_at)
        .map(|(starts, _)| starts)
        .ok_or(IndexError::Table("seek table is wrong"))
}

/// Sums the rows up; gives also where the last of them, which is the digest's, ends in the file.
fn starts(rows: &[u8]) -> Option<(Vec<Start>, u64)> {
    let (rows, rest) = rows.as_chunks::<ENTRY>();
    let (last, rows) = rows.split_last()?;
    if *last != super::seek::entry(DIGEST_FRAME, 0) || !rest.is_empty() {
        return None;
    }
    let mut starts = Vec::with_capacity(rows.len() + 1);
    let mut at = Start { file: 0, tar: 0 };
    for row in rows {
        starts.push(at);
        let [a, b, c, d, e, f, g, h] = *row;
        let (wire, raw) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if wire as usize > FRAME_WIRE || raw as usize > FRAME_RAW || wire == 0 || raw == 0 {
            return None;
        }
        at = Start { file: at.file + u64::from(wire), tar: at.tar + u64::from(raw) };
    }
    starts.push(at);
    Some((starts, at.file + DIGEST_FRAME as u64))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::bundle::assemble::SealKey;
    use crate::bundle::fixture::small;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(bytes).expect("writes");
        file
    }

    fn all(index: &mut Index) -> Vec<u8> {
        let mut tar = Vec::new();
        loop {
            let piece = index.read(tar.len() as u64, 300).expect("reads");
            if piece.is_empty() {
                return tar;
            }
            tar.extend_from_slice(piece);
        }
    }

    #[test]
    fn both_formats_give_the_same_tar() {
        let key = SealKey::generate();
        let [tar, zst] = [Format::Tar, Format::TarZst].map(|format| {
            let mut index = Index::open(file(&small(format, &key))).expect("opens");
            assert_eq!(index.format(), format);
            all(&mut index)
        });
        // Signatures are deterministic, so the seals are the same too.
        assert_eq!(tar, zst);
        assert_eq!(tar, small(Format::Tar, &key));
    }

    #[test]
    fn a_table_that_is_cut_or_flipped_is_refused() {
        let good = small(Format::TarZst, &SealKey::generate());
        let frames = Index::open(file(&good)).expect("opens").frames();
        let table = 8 + (frames + 1) * ENTRY + FOOT;
        for cut in good.len() - table..good.len() {
            assert!(Index::open(file(&good[..cut])).is_err(), "{cut}");
        }
        for at in good.len() - table..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            // A flip in a decompressed size is found when that frame is read.
            if let Ok(mut index) = Index::open(file(&bad)) {
                let mut offset = 0;
                let broken = loop {
                    match index.read(offset, FRAME_RAW) {
                        Err(_) => break true,
                        Ok([]) => break false,
                        Ok(piece) => offset += piece.len() as u64,
                    }
                };
                assert!(broken, "{at}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_table_is_read_without_panic(rows: Vec<u8>, file_tail: Vec<u8>) {
            if let Some((starts, end)) = starts(&rows) {
                proptest::prop_assert_eq!((starts.len() * ENTRY, end), (rows.len(), starts[starts.len() - 1].file + 40));
            }
            let _ = Index::open(file(&[frame::MAGIC.as_slice(), &file_tail].concat()));
        }

        #[test]
        fn a_written_table_is_read_back(sizes in proptest::collection::vec((1usize..FRAME_WIRE, 1u32..=FRAME_RAW as u32), 1..50)) {
            let mut rows: Vec<u8> = sizes.iter().flat_map(|(wire, raw)| crate::bundle::seek::entry(*wire, *raw)).collect();
            rows.extend_from_slice(&crate::bundle::seek::entry(DIGEST_FRAME, 0));
            let (starts, end) = starts(&rows).expect("reads");
            let wire: usize = sizes.iter().map(|(wire, _)| wire).sum();
            let raw: u64 = sizes.iter().map(|(_, raw)| u64::from(*raw)).sum();
            proptest::prop_assert_eq!(starts.last(), Some(&Start { file: wire as u64, tar: raw }));
            proptest::prop_assert_eq!(end, (wire + DIGEST_FRAME) as u64);
        }
    }
}
