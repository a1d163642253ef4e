//! Secrets that go on past the bytes at hand: what still belongs to them, and where they end.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::text::{self, Quote};

/// Bytes kept back while a key's end may lie across two readings.
const TAIL: usize = 160;
/// Backslashes before a quote that are kept back for the same reason.
const LONGEST_ESCAPE: usize = 64;
/// Lines without anything like a key, after which a key without an end is given up: before its first such line, and after.
const STRAY: (u32, u32) = (4, 16);
/// The same for text without lines.
const STRAY_BYTES: usize = 16 << 10;
/// Blanks or blank lines looked at, at most, to find out whether a YAML block goes on.
const INDENT: usize = 1024;

/// A secret whose end has not been seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Open {
    /// Up to a closing quote.
    Quoted(Quote),
    /// Up to a blank, a quote or a line's end.
    Bare,
    /// Up to the line's end.
    Line,
    /// A private key, up to its END line.
    Key(KeyBlock),
    /// A YAML block: every line that is further in than this.
    Block { indent: usize },
    /// What may go on behind a gap: lines of base64, as long as they come. Whether there was one yet, and whether a line is not at its end.
    Rest { begun: bool, inside: bool },
}

/// A private key between its BEGIN and END.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct KeyBlock {
    /// Its line ends are written as `\n`: all of it is on one line.
    one_line: bool,
    seen: bool,
    idle_lines: u32,
    idle_bytes: usize,
}

static FENCE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?-u)-{4,5} ?(?:(BEGIN) |END [A-Za-z0-9 ]{1,64}?-{4,5}|END [A-Z0-9 ]{1,64}? ----)")
        .expect("a constant pattern compiles")
});

impl Open {
    /// Goes on from `from`: where the secret goes to within `hay`, and whether it ends there.
    pub(super) fn go_on(&mut self, hay: &[u8], from: usize, eof: bool) -> (usize, bool) {
        match self {
            Self::Quoted(quote) => {
                let (end, closed) = quote.close(hay, from);
                if closed || eof {
                    return (end, true);
                }
                // Backslashes at the very end belong to a quote that has not been read yet.
                let slashes = hay[from..].iter().rev().take_while(|b| **b == b'\\').count();
                (end - slashes.min(LONGEST_ESCAPE), false)
            }
            Self::Bare => until(hay, from, eof, |b| b.is_ascii_whitespace() || matches!(b, 0 | b'"' | b'\'' | b'`')),
            Self::Line => until(hay, from, eof, text::is_break),
            Self::Key(block) => block.go_on(hay, from, eof),
            Self::Block { indent } => block_end(hay, from, *indent, eof),
            Self::Rest { begun, inside } => rest(hay, from, eof, begun, inside),
        }
    }
}

/// The end of a quoted text that begins at `from`, and how to go on when it is not there.
pub(super) fn quoted(quote: Quote, hay: &[u8], from: usize) -> (usize, Option<Open>) {
    let mut open = Open::Quoted(quote);
    let (end, closed) = open.go_on(hay, from, false);
    (end, (!closed).then_some(open))
}

fn until(hay: &[u8], from: usize, eof: bool, stops: impl Fn(u8) -> bool) -> (usize, bool) {
    match hay[from..].iter().position(|b| stops(*b)) {
        Some(found) => (from + found, true),
        None => (hay.len(), eof),
    }
}

impl KeyBlock {
    /// A key whose BEGIN line was just read.
    pub(super) fn new(one_line: bool) -> Self {
        Self { one_line, ..Self::default() }
    }

    /// Past the END line, or to where another block begins, or to where this can be no key any more.
    fn go_on(&mut self, hay: &[u8], from: usize, eof: bool) -> (usize, bool) {
        if let Some(fence) = FENCE.captures(&hay[from..]) {
            let whole = fence.get(0).expect("group 0 is the match");
            let end = from + if fence.get(1).is_some() { whole.start() } else { whole.end() };
            return (self.stray(hay, from, end).unwrap_or(end), true);
        }
        let end = if eof || hay.last() == Some(&b'\n') { hay.len() } else { hay.len().saturating_sub(TAIL).max(from) };
        match self.stray(hay, from, end) {
            Some(end) => (end, true),
            None => (end, eof),
        }
    }

