//! What a record's bytes are, by their first bytes and their name.
//!
//! The first block comes from an opened file; what goes out decides how redaction reads it. It errs towards binary, which is withheld
//! unless its collector declares it.

use super::Kind;

/// Bytes that are looked at.
pub const HEAD: usize = 4096;
/// Zero bytes in a row that a crash leaves in a text log.
const HOLE: usize = 64;

/// Names of files that are binary whatever their first bytes are.
const BINARY_NAMES: &[&[u8]] = &[b"wtmp", b"btmp", b"utmp", b"lastlog", b"faillog", b"tallylog"];
const BINARY_ENDS: &[&[u8]] = &[b".journal", b".journal~", b".core", b".vmcore"];

/// Tells what bytes are that begin with `head` in a file called `name`; `declared` says that its collector passes binary data.
pub fn detect(head: &[u8], name: &[u8], declared: bool) -> Kind {
    let packed = match head {
        [0x1f, 0x8b, ..] => Some(Kind::Gzip),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Kind::Xz),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Kind::Zstd),
        _ => None,
    };
    match packed {
        // A collector that declares a core.zst means the core, and inside it nothing can be redacted.
        Some(_) if declared => Kind::Binary { declared },
        Some(kind) => kind,
        None if is_binary_name(name) || is_otherwise_packed(head) || !is_text(head) => Kind::Binary { declared },
        None => Kind::Text,
    }
}

/// Whether a file of this name is probably of no use in parts: compressed, or binary.
pub(super) fn is_never_cut(name: &[u8]) -> bool {
    const PACKED: &[&[u8]] = &[b".gz", b".xz", b".zst", b".bz2", b".lz4", b".Z", b".zip"];
    is_binary_name(name) || PACKED.iter().any(|end| name.ends_with(end))
}

/// Whether nothing but zeros stands there, as in a hole.
pub(super) fn is_zeros(head: &[u8]) -> bool {
    !head.is_empty() && head.iter().all(|b| *b == 0)
}

/// bzip2, lz4 and compress: nothing here looks inside those.
fn is_otherwise_packed(head: &[u8]) -> bool {
    matches!(head, [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, ..] | [4, 0x22, 0x4d, 0x18, ..] | [0x1f, 0x9d, ..])
}

/// Whether a file of this name is binary whatever is in it.
pub(super) fn is_binary_name(name: &[u8]) -> bool {
    let whole = |known: &&&[u8]| {
        name == **known || (name.starts_with(known) && matches!(name.get(known.len()), Some(b'.' | b'-')))
    };
    BINARY_NAMES.iter().any(|known| whole(&known)) || BINARY_ENDS.iter().any(|end| name.ends_with(end))
}

/// Text may be in any 8-bit encoding and may have holes of zeros where a crash lost a block, but is no mix of both.
fn is_text(head: &[u8]) -> bool {
    let odd: usize = head.iter().map(|byte| usize::from(ODD[usize::from(*byte)])).sum();
    let (crash, zeros) = holes(head);
    !is_zeros(head) && (odd + zeros) * 50 <= head.len() + 1 - crash
}

/// 1 for control characters that no text has. A table, since every file of a node goes through it.
static ODD: [u8; 256] = {
    let mut odd = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        odd[byte] = matches!(byte, 1..=6 | 14..=26 | 28..=31 | 127) as u8;
        byte += 1;
    }
    odd
};

/// Zeros that a crash may have left, and zeros that it has not.
fn holes(head: &[u8]) -> (usize, usize) {
    let (mut crash, mut other) = (0, 0);
    let mut at = 0;
    while let Some(found) = head.get(at..).and_then(|rest| memchr::memchr(0, rest)) {
        let run = head[at + found..].iter().take_while(|byte| **byte == 0).count();
        *(if run < HOLE { &mut other } else { &mut crash }) += run;
        at += found + run;
    }
    (crash, other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_numbers_come_first() {
        assert_eq!(detect(b"\x1f\x8b\x08\x00", b"syslog.2.gz", false), Kind::Gzip);
        assert_eq!(detect(b"\xfd7zXZ\x00\x00", b"a.log", false), Kind::Xz);
        assert_eq!(detect(b"\x28\xb5\x2f\xfd\x04", b"a", false), Kind::Zstd);
        assert_eq!(detect(b"\x28\xb5\x2f\xfd\x04", b"core.zst", true), Kind::Binary { declared: true });
    }

    #[test]
    fn text_of_any_encoding_is_text() {
        let holed = [b"Jan  1 host app: x\n".as_slice(), &[0; 700], b"Jan  1 host app: y\n"].concat();
        for text in
            ["".as_bytes(), b"plain\r\n", "grüße\n".as_bytes(), b"gr\xfc\xdfe\n", b"\x1b[31mred\x1b[0m\n", &holed]
        {
            assert_eq!(detect(text, b"x.log", false), Kind::Text, "{text:?}");
            assert_eq!(detect(text, b"x.log", true), Kind::Text, "text stays text where binary is declared");
        }
    }

    /// Byte by byte, as the rule is meant.
    #[test]
    fn counting_fast_counts_the_same() {
        let slow = |head: &[u8]| {
            let (mut odd, mut seen, mut zeros) = (0_usize, 0_usize, 0_usize);
            for byte in head.iter().chain(b"\n") {
                if *byte == 0 {
                    zeros += 1;
                    continue;
                }
                if zeros < HOLE {
                    odd += zeros;
                    seen += zeros;
                }
                zeros = 0;
                seen += 1;
                odd += usize::from(matches!(byte, 1..=6 | 14..=26 | 28..=31 | 127));
            }
            !(head.is_empty() || head.iter().any(|b| *b != 0)) || odd * 50 > seen
        };
        let mut seed = 1_u32;
        for number in 0..2000_usize {
            let head: Vec<u8> = (0..number % 300)
                .flat_map(|at| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let run = if seed >> 28 == 0 { (seed >> 20) as usize % 150 } else { 1 };
                    let byte = if run > 1 || at % 97 == number % 97 { 0 } else { 10 + (seed >> 24) as u8 % 110 };
                    std::iter::repeat_n(byte, run)
                })
                .collect();
            assert_eq!(is_text(&head), !slow(&head), "{head:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_binary() {
        let utf16: Vec<u8> = "password=x".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (head, name) in [
            (b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".as_slice(), "a"),
            (b"LPKSHHRH\0\0\0\0\0\0\0\0", "x"),
            (&utf16, "x.txt"),
            (&[0; 512], "x"),
            (b"", "wtmp"),
            (b"text\n", "wtmp.1"),
            (b"text\n", "system.journal"),
            (b"BZh91AY&SY\x01\x02\x03\x04\x10\x11\x12", "x.bz2"),
        ] {
            assert_eq!(detect(head, name.as_bytes(), false), Kind::Binary { declared: false }, "{name}");
        }
        assert_eq!(detect(b"text\n", b"wtmperature", false), Kind::Text);
    }
}
