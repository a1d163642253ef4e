//! Compressed sources: looked through inside, and passed on as they are when there is nothing to take out.
//!
//! What has secrets is redacted and compressed again in its own format. Everything has a limit: what expands without
//! end, needs too much memory, or is broken is withheld.

use std::io::{self, BufReader, Read, Write};
use std::mem;

use super::stream::Stream;
use crate::agent::source::{Content, Filter, Kind};
use crate::limits::FILE_BYTES;

/// Bytes of the compressed file behind one digest.
const PIECE: usize = 256 << 10;
/// Bytes that may come out before the ratio is judged, and the ratio. gzip reaches 1,032 on nothing but zeros.
const EXPANSION: (u64, u64) = (64 << 20, 1000);
/// Base-2 logarithm of zstd's largest window: what every decoder must take, and all levels below `--ultra` stay in.
const ZSTD_WINDOW: u32 = 23;
/// Memory for xz: its level 9 needs 65 MiB, of which it uses as much as the file is large.
const XZ_MEMORY: u64 = 72 << 20;
/// Levels for what must be compressed again: cheap on a node at work. gzip's level 1 would save as much again, for half as much
/// more to send.
const LEVELS: (u32, u32, i32) = (2, 1, 1);
/// Bytes that go through the compressor at once.
const STEP: usize = 64 << 10;

/// What is in a compressed file, without the lines that the request's window leaves out.
pub(super) type Inside = Filter<Inflate>;

/// Digests of a file's pieces as they were when it was looked through.
pub(super) type Digests = Vec<[u8; 16]>;

/// Counts and digests the compressed bytes on their way in.
pub(super) struct Counted {
    content: Box<dyn Content>,
    count: u64,
    hasher: blake3::Hasher,
    in_piece: usize,
    digests: Digests,
}

impl Counted {
    fn new(content: Box<dyn Content>) -> Self {
        Self { content, count: 0, hasher: blake3::Hasher::new(), in_piece: 0, digests: Vec::new() }
    }

    fn end_piece(&mut self) {
        self.digests.push(short(&self.hasher));
        self.hasher.reset();
        self.in_piece = 0;
    }
}

fn short(hasher: &blake3::Hasher) -> [u8; 16] {
    let mut digest = [0; 16];
    hasher.finalize_xof().fill(&mut digest);
    digest
}

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = out.len().min(PIECE - self.in_piece);
        let count = self.content.read(&mut out[..most])?;
        self.hasher.update(&out[..count]);
        self.in_piece += count;
        self.count += count as u64;
        if self.in_piece == PIECE {
            self.end_piece();
        }
        Ok(count)
    }
}

enum Decoder {
    Gzip(flate2::bufread::MultiGzDecoder<BufReader<Counted>>),
    Xz(liblzma::bufread::XzDecoder<BufReader<Counted>>),
    Zstd(zstd::stream::read::Decoder<'static, BufReader<Counted>>),
}

/// A compressed content, read as what is in it, within limits.
pub(super) struct Inflate {
    decoder: Decoder,
    out: u64,
}

impl Inflate {
    /// Reads an opened content of that kind.
    pub(super) fn new(kind: Kind, content: Box<dyn Content>) -> io::Result<Self> {
        let input = BufReader::with_capacity(STEP, Counted::new(content));
        let decoder = match kind {
            Kind::Gzip => Decoder::Gzip(flate2::bufread::MultiGzDecoder::new(input)),
            Kind::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
                Decoder::Xz(liblzma::bufread::XzDecoder::new_stream(input, stream))
            }
            Kind::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW)?;
                Decoder::Zstd(decoder)
            }
            Kind::Text | Kind::Binary { .. } => return Err(io::Error::other("is not compressed")),
        };
        Ok(Self { decoder, out: 0 })
    }

    fn count(&self) -> u64 {
        match &self.decoder {
            Decoder::Gzip(decoder) => decoder.get_ref(),
            Decoder::Xz(decoder) => decoder.get_ref(),
            Decoder::Zstd(decoder) => decoder.get_ref(),
        }
        .get_ref()
        .count
    }

    /// The content again, and the digests of its pieces.
    pub(super) fn into_parts(self) -> (Box<dyn Content>, Digests) {
        let input = match self.decoder {
            Decoder::Gzip(decoder) => decoder.into_inner(),
            Decoder::Xz(decoder) => decoder.into_inner(),
            Decoder::Zstd(decoder) => decoder.finish(),
        };
        let mut counted = input.into_inner();
        if counted.in_piece > 0 {
            counted.end_piece();
        }
        (counted.content, counted.digests)
    }
}

