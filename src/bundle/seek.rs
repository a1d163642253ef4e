//! The two skippable frames at the end of a `.tar.zst`: a digest of all bytes before it, and the seek table.
//!
//! The table is the public "Zstandard seekable format" without checksums: `compressed size, decompressed size` (`u32`, little-endian)
//! for each frame, the digest's frame among them as one that decompresses to nothing. Only bytes here; files are read elsewhere.

use std::io;

/// First four bytes of the digest's frame.
pub const DIGEST_MAGIC: [u8; 4] = 0x184D_2A5D_u32.to_le_bytes();
/// First four bytes of the seek table's frame.
pub const TABLE_MAGIC: [u8; 4] = 0x184D_2A5E_u32.to_le_bytes();
/// Last four bytes of the seek table, and of the bundle.
pub const FOOT_MAGIC: [u8; 4] = 0x8F92_EAB1_u32.to_le_bytes();
/// Bytes of the digest's frame.
pub const DIGEST_FRAME: usize = 8 + 32;
/// Bytes of the seek table's foot: frames, descriptor, magic.
pub const FOOT: usize = 9;
/// Bytes of one entry of the table.
pub const ENTRY: usize = 8;

/// The frame that holds the digest of all bytes before it.
pub fn digest_frame(digest: &blake3::Hash) -> [u8; DIGEST_FRAME] {
    let mut frame = [0; DIGEST_FRAME];
    frame[..4].copy_from_slice(&DIGEST_MAGIC);
    frame[4..8].copy_from_slice(&32u32.to_le_bytes());
    frame[8..].copy_from_slice(digest.as_bytes());
    frame
}

/// One entry of the table.
pub fn entry(compressed: usize, raw: u32) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    // Frames are at most about 1 MiB.
    entry[..4].copy_from_slice(&(compressed as u32).to_le_bytes());
    entry[4..].copy_from_slice(&raw.to_le_bytes());
    entry
}

/// What stands before the table's entries.
///
/// # Errors
/// When there are more frames than a skippable frame can hold entries (petabytes of bundle).
pub fn table_head(frames: u32) -> io::Result<[u8; 8]> {
    let size = u64::from(frames) * ENTRY as u64 + FOOT as u64;
    let size = u32::try_from(size).map_err(|_| io::Error::other("bundle has too many frames for a seek table"))?;
    let mut head = [0; 8];
    head[..4].copy_from_slice(&TABLE_MAGIC);
    head[4..].copy_from_slice(&size.to_le_bytes());
    Ok(head)
}

/// What stands after the table's entries.
pub fn table_foot(frames: u32) -> [u8; FOOT] {
    let mut foot = [0; FOOT];
    foot[..4].copy_from_slice(&frames.to_le_bytes());
    foot[5..].copy_from_slice(&FOOT_MAGIC);
    foot
}
