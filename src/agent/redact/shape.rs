//! Secrets that are known by their own shape: tokens with a prefix, JWTs, stored passwords.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::label::{self, Label};
use super::open::Open;
use super::text::{self, Edit};

/// Stored passwords as crypt(3) writes them; found by their `$`, which is rare.
const HASH: &str = concat!(
    r"\$(?:1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}|2[abxy]?\$[0-9]{2}\$[./A-Za-z0-9]{40,}",
    r"|apr1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{16,}|argon2(?:id|i|d)\$[^\s:\x22'\\]{20,}",
    r"|pbkdf2[a-z0-9-]*\$[./A-Za-z0-9=,$+-]{20,}",
    r"|(?:5|6|7|y|gy|sm3|sha1|scrypt|md5)\$[./A-Za-z0-9=,$+-]{20,})"
);

/// The same as web frameworks write them: `pbkdf2_sha256$<rounds>$<salt>$<hash>`, from the first `$`.
const FRAMEWORK: &str = r"\$[0-9]{1,9}\$[^\s:$]+\$[A-Za-z0-9+/=]{16,}";

static HASHES: LazyLock<Regex> = LazyLock::new(|| anchored(HASH));
static FRAMEWORKS: LazyLock<Regex> = LazyLock::new(|| anchored(FRAMEWORK));

fn anchored(pattern: &str) -> Regex {
    Regex::new(&format!(r"(?-u)\A(?:{pattern})")).expect("a constant pattern compiles")
}

/// Looks for a shape that begins `back` bytes before `hit`; the pattern is anchored.
pub(super) fn find(pattern: &Regex, back: usize, label: Label, hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let Some(hit) = hit.checked_sub(back) else { return };
    if hit > 0 && text::is_word(hay[hit - 1]) && hay[hit].is_ascii_alphanumeric() {
        // A capital or digit inside base64 or a longer word; `\n` or `%20` before a token in escaped text is none.
        let escape = hit > 1 && hay[hit - 2] == b'\\' && matches!(hay[hit - 1], b'n' | b't' | b'r');
        let code =
            hit > 2 && hay[hit - 3] == b'%' && hay[hit - 2].is_ascii_hexdigit() && hay[hit - 1].is_ascii_hexdigit();
        if !escape && !code {
            return;
        }
    }
    let Some(whole) = pattern.find(&hay[hit..]) else { return };
    let inner =
        if pattern.captures_len() > 1 { pattern.captures(&hay[hit..]).and_then(|found| found.get(1)) } else { None };
    match inner {
        // The key's id, and the key itself beside it.
        Some(second) if label == Label::AwsKey => {
            push(hay, hit, hit + 20, label, edits);
            push(hay, hit + second.start(), hit + second.end(), label, edits);
        }
        Some(second) => push(hay, hit + second.start(), hit + second.end(), label, edits),
        None if label == Label::AwsKey && hay.get(hit + 20).is_some_and(|b| text::is_word(*b)) => {}
        None => push(hay, hit, hit + whole.end(), label, edits),
    }
}

fn push(hay: &[u8], start: usize, end: usize, label: Label, edits: &mut Vec<Edit>) {
    if !label::is_marker(&hay[start..end]) {
        edits.push(Edit { start, end, label, open: (end == hay.len()).then_some(Open::Bare) });
    }
}

/// A stored password; `hit` is at its first `$`.
pub(super) fn hash(hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let framework = [b"pbkdf2_sha256".as_slice(), b"pbkdf2_sha1", b"pbkdf2_sha512"];
    let framework = framework.iter().any(|name| hay[..hit].ends_with(name));
    let pattern = if framework { &FRAMEWORKS } else { &HASHES };
    if let Some(found) = pattern.find(&hay[hit..]) {
        push(hay, hit, hit + found.end(), Label::PasswordHash, edits);
    }
}
