//! Errors and foreign text, made safe to show.
//!
//! The one place that turns an error chain into a line, and the one that escapes what came from elsewhere (node names,
//! paths, reasons) before it reaches a log, a terminal or WARNINGS.txt. It never writes anywhere itself.

use std::error::Error;
use std::fmt::Write as _;

/// Where a library begins to point to its own manual.
const MANUAL: &str = ": https://docs.rs/";

/// The whole chain of an error as one line: `outer: inner: innermost`, escaped, without the manuals of libraries.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let _ = write!(text, ": {inner}");
        source = inner.source();
    }
    while let Some(from) = text.find(MANUAL) {
        let rest = &text[from + 2..];
        let address = rest.split(char::is_whitespace).next().unwrap_or_default().trim_end_matches(':');
        text.replace_range(from..from + 2 + address.len(), "");
    }
    escape(&text)
}

/// Escapes control characters, line ends, and characters that reorder or hide text on a terminal; the rest stays as it is.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let hides =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if c.is_control() || hides {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// A foreign reason, escaped and cut at `most` characters.
pub fn brief(text: &str, most: usize) -> String {
    let safe = escape(text);
    match safe.char_indices().nth(most) {
        None => safe,
        Some((at, _)) => format!("{}…", &safe[..at]),
    }
}

/// So many of a thing, in words: `1 node`, `3 nodes`.
pub fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// Bytes for people: `1.4 GiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_foreign_moves_the_cursor() {
        assert_eq!(escape("a\x1b[2Jb\nc\u{202e}d é"), "a\\u{1b}[2Jb\\nc\\u{202e}d é");
        assert_eq!(brief("äöü", 2), "äö…");
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536 << 20), "1.5 GiB");
    }

    #[test]
    fn a_chain_is_one_line() {
        let inner = std::io::Error::other("disk\nfull");
        let outer = std::io::Error::other(inner);
        assert_eq!(chain(&outer), "disk\\nfull");
        let pointer = std::io::Error::other("no farewell: https://docs.rs/x/latest/x/#unexpected-eof (is it up?)");
        assert_eq!(chain(&pointer), "no farewell (is it up?)");
        assert_eq!(chain(&std::io::Error::other("a: https://docs.rs/x: https://docs.rs/y")), "a");
    }
}