impl Read for Inflate {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.read(out),
            Decoder::Xz(decoder) => decoder.read(out),
            Decoder::Zstd(decoder) => decoder.read(out),
        }?;
        self.out += count as u64;
        if self.out > FILE_BYTES {
            return Err(io::Error::other("expands beyond the limit for a file"));
        }
        if self.out > EXPANSION.0 && self.out / EXPANSION.1 > self.count() {
            return Err(io::Error::other("expands more than a thousandfold"));
        }
        Ok(count)
    }
}

enum Encoder {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Xz(liblzma::write::XzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    fn new(kind: Kind) -> io::Result<Self> {
        Ok(match kind {
            Kind::Gzip => Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(LEVELS.0))),
            Kind::Xz => Self::Xz(liblzma::write::XzEncoder::new(Vec::new(), LEVELS.1)),
            _ => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVELS.2)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
        })
    }

    /// Takes bytes in; what has come out so far replaces `out`.
    fn step(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        match self {
            Self::Gzip(encoder) => {
                encoder.write_all(bytes)?;
                mem::swap(out, encoder.get_mut());
            }
            Self::Xz(encoder) => {
                encoder.write_all(bytes)?;
                mem::swap(out, encoder.get_mut());
            }
            Self::Zstd(encoder) => {
                encoder.write_all(bytes)?;
                mem::swap(out, encoder.get_mut());
            }
        }
        Ok(())
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Xz(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// Decompresses, redacts and compresses again.
pub(super) struct Repack {
    stream: Stream<Inside>,
    encoder: Option<Encoder>,
    plain: Vec<u8>,
    packed: Vec<u8>,
    at: usize,
    begun: bool,
}

impl Repack {
    /// Packs what `stream` gives as that kind.
    pub(super) fn new(kind: Kind, stream: Stream<Inside>) -> io::Result<Self> {
        let encoder = Some(Encoder::new(kind)?);
        Ok(Self { stream, encoder, plain: vec![0; STEP], packed: Vec::new(), at: 0, begun: false })
    }

    /// Compressed bytes; 0 at the end. What was redacted before an error in the source is a whole file of its own.
    pub(super) fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.packed.len() {
            let Some(encoder) = &mut self.encoder else { return Ok(0) };
            let count = self.stream.read(&mut self.plain);
            self.at = 0;
            if count == 0 && !self.begun && self.stream.failed() {
                return Ok(0);
            }
            self.begun = true;
            if count > 0 {
                encoder.step(&self.plain[..count], &mut self.packed)?;
            } else if let Some(encoder) = self.encoder.take() {
                self.packed = encoder.finish()?;
            }
        }
        let count = out.len().min(self.packed.len() - self.at);
        out[..count].copy_from_slice(&self.packed[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }

    /// The stream behind it.
    pub(super) fn into_stream(self) -> Stream<Inside> {
        self.stream
    }
}

/// Passes a file on as it is, as long as it still is what was looked through.
pub(super) struct Same {
    content: Box<dyn Content>,
    digests: std::vec::IntoIter<[u8; 16]>,
    piece: Vec<u8>,
    at: usize,
}

impl Same {
    /// Reads an opened content whose pieces have these digests.
    pub(super) fn new(content: Box<dyn Content>, digests: Digests) -> Self {
        Self { content, digests: digests.into_iter(), piece: Vec::new(), at: 0 }
    }

    /// The file's bytes; 0 at its end.
    pub(super) fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            self.next_piece()?;
        }
        let count = out.len().min(self.piece.len() - self.at);
        out[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }

    fn next_piece(&mut self) -> io::Result<()> {
        self.piece.clear();
        self.at = 0;
        self.piece.reserve_exact(PIECE);
        (&mut *self.content).take(PIECE as u64).read_to_end(&mut self.piece)?;
        let changed = match self.digests.next() {
            None => !self.piece.is_empty(),
            Some(digest) => short(blake3::Hasher::new().update(&self.piece)) != digest,
        };
        if changed {
            self.piece.clear();
            return Err(io::Error::other("changed between two readings"));
        }
        Ok(())
    }

    /// The content again.
    pub(super) fn into_content(self) -> Box<dyn Content> {
        self.content
    }
}
