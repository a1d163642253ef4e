//! The bytes of a bundle: plain tar, or frames with a seek table at the end.

use std::io::{self, Write};
use std::path::Path;

use super::spool::Spool;
use crate::bundle::Format;
use crate::bundle::entry::{BLOCK, padding};
use crate::bundle::frame::{Compressor, Decompressor, FRAME_RAW, Frame};
use crate::bundle::seek;

/// Writes tar bytes and frames in one of the two formats.
pub(super) struct Output<W> {
    out: W,
    /// Bytes of tar so far.
    position: u64,
    /// Bytes of our own that make the next frame.
    own: Vec<u8>,
    form: Form,
}

enum Form {
    Tar { decompressor: Decompressor, raw: Vec<u8> },
    TarZst { compressor: Box<Compressor>, digest: Box<blake3::Hasher>, table: Spool, frames: u32 },
}

impl<W: Write> Output<W> {
    pub(super) fn new(out: W, format: Format, spool: &Path) -> io::Result<Self> {
        let form = match format {
            Format::Tar => Form::Tar { decompressor: Decompressor::new()?, raw: Vec::new() },
            Format::TarZst => Form::TarZst {
                compressor: Box::new(Compressor::new()?),
                digest: Box::default(),
                table: Spool::new(spool),
                frames: 0,
            },
        };
        Ok(Self { out, position: 0, own: Vec::new(), form })
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn writer(&mut self) -> &mut W {
        &mut self.out
    }

    /// Writes frames as they are, or what they hold.
    pub(super) fn frames(&mut self, frames: &[Frame], raw: Option<&[u8]>) -> io::Result<()> {
        self.flush()?;
        for frame in frames {
            self.position += u64::from(frame.raw);
            match &mut self.form {
                Form::Tar { .. } if raw.is_some() => {}
                Form::Tar { decompressor, raw } => {
                    raw.clear();
                    decompressor.append(&frame.bytes, raw).map_err(io::Error::other)?;
                    self.out.write_all(raw)?;
                }
                Form::TarZst { digest, table, frames, .. } => {
                    digest.update(&frame.bytes);
                    self.out.write_all(&frame.bytes)?;
                    table.push(&seek::entry(frame.bytes.len(), frame.raw))?;
                    *frames += 1;
                }
            }
        }
        match (&self.form, raw) {
            (Form::Tar { .. }, Some(raw)) => self.out.write_all(raw),
            _ => Ok(()),
        }
    }

    /// Writes tar bytes of our own; they become frames of their own.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.position += bytes.len() as u64;
        if matches!(self.form, Form::Tar { .. }) {
            return self.out.write_all(bytes);
        }
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(FRAME_RAW - self.own.len()));
            self.own.extend_from_slice(now);
            bytes = later;
            if self.own.len() == FRAME_RAW {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Zeros to the next block after `size` bytes of content; ends the frame.
    pub(super) fn pad(&mut self, size: u64) -> io::Result<()> {
        self.write(&[0; BLOCK][..padding(size) as usize])?;
        self.flush()
    }

    /// A whole small entry, in frames of its own.
    pub(super) fn entry(&mut self, head: &[u8], content: &[u8]) -> io::Result<()> {
        self.write(head)?;
        self.write(content)?;
        self.pad(content.len() as u64)
    }

    fn flush(&mut self) -> io::Result<()> {
        let Form::TarZst { compressor, .. } = &mut self.form else { return Ok(()) };
        if self.own.is_empty() {
            return Ok(());
        }
        let frame = compressor.frame(&self.own)?;
        // It was counted when it was written; counted once more with the frame.
        self.position -= self.own.len() as u64;
        self.own.clear();
        self.frames(&[frame], None)
    }

    /// The last entry, the end of the archive, and for frames the digest and the seek table.
    pub(super) fn finish(mut self, head: &[u8], content: &[u8]) -> io::Result<W> {
        self.write(head)?;
        self.write(content)?;
        self.write(&[0; BLOCK][..padding(content.len() as u64) as usize])?;
        self.write(&[0; 2 * BLOCK])?;
        self.flush()?;
        if let Form::TarZst { digest, mut table, frames, .. } = self.form {
            self.out.write_all(&seek::digest_frame(&digest.finalize()))?;
            table.push(&seek::entry(seek::DIGEST_FRAME, 0))?;
            let frames = frames + 1;
            self.out.write_all(&seek::table_head(frames)?)?;
            table.read(|piece| self.out.write_all(piece))?;
            self.out.write_all(&seek::table_foot(frames))?;
        }
        self.out.flush()?;
        Ok(self.out)
    }
}
