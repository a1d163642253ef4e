//! Passwords in URLs and connection strings: `scheme://user:password@host`, found by their `@`, which is rare.

use memchr::memmem;

use super::label::{self, Label};
use super::text::{self, Edit, has};

/// Bytes of user and password in a URL at most.
const USERINFO: usize = 1024;

/// `hit` is at an `@`.
pub(super) fn find(hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let floor = hit.saturating_sub(USERINFO);
    let back = hay[floor..hit].iter().rev().take_while(|b| !delimits(**b)).count();
    let token = &hay[hit - back..hit];
    let after = memmem::rfind(token, b"://").map(|at| at + 3);
    let after = after.or_else(|| memmem::rfind(token, b":\\/\\/").map(|at| at + 5));
    let start = match after {
        Some(after) => hit - back + after,
        // The driver's own form: `user:password@tcp(host:port)/database`.
        None if has(hay, hit, b"@tcp(") || has(hay, hit, b"@unix(") => hit - back,
        None => return others(hay, hit - back, hit, edits),
    };
    let end = last_at(hay, hit);
    let info = &hay[start..end];
    if label::is_marker(info) || is_address(info) {
        return;
    }
    let Some(colon) = memchr::memchr(b':', info) else {
        if like_token(info) {
            edits.push(Edit { start, end, label: Label::UrlPassword, open: None });
        }
        return;
    };
    let password = &info[colon + 1..];
    if password.is_empty() || label::is_marker(password) || is_port(password) || templated(password) {
        return;
    }
    edits.push(Edit { start: start + colon + 1, end, label: Label::UrlPassword, open: None });
}

/// Oracle's `user/password@host`, and Postfix's `[relay]:587 user@domain:password`; `start` is where the word before the `@` begins.
fn others(hay: &[u8], start: usize, hit: usize, edits: &mut Vec<Edit>) {
    let mut push = |start: usize, end: usize| {
        if start < end && !label::is_marker(&hay[start..end]) {
            edits.push(Edit { start, end, label: Label::UrlPassword, open: None });
        }
    };
    let word = &hay[start..hit];
    if let Some(slash) = memchr::memchr(b'/', word) {
        let tool = [b"sqlplus ".as_slice(), b"expdp ", b"impdp "].iter().any(|tool| hay[..start].ends_with(tool));
        if tool || memmem::find(word, b"jdbc:oracle:").is_some() {
            push(start + slash + 1, hit);
        }
        return;
    }
    let name = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
    let colon = hit + 1 + hay[hit + 1..].iter().take(USERINFO).take_while(name).count();
    if hay.get(colon) == Some(&b':') {
        let line = text::line_start(hay, hit);
        let end = colon + text::line_end(&hay[colon..hay.len().min(colon + USERINFO)], 0);
        let password = hay[colon + 1..end].trim_ascii_end();
        if hay[line] == b'[' && hay[line..start].ends_with(b" ") && !password.contains(&b' ') {
            push(colon + 1, colon + 1 + password.len());
        }
    }
}

fn delimits(byte: u8) -> bool {
    byte <= b' ' || matches!(byte, b'"' | b'\'' | b'`' | b'<' | b'>' | 0x7f)
}

/// The last `@` before the host ends: passwords may hold one.
fn last_at(hay: &[u8], hit: usize) -> usize {
    let host = |b: &&u8| !delimits(**b) && !matches!(b, b'/' | b'?' | b'#' | b',' | b';' | b'(' | b')' | b'\\');
    let rest = hay[hit..].iter().take(USERINFO).take_while(host).count();
    memchr::memrchr(b'@', &hay[hit..hit + rest]).map_or(hit, |last| hit + last)
}

/// `host:5000/path@…`: what follows the colon is a port, and the `@` belongs to a path.
fn is_port(text: &[u8]) -> bool {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    (1..=5).contains(&digits) && text.get(digits).is_some_and(|b| matches!(b, b'/' | b'?' | b'#'))
}

/// `[::1]:80/path@…`: a host's address, and the `@` belongs to a path.
fn is_address(text: &[u8]) -> bool {
    let Some(rest) = text.strip_prefix(b"[") else { return false };
    let digits = rest.iter().take_while(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')).count();
    let Some(port) = rest[digits..].strip_prefix(b"]") else { return false };
    digits > 1 && (port.first() == Some(&b'/') || port.strip_prefix(b":").is_some_and(is_port))
}

/// `${PASSWORD}`, `****`: no secret, or none any more.
fn templated(text: &[u8]) -> bool {
    (text.starts_with(b"${") && text.ends_with(b"}"))
        || text.iter().all(|b| *b == b'*')
        || text.iter().all(|b| *b == b'x' || *b == b'X')
}

/// A user's name that is a token.
fn like_token(text: &[u8]) -> bool {
    text.len() >= 20
        && text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        && text.iter().filter(|b| b.is_ascii_digit()).count() >= 3
}
