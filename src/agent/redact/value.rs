//! Values of settings: where one ends, and whether it is a secret or something that is only said of one.

use super::label;
use super::name::Named;
use super::open::Open;
use super::text::{self, has};

/// How sure one may be, from where it stands, that a text is a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// After `=`, or in JSON: nothing else can be meant.
    Sure,
    /// `name: value` as a line of its own.
    Setting,
    /// After a colon inside a line: mostly an error message.
    Prose,
    /// After an option of a command, or after what looks like one.
    Option,
}

/// Bytes of an authentication scheme and its blanks at the start of a value: what follows them is the secret.
pub(super) fn scheme(value: &[u8]) -> usize {
    ["bearer ", "basic ", "token ", "digest "]
        .iter()
        .find(|scheme| value.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes())))
        .map_or(0, |scheme| scheme.len())
}

/// The end of a bare value that has its line for itself.
pub(super) fn rest_of_line(hay: &[u8], from: usize, inside: Option<u8>) -> (usize, Option<Open>) {
    let line = text::line_end(hay, from);
    let mut end = text::header_end(hay, from, inside).min(line);
    // `password=x user=y` and `Password=x;User=y` are several settings.
    let between = |at: &usize| hay[*at].is_ascii_whitespace() || matches!(hay[*at], b';' | b'&');
    if let Some(next) = (from..end).find(|at| between(at) && setting(hay, text::skip_blanks(hay, *at + 1))) {
        end = next;
    }
    let open = (end == hay.len()).then_some(Open::Line);
    end -= hay[from..end].iter().rev().take_while(|b| b.is_ascii_whitespace()).count();
    (end, open)
}

/// Whether `name=` stands at `at`.
fn setting(hay: &[u8], at: usize) -> bool {
    let name = hay
        .get(at..)
        .unwrap_or_default()
        .iter()
        .take(48)
        .take_while(|b| text::is_name(**b) || matches!(b, b'[' | b']'))
        .count();
    name > 0 && hay.get(at + name) == Some(&b'=')
}

