//! zstd frames as our writer makes them, and nothing else.
//!
//! Every frame is independent, at most [`FRAME_RAW`] bytes raw, single-segment, with its content size and checksum, so
//! that its header follows from its content size alone. Content comes from and goes to memory; no file is touched.

use bytes::Bytes;

/// Raw bytes of a frame at most.
pub use crate::limits::FRAME_RAW;

/// Level for logs on the way: smaller and faster than 3.
pub const LEVEL: i32 = 1;
/// Base-2 logarithm of the table in which repetitions are found: half of the level's own, so that it stays in a processor's first cache.
const TABLE: u32 = 13;
/// Bytes that are gone over where nothing repeats, one less than the search's step. With the smaller table it takes a seventh off the
/// time, for up to a hundredth more to send of logs, and a twentieth of what compresses twentyfold.
const STRIDE: u32 = 2;
/// Bytes of a compressed frame at most: what zstd makes of [`FRAME_RAW`] bytes that do not compress.
pub const FRAME_WIRE: usize = FRAME_RAW + (FRAME_RAW >> 8) + 64;
/// The first four bytes of a frame.
pub const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// Bytes of one block of a frame at most.
const BLOCK_BYTES: usize = 128 << 10;

/// One compressed frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The whole frame.
    pub bytes: Bytes,
    /// Bytes it decompresses to.
    pub raw: u32,
}

/// Why bytes are no frame of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The bytes end inside a frame.
    #[error("frame is cut")]
    Cut,
    /// Not the header that our writer would make.
    #[error("frame header is not canonical")]
    Header,
    /// Larger than a frame may be, or empty.
    #[error("frame is too large or empty")]
    Size,
    /// zstd refuses it, or its checksum is wrong.
    #[error("frame does not decompress: {0}")]
    Content(String),
}

/// Makes frames; owns one reused context.
pub struct Compressor {
    context: zstd::bulk::Compressor<'static>,
    buffer: Vec<u8>,
}

impl Compressor {
    /// A compressor of [`LEVEL`].
    ///
    /// # Errors
    /// When memory for the context is not to be had.
    pub fn new() -> std::io::Result<Self> {
        use zstd::zstd_safe::{CParameter, ParamSwitch};
        let mut context = zstd::bulk::Compressor::new(LEVEL)?;
        context.set_parameter(CParameter::WindowLog(20))?;
        context.set_parameter(CParameter::HashLog(TABLE))?;
        context.set_parameter(CParameter::TargetLength(STRIDE))?;
        // zstd would take the stride for the wish to leave all else as it is.
        context.set_parameter(CParameter::LiteralCompressionMode(ParamSwitch::Enable))?;
        context.set_parameter(CParameter::ChecksumFlag(true))?;
        context.set_parameter(CParameter::ContentSizeFlag(true))?;
        Ok(Self { context, buffer: Vec::new() })
    }

    /// Compresses at most [`FRAME_RAW`] bytes, and not none, into one frame.
    ///
    /// # Errors
    /// When zstd fails, or `raw` is larger or empty.
    pub fn frame(&mut self, raw: &[u8]) -> std::io::Result<Frame> {
        if raw.is_empty() || raw.len() > FRAME_RAW {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, FrameError::Size));
        }
        self.buffer.clear();
        if self.buffer.capacity() == 0 {
            // Once for all sizes: what a frame does not fill is never touched, and costs no memory.
            self.buffer = Vec::with_capacity(zstd::zstd_safe::compress_bound(FRAME_RAW));
        }
        self.context.compress_to_buffer(raw, &mut self.buffer)?;
        Ok(Frame { bytes: Bytes::copy_from_slice(&self.buffer), raw: raw.len() as u32 })
    }
}

/// Opens frames; owns one reused context.
pub struct Decompressor {
    context: zstd::bulk::Decompressor<'static>,
}

