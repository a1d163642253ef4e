//! Files of credentials that have one entry a line, and nothing in it that names the secret: it is known by the form of all of the line.

use regex::bytes::Regex;

use super::label::{self, Label};
use super::text::{self, Edit, LOOK};

/// Takes out the groups of `pattern`, which is anchored at both ends, in the line around `hit`.
pub(super) fn find(pattern: &Regex, label: Label, hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let start = text::line_start(hay, hit);
    // Far into a long line it is not known where that begins.
    if hit - start >= LOOK {
        return;
    }
    let most = hay.len().min(hit + 2 * LOOK);
    let Some(end) =
        memchr::memchr2(b'\n', 0, &hay[hit..most]).map(|at| hit + at).or((most == hay.len()).then_some(most))
    else {
        return;
    };
    let Some(groups) = pattern.captures(&hay[start..end]) else { return };
    for value in groups.iter().skip(1).flatten() {
        if !value.is_empty() && !label::is_marker(value.as_bytes()) {
            edits.push(Edit { start: start + value.start(), end: start + value.end(), label, open: None });
        }
    }
}
