//! Sentences that tell a password: `your password is …`, `temporary password is generated for root@localhost: …`.
//!
//! Logs speak of passwords far more often than they hold one, so a word counts as a password only where it ends what is said: if it has
//! digits or marks in it, or if the words before say that a password follows and the word is none that is said of passwords.

use super::label::{self, Label};
use super::name::Named;
use super::text::{self, Edit, Quote, has};
use super::value::{self, Place};

/// What a password is called.
const NAMES: [&[u8]; 4] = [b"password", b"passphrase", b"passcode", b"passwd"];
/// Words before the name after which a password is told.
const HEADS: [&[u8]; 18] = [
    b"temporary",
    b"initial",
    b"default",
    b"generated",
    b"new",
    b"your",
    b"one-time",
    b"random",
    b"bootstrap",
    b"admin",
    b"administrator",
    b"root",
    b"superuser",
    b"elastic",
    b"master",
    b"following",
    b"login",
    b"current",
];
/// Verbs that a password follows.
const VERBS: [&[u8]; 7] =
    [b" is: ", b" is ", b" was set to ", b" set to ", b" will be ", b" changed to ", b" reset to "];
/// What is said of a password after `is`, besides words with the endings below.
const SAID: [&str; 56] = [
    "required",
    "invalid",
    "incorrect",
    "wrong",
    "missing",
    "empty",
    "blank",
    "unknown",
    "weak",
    "strong",
    "short",
    "long",
    "secure",
    "insecure",
    "valid",
    "correct",
    "okay",
    "unset",
    "none",
    "null",
    "true",
    "false",
    "identical",
    "different",
    "simple",
    "unsafe",
    "optional",
    "mandatory",
    "private",
    "secret",
    "hidden",
    "hashed",
    "known",
    "unchanged",
    "changed",
    "expired",
    "mismatch",
    "matches",
    "failure",
    "success",
    "successful",
    "rejected",
    "accepted",
    "checking",
    "verification",
    "authentication",
    "prompt",
    "policy",
    "string",
    "plaintext",
    "cleartext",
    "complex",
    "common",
    "stored",
    "active",
    "broken",
];
/// Endings of words that say something of a password rather than being one.
const ENDINGS: [&str; 9] = ["ed", "ing", "able", "ible", "ally", "tion", "ful", "less", "ent"];
/// Letters that a password of nothing but letters has at least, and bytes of what leads to any.
const LETTERS: usize = 6;
const LEAD: usize = 160;

/// `hit` lies in the name.
pub(super) fn find(hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let Some((start, end)) = name(hay, hit) else { return };
    let Some((at, sure)) = value_at(hay, end) else { return quoted(hay, start, end, edits) };
    let (value, stop) = match Quote::at(hay, at) {
        Some((quote, inner)) => (inner, quote.close(hay, inner).0),
        None => (
            at,
            at + hay[at..].iter().take(LEAD).take_while(|b| **b > b' ' && !matches!(b, b'"' | b'\'' | b'`')).count(),
        ),
    };
    let quoted = value > at;
    let stop = if quoted { stop } else { stop - trailing(&hay[value..stop]) };
    let word = &hay[value..stop];
    if word.len() < 4
        || label::is_marker(word)
        || word.iter().any(u8::is_ascii_whitespace)
        || !(quoted || ends(hay, stop))
    {
        return;
    }
    let named = Named { label: Label::Password, plural: false, pass: false, login: false, bare: false };
    let told = sure || quoted || headed(hay, start) || with_user(hay, start);
    if value::is_secret(word, Place::Sure, named) && (value::looks_secret(word) || told && plain_word(word)) {
        edits.push(Edit { start: value, end: stop, label: Label::Password, open: None });
    }
}

/// `with password 'x'`.
fn quoted(hay: &[u8], start: usize, end: usize, edits: &mut Vec<Edit>) {
    let before = hay[..start].trim_ascii_end();
    let Some((quote, inner)) = Quote::at(hay, end + 1).filter(|_| has(hay, end, b" ")) else { return };
    let (stop, closed) = quote.close(hay, inner);
    let word = &hay[inner..stop];
    if closed
        && before.ends_with(b" with")
        && value::looks_secret(word)
        && !word.contains(&b' ')
        && !label::is_marker(word)
    {
        edits.push(Edit { start: inner, end: stop, label: Label::Password, open: None });
    }
}

/// Bytes at the end of a bare word that end the sentence rather than the word.
fn trailing(word: &[u8]) -> usize {
    let opened = |open: u8| word.contains(&open);
    let ends = |b: &u8| match b {
        b'.' | b',' | b';' => true,
        b')' => !opened(b'('),
        b']' => !opened(b'['),
        b'}' => !opened(b'{'),
        _ => false,
    };
    word.iter().rev().take_while(|b| ends(b)).count()
}

