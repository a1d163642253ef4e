//! Headers of requests: Authorization, cookies, and bearer or basic credentials wherever they stand.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::label::{self, Label};
use super::open::{self, Open};
use super::text::{self, Edit, LOOK, Quote, has};

/// Schemes after `Authorization:`. Anything else there is a sentence, unless it is one long word.
const SCHEMES: [&str; 21] = [
    "bearer",
    "basic",
    "digest",
    "token",
    "apikey",
    "api-key",
    "negotiate",
    "ntlm",
    "aws4-hmac-sha256",
    "aws",
    "sharedkey",
    "sharedkeylite",
    "signature",
    "googlelogin",
    "oauth",
    "hawk",
    "splunk",
    "bot",
    "geniekey",
    "key",
    "kerberos",
];

/// `Authorization: <scheme> <credentials>`, as a header, in JSON, or as printed by programs; `hit` lies in the name.
pub(super) fn authorization(hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let Some(header) = Header::around(hay, hit) else { return };
    let lower = header.name.to_ascii_lowercase();
    if !lower.ends_with(b"authorization") && !lower.ends_with(b"x-auth") {
        return;
    }
    let (end, open) = header.value_end();
    let value = &hay[header.value..end];
    let word = value.iter().take(32).take_while(|b| b.is_ascii_alphanumeric() || **b == b'-').count();
    let blanks = value[word..].iter().take(16).take_while(|b| **b == b' ').count();
    let known = SCHEMES.iter().any(|s| value[..word].eq_ignore_ascii_case(s.as_bytes()));
    let start = if known && blanks > 0 {
        header.value + word + blanks
    } else if value.len() >= 16 && value.iter().any(u8::is_ascii_digit) && !value.contains(&b' ') {
        header.value
    } else {
        return;
    };
    let one_word = known && matches!(value[..word].to_ascii_lowercase().as_slice(), b"bearer" | b"basic" | b"token");
    let (end, open) = if one_word && header.quote.is_none() {
        let stop =
            |b: u8| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'`' | b',' | b']' | b'}' | b')' | b'\\' | 0);
        let marker = label::marker_length(&hay[start..end]).unwrap_or(0);
        match hay[start + marker..end].iter().position(|b| stop(*b)) {
            Some(found) => (start + marker + found, None),
            None => (end, (end == hay.len()).then_some(Open::Bare)),
        }
    } else {
        (end, open)
    };
    push(hay, start, end, Label::Authorization, open, edits);
}

/// `Cookie: a=b; c=d` and `Set-Cookie: …`; `hit` lies in the name.
pub(super) fn cookie(hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let Some(header) = Header::around(hay, hit) else { return setcookie(hay, hit, edits) };
    let lower = header.name.to_ascii_lowercase();
    if [b"erlang_cookie".as_slice(), b"erlang.cookie", b"erlangcookie"].iter().any(|name| lower.ends_with(name)) {
        return word(hay, header.value, edits);
    }
    if !header.colon || !matches!(lower.as_slice(), b"cookie" | b"set-cookie" | b"cookies" | b"http_cookie") {
        return;
    }
    let (end, open) = header.value_end();
    // A sentence about cookies has no pair in it.
    if hay[header.value..end].contains(&b'=') {
        push(hay, header.value, end, Label::Cookie, open, edits);
    }
}

/// `-setcookie x`, by which nodes of Erlang trust each other.
fn setcookie(hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let at = hit + "ookie".len();
    if hay[..hit].ends_with(b"-setc") && matches!(hay.get(at), Some(b' ' | 0)) {
        word(hay, at + 1, edits);
    }
}

fn word(hay: &[u8], start: usize, edits: &mut Vec<Edit>) {
    let ends = |b: &u8| *b <= b' ' || matches!(b, b'"' | b'\'' | b'\\' | b',' | b'}' | b']');
    let end = start + hay[start.min(hay.len())..].iter().take(LOOK).take_while(|b| !ends(b)).count();
    // A marker begins with the bracket that a list would have.
    let marker = has(hay, start, b"redacted:") || label::marker_length(&hay[start.min(hay.len())..]).is_some();
    if end >= start + 8 && !marker {
        push(hay, start, end, Label::Cookie, None, edits);
    }
}

/// Whether the word that goes on at `hit` begins with `initial` right before it, and nothing before that.
fn begins(hay: &[u8], hit: usize, initial: u8) -> bool {
    hit > 0 && hay[hit - 1].eq_ignore_ascii_case(&initial) && !(hit > 1 && text::is_word(hay[hit - 2]))
}