/// The end of a bare value among other text.
///
/// Passwords may hold punctuation, so that it ends a value only where something else goes on behind it.
pub(super) fn bare_end(hay: &[u8], from: usize, query: bool, inside: bool) -> (usize, Option<Open>) {
    let mut at = from;
    let mut depth = 0_u32;
    while at < hay.len() {
        match hay[at] {
            b if b.is_ascii_whitespace() || b < b' ' || matches!(b, b'"' | b'\'' | b'`' | b'<' | b'>') => break,
            b'&' | b'#' if query => break,
            b'\\' if inside && matches!(hay.get(at + 1), Some(b'n' | b'r' | b't' | b'"' | b'\'' | b'\\')) => break,
            b'\\' if has(hay, at, b"\\u0026") => break,
            b'&' if setting(hay, at + 1) => break,
            b',' | b';' if goes_on(hay, at + 1) => break,
            b')' | b']' | b'}' if depth == 0 && at > from && closed(hay, at + 1) => break,
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    (at, (at == hay.len()).then_some(Open::Bare))
}

/// Whether what follows a comma or semicolon is another item.
fn goes_on(hay: &[u8], at: usize) -> bool {
    let Some(&next) = hay.get(at) else { return true };
    if next.is_ascii_whitespace() || matches!(next, 0 | b'"' | b'\'' | b'`' | b'}' | b']') {
        return true;
    }
    let words = hay[at..].iter().take(48).take_while(|b| text::is_name(**b) || **b == b' ').count();
    words > 0 && matches!(hay.get(at + words), Some(b'=' | b':'))
}

/// Whether what follows a closing bracket shows that it closes something around the value.
fn closed(hay: &[u8], at: usize) -> bool {
    hay.get(at).is_none_or(|next| {
        next.is_ascii_whitespace()
            || matches!(next, 0 | b')' | b']' | b'}' | b',' | b';' | b'"' | b'\'' | b'`' | b'.' | b':')
    })
}

/// Whether nothing but what ends a list follows a bracket at `at`.
pub(super) fn closes(hay: &[u8], at: usize) -> bool {
    let rest = hay[at..].iter().take(8).find(|b| !matches!(b, b']' | b'}' | b')'));
    rest.is_none_or(|b| b.is_ascii_whitespace() || matches!(b, 0 | b',' | b';' | b'"' | b'\'' | b'`' | b'\\'))
}

/// Words that stand where a value would, and are none.
const NO_VALUE: [&str; 27] = [
    "null",
    "(null)",
    "nil",
    "none",
    "true",
    "false",
    "yes",
    "no",
    "on",
    "off",
    "undefined",
    "unset",
    "enabled",
    "disabled",
    "n/a",
    "string",
    "empty",
    "optional",
    "required",
    // What configuration management says of a parameter that it does not log, and when it sets one.
    "not_logging_parameter",
    "always",
    "on_create",
    // The architecture behind a package's name.
    "amd64",
    "arm64",
    "i386",
    "armhf",
    "x86_64",
];
/// What is said of a secret after a colon.
const SAID: [&str; 28] = [
    "invalid",
    "expired",
    "missing",
    "unknown",
    "denied",
    "failed",
    "unauthorized",
    "forbidden",
    "found",
    "not",
    "error",
    "ok",
    "ok.",
    "rejected",
    "accepted",
    "revoked",
    "changed",
    "must",
    "context",
    "cannot",
    "failure",
    "success",
    "incorrect",
    "wrong",
    "timeout",
    "expected",
    // Where nsswitch looks it up.
    "files",
    "compat",
];
/// First words of a sentence that follows a colon.
const TELLS: [&str; 12] =
    ["authentication", "verification", "is", "was", "has", "no", "could", "unable", "please", "the", "this", "will"];
/// Words after an option that show that the text speaks of it.
const SPOKEN: [&str; 32] = [
    "a",
    "an",
    "and",
    "argument",
    "be",
    "can",
    "cannot",
    "file",
    "flag",
    "flags",
    "for",
    "from",
    "has",
    "if",
    "in",
    "instead",
    "is",
    "must",
    "not",
    "of",
    "on",
    "option",
    "options",
    "or",
    "parameter",
    "requires",
    "should",
    "the",
    "to",
    "was",
    "when",
    "with",
];

/// Whether a text in such a place is a secret.
pub(super) fn is_secret(value: &[u8], place: Place, named: Named) -> bool {
    if label::is_marker(value) || masked(value) || placeholder(value) || path(value) {
        return false;
    }
    let word = String::from_utf8_lossy(value.get(..24).unwrap_or(value)).to_ascii_lowercase();
    if NO_VALUE.contains(&word.trim_end_matches(',')) {
        return false;
    }
    if count(value, named) || object(value, named) || constant(value, named) || kind(&word, named) {
        return false;
    }
    if named.bare && names_object(value) {
        return false;
    }
    let first = word.split([' ', ',']).next().unwrap_or_default();
    match place {
        Place::Sure => true,
        Place::Setting => {
            let several = value.contains(&b' ');
            !(SAID.contains(&first)
                || several && TELLS.contains(&first)
                // `external-secrets: reconciled one`: a program.
                || several && named.plural && !looks_secret(first.as_bytes()))
        }
        Place::Prose => !SAID.contains(&first) && !setting_or_pointer(value) && looks_secret(value),
        Place::Option => !metavariable(value) && !SPOKEN.contains(&word.trim_end_matches([',', '.', ':', ';'])),
    }
}

/// `source=profile`, `0x7ffd1c2b3d4e`: something else that is said behind the colon.
fn setting_or_pointer(value: &[u8]) -> bool {
    let name = value.iter().take_while(|b| b.is_ascii_lowercase() || **b == b'_').count();
    let pointer = value.starts_with(b"0x") && value.len() <= 18 && value[2..].iter().all(u8::is_ascii_hexdigit);
    pointer || name > 1 && value.get(name) == Some(&b'=') && value.get(name + 1).is_some_and(u8::is_ascii_alphanumeric)
}

/// `TOKEN_FILE` in a program's help.
fn metavariable(value: &[u8]) -> bool {
    let words = [b"TOKEN".as_slice(), b"PASS", b"SECRET", b"KEY", b"FILE", b"PATH", b"STRING", b"VALUE", b"NAME"];
    value.iter().all(|b| b.is_ascii_uppercase() || matches!(b, b'_' | b'-'))
        && words.iter().any(|word| memchr::memmem::find(value, word).is_some())
}

/// `****`, `xxxx`, `<hidden>`: taken out before, by someone else.
fn masked(value: &[u8]) -> bool {
    let first = value[0];
    let same = matches!(first, b'*' | b'x' | b'X' | b'.' | b'-' | b'#' | b'_') && value.iter().all(|b| *b == first);
    let angled = first == b'<' && (value.ends_with(b">") || value.starts_with(b"<set to the key "));
    let word = value.to_ascii_lowercase();
    let word = word.trim_ascii().strip_prefix(b"[").and_then(|w| w.strip_suffix(b"]")).unwrap_or(word.trim_ascii());
    // As Terraform writes a plan.
    let planned = value.starts_with(b"(sensitive") || value.starts_with(b"(known");
    same || angled || planned || matches!(word, b"redacted" | b"masked" | b"hidden" | b"filtered" | b"removed")
}

/// `${NAME}`, `{{ name }}`, `%s`: the value is put in elsewhere.
fn placeholder(value: &[u8]) -> bool {
    let between = |open: &[u8], close: &[u8]| value.starts_with(open) && value.ends_with(close);
    let variable = value.strip_prefix(b"$").is_some_and(|name| {
        !name.is_empty()
            && (name.iter().all(|b| b.is_ascii_uppercase() || *b == b'_')
                // Of a statement or a script.
                || name.len() < 3 && name.iter().all(u8::is_ascii_digit))
    });
    variable
        || between(b"${", b"}")
        || between(b"$(", b")")
        || between(b"{{", b"}}")
        || between(b"%(", b")s")
        || matches!(value, b"%s" | b"%v" | b"%q" | b"%d" | b"{}" | b"?" | b":?" | b"\\")
}

/// `/etc/pki/tls.key`: where it is, not what it is.
fn path(value: &[u8]) -> bool {
    value[0] == b'/'
        && value.iter().filter(|b| **b == b'/').count() >= 2
        && value.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'/' | b'.' | b'_' | b'-'))
}