/// The name around `hit`, as a word of its own.
fn name(hay: &[u8], hit: usize) -> Option<(usize, usize)> {
    let letters = |b: &&u8| b.is_ascii_alphabetic();
    let end = hit + hay[hit..].iter().take(16).take_while(letters).count();
    let own = hit == 0 || !(text::is_word(hay[hit - 1]) || matches!(hay[hit - 1], b'-' | b'.' | b'/'));
    let word = &hay[hit..end];
    (own && NAMES.iter().any(|name| word.eq_ignore_ascii_case(name))).then_some((hit, end))
}

/// Where what the sentence tells begins, and whether it tells it for sure.
fn value_at(hay: &[u8], end: usize) -> Option<(usize, bool)> {
    let line = &hay[end..hay.len().min(end + LEAD)];
    // Most of what follows the word tells nothing, and is seen to by its first letters.
    if ![b": ".as_slice(), b" is", b" was", b" set", b" will", b" for", b" changed", b" reset"]
        .iter()
        .any(|lead| line.starts_with(lead))
    {
        return None;
    }
    let line = &line[..memchr::memchr2(b'\n', 0, line).unwrap_or(line.len())];
    let after = |lead: usize| {
        let blanks = line[lead..].iter().take_while(|b| **b == b' ').count();
        (blanks > 0 && lead + blanks < line.len()).then_some(end + lead + blanks)
    };
    if line.starts_with(b": ") {
        return after(1).map(|at| (at, false));
    }
    if let Some(rest) = line.strip_prefix(b" is generated for ") {
        let who = rest.iter().take_while(|b| **b > b' ').count();
        return if rest[..who].ends_with(b":") {
            after(line.len() - rest.len() + who).map(|at| (at, true))
        } else {
            None
        };
    }
    // `password for the elastic user is`: a few words, then the verb.
    let words = if line.starts_with(b" for ") { line.len() } else { 1 };
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'@' | b'_' | b'-' | b'.' | b'\'' | b'"');
    for (at, byte) in line[..words.min(line.len())].iter().enumerate() {
        if *byte == b' ' {
            if let Some(verb) = VERBS.iter().find(|verb| line[at..].starts_with(verb)) {
                return after(at + verb.len() - 1).map(|at| (at, false));
            }
        } else if !word(*byte) {
            return None;
        }
    }
    None
}

/// Whether nothing more is said behind a value.
fn ends(hay: &[u8], at: usize) -> bool {
    let rest = &hay[at..hay.len().min(at + 3)];
    match rest {
        [] | [b'\n' | b'\r' | 0, ..] => true,
        [b'"' | b'\'' | b'`' | b'\\' | b'<', ..] => true,
        [b'.' | b',' | b';' | b')' | b']' | b'}'] => true,
        [b'.' | b',' | b';' | b')' | b']' | b'}', next, ..] => {
            next.is_ascii_whitespace() || matches!(next, b'"' | b'\'' | b'\\' | 0 | b'.' | b',')
        }
        _ => false,
    }
}

/// Whether a word before the name says that a password follows.
fn headed(hay: &[u8], start: usize) -> bool {
    let line = &hay[text::line_start(hay, start)..start];
    let mut words = line.rsplit(|b| b.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let is = |word: &[u8]| HEADS.iter().any(|head| word.trim_ascii_start().eq_ignore_ascii_case(head));
    words.next().is_some_and(is) || words.next().is_some_and(is)
}

/// Whether a user was named right before: `user: bob, password: …`.
fn with_user(hay: &[u8], start: usize) -> bool {
    let line = &hay[text::line_start(hay, start).max(start.saturating_sub(LEAD))..start];
    let line = line.trim_ascii_end();
    let line = line.strip_suffix(b",").or(line.strip_suffix(b"/")).or(line.strip_suffix(b";")).unwrap_or(line);
    let line = line.trim_ascii_end();
    let word = line.iter().rev().take_while(|b| !b.is_ascii_whitespace() && !matches!(b, b'=' | b':')).count();
    let before = line[..line.len() - word].trim_ascii_end();
    let Some(name) = before.strip_suffix(b":").or(before.strip_suffix(b"=")) else { return false };
    [b"user".as_slice(), b"username", b"login", b"account"]
        .iter()
        .any(|user| name.len() >= user.len() && name[name.len() - user.len()..].eq_ignore_ascii_case(user))
}

/// Whether a word of letters may be a password: none that is said of one.
fn plain_word(word: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(word) else { return false };
    let lower = text.to_ascii_lowercase();
    let template = matches!(word[0], b'<' | b'$' | b'{' | b'[' | b'%');
    word.len() >= LETTERS
        && !template
        && word.iter().all(|b| b.is_ascii_alphanumeric() || b.is_ascii_punctuation())
        && !word.ends_with(b":")
        && !word.contains(&b'/')
        && !word.contains(&b'(')
        && !SAID.contains(&lower.as_str())
        && !ENDINGS.iter().any(|end| lower.ends_with(end))
}
