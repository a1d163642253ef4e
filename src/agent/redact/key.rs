//! Private keys in PEM and its relatives, and those that are base64 once more, as Kubernetes keeps them.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use regex::bytes::Regex;

use super::label::Label;
use super::open::{self, KeyBlock, Open};
use super::text::{self, Edit};

/// Lines before an END without a BEGIN that are looked back over: the head of a log may begin inside a key.
const LINES: usize = 512;

static BEGIN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?-u)\A-{4,5} ?BEGIN (?:(?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?|OpenVPN Static key V[0-9]) ?-{4,5}")
        .expect("a constant pattern compiles")
});
static END: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?-u)\A-{4,5} ?END (?:(?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?|OpenVPN Static key V[0-9]) ?-{4,5}")
        .expect("a constant pattern compiles")
});

/// `hit` is at `BEGIN`.
pub(super) fn begin(hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let Some(start) = fence_start(hay, hit) else { return };
    let Some(fence) = BEGIN.find(&hay[start..]) else { return };
    let after = start + fence.end();
    let Some(one_line) = body(hay, after) else { return };
    let mut block = Open::Key(KeyBlock::new(one_line));
    let (end, closed) = block.go_on(hay, after, false);
    edits.push(Edit { start, end, label: Label::PrivateKey, open: (!closed).then_some(block) });
}

/// Whether a text ends with the line that begins a key, so that the key itself comes elsewhere.
pub(super) fn ends_with_begin(text: &[u8]) -> bool {
    let Some(hit) = memchr::memmem::rfind(text, b"BEGIN ") else { return false };
    let Some(start) = fence_start(text, hit) else { return false };
    let quoted = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'`');
    BEGIN.find(&text[start..]).is_some_and(|fence| text[start + fence.end()..].iter().all(quoted))
}

/// Whether the line that ends a key is in a text.
pub(super) fn holds_end(text: &[u8]) -> bool {
    let hit = memchr::memmem::rfind(text, b"END ");
    hit.and_then(|hit| fence_start(text, hit)).is_some_and(|start| END.is_match(&text[start..]))
}

/// The first of the four or five dashes before `hit`, between which there may be a blank.
fn fence_start(hay: &[u8], hit: usize) -> Option<usize> {
    let blank = usize::from(hay[..hit].last() == Some(&b' '));
    let dashes = hay[..hit - blank].iter().rev().take(5).take_while(|b| **b == b'-').count();
    (dashes >= 4).then(|| hit - blank - dashes)
}

/// Whether a key's body follows its BEGIN line, and whether all of it is on the same line. A sentence that quotes the
/// line is followed by something else.
fn body(hay: &[u8], after: usize) -> Option<bool> {
    let mut at = after;
    while matches!(hay.get(at), Some(b' ' | b'\t' | b'\r')) {
        at += 1;
    }
    let base64 = |at: usize| {
        hay[at.min(hay.len())..]
            .iter()
            .take(16)
            .filter(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
            .count()
            == 16
    };
    match hay.get(at) {
        None | Some(b'\n') => Some(false),
        Some(b'\\') => {
            let next = at + hay[at..].iter().take_while(|b| matches!(b, b'\\' | b'n' | b'r')).count();
            // `\n` and then a key, or a header such as `Proc-Type`, is one line; `\n"` is a log of lines.
            Some(hay.get(next).is_some_and(|b| b.is_ascii_alphanumeric()))
        }
        Some(b'"' | b'\'' | b'#') => Some(false),
        Some(_) => base64(at).then_some(true),
    }
}

/// An END without its BEGIN: takes out the lines of base64 right before it. `hit` as for [`begin`].
pub(super) fn end(hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let Some(fence) = fence_start(hay, hit) else { return };
    let Some(found) = END.find(&hay[fence..]) else { return };
    let line = text::line_start(hay, fence);
    let before = &hay[line..fence];
    if memchr::memmem::find(before, b"BEGIN ").is_some() {
        return;
    }
    // Behind what a log has before each line, a line of a key is known by its length; the last one may have any.
    let alone = before.trim_ascii().is_empty();
    let (mut start, mut at) = (fence, line);
    for number in 0..LINES {
        let Some(end) = at.checked_sub(1).filter(|at| hay[*at] == b'\n') else { break };
        at = text::line_start(hay, end);
        if at == end || !open::continues(&hay[at..end], alone) && (alone || number > 0 || !ends_base64(&hay[at..end])) {
            break;
        }
        start = if alone || open::continues(&hay[at..end], false) { at } else { start };
    }
    if start < fence {
        edits.push(Edit { start, end: fence + found.end(), label: Label::PrivateKey, open: None });
    }
}

/// Whether a line ends with base64, as the last one of a key does behind whatever a log has before it.
fn ends_base64(line: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let line = line.trim_ascii_end();
    let line = line.strip_suffix(b"\"}").unwrap_or(line);
    let line = line.strip_suffix(b"\\n").unwrap_or(line);
    line.iter().rev().take_while(|b| digit(b)).count() >= 4
}

/// `LS0tLS1CRUdJTi…`: a PEM in base64. Certificates look the same until the word that follows.
pub(super) fn wrapped(hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    let head = hay[hit..].iter().take(64).take_while(|b| digit(b)).count() / 4 * 4;
    let Ok(text) = STANDARD_NO_PAD.decode(&hay[hit..hit + head]) else { return };
    if memchr::memmem::find(&text, b"PRIVATE KEY").is_none() {
        return;
    }
    let end = hit + hay[hit..].iter().take_while(|b| digit(b) || **b == b'=').count();
    edits.push(Edit { start: hit, end, label: Label::PrivateKey, open: (end == hay.len()).then_some(Open::Bare) });
}
