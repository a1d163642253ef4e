//! Keys across a cut: the rest of a private key whose first line is left out would pass redaction for any other text.
//!
//! Whoever lets lines through again after some were left out asks here whether they begin inside of a key.

/// Bytes in which a key ends: the longest that people have, each line behind a time and a name.
pub(super) const KEY: usize = 32 << 10;
/// What a key's last line has, and its first.
const END: &[u8] = b"-----END ";
const BEGIN: &[u8] = b"-----BEGIN ";

/// Where the text goes on behind a key that began before it; 0 where none did.
pub(in super::super) fn behind(text: &[u8]) -> usize {
    let text = &text[..text.len().min(KEY)];
    let Some(end) = memchr::memmem::find(text, END) else { return 0 };
    if memchr::memmem::find(&text[..end], BEGIN).is_some() {
        return 0;
    }
    memchr::memchr(b'\n', &text[end..]).map_or(text.len(), |line| end + line + 1)
}
