//! Compressed sources: looked through inside, and passed on as they are when there is nothing to take out.
//!
//! What has secrets is redacted and compressed again in its own format, without what stood beside the content: names and comments
//! in headers of gzip, skippable frames of zstd. They count when it is decided whether there is something to take out. Everything has a limit: what expands without
//! end, needs too much memory, or is broken is withheld; behind a secret, where it is being redacted already, the rest of it is.

use std::io::{self, BufRead as _, BufReader, Read, Write};
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
/// Bytes of names, comments and extra fields of gzip's members, at most.
const HEADS: usize = 1 << 20;
/// Levels for what must be compressed again: cheap on a node at work. gzip's level 2 would save a quarter of what is sent, for nearly
/// twice the time, which is most of what such a file costs.
const LEVELS: (u32, u32, i32) = (1, 1, 1);
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
    Gzip(Option<Member>),
    Xz(liblzma::bufread::XzDecoder<BufReader<Counted>>),
    Zstd(Option<Part>),
}

type Member = flate2::bufread::GzDecoder<BufReader<Counted>>;
type Part = zstd::stream::read::Decoder<'static, BufReader<Counted>>;

/// What a compressed file holds beside its content, and what would pass unread with it.
#[derive(Default)]
pub(super) struct Beside {
    /// Names, comments and extra fields in the headers of gzip, a line each.
    pub(super) heads: Vec<u8>,
    /// Whether something in it gives no content: a skippable frame of zstd may hold anything.
    pub(super) silent: bool,
}

/// A compressed content, read as what is in it, within limits.
pub(super) struct Inflate {
    decoder: Decoder,
    out: u64,
    /// Bytes that came out before the member or frame that is being read.
    begun_at: u64,
    beside: Beside,
}

fn part(input: BufReader<Counted>) -> io::Result<Part> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?.single_frame();
    decoder.window_log_max(ZSTD_WINDOW)?;
    Ok(decoder)
}

/// Whether a skippable frame of zstd begins here; unknown where fewer bytes than that takes are at hand.
fn skippable(input: &mut BufReader<Counted>) -> io::Result<Option<bool>> {
    let start = input.fill_buf()?;
    let is = |magic: &[u8; 4]| u32::from_le_bytes(*magic) & 0xFFFF_FFF0 == 0x184D_2A50;
    Ok(if start.is_empty() { Some(false) } else { start.first_chunk().map(is) })
}

/// The error of a decoder that was lost when the one for the next part could not be made.
fn lost() -> io::Error {
    io::Error::other("cannot be read on")
}

impl Inflate {
    /// Reads an opened content of that kind.
    pub(super) fn new(kind: Kind, content: Box<dyn Content>) -> io::Result<Self> {
        let input = BufReader::with_capacity(STEP, Counted::new(content));
        let decoder = match kind {
            Kind::Gzip => Decoder::Gzip(Some(Member::new(input))),
            Kind::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
                Decoder::Xz(liblzma::bufread::XzDecoder::new_stream(input, stream))
            }
            Kind::Zstd => Decoder::Zstd(Some(part(input)?)),
            Kind::Text | Kind::Binary { .. } => return Err(io::Error::other("is not compressed")),
        };
        Ok(Self { decoder, out: 0, begun_at: 0, beside: Beside::default() })
    }

    fn count(&self) -> u64 {
        let input = match &self.decoder {
            Decoder::Gzip(decoder) => decoder.as_ref().map(Member::get_ref),
            Decoder::Xz(decoder) => Some(decoder.get_ref()),
            Decoder::Zstd(decoder) => decoder.as_ref().map(Part::get_ref),
        };
        input.map_or(0, |input| input.get_ref().count)
    }

    /// The content again, unless it was lost; the digests of its pieces; what there is beside it, as far as it was read.
    pub(super) fn into_parts(self) -> (Option<Box<dyn Content>>, Digests, Beside) {
        let input = match self.decoder {
            Decoder::Gzip(decoder) => decoder.map(Member::into_inner),
            Decoder::Xz(decoder) => Some(decoder.into_inner()),
            Decoder::Zstd(decoder) => decoder.map(Part::finish),
        };
        let Some(input) = input else { return (None, Digests::new(), self.beside) };
        let mut counted = input.into_inner();
        if counted.in_piece > 0 {
            counted.end_piece();
        }
        (Some(counted.content), counted.digests, self.beside)
    }

    /// Bytes of the content, from one member or frame after the other.
    fn step(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let begins = self.out == self.begun_at;
            let count = match &mut self.decoder {
                Decoder::Gzip(decoder) => {
                    let decoder = decoder.as_mut().ok_or_else(lost)?;
                    let count = decoder.read(out)?;
                    if begins {
                        self.beside.take_head(decoder.header())?;
                    }
                    count
                }
                Decoder::Xz(decoder) => return decoder.read(out),
                Decoder::Zstd(decoder) => {
                    let decoder = decoder.as_mut().ok_or_else(lost)?;
                    let skippable = if begins { skippable(decoder.get_mut())? } else { Some(false) };
                    let count = decoder.read(out)?;
                    self.beside.silent |= skippable.unwrap_or(count == 0);
                    count
                }
            };
            if count > 0 || !self.next_part()? {
                return Ok(count);
            }
        }
    }

    /// Goes on with the next member or frame, if there is one.
    fn next_part(&mut self) -> io::Result<bool> {
        self.begun_at = self.out;
        match &mut self.decoder {
            Decoder::Gzip(decoder) => {
                let ended = decoder.as_mut().ok_or_else(lost)?.get_mut().fill_buf()?.is_empty();
                if !ended {
                    *decoder = decoder.take().map(|decoder| Member::new(decoder.into_inner()));
                }
                Ok(!ended)
            }
            Decoder::Zstd(decoder) => {
                let ended = decoder.as_mut().ok_or_else(lost)?.get_mut().fill_buf()?.is_empty();
                if !ended {
                    *decoder = Some(part(decoder.take().ok_or_else(lost)?.finish())?);
                }
                Ok(!ended)
            }
            Decoder::Xz(_) => Ok(false),
        }
    }
}

impl Beside {
    /// Takes in the header of a member of gzip, unless it is as the one before.
    fn take_head(&mut self, head: Option<&flate2::GzHeader>) -> io::Result<()> {
        let Some(head) = head else { return Ok(()) };
        for text in [head.filename(), head.comment(), head.extra()].into_iter().flatten() {
            if !self.heads.strip_suffix(b"\n").is_some_and(|heads| heads.ends_with(text)) {
                self.heads.extend_from_slice(text);
                self.heads.push(b'\n');
            }
        }
        if self.heads.len() > HEADS {
            return Err(io::Error::other("has too much in the headers of its members"));
        }
        Ok(())
    }
}

impl Read for Inflate {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.step(out)?;
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