/// A number that counts secrets, or tests that passed.
fn count(value: &[u8], named: Named) -> bool {
    // `12 checked` is said of several, `12 fail: 3` of tests.
    let tests = named.pass
        && [b" fail".as_slice(), b" skip", b" error"].iter().any(|w| memchr::memmem::find(value, w).is_some());
    let value = if named.plural || tests { value.split(|b| *b == b' ').next().unwrap_or(value) } else { value };
    let digits = value.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    let small = digits && value.len() < 6;
    match named.label {
        label::Label::Password => small && (named.plural || named.pass),
        _ => digits && (small || named.plural),
    }
}

/// `token: simple`: which sort of tokens there are; `session_id=c2`: the number of a login.
fn kind(word: &str, named: Named) -> bool {
    named.login && word.len() < 8
        || named.label == label::Label::Token && matches!(word, "simple" | "jwt" | "bearer" | "opaque")
}

/// `apiKey=FETCH`, `token=IDENT`: a constant of a program.
fn constant(value: &[u8], named: Named) -> bool {
    let most = match named.label {
        label::Label::Key => 24,
        label::Label::Token => 12,
        _ => 0,
    };
    value.len() < most && value.iter().all(|b| b.is_ascii_uppercase() || *b == b'_')
}

/// `kube-system/bootstrap`: the name of an object that holds a secret.
fn object(value: &[u8], named: Named) -> bool {
    let kind = matches!(named.label, label::Label::Secret | label::Label::Token | label::Label::Credential);
    kind && value.len() < 128
        && value.iter().filter(|b| **b == b'/').count() == 1
        && value[0].is_ascii_lowercase()
        && value.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'/' | b'.' | b'-'))
}

/// Words in names of objects that hold a secret.
const PARTS: [&str; 41] = [
    "admin",
    "api",
    "app",
    "auth",
    "backend",
    "ca",
    "cert",
    "certificate",
    "certs",
    "client",
    "config",
    "cred",
    "credential",
    "credentials",
    "creds",
    "data",
    "db",
    "default",
    "docker",
    "env",
    "frontend",
    "ingress",
    "key",
    "keys",
    "kube",
    "my",
    "postgres",
    "pull",
    "redis",
    "registry",
    "regcred",
    "secret",
    "secrets",
    "server",
    "service",
    "system",
    "tls",
    "token",
    "user",
    "web",
    "webhook",
];

/// `my-app-config` behind `secret`: the name of an object, of words with dashes between, one of which is said of such objects.
fn names_object(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let lower = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let digits = value.iter().filter(|b| b.is_ascii_digit()).count();
    text.len() < 64
        && digits <= 4
        && (text.contains('-') || text == "regcred")
        && text.split(['-', '.']).all(lower)
        && text.split(['-', '.']).any(|part| PARTS.binary_search(&part).is_ok())
}

/// Whether a word inside a sentence is more than a word.
pub(super) fn looks_secret(value: &[u8]) -> bool {
    let odd = |b: &u8| matches!(b, b'!' | b'@' | b'#' | b'$' | b'%' | b'^' | b'&' | b'*' | b'+' | b'=' | b'~' | b'?');
    let (mut lower, mut upper, mut digit, mut mark, mut joint) = (0, 0, 0, 0, 0);
    for byte in value {
        match byte {
            b'a'..=b'z' => lower += 1,
            b'A'..=b'Z' => upper += 1,
            b'0'..=b'9' => digit += 1,
            b if odd(b) => mark += 1,
            b'-' | b'.' | b'/' => joint += 1,
            _ => {}
        }
    }
    if value.len() < 4 || value.ends_with(b":") || value.starts_with(b"http") || (digit == value.len() && digit < 6) {
        return false;
    }
    // Names of objects and files have joints, few digits and no capitals; a UUID has many digits.
    if joint > 0 && mark == 0 && upper == 0 && digit * 3 < value.len() {
        return false;
    }
    digit > 0
        || mark > 0
        || (upper > 1 && lower > 1 && value.len() >= 8 && value[1..].iter().any(u8::is_ascii_uppercase))
}