/// `Bearer <token>` outside a header. `hit` is at the scheme's second letter.
pub(super) fn bearer(hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    if !begins(hay, hit, b'b') {
        return;
    }
    let start = hit + "earer ".len();
    let token = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b'-');
    let end = start + hay[start..].iter().take_while(|b| token(b)).count();
    let value = &hay[start..end];
    if value.len() >= 16 && value.iter().any(u8::is_ascii_digit) && value.iter().any(u8::is_ascii_alphabetic) {
        push(hay, start, end, Label::Authorization, (end == hay.len()).then_some(Open::Bare), edits);
    }
}

/// `Basic <base64 of user:password>` outside a header. `hit` is at the scheme's second letter.
pub(super) fn basic(hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    if !begins(hay, hit, b'b') {
        return;
    }
    let start = hit + "asic ".len();
    if let Some(end) = pair(hay, start) {
        push(hay, start, end, Label::Authorization, None, edits);
    }
}

/// `"auth": "<base64 of user:password>"`, `auth = "…"`, as credentials of container registries are kept; `hit` is at the name.
pub(super) fn registry(hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let name = hit + "auth".len();
    let at = text::skip_blanks(hay, Quote::at(hay, name).map_or(name, |(_, next)| next));
    if !matches!(hay.get(at), Some(b':' | b'=')) {
        return;
    }
    let Some((_, start)) = Quote::at(hay, text::skip_blanks(hay, at + 1)) else { return };
    if let Some(end) = pair(hay, start) {
        push(hay, start, end, Label::Authorization, None, edits);
    }
}

/// Where the base64 of `user:password` that begins at `start` ends, if it is one.
fn pair(hay: &[u8], start: usize) -> Option<usize> {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let end = start + hay[start..].iter().take(LOOK).take_while(|b| digit(b)).count();
    let text = STANDARD.decode(&hay[start..end]).ok()?;
    (text.contains(&b':') && text.iter().all(|b| *b >= b' ' && *b != 0x7f)).then_some(end)
}

fn push(hay: &[u8], start: usize, end: usize, label: Label, open: Option<Open>, edits: &mut Vec<Edit>) {
    let trailing = hay[start..end].iter().rev().take_while(|b| b.is_ascii_whitespace()).count();
    let end = end - trailing;
    if end > start && !label::is_marker(&hay[start..end]) {
        edits.push(Edit { start, end, label, open });
    }
}

/// A header's name, and where its value is.
struct Header<'a> {
    hay: &'a [u8],
    name: &'a [u8],
    start: usize,
    value: usize,
    quote: Option<Quote>,
    colon: bool,
}

impl<'a> Header<'a> {
    fn around(hay: &'a [u8], hit: usize) -> Option<Self> {
        let before = hay[..hit].iter().rev().take(64).take_while(|b| text::is_name(**b)).count();
        let after = hay[hit..].iter().take(64).take_while(|b| text::is_name(**b)).count();
        let (start, end) = (hit - before, hit + after);
        let start =
            start + usize::from(start > 0 && hay[start - 1] == b'\\' && matches!(hay[start], b'n' | b't' | b'r'));
        let at = Quote::at(hay, end).map_or(end, |(_, next)| next);
        let at = text::skip_blanks(hay, at);
        let colon = match hay.get(at)? {
            b':' => true,
            b'=' => false,
            _ => return None,
        };
        let mut value = text::skip_blanks(hay, at + 1 + usize::from(has(hay, at, b"=>")));
        // Go prints `[value]`, JSON of headers has `["value"]`.
        value += usize::from(hay.get(value) == Some(&b'['));
        let opened = Quote::at(hay, value);
        if opened.is_some_and(|(quote, after)| at == end && quote.closes_around(hay, start, after)) {
            return None;
        }
        let (quote, value) = opened.map_or((None, value), |(quote, inner)| (Some(quote), inner));
        (start <= hit && value <= hay.len()).then(|| Self { hay, name: &hay[start..end], start, value, quote, colon })
    }

    fn value_end(&self) -> (usize, Option<Open>) {
        if let Some(quote) = self.quote {
            return open::quoted(quote, self.hay, self.value);
        }
        let before = self.start.checked_sub(1).map(|at| self.hay[at]);
        let inside = before.filter(|b| matches!(b, b'"' | b'\'')).or_else(|| text::enclosing(self.hay, self.start));
        let end = text::header_end(self.hay, self.value, inside);
        (end, (end == self.hay.len()).then_some(Open::Line))
    }
}
