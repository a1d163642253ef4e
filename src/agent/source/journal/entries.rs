//! Where entries begin and end in an export, however it is cut into pieces.
//!
//! Bytes of an export come in one after the other; what goes out is the end of each entry, and with it the fields that an entry begins with.
//! Fields may hold anything, line feeds too, and such say their length before. Nothing is kept of an entry but its first bytes.

/// Bytes of an entry that are kept: its place in the journal and its times come first.
const FIRST: usize = 512;

/// Finds the ends of entries.
#[derive(Debug, Default)]
pub(super) struct Entries {
    at: At,
    /// Bytes of the entry so far, as far as it matters whether there are any.
    begun: bool,
    first: Vec<u8>,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum At {
    /// A line: whether it has bytes, and whether one of them ended a field's name.
    Line { any: bool, named: bool },
    /// The length of a field, of which so many bytes came.
    Length { came: u32, length: u64 },
    /// A field of which so many bytes are to come, its line feed too.
    Field(u64),
}

impl Default for At {
    fn default() -> Self {
        Self::Line { any: false, named: false }
    }
}

impl Entries {
    /// Goes on to the end of the next entry: how many bytes of `piece` that takes; `None` where it ends behind them all.
    pub(super) fn end(&mut self, piece: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < piece.len() {
            let rest = &piece[at..];
            match &mut self.at {
                At::Line { any, named } => {
                    let end = memchr::memchr(b'\n', rest);
                    let line = &rest[..end.unwrap_or(rest.len())];
                    *any |= !line.is_empty();
                    *named = *named || memchr::memchr(b'=', line).is_some();
                    let (any, named) = (*any, *named);
                    let took = end.map_or(rest.len(), |end| end + 1);
                    self.keep(&rest[..took]);
                    at += took;
                    if end.is_some() {
                        self.at = if any && !named { At::Length { came: 0, length: 0 } } else { At::default() };
                        if !any && std::mem::take(&mut self.begun) {
                            return Some(at);
                        }
                    }
                }
                At::Length { came, length } => {
                    *length |= u64::from(rest[0]) << (8 * *came);
                    (*came, at) = (*came + 1, at + 1);
                    if *came == 8 {
                        self.at = At::Field(length.saturating_add(1));
                    }
                }
                At::Field(left) => {
                    let took = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    (*left, at) = (*left - took as u64, at + took);
                    if *left == 0 {
                        self.at = At::default();
                    }
                }
            }
        }
        None
    }

    fn keep(&mut self, bytes: &[u8]) {
        if !std::mem::replace(&mut self.begun, true) {
            if bytes == b"\n" {
                // An empty line between two entries is none of either.
                self.begun = false;
                return;
            }
            self.first.clear();
        }
        let room = FIRST.saturating_sub(self.first.len());
        self.first.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// What the entry that ended last, or has begun since, begins with.
    pub(super) fn first(&self) -> First<'_> {
        First(&self.first)
    }
}

/// The fields that an entry begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct First<'a>(pub(super) &'a [u8]);

impl<'a> First<'a> {
    /// A field's value, if it is among them.
    pub(super) fn field(&self, name: &str) -> Option<&'a str> {
        let line = |line: &'a [u8]| line.strip_suffix(b"\n")?.strip_prefix(name.as_bytes())?.strip_prefix(b"=");
        let value = self.0.split_inclusive(|byte| *byte == b'\n').find_map(line)?;
        std::str::from_utf8(value).ok()
    }

    /// The entry's place in its journal.
    pub(super) fn cursor(&self) -> Option<&'a str> {
        self.field("__CURSOR")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u32, message: &[u8]) -> Vec<u8> {
        let head = format!("__CURSOR=s={number}\n__REALTIME_TIMESTAMP={number}\nPRIORITY=3\nMESSAGE\n");
        [head.as_bytes(), &(message.len() as u64).to_le_bytes(), message, b"\nLAST=x=y\n\n"].concat()
    }

    #[test]
    fn ends_are_found_in_pieces_of_any_size_whatever_a_field_holds() {
        let parts = [entry(1, b"plain"), entry(2, b"\n\n__CURSOR=s=9\n\n"), entry(3, b""), entry(4, &[0; 1000])];
        let text = parts.concat();
        let expected: Vec<(usize, String)> =
            (1..=4).map(|n| (parts[..n].iter().map(Vec::len).sum(), format!("s={n}"))).collect();
        for size in 1..=text.len() {
            let (mut entries, mut found, mut base) = (Entries::default(), Vec::new(), 0);
            for piece in text.chunks(size) {
                let mut at = 0;
                while let Some(end) = entries.end(&piece[at..]) {
                    at += end;
                    found.push((base + at, entries.first().cursor().expect("a cursor").to_owned()));
                }
                base += piece.len();
            }
            assert_eq!(found, expected, "{size}");
        }
    }

    #[test]
    fn what_is_no_export_has_no_entries() {
        let mut entries = Entries::default();
        assert_eq!(
            (entries.end(b"\n\n\n"), entries.end(b"-- No entries --\n"), entries.end(&[255; 100])),
            (None, None, None)
        );
        assert_eq!(entries.first().cursor(), None);
        assert_eq!(Entries::default().end(b"A=1\n\n\n"), Some(5));
    }
}
