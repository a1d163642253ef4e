//! Values on the lines below their name: a YAML value that begins on the next line, the items of a list, a quoted text over several lines, the
//! accounts of cloud-init's `chpasswd`, and the keys of netplan's tunnels.
//!
//! Only lines at hand are looked at, and no more than a value can have; where they are not at hand yet, the name is asked to be left for
//! the next block. Logs hardly have a name alone on its line, so that this costs them nothing.

use super::assign::{self, Name, Separator};
use super::label::{self, Label};
use super::scan::Found;
use super::text::{self, Edit, Quote, has};
use super::value::Place;

/// Lines that a quoted text, or a mapping of keys, is taken to have at most; and accounts in a list.
const LINES: usize = 8;
const ACCOUNTS: usize = 256;
/// Bytes of an object in which its value is looked for.
const OBJECT: usize = 512;

/// A line below a name.
struct Line {
    start: usize,
    text: usize,
    end: usize,
}

impl Line {
    /// The line behind the one that ends at `end`, if it is at hand.
    fn behind(hay: &[u8], end: usize) -> Option<Self> {
        let start = end + 1;
        if start >= hay.len() || hay[end] != b'\n' {
            return None;
        }
        let stop = text::line_end(hay, start);
        Some(Self { start, text: text::skip_blanks(hay, start).min(stop), end: stop })
    }

    fn indent(&self) -> usize {
        self.text - self.start
    }

    /// Its text without blanks around it.
    fn of<'a>(&self, hay: &'a [u8]) -> &'a [u8] {
        hay[self.text..self.end].trim_ascii_end()
    }
}

/// The value of a name that has its line for itself, which ends behind `at`.
pub(super) fn find(name: &Name<'_>, at: usize, found: &mut Found) {
    let hay = name.hay;
    let column = name.column();
    if &hay[name.start..name.end] == b"chpasswd" {
        return accounts(name, at, found);
    }
    let listed = match name.named.label {
        _ if !name.named.plural => None,
        Label::Password => Some(Place::Setting),
        Label::Token | Label::Key => Some(Place::Prose),
        _ => None,
    };
    let mut end = text::line_end(hay, at);
    let mut first = true;
    while let Some(line) = Line::behind(hay, end) {
        let item = has(hay, line.text, b"- ");
        match listed {
            Some(place) if item && line.indent() + 2 >= column => {
                // A mapping is no value, and neither is what follows it.
                if !scalar(name, place, text::skip_blanks(hay, line.text + 2), line.end, found) {
                    return keep(name, line.start, found);
                }
            }
            _ if first && !item && line.indent() > column => {
                let place = if name.named.label == Label::Password { Place::Setting } else { Place::Prose };
                scalar(name, place, line.text, line.end, found);
                end = line.end;
                break;
            }
            _ => return keep(name, line.start, found),
        }
        end = line.end;
        first = false;
    }
    keep(name, end + 1, found);
}

/// Asks that the name and what belongs to it stay together.
fn keep(name: &Name<'_>, end: usize, found: &mut Found) {
    let at_hand = found.ended || end < name.hay.len();
    found.whole(text::line_start(name.hay, name.start), at_hand.then_some(end));
}

/// One word, or one quoted text, that has the rest of its line; whether it is one.
fn scalar(name: &Name<'_>, place: Place, at: usize, end: usize, found: &mut Found) -> bool {
    let hay = name.hay;
    if let Some((quote, inner)) = Quote::at(hay, at) {
        let (stop, _) = quote.close(hay, inner);
        name.take(place, inner, stop, None, &mut found.edits);
        return true;
    }
    let text = hay[at.min(end)..end].trim_ascii_end();
    let no_value = |b: &u8| matches!(b, b'#' | b'{' | b'[' | b'|' | b'>' | b'&' | b'-' | b'<');
    let marker = label::is_marker(text);
    let word = !(text.first().is_none_or(no_value) || text.ends_with(b":") || text.iter().any(u8::is_ascii_whitespace));
    if word && !marker {
        name.take(place, at, at + text.len(), None, &mut found.edits);
    }
    word || marker
}

/// What of a quoted text that begins at `inner` stands on the lines below, if it ends there and was a secret on the first.
pub(super) fn goes_on(name: &Name<'_>, separator: Separator, quote: Quote, inner: usize, found: &mut Found) {
    let hay = name.hay;
    let mut end = quote.close(hay, inner).0;
    let setting = matches!(separator, Separator::Colon { spaced: true });
    for _ in 0..LINES {
        let Some(line) = Line::behind(hay, end) else { return keep(name, end + 1, found) };
        if setting && line.text < line.end && line.indent() <= name.column() {
            return;
        }
        let (stop, _) = quote.close(hay, line.start);
        if hay.get(stop) == Some(&quote.mark) {
            // Nothing but the text's end may stand behind the quote: another setting's is none.
            if hay[stop + 1..line.end].trim_ascii().is_empty() && hay.get(stop.wrapping_sub(1)) != Some(&b'=') {
                found.edits.push(Edit { start: inner, end: stop, label: name.named.label, open: None });
                keep(name, line.end, found);
            }
            return;
        }
        end = line.end;
    }
}

