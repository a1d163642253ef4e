//! Values that stand before their names: `{"value":"x","name":"DB_PASSWORD"}`, and `value:` on a line above `name:`, as some programs write
//! the environment of pods.
//!
//! Nothing is searched for here: the name was found as all others are, and has no value behind it. What has no name yet is not passed on
//! where a block is cut.

use super::assign::{self, Name, Separator};
use super::scan::Found;
use super::text::{self, LOOK, Quote};
use super::value::Place;

/// Lines between the two at most, for a value that has several.
const LINES: usize = 64;

/// Looks for the value before `key`, where the key of `name` begins.
pub(super) fn find(name: &Name<'_>, key: usize, found: &mut Found) {
    let hay = name.hay;
    let floor = key.saturating_sub(LOOK);
    let Some(at) = last(&hay[floor..key]) else { return };
    let at = floor + at;
    let end = at + "value".len();
    let Some((start, separator, _)) = assign::separator(hay, end, end) else { return };
    if separator == Separator::Gap || start >= key {
        return;
    }
    if let Some((quote, inner)) = Quote::at(hay, start) {
        let (stop, closed) = quote.close(hay, inner);
        let behind = stop + quote.slashes + 1;
        if closed && behind <= key && joins(&hay[behind..key]) {
            name.take(Place::Sure, inner, stop, None, &mut found.edits);
        }
        return;
    }
    let line = text::line_end(hay, start);
    let stop = if line >= key {
        // `{value: x, name: y}`.
        let text = hay[start..key].trim_ascii_end();
        let Some(text) = text.strip_suffix(b",").filter(|text| !text.iter().any(|b| matches!(b, b'{' | b'}'))) else {
            return;
        };
        start + text.len()
    } else {
        let column = column(hay, key);
        if column != self::column(hay, at) || !further_in(&hay[line + 1..text::line_start(hay, key)], column) {
            return;
        }
        start + hay[start..text::line_start(hay, key)].trim_ascii_end().len()
    };
    name.take(Place::Sure, start, stop, None, &mut found.edits);
}

/// Where the last `value` is that is a key.
fn last(text: &[u8]) -> Option<usize> {
    let mut end = text.len();
    while let Some(at) = memchr::memmem::rfind(&text[..end], b"alue").filter(|at| *at > 0) {
        let start = at - 1;
        let own = matches!(text[start], b'v' | b'V') && (start == 0 || !text::is_name(text[start - 1]));
        if own && !text.get(at + 4).is_some_and(|b| text::is_name(*b)) {
            return Some(start);
        }
        end = at;
    }
    None
}

/// Whether nothing but a comma is between a value and the next key.
fn joins(between: &[u8]) -> bool {
    let between = between.trim_ascii();
    between.is_empty() || between == b","
}

/// The column of a key in its line, behind any dash; `at` may be at its quote.
fn column(hay: &[u8], at: usize) -> Option<usize> {
    let line = text::line_start(hay, at);
    hay[line..at].iter().all(|b| matches!(b, b' ' | b'-')).then_some(at - line)
}

/// Whether all lines belong to a value at that column.
fn further_in(lines: &[u8], column: Option<usize>) -> bool {
    let Some(column) = column else { return false };
    let blank = |line: &&[u8]| line.trim_ascii().is_empty();
    lines.split(|b| *b == b'\n').all(|line| blank(&line) || line.iter().take_while(|b| **b == b' ').count() > column)
}

/// Where to cut instead of at `cut`, which ends a line, so that a value is not parted from the name below it.
pub(super) fn cut(hay: &[u8], from: usize, cut: usize) -> usize {
    let mut end = cut;
    for _ in 0..LINES {
        if end <= from || hay[end - 1] != b'\n' {
            return cut;
        }
        let start = memchr::memrchr(b'\n', &hay[from..end - 1]).map_or(from, |at| from + at + 1);
        let lead = hay[start..end].iter().take_while(|b| matches!(b, b' ' | b'-' | b'"' | b'\'')).count();
        let text = &hay[start + lead..end];
        if text.starts_with(b"value") || text.starts_with(b"Value") {
            return start;
        }
        // Only a value of several lines goes on further in.
        if lead == 0 || text.contains(&b':') {
            return cut;
        }
        end = start;
    }
    cut
}
