//! zstd frames as our writer makes them, and nothing else.
//!
//! Every frame is independent, at most [`FRAME_RAW`] bytes raw, single-segment, with its content size and checksum, so
//! that its header follows from its content size alone. Content comes from and goes to memory; no file is touched.

use bytes::Bytes;

/// Raw bytes of a frame at most.
pub use crate::limits::FRAME_RAW;

/// Level for logs on the way: smaller and faster than 3.
pub const LEVEL: i32 = 1;

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
    /// Larger than a frame may be.
    #[error("frame is too large")]
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
        use zstd::zstd_safe::CParameter;
        let mut context = zstd::bulk::Compressor::new(LEVEL)?;
        context.set_parameter(CParameter::WindowLog(20))?;
        context.set_parameter(CParameter::ChecksumFlag(true))?;
        context.set_parameter(CParameter::ContentSizeFlag(true))?;
        Ok(Self { context, buffer: Vec::new() })
    }

    /// Compresses at most [`FRAME_RAW`] bytes into one frame.
    ///
    /// # Errors
    /// When zstd fails, or `raw` is larger.
    pub fn frame(&mut self, raw: &[u8]) -> std::io::Result<Frame> {
        if raw.len() > FRAME_RAW {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "frame is too large"));
        }
        self.buffer.clear();
        self.buffer.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        self.context.compress_to_buffer(raw, &mut self.buffer)?;
        Ok(Frame { bytes: Bytes::copy_from_slice(&self.buffer), raw: raw.len() as u32 })
    }
}