impl Decompressor {
    /// A new one.
    ///
    /// # Errors
    /// When memory for the context is not to be had.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { context: zstd::bulk::Decompressor::new()? })
    }

    /// Appends what one whole frame holds to `out`; on an error `out` is as it was.
    ///
    /// # Errors
    /// When it is not one whole frame of ours, or its content is not what its checksum says.
    pub fn append(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        let raw = match measure(frame)? {
            Measured::Whole { length, raw } if length == frame.len() => raw as usize,
            Measured::Whole { .. } => return Err(FrameError::Header),
            Measured::More => return Err(FrameError::Cut),
        };
        let start = out.len();
        out.reserve(raw);
        let mut cursor = std::io::Cursor::new(std::mem::take(out));
        cursor.set_position(start as u64);
        let done = self.context.decompress_to_buffer(frame, &mut cursor);
        *out = cursor.into_inner();
        match done {
            Ok(written) if written == raw => return Ok(()),
            Ok(_) => out.truncate(start),
            Err(error) => {
                out.truncate(start);
                return Err(FrameError::Content(error.to_string()));
            }
        }
        Err(FrameError::Content("content size is wrong".to_owned()))
    }
}

/// What stands at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// A whole frame.
    Whole {
        /// Bytes of the frame.
        length: usize,
        /// Bytes it says it decompresses to.
        raw: u32,
    },
    /// The start of one.
    More,
}

/// Measures the frame at the start of `bytes`, without decompressing it.
///
/// # Errors
/// As soon as the bytes cannot become a frame of ours any more.
pub fn measure(bytes: &[u8]) -> Result<Measured, FrameError> {
    let magic = bytes.len().min(4);
    if bytes[..magic] != MAGIC[..magic] {
        return Err(FrameError::Header);
    }
    let Some((raw, mut at)) = header(bytes)? else { return Ok(Measured::More) };
    loop {
        let Some(block) = bytes.get(at..at + 3) else { return Ok(Measured::More) };
        let block = u32::from_le_bytes([block[0], block[1], block[2], 0]);
        let size = (block >> 3) as usize;
        if size > BLOCK_BYTES {
            return Err(FrameError::Content("block is too large".to_owned()));
        }
        at += 3 + match (block >> 1) & 3 {
            1 => 1,
            3 => return Err(FrameError::Content("block type is reserved".to_owned())),
            _ => size,
        };
        if at > FRAME_WIRE {
            return Err(FrameError::Size);
        }
        if block & 1 == 1 {
            let length = at + 4;
            return Ok(if bytes.len() < length { Measured::More } else { Measured::Whole { length, raw } });
        }
    }
}

/// Reads the canonical frame header: content size, and bytes of the header.
fn header(bytes: &[u8]) -> Result<Option<(u32, usize)>, FrameError> {
    let Some(descriptor) = bytes.get(4) else { return Ok(None) };
    if descriptor & 0x3F != 0x24 {
        return Err(FrameError::Header);
    }
    let width = match descriptor >> 6 {
        0 => 1,
        1 => 2,
        2 => 4,
        _ => return Err(FrameError::Header),
    };
    let Some(field) = bytes.get(5..5 + width) else { return Ok(None) };
    let mut value = [0; 4];
    value[..width].copy_from_slice(field);
    let value = u32::from_le_bytes(value);
    let raw = if width == 2 { value + 256 } else { value };
    // zstd takes the narrowest field that holds the size; two bytes start at 256.
    let narrowest = match raw {
        0..256 => 1,
        256..65_792 => 2,
        _ => 4,
    };
    if width != narrowest {
        return Err(FrameError::Header);
    }
    if raw == 0 || raw as usize > FRAME_RAW {
        return Err(FrameError::Size);
    }
    Ok(Some((raw, 5 + width)))
}