    /// Where this stops being like a key between `from` and `end`, if it does.
    fn stray(&mut self, hay: &[u8], from: usize, end: usize) -> Option<usize> {
        let mut at = from;
        while at < end {
            let stop = memchr::memchr(b'\n', &hay[at..end]).map_or(end, |found| at + found + 1);
            if self.one_line && hay[stop - 1] == b'\n' {
                return Some(stop - 1);
            }
            if like_key(&hay[at..stop]) {
                (self.seen, self.idle_lines, self.idle_bytes) = (true, 0, 0);
            } else {
                self.idle_lines += u32::from(hay[stop - 1] == b'\n');
                self.idle_bytes += stop - at;
                let most = if self.seen { STRAY.1 } else { STRAY.0 };
                if self.idle_lines > most || self.idle_bytes > STRAY_BYTES {
                    return Some(stop - usize::from(hay[stop - 1] == b'\n'));
                }
            }
            at = stop;
        }
        None
    }
}

/// Digits of base64 in a line that begins what is left of something large; and behind what a log writes before each line.
const LINE: (usize, usize) = (40, 60);

/// Where lines end that are the rest of something of which the start was left out.
fn rest(hay: &[u8], from: usize, eof: bool, begun: &mut bool, inside: &mut bool) -> (usize, bool) {
    let mut at = from;
    while at < hay.len() {
        let end = memchr::memchr(b'\n', &hay[at..]).map(|end| at + end + 1);
        let line = &hay[at..end.unwrap_or(hay.len())];
        if !(*inside && pure(line) || continues(line, *begun)) {
            // A line that is not at hand yet is judged when it is.
            return (at, end.is_some() || eof || at == from);
        }
        if end.is_none() && !eof && at > from && !*inside {
            return (at, false);
        }
        (*begun, *inside) = (true, end.is_none());
        at = end.unwrap_or(hay.len());
    }
    (at, eof)
}

fn is_base64(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

fn pure(line: &[u8]) -> bool {
    line.trim_ascii().iter().all(is_base64)
}

/// Whether a line looks like the rest of a key, of an encoded file or of a Secret's data; `begun` when the one before it does.
pub(super) fn continues(line: &[u8], begun: bool) -> bool {
    let text = line.trim_ascii();
    let both = |run: &[u8]| run.iter().any(u8::is_ascii_uppercase) && run.iter().any(u8::is_ascii_lowercase);
    // Paths are of the same bytes, with more slashes.
    let is_path = |run: &[u8]| run.iter().filter(|b| **b == b'/').count() * 10 > run.len();
    if pure(line) {
        return !text.is_empty() && (begun || text.len() >= LINE.0 && both(text) && !is_path(text));
    }
    // `  key: <base64>`, below `data`.
    let indented = line.first() == Some(&b' ');
    let value = memchr::memmem::find(text, b": ").map(|colon| (&text[..colon], &text[colon + 2..]));
    let datum = value.is_some_and(|(name, value)| {
        let value = value.trim_ascii();
        name.iter().all(|b| text::is_name(*b))
            && value.len() >= 8
            && value.len().is_multiple_of(4)
            && pure(value)
            && both(value)
    });
    // Of a line with other text in it, it has a good part.
    let runs = |run: &[u8]| run.len() >= LINE.1 && run.len() * 4 >= text.len() && both(run) && (begun || !is_path(run));
    indented && datum || text.split(|b| !is_base64(b)).any(runs)
}

/// Whether a line holds a run of base64 in both cases, as every line of a key but its last does; or is 32 digits of hex, as in OpenVPN's.
fn like_key(line: &[u8]) -> bool {
    let text = line.trim_ascii();
    if text.len() == 32 && text.iter().all(u8::is_ascii_hexdigit) {
        return true;
    }
    line.split(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')))
        .any(|run| run.len() >= 24 && run.iter().any(u8::is_ascii_uppercase) && run.iter().any(u8::is_ascii_lowercase))
}

/// Where a YAML block of more than `indent` blanks ends: before the line break that precedes the first other line.
fn block_end(hay: &[u8], from: usize, indent: usize, eof: bool) -> (usize, bool) {
    let mut at = from;
    while let Some(found) = memchr::memchr(b'\n', &hay[at..]) {
        let stop = at + found;
        let blank = hay[stop + 1..].iter().take(INDENT).take_while(|b| b.is_ascii_whitespace()).count();
        let next = stop + 1 + blank;
        if next >= hay.len() {
            return (stop, eof);
        }
        let line = memchr::memrchr(b'\n', &hay[stop..next]).map_or(next, |last| stop + last + 1);
        if blank < INDENT && next - line <= indent {
            return (stop, true);
        }
        at = next;
    }
    (hay.len(), eof)
}
