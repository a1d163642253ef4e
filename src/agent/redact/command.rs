//! Command lines: credentials in short options, which mean that only for some programs.

use regex::bytes::Regex;

use super::label::{self, Label};
use super::text::{self, Edit, Quote};

/// Bytes of a command line that are looked at, at most.
const COMMAND: usize = 2048;

/// Values that one command line is taken to have, at most.
const VALUES: usize = 4;

/// `mysql -psecret` and the like; `hit` is at the program's name, with which `program` begins.
pub(super) fn options(program: &Regex, option: &Regex, hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let line = &hay[hit..hit + COMMAND.min(hay.len() - hit)];
    let Some(found) = program.find(line) else { return };
    // The blank behind the program stands before its first option.
    let start = found.end() - usize::from(matches!(line[found.end() - 1], b' ' | 0));
    let end = memchr::memchr3(b'\n', b'|', b';', &line[start..]).map_or(line.len(), |at| start + at);
    for groups in option.captures_iter(&line[start..end]).take(VALUES) {
        let value = groups.get(1).expect("every pattern has its group");
        push(hay, hit + start + value.start(), hit + start + value.end(), edits);
    }
}

/// ` -u name:password`, `--user name:password`; `hit` is at the blank, or at `-user`. `1000:1000` is a user and a group.
pub(super) fn user(hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let option = if hay[hit..].starts_with(b"-user") { 5 } else { 3 };
    let mut at = hit + option;
    if !matches!(hay.get(at), Some(b' ' | b'=' | 0)) {
        return;
    }
    at += 1;
    at += usize::from(matches!(hay.get(at), Some(b'"' | b'\'')));
    let word =
        &hay[at..at + hay[at..].iter().take(1024).take_while(|b| **b > b' ' && !matches!(b, b'"' | b'\'')).count()];
    let Some(colon) = memchr::memchr(b':', word) else { return };
    let (name, password) = (&word[..colon], &word[colon + 1..]);
    let line = &hay[text::line_start(hay, hit)..hit];
    let client = [b"curl".as_slice(), b"http", b"wget"].iter().any(|c| memchr::memmem::find(line, c).is_some());
    if client && !name.is_empty() && !password.is_empty() {
        push(hay, at + colon + 1, at + word.len(), edits);
    }
}

/// `IDENTIFIED BY 'password'` in SQL; `hit` is in the first word.
pub(super) fn identified(hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let mut at = hit + "dentified by ".len();
    if hay.get(at..at + 9).is_some_and(|word| word.eq_ignore_ascii_case(b"password ")) {
        at += 9;
    }
    let at = text::skip_blanks(hay, at.min(hay.len()));
    if let Some((quote, start)) = Quote::at(hay, at) {
        let (end, _) = quote.close(hay, start);
        if end > start {
            push(hay, start, end, edits);
        }
    }
}

fn push(hay: &[u8], start: usize, end: usize, edits: &mut Vec<Edit>) {
    if !label::is_marker(&hay[start..end]) && !hay[start..end].starts_with(b"$") {
        edits.push(Edit { start, end, label: Label::Password, open: None });
    }
}
