//! Reading secrets' surroundings byte by byte: lines, quotes at any depth of escaping, names, ends of values.
//!
//! Every walk has a bound, so that no input makes a rule slower than linear.

use memchr::{memchr2, memrchr2};

/// How far a rule looks back or ahead around what it found; more than any name, header or URL needs.
pub(super) const LOOK: usize = 1024;
/// Blanks between a name and its value at most.
const BLANKS: usize = 256;

/// A secret found: what to take out, and what ends it when the bytes at hand end first.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Edit {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) label: super::label::Label,
    pub(super) open: Option<super::open::Open>,
}

/// A quote as it stands in the text: its character, and the backslashes before it, which tell how deep it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quote {
    pub(super) mark: u8,
    pub(super) slashes: usize,
}

impl Quote {
    /// The quote that stands at `at`, with its backslashes; and where the text after it begins.
    pub(super) fn at(hay: &[u8], at: usize) -> Option<(Self, usize)> {
        let slashes = hay.get(at..)?.iter().take(16).take_while(|b| **b == b'\\').count();
        let mark = *hay.get(at + slashes)?;
        matches!(mark, b'"' | b'\'' | b'`').then_some((Self { mark, slashes }, at + slashes + 1))
    }

    /// Whether a quote that ends at `after` closes the text around the name at `name`, rather than opening a value: `"bad token="`.
    pub(super) fn closes_around(self, hay: &[u8], name: usize, after: usize) -> bool {
        let ends = hay.get(after).is_none_or(|b| b.is_ascii_whitespace() || matches!(b, 0 | b',' | b'}' | b')' | b']'));
        ends && self.slashes == 0 && enclosing(hay, name) == Some(self.mark)
    }

    /// Where what this quote opened ends: at the closing quote of the same depth, of an outer one, or at the line's end.
    ///
    /// A quote at depth `d` has `2^d - 1` backslashes; those of a deeper one leave a larger remainder.
    pub(super) fn close(self, hay: &[u8], from: usize) -> (usize, bool) {
        let period = 2 * (self.slashes + 1);
        let mut at = from;
        while let Some(found) = memchr::memchr3(self.mark, b'\n', 0, hay.get(at..).unwrap_or_default()) {
            at += found;
            if hay[at] != self.mark {
                return (at, true);
            }
            let slashes = hay[from..at].iter().rev().take_while(|b| **b == b'\\').count();
            if slashes % period <= self.slashes {
                return (at - slashes.min(self.slashes), true);
            }
            at += 1;
        }
        (hay.len(), false)
    }
}

/// Whether a byte ends a line for the rules: `/proc/<pid>/environ` and the like separate by NUL.
pub(super) fn is_break(byte: u8) -> bool {
    matches!(byte, b'\n' | 0)
}

/// Where the line that holds `at` begins, or as far back as rules look.
pub(super) fn line_start(hay: &[u8], at: usize) -> usize {
    let floor = at.saturating_sub(LOOK);
    memrchr2(b'\n', 0, &hay[floor..at]).map_or(floor, |found| floor + found + 1)
}

/// Where the line that holds `at` ends.
pub(super) fn line_end(hay: &[u8], at: usize) -> usize {
    memchr2(b'\n', 0, &hay[at..]).map_or(hay.len(), |found| at + found)
}

/// Whether a byte may stand in the name of a setting.
pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Whether a byte may stand in a word, so that a token does not begin behind it.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Past the blanks at `at`, not past the line.
pub(super) fn skip_blanks(hay: &[u8], at: usize) -> usize {
    at + hay[at..].iter().take(BLANKS).take_while(|b| matches!(b, b' ' | b'\t')).count()
}

/// Whether `hay` holds `text` at `at`.
pub(super) fn has(hay: &[u8], at: usize, text: &[u8]) -> bool {
    hay.get(at..at + text.len()).is_some_and(|found| found == text)
}

/// The `"` that is open where `at` stands on its line, if one is; unknown, and so none, far into a long line.
pub(super) fn enclosing(hay: &[u8], at: usize) -> Option<u8> {
    let start = line_start(hay, at);
    if at - start >= LOOK {
        return None;
    }
    let mut open = false;
    let mut escaped = false;
    for byte in &hay[start..at] {
        open ^= *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
    }
    open.then_some(b'"')
}

/// Where text inside an open quote ends: at that quote, or at an escaped line end, or at the line's end.
pub(super) fn header_end(hay: &[u8], from: usize, inside: Option<u8>) -> usize {
    let end = line_end(hay, from);
    let mut at = from;
    while at < end {
        match hay[at] {
            b'\r' => return at,
            byte if Some(byte) == inside => return at,
            b'\\' if inside.is_some() => match hay.get(at + 1) {
                Some(b'r' | b'n' | b'"' | b'\'') => return at,
                _ => at += 2,
            },
            _ => at += 1,
        }
    }
    end
}
