//! Settings in text that is URL-encoded: `password%22%3A%22x%22`, `token%3Dx`, `--password%20x`, as access logs have what was sent in a query.
//!
//! The name was found as all others are; behind it stands a `%`. A value is judged as it stands, and ends where the encoding of a quote, a blank or
//! another parameter does.

use super::label;
use super::name;
use super::scan::Found;
use super::text::{Edit, has};
use super::value::{self, Place};

/// Bytes of a value, and codes between it and its name, at most.
const VALUE: usize = 1024;
const CODES: usize = 16;

/// What a code stands for, and its length: `%22`, or `%5C%22` for a quote inside of quotes.
fn code(hay: &[u8], at: usize) -> Option<(u8, usize)> {
    let digit = |at: usize| hay.get(at).and_then(|b| char::from(*b).to_digit(16));
    if hay.get(at) != Some(&b'%') {
        return None;
    }
    let byte = u8::try_from(digit(at + 1)? * 16 + digit(at + 2)?).ok()?;
    Some((byte, 3))
}

/// `start` and `end` are the name's.
pub(super) fn find(hay: &[u8], start: usize, end: usize, found: &mut Found) {
    let start = if code(hay, start.wrapping_sub(1)).is_some() { (start + 2).min(end) } else { start };
    let dashes = hay[start..end].iter().take_while(|b| **b == b'-').count();
    let Some(named) = name::classify(&hay[start + dashes..end]) else { return };
    let (mut at, mut separator, mut quote) = (end, None, None);
    for _ in 0..CODES {
        let (byte, length) = match (code(hay, at), hay.get(at)) {
            (Some((b'%', _)), _) | (None, None) => return,
            (Some(code), _) => code,
            (None, Some(byte @ (b'=' | b':' | b'+'))) => (if *byte == b'+' { b' ' } else { *byte }, 1),
            (None, Some(_)) => break,
        };
        match byte {
            b'=' | b':' if separator.is_none() => (separator, quote) = (Some(byte), None),
            b'"' | b'\'' => quote = Some(byte),
            b'\\' | b' ' => {}
            _ => break,
        }
        at += length;
        if quote.is_some() && separator.is_some() {
            break;
        }
    }
    let place = match (separator, quote) {
        (Some(b'='), _) | (Some(_), Some(_)) => Place::Sure,
        (Some(_), None) => Place::Prose,
        // An option, whose value is behind a blank.
        (None, None) if dashes == 2 && at > end => Place::Option,
        _ => return,
    };
    at += if quote.is_none() { scheme(&hay[at..]) } else { 0 };
    let ends = |byte: u8| match quote {
        Some(quote) => byte == quote || byte == b'\\',
        None => matches!(byte, b' ' | b'&' | b'"' | b'\'' | b'\n' | b'\r' | b'}' | b')' | b']' | b',' | b';'),
    };
    let stop = (at..hay.len().min(at + VALUE)).find(|at| match (code(hay, *at), hay[*at]) {
        (Some((byte, _)), _) => ends(byte),
        (None, b'+') => place == Place::Prose,
        (None, byte) => byte <= b' ' || matches!(byte, b'"' | b'\'' | b'&' | b'<' | b'>' | b'`' | b'#'),
    });
    let stop = stop.unwrap_or(hay.len().min(at + VALUE));
    let text = &hay[at..stop];
    if !text.is_empty() && !label::is_marker(text) && value::is_secret(text, place, named) {
        found.edits.push(Edit { start: at, end: stop, label: named.label, open: None });
    }
}

/// Bytes of an authentication scheme before its credentials.
fn scheme(text: &[u8]) -> usize {
    ["Bearer", "Basic", "Token"]
        .iter()
        .find(|scheme| text.starts_with(scheme.as_bytes()))
        .map_or(0, |scheme| scheme.len() + if has(text, scheme.len(), b"%20") { 3 } else { 1 })
        .min(text.len())
}