/// Finds the frames in `bytes`, which hold whole frames and nothing else; nothing is copied or decompressed.
///
/// # Errors
/// For anything else than whole frames of ours.
pub fn split(bytes: &Bytes) -> Result<Vec<Frame>, FrameError> {
    let mut frames = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match measure(&bytes[at..])? {
            Measured::More => return Err(FrameError::Cut),
            Measured::Whole { length, raw } => {
                frames.push(Frame { bytes: bytes.slice(at..at + length), raw });
                at += length;
            }
        }
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut out);
        out
    }

    #[test]
    fn every_size_class_is_measured_as_zstd_does_and_comes_back() {
        let mut compressor = Compressor::new().expect("context");
        let mut decompressor = Decompressor::new().expect("context");
        for size in [1, 255, 256, 65_791, 65_792, 200_000, FRAME_RAW - 1, FRAME_RAW] {
            for raw in [vec![b'a'; size], noise(size)] {
                let frame = compressor.frame(&raw).expect("frame");
                assert!(frame.bytes.len() <= FRAME_WIRE);
                let zstd = zstd::zstd_safe::find_frame_compressed_size(&frame.bytes).expect("zstd measures it");
                assert_eq!(measure(&frame.bytes), Ok(Measured::Whole { length: zstd, raw: size as u32 }), "{size}");
                let mut out = b"before".to_vec();
                decompressor.append(&frame.bytes, &mut out).expect("decompresses");
                assert_eq!(out[6..], raw);
            }
        }
        assert!(compressor.frame(&[]).is_err());
        assert!(compressor.frame(&vec![0; FRAME_RAW + 1]).is_err());
    }

    #[test]
    fn every_cut_needs_more_and_trailing_bytes_are_refused() {
        let frame = Compressor::new().and_then(|mut c| c.frame(&noise(1000))).expect("frame");
        for cut in 0..frame.bytes.len() {
            assert_eq!(measure(&frame.bytes[..cut]), Ok(Measured::More), "{cut}");
        }
        assert_eq!(split(&frame.bytes.slice(..frame.bytes.len() - 1)), Err(FrameError::Cut));
        let twice = Bytes::from([frame.bytes.as_ref(), frame.bytes.as_ref()].concat());
        assert_eq!(split(&twice).map(|f| f.len()), Ok(2));
        let junk = Bytes::from([frame.bytes.as_ref(), b"junk"].concat());
        assert_eq!(split(&junk), Err(FrameError::Header));
        assert_eq!(Decompressor::new().expect("context").append(&twice, &mut Vec::new()), Err(FrameError::Header));
    }

    #[test]
    fn foreign_headers_are_refused() {
        let raw = vec![b'x'; 300];
        let ours = Compressor::new().and_then(|mut c| c.frame(&raw)).expect("frame").bytes;
        for bit in [0x01, 0x04, 0x08, 0x10, 0x20] {
            let mut other = ours.to_vec();
            other[4] ^= bit;
            assert_eq!(measure(&other), Err(FrameError::Header), "{bit:#x}");
        }
        // A size in four bytes where two would do.
        let mut wide = ours[..4].to_vec();
        wide.push(0x80 | 0x24);
        wide.extend_from_slice(&300u32.to_le_bytes());
        wide.extend_from_slice(&ours[7..]);
        assert_eq!(measure(&wide), Err(FrameError::Header));
        // A bomb by its own account.
        wide[5..9].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(measure(&wide), Err(FrameError::Size));
    }

    #[test]
    fn a_failed_frame_leaves_the_output_as_it_was() {
        let ours = Compressor::new().and_then(|mut c| c.frame(&noise(5000))).expect("frame").bytes;
        let mut bad = ours.to_vec();
        let last = bad.len() - 1;
        bad[last] ^= 1;
        let mut out = b"kept".to_vec();
        let mut decompressor = Decompressor::new().expect("context");
        assert!(matches!(decompressor.append(&bad, &mut out), Err(FrameError::Content(_))));
        assert_eq!(out, b"kept");
    }
}
