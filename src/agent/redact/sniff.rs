//! What bytes are that may not be read as text: by their first bytes.

use crate::agent::source::Kind;

/// Magic numbers at the start, and what they stand for.
const MAGIC: [(&[u8], &str); 14] = [
    (b"BZh", "bzip2"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x89LZO", "lzop"),
    (b"PK\x03\x04", "a zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"\x7fELF", "a program or a core dump"),
    (b"SQLite format 3\0", "a database"),
    (b"LPKSHHRH", "a binary journal"),
    (b"\xd4\xc3\xb2\xa1", "a packet capture"),
    (b"\xa1\xb2\xc3\xd4", "a packet capture"),
    (b"\x0a\x0d\x0d\x0a", "a packet capture"),
    (b"\x89PNG", "an image"),
    (b"%PDF-", "a PDF"),
];

/// A compressed kind, by its magic number.
pub(super) fn compressed(start: &[u8]) -> Option<Kind> {
    if start.starts_with(b"\x1f\x8b\x08") {
        Some(Kind::Gzip)
    } else if start.starts_with(b"\xfd7zXZ\0") {
        Some(Kind::Xz)
    } else if start.starts_with(b"\x28\xb5\x2f\xfd") {
        Some(Kind::Zstd)
    } else {
        None
    }
}

/// Why bytes cannot be redacted as text, though they were to be: an encoding in which no rule would find anything.
pub(super) fn unreadable(start: &[u8]) -> Option<&'static str> {
    if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") || interleaved(start) {
        return Some("UTF-16 text");
    }
    None
}

/// Why what came out of a compressed file is no text; a file's own kind is judged where it is opened.
pub(super) fn inside(start: &[u8]) -> Option<&'static str> {
    if compressed(start).is_some() {
        return Some("a compressed file");
    }
    if start.get(257..262) == Some(b"ustar".as_slice()) {
        return Some("a tar archive");
    }
    if let Some((_, what)) = MAGIC.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Some(what);
    }
    unreadable(start).or_else(|| control(start).then_some("binary data"))
}

/// Whether every second byte is NUL and the others are not.
fn interleaved(start: &[u8]) -> bool {
    let start = &start[..start.len().min(512)];
    if memchr::memchr(0, start).is_none() {
        return false;
    }
    let zeros = |first: usize| start.iter().skip(first).step_by(2).filter(|b| **b == 0).count() * 2;
    let (even, odd) = (zeros(0), zeros(1));
    start.len() >= 8 && even.max(odd) * 10 > start.len() * 4 && even.min(odd) * 20 < start.len()
}

/// Whether more than a fiftieth of the bytes are control characters that no text has. NUL counts as none: logs have runs of
/// them after a crash, and `environ` separates by them.
fn control(start: &[u8]) -> bool {
    let start = &start[..start.len().min(8192)];
    let odd = |b: &&u8| matches!(b, 1..=7 | 14..=26 | 28..=31 | 127);
    start.iter().filter(odd).count() * 50 > start.len()
}
