//! Zeros, and frames of them: what stands in for bytes that never came.

use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};

use crate::bundle::frame::{Compressor, FRAME_RAW, Frame};

/// One frame's worth; costs no bytes of the program.
pub(super) static ZEROS: [u8; FRAME_RAW] = [0; FRAME_RAW];

/// A frame of `length` zeros, at most [`FRAME_RAW`]; the whole one is made once.
pub(super) fn frame(length: usize) -> Frame {
    static WHOLE: OnceLock<Frame> = OnceLock::new();
    if let (FRAME_RAW, Some(frame)) = (length, WHOLE.get()) {
        return frame.clone();
    }
    let frame = Compressor::new().and_then(|mut c| c.frame(&ZEROS[..length])).expect("zeros compress");
    if length == FRAME_RAW {
        let _ = WHOLE.set(frame.clone());
    }
    frame
}

/// `length` zeros.
pub(super) fn bytes(length: usize) -> Bytes {
    if length <= FRAME_RAW { Bytes::from_static(&ZEROS[..length]) } else { BytesMut::zeroed(length).freeze() }
}
