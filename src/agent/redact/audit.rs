//! Command lines in the audit log, which writes what has blanks or NULs in it as hex: `proctitle=`, and the arguments of `EXECVE`.
//!
//! Hex is decoded, looked through with all rules, and gives way to a marker where what it stands for does; the rest stays, for tools to decode.

use std::ops::Range;

use super::label::Label;
use super::scan::{Found, Rules, View};
use super::text::{self, Edit};

/// Bytes of a record, digits that are decoded together, and arguments, at most: the kernel writes no longer ones.
const RECORD: usize = 16 << 10;
const DIGITS: usize = 8 << 10;
const ARGUMENTS: usize = 1024;

/// A part of a command line: where it is in the log and in the line that is looked through, and whether it is hex.
struct Part {
    hay: Range<usize>,
    at: usize,
    hex: bool,
}

/// The command line as the process had it: arguments, with a NUL between.
#[derive(Default)]
struct Line {
    text: Vec<u8>,
    parts: Vec<Part>,
}

/// `hit` is at `proctitle=`, or at `EXECVE`.
pub(super) fn find(rules: &Rules, hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let end = hit + text::line_end(&hay[hit..hay.len().min(hit + RECORD)], 0);
    let mut line = Line::default();
    if hay[hit..].starts_with(b"EXECVE") {
        // One in the words before has gone over this line already.
        let before = &hay[text::line_start(hay, hit)..hit];
        if memchr::memmem::find(before, b"EXECVE").is_some() || !has_hex(&hay[hit..end]) {
            return;
        }
        arguments(hay, hit, end, &mut line);
    } else {
        line.take(hay, hit + "proctitle=".len(), end, true);
    }
    if !line.parts.iter().any(|part| part.hex) {
        return;
    }
    let mut found = Found { ended: true, ..Found::default() };
    rules.scan(View { hay: &line.text, from: 0, look: 0 }, &mut found);
    for edit in &found.edits {
        line.parts.iter().for_each(|part| part.cover(edit.start..edit.end, edit.label, &line.text, edits));
    }
}

/// Whether an argument is not in quotes.
fn has_hex(line: &[u8]) -> bool {
    memchr::memchr_iter(b'=', line).any(|at| {
        at > 0
            && (line[at - 1].is_ascii_digit() || line[at - 1] == b']')
            && line.get(at + 1).is_some_and(u8::is_ascii_hexdigit)
    })
}

/// The arguments `a0=`, `a1=`, and the parts `a2[0]=` of a long one.
fn arguments(hay: &[u8], from: usize, end: usize, line: &mut Line) {
    let mut at = from;
    while let Some(space) = memchr::memchr(b' ', &hay[at..end]).filter(|_| line.parts.len() < ARGUMENTS) {
        at += space + 1;
        let rest = &hay[at..end];
        let number = rest.iter().skip(1).take_while(|b| b.is_ascii_digit()).count();
        let Some(after) = rest.strip_prefix(b"a").filter(|_| number > 0).map(|rest| &rest[number..]) else { continue };
        let part = after.strip_prefix(b"[").map(|after| after.iter().take_while(|b| b.is_ascii_digit()).count());
        let sign = part.map_or(0, |digits| digits + 2);
        if after.get(sign) != Some(&b'=') {
            continue;
        }
        let goes_on = part.is_some() && !after.starts_with(b"[0]");
        at = line.take(hay, at + 1 + number + sign + 1, end, !goes_on);
    }
}

impl Line {
    /// Takes in what begins at `start`, in quotes or in hex; `new` is an argument of its own. Where it ends.
    fn take(&mut self, hay: &[u8], start: usize, end: usize, new: bool) -> usize {
        if new && !self.text.is_empty() {
            self.text.push(0);
        }
        let at = self.text.len();
        if hay.get(start) == Some(&b'"') {
            let stop = memchr::memchr(b'"', &hay[start + 1..end]).map_or(end, |at| start + 1 + at);
            self.text.extend_from_slice(&hay[start + 1..stop]);
            self.parts.push(Part { hay: start + 1..stop, at, hex: false });
            return stop;
        }
        let digits = hay[start..end].iter().take(DIGITS).take_while(|b| b.is_ascii_hexdigit()).count() / 2 * 2;
        let value = |b: u8| char::from(b).to_digit(16).unwrap_or(0) as u8;
        self.text.extend(hay[start..start + digits].chunks_exact(2).map(|two| value(two[0]) << 4 | value(two[1])));
        self.parts.push(Part { hay: start..start + digits, at, hex: digits > 0 });
        start + digits
    }
}

impl Part {
    /// Takes out what of a secret in the command line lies in this part.
    fn cover(&self, secret: Range<usize>, label: Label, text: &[u8], edits: &mut Vec<Edit>) {
        let scale = if self.hex { 2 } else { 1 };
        let end = self.at + self.hay.len() / scale;
        let (from, to) = (secret.start.max(self.at), secret.end.min(end));
        if from < to && to <= text.len() {
            let place = |at: usize| self.hay.start + (at - self.at) * scale;
            edits.push(Edit { start: place(from), end: place(to), label, open: None });
        }
    }
}
