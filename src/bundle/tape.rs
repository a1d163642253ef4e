//! A bundle's bytes from front to end, in either format, as chunks of tar.
//!
//! Comes from a file or a pipe, holds one frame at most, and for a `.tar.zst` holds every byte against the digest and the seek table
//! at the end. Whether the tar itself is right is not known here.

use std::io::{self, Read, Seek as _, Write as _};
use std::path::Path;

use tempfile::SpooledTempFile;

use super::Format;
use super::entry::BLOCK;
use super::frame::{self, Decompressor, FRAME_WIRE, FrameError, Measured, measure};
use super::seek;

/// Bytes asked of the input at once.
const PIECE: u64 = 256 << 10;
/// Bytes of the seek table that stay in memory.
const MEMORY: usize = 256 << 10;

/// Why a bundle's bytes cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// They end too early.
    #[error("file ends {0}")]
    Cut(&'static str),
    /// They are not as they were written.
    #[error("{0}")]
    Wrong(String),
    /// They cannot be read at all.
    #[error("cannot read")]
    Io(#[from] io::Error),
}

impl From<FrameError> for Broken {
    fn from(error: FrameError) -> Self {
        Self::Wrong(error.to_string())
    }
}

/// What it means that an entry cannot be read: before the first one has begun, that there is no bundle.
pub(super) fn unreadable(begun: bool, why: &impl std::fmt::Display) -> Broken {
    Broken::Wrong(if begun { why.to_string() } else { format!("this is no bundle of sheaf: {why}") })
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Broken> {
    Err(Broken::Wrong(what.into()))
}

/// Reads a bundle once, from its first byte to its last.
pub struct Tape<R> {
    input: R,
    /// Bytes read and not yet used, from `at` on.
    buffer: Vec<u8>,
    at: usize,
    ended: bool,
    /// Bytes used.
    consumed: u64,
    raw: Vec<u8>,
    form: Form,
}

enum Form {
    Tar,
    TarZst { decompressor: Decompressor, digest: Box<blake3::Hasher>, table: SpooledTempFile, frames: u32, done: bool },
}

impl<R: Read> Tape<R> {
    /// Looks at the first bytes to tell the format; `spool` is for the seek table of a large bundle.
    ///
    /// # Errors
    /// When there is too little to tell, or it is neither format.
    pub fn new(input: R, spool: &Path) -> Result<Self, Broken> {
        let (buffer, raw) = (Vec::new(), Vec::new());
        let mut tape = Self { input, buffer, at: 0, ended: false, consumed: 0, raw, form: Form::Tar };
        tape.want(BLOCK)?;
        let first = tape.rest();
        if first.len() < 4 {
            return Err(Broken::Cut("before anything can be told of it"));
        }
        if first[..4] == frame::MAGIC {
            tape.form = Form::TarZst {
                decompressor: Decompressor::new()?,
                digest: Box::default(),
                table: tempfile::spooled_tempfile_in(MEMORY, spool),
                frames: 0,
                done: false,
            };
        } else if !first.starts_with(b"shea") && !first.starts_with(b"REQU") && !first.starts_with(b"././") {
            return wrong(
                "this is no bundle of sheaf: it starts neither with a zstd frame nor with REQUEST.json in a tar",
            );
        }
        Ok(tape)
    }

    /// Which of the two it is.
    pub fn format(&self) -> Format {
        if matches!(self.form, Form::Tar) { Format::Tar } else { Format::TarZst }
    }

    /// Bytes of the file so far.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Frames so far; none in a `.tar`.
    pub fn frames(&self) -> usize {
        match self.form {
            Form::Tar => 0,
            Form::TarZst { frames, .. } => frames as usize,
        }
    }

    /// The next chunk of tar: a frame's content, or some of the file; `None` at the end, which for frames was checked then.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn chunk(&mut self) -> Result<Option<&[u8]>, Broken> {
        match self.form {
            Form::Tar => self.next_tar(),
            Form::TarZst { .. } => self.next_frame(),
        }
    }

    fn next_tar(&mut self) -> Result<Option<&[u8]>, Broken> {
        self.want(1)?;
        let from = self.at;
        self.at = self.buffer.len();
        self.consumed += (self.at - from) as u64;
        let chunk = &self.buffer[from..];
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    fn next_frame(&mut self) -> Result<Option<&[u8]>, Broken> {
        if matches!(self.form, Form::TarZst { done: true, .. }) {
            return Ok(None);
        }
        self.want(4)?;
        match self.rest().get(..4) {
            None if self.rest().is_empty() => return Err(Broken::Cut("between two frames, before the seal's end")),
            None => return Err(Broken::Cut("inside a frame's header")),
            Some(magic) if magic == seek::DIGEST_MAGIC => return self.tail().map(|()| None),
            Some(_) => {}
        }
        let (length, raw) = loop {
            let measured = measure(self.rest()).map_err(|error| unreadable(self.consumed > 0, &error))?;
            match measured {
                Measured::Whole { length, raw } => break (length, raw),
                Measured::More if self.ended => return Err(Broken::Cut("inside a frame")),
                Measured::More => self.want(self.rest().len() + 1)?,
            }
        };
        let Form::TarZst { decompressor, digest, table, frames, .. } = &mut self.form else { return Ok(None) };
        let bytes = &self.buffer[self.at..self.at + length];
        self.raw.clear();
        decompressor.append(bytes, &mut self.raw)?;
        digest.update(bytes);
        table.write_all(&seek::entry(length, raw))?;
        *frames = frames.checked_add(1).ok_or_else(|| Broken::Wrong("too many frames".to_owned()))?;
        self.at += length;
        self.consumed += length as u64;
        Ok(Some(&self.raw))
    }

    /// Holds the last bytes against what they must be: the digest's frame, the seek table, the end.
    fn tail(&mut self) -> Result<(), Broken> {
        let Form::TarZst { digest, table, frames, done, .. } = &mut self.form else { return Ok(()) };
        *done = true;
        let digest = seek::digest_frame(&digest.finalize());
        table.write_all(&seek::entry(seek::DIGEST_FRAME, 0))?;
        let frames = frames.saturating_add(1);
        table.rewind()?;
        let mut table = std::mem::replace(table, SpooledTempFile::new(0));
        self.same(&digest, "frame digest")?;
        self.same(&seek::table_head(frames)?, "seek table's head")?;
        let mut piece = vec![0; 16 << 10];
        loop {
            match table.read(&mut piece)? {
                0 => break,
                length => self.same(&piece[..length], "seek table")?,
            }
        }
        self.same(&seek::table_foot(frames), "seek table's foot")?;
        self.want(1)?;
        if self.rest().is_empty() { Ok(()) } else { wrong("bytes follow the seek table") }
    }

    fn same(&mut self, expected: &[u8], what: &'static str) -> Result<(), Broken> {
        self.want(expected.len())?;
        let there = self.rest().len().min(expected.len());
        if self.rest()[..there] != expected[..there] {
            return wrong(format!("{what} is wrong"));
        }
        if there < expected.len() {
            return Err(Broken::Cut(if what == "frame digest" {
                "inside the frame digest"
            } else {
                "inside the seek table"
            }));
        }
        self.at += there;
        self.consumed += there as u64;
        Ok(())
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// Reads until `count` unused bytes are there or the input ends. Never more than a frame and a piece are held.
    fn want(&mut self, count: usize) -> io::Result<()> {
        debug_assert!(count <= FRAME_WIRE + 1);
        if self.buffer.len() - self.at >= count || self.ended {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        while self.buffer.len() < count && !self.ended {
            let read = self.input.by_ref().take(PIECE).read_to_end(&mut self.buffer)?;
            self.ended = (read as u64) < PIECE;
        }
        Ok(())
    }
}
