//! `.netrc`: `machine <name> login <name> password <password>`, on one line or on several.

use super::label::{self, Label};
use super::scan::Found;
use super::text::{self, Edit};

/// Words and bytes of one entry at most.
const ENTRY: (usize, usize) = (16, 4096);

/// `hit` is at `machine`, which begins its line.
pub(super) fn find(hay: &[u8], hit: usize, found: &mut Found) {
    let start = text::line_start(hay, hit);
    if !hay[start..hit].iter().all(u8::is_ascii_whitespace) {
        return;
    }
    let most = hay.len().min(hit + ENTRY.1);
    let mut words = Words { hay: &hay[..most], at: hit };
    words.next();
    words.next();
    let mut edits = Vec::new();
    for _ in 0..ENTRY.0 {
        let Some((name, _)) = words.next() else { break };
        if !matches!(&hay[name..words.at], b"login" | b"account" | b"password") {
            break;
        }
        let secret = &hay[name..words.at] == b"password";
        let Some((value, end)) = words.next() else { break };
        if secret && !label::is_marker(&hay[value..end]) {
            edits.push(Edit { start: value, end, label: Label::Password, open: None });
        }
    }
    found.whole(start, (words.at < hay.len()).then_some(words.at));
    found.edits.append(&mut edits);
}

/// The words of a text, wherever its lines end.
struct Words<'a> {
    hay: &'a [u8],
    at: usize,
}

impl Words<'_> {
    fn next(&mut self) -> Option<(usize, usize)> {
        let rest = &self.hay[self.at..];
        let blank = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let word = rest[blank..].iter().take_while(|b| !b.is_ascii_whitespace() && **b != 0).count();
        let start = self.at + blank;
        self.at = start + word;
        (word > 0).then_some((start, self.at))
    }
}