/// `chpasswd:` with a list of `user:password` below it.
fn accounts(name: &Name<'_>, at: usize, found: &mut Found) {
    let hay = name.hay;
    let mut end = text::line_end(hay, at);
    let mut list = None;
    for _ in 0..ACCOUNTS {
        let Some(line) = Line::behind(hay, end) else { return keep(name, end + 1, found) };
        end = line.end;
        if line.text == line.end {
            continue;
        }
        if line.indent() <= name.column() {
            return keep(name, line.start, found);
        }
        let item = has(hay, line.text, b"- ");
        match list {
            Some(column) if line.indent() > column || item && line.indent() == column => account(name, &line, found),
            _ => list = line.of(hay).starts_with(b"list:").then(|| line.indent()),
        }
    }
}

/// `user:password`, as an item or as it is.
fn account(name: &Name<'_>, line: &Line, found: &mut Found) {
    let hay = name.hay;
    let text = line.of(hay);
    let lead = text.iter().take_while(|b| matches!(b, b'-' | b' ' | b'"' | b'\'')).count();
    let user = text[lead..].iter().take_while(|b| text::is_name(**b)).count();
    let at = lead + user + 1;
    if user == 0 || text.get(at - 1) != Some(&b':') {
        return;
    }
    let closing =
        usize::from(lead > 0 && matches!(text[lead - 1], b'"' | b'\'') && text.last() == Some(&text[lead - 1]));
    let Some(password) = text.get(at..text.len() - closing) else { return };
    // A stored one has its own rule; a random one is not here.
    if !password.is_empty() && password[0] != b'$' && !matches!(password, b"R" | b"RANDOM") {
        name.take(Place::Sure, line.text + at, line.text + at + password.len(), None, &mut found.edits);
    }
}

/// `{"type": "string", "value": "x"}`, as Terraform keeps its outputs.
pub(super) fn object(name: &Name<'_>, at: usize, quote: Option<Quote>, found: &mut Found) {
    let (hay, Some(quote)) = (name.hay, quote) else { return };
    let most = hay.len().min(at + OBJECT);
    let inside = &hay[at..most];
    let end = memchr::memchr(b'}', inside).map_or(most, |end| at + end);
    if end == hay.len() {
        keep(name, end, found);
    }
    let Some(key) = memchr::memmem::find(&hay[at..end], b"value").map(|key| at + key) else { return };
    let Some((value, _, closing)) = assign::separator(hay, key, key + "value".len()) else { return };
    if let Some((opening, inner)) = Quote::at(hay, value).filter(|_| closing == Some(quote)) {
        if memchr::memchr(b'\n', &hay[at..value]).is_some() {
            keep(name, text::line_end(hay, inner) + 1, found);
        }
        name.quoted(Place::Sure, opening, inner, &mut found.edits);
    }
}

/// A name that is no more than `key`: what is one by its form and place.
pub(super) fn key(name: &Name<'_>, at: usize, separator: Separator, found: &mut Found) {
    let hay = name.hay;
    let word = &hay[name.start..name.end];
    if !matches!(word, b"key" | b"keys" | b"KEY" | b"KEY1" | b"KEY2" | b"KEY3" | b"KEY4") || !name.heads_line() {
        return;
    }
    let (quote, start) = Quote::at(hay, at).map_or((None, at), |(quote, inner)| (Some(quote), inner));
    let end = text::line_end(hay, at);
    let text = hay[start.min(end)..end].trim_ascii_end();
    let text = quote.and_then(|quote| text.strip_suffix(&[quote.mark])).unwrap_or(text);
    let colon = matches!(separator, Separator::Colon { .. });
    let secret = match word {
        b"keys" if colon => return pair(name, at, found),
        b"key" => colon && is_wireguard(text) || text.len() == 40 && text.starts_with(b"AQ") && text.ends_with(b"=="),
        // In an interface's configuration: of a wireless network.
        b"KEY" | b"KEY1" | b"KEY2" | b"KEY3" | b"KEY4" => !colon && is_wireless(text),
        _ => false,
    };
    if secret {
        name.take(Place::Sure, start, start + text.len(), None, &mut found.edits);
    }
}

/// 32 bytes in base64.
fn is_wireguard(text: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    text.len() == 44 && text[43] == b'=' && text[..43].iter().all(digit)
}

/// `s:` and a text, or 5 or 13 bytes in hex, with or without dashes.
fn is_wireless(text: &[u8]) -> bool {
    let digits = text.iter().filter(|b| b.is_ascii_hexdigit()).count();
    let hex = text.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-');
    text.len() >= 7 && text.starts_with(b"s:") || hex && matches!(digits, 10 | 26)
}

/// `private` and `shared` of a tunnel's keys, in braces or on the lines below.
fn pair(name: &Name<'_>, at: usize, found: &mut Found) {
    let hay = name.hay;
    let mut end = text::line_end(hay, at);
    take_pair(name, at, end, found);
    if at < hay.len() && !matches!(hay[at], b'\n' | b'\r') {
        return;
    }
    for _ in 0..LINES {
        let Some(line) = Line::behind(hay, end) else { return keep(name, end + 1, found) };
        if line.indent() <= name.column() {
            return keep(name, line.start, found);
        }
        take_pair(name, line.text, line.end, found);
        end = line.end;
    }
}

fn take_pair(name: &Name<'_>, from: usize, to: usize, found: &mut Found) {
    let hay = name.hay;
    for word in [b"private:".as_slice(), b"shared:"] {
        let Some(at) = memchr::memmem::find(&hay[from..to], word) else { continue };
        let at = text::skip_blanks(hay, from + at + word.len());
        let at = Quote::at(hay, at).map_or(at, |(_, inner)| inner);
        if hay.get(at..at + 44).is_some_and(is_wireguard) {
            name.take(Place::Sure, at, at + 44, None, &mut found.edits);
        }
    }
}
