//! Secrets that are known by their own shape: tokens with a prefix, JWTs, stored passwords.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::label::Label;
use super::open::Open;
use super::text::{self, Edit};

/// A shape: what it begins with, what it goes on with, and its kind.
pub(super) struct Shape {
    pub(super) literals: &'static [&'static str],
    /// Bytes of it before the literal.
    pub(super) back: usize,
    pub(super) pattern: &'static str,
    pub(super) label: Label,
}

/// The shapes; a pattern is matched where a literal was found, and its second group, if any, is a secret of its own.
pub(super) const SHAPES: [Shape; 16] = [
    Shape {
        literals: &["AKI", "ASI"],
        back: 0,
        pattern: r#"A[KS]IA[0-9A-Z]{16}(?:["' \t]{0,2}[,:;/| \t]["' \t]{0,2}([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$))?"#,
        label: Label::AwsKey,
    },
    Shape {
        literals: &["ghp", "gho", "ghu", "ghs", "ghr", "github_pat_"],
        back: 0,
        pattern: r"(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})",
        label: Label::GithubToken,
    },
    Shape {
        literals: &["glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glft-", "glsoat-", "glagent-"],
        back: 0,
        pattern: r"gl(?:pat|dt|rt|ptt|cbt|ft|soat|agent)-[A-Za-z0-9_.-]{16,}",
        label: Label::GitlabToken,
    },
    Shape {
        literals: &["xox", "xapp-"],
        back: 0,
        pattern: r"x(?:ox[abeprs]|app)-[A-Za-z0-9-]{10,}",
        label: Label::SlackToken,
    },
    Shape {
        literals: &["hooks.slack.com/services/"],
        back: 0,
        pattern: r"hooks\.slack\.com/services/([A-Za-z0-9/]{16,})",
        label: Label::SlackToken,
    },
    Shape {
        literals: &["eyJ"],
        back: 0,
        pattern: r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+){0,2}",
        label: Label::Jwt,
    },
    Shape { literals: &["npm_"], back: 0, pattern: r"npm_[A-Za-z0-9]{36,}", label: Label::PackageToken },
    Shape { literals: &["pypi-AgE"], back: 0, pattern: r"pypi-AgE[A-Za-z0-9_-]{32,}", label: Label::PackageToken },
    Shape { literals: &["dckr_pat_"], back: 0, pattern: r"dckr_pat_[A-Za-z0-9_-]{16,}", label: Label::PackageToken },
    Shape {
        literals: &["k_live_", "k_test_"],
        back: 1,
        pattern: r"[sr]k_(?:live|test)_[A-Za-z0-9]{10,}",
        label: Label::StripeKey,
    },
    Shape { literals: &["whsec_"], back: 0, pattern: r"whsec_[A-Za-z0-9+/=]{10,}", label: Label::StripeKey },
    Shape { literals: &["AIz"], back: 0, pattern: r"AIza[A-Za-z0-9_-]{35}", label: Label::GoogleKey },
    Shape { literals: &["ya29."], back: 0, pattern: r"ya29\.[A-Za-z0-9_-]{20,}", label: Label::GoogleKey },
    Shape {
        literals: &["sheaf1."],
        back: 0,
        pattern: r"sheaf1\.[0-9A-Fa-f]{8,64}\.[A-Za-z0-9_-]{16,}",
        label: Label::AgentSecret,
    },
    Shape {
        literals: &["hvs.", "hvb.", "dop_v1_", "AGE-SECRET-KEY-1", "sk-ant-", "sk-proj-"],
        back: 0,
        pattern: r"(?:hv[sb]\.[A-Za-z0-9_-]{20,}|dop_v1_[a-f0-9]{32,}|AGE-SECRET-KEY-1[A-Z0-9]{40,}|sk-(?:ant|proj)-[A-Za-z0-9_-]{20,})",
        label: Label::CloudToken,
    },
    Shape {
        literals: &["{SSHA", "{SHA", "{CRYPT}"],
        back: 0,
        pattern: r"\{(?:S?SHA|CRYPT)(?:256|384|512)?\}([./A-Za-z0-9+=$]{16,})",
        label: Label::PasswordHash,
    },
];

/// Stored passwords as crypt(3) writes them; found by their `$`, which is rare.
const HASH: &str = concat!(
    r"\$(?:1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}|2[abxy]?\$[0-9]{2}\$[./A-Za-z0-9]{40,}",
    r"|apr1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{16,}|argon2(?:id|i|d)\$[^\s:\x22'\\]{20,}",
    r"|pbkdf2[a-z0-9-]*\$[./A-Za-z0-9=,$+-]{20,}",
    r"|(?:5|6|7|y|gy|sha1|scrypt|md5)\$[./A-Za-z0-9=,$+-]{20,})"
);

/// The same as web frameworks write them: `pbkdf2_sha256$<rounds>$<salt>$<hash>`, from the first `$`.
const FRAMEWORK: &str = r"\$[0-9]{1,9}\$[^\s:$]{1,64}\$[A-Za-z0-9+/=]{16,}";

static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| SHAPES.iter().map(|shape| anchored(shape.pattern)).collect());
static HASHES: LazyLock<Regex> = LazyLock::new(|| anchored(HASH));
static FRAMEWORKS: LazyLock<Regex> = LazyLock::new(|| anchored(FRAMEWORK));

fn anchored(pattern: &str) -> Regex {
    Regex::new(&format!(r"(?-u)\A(?:{pattern})")).expect("a constant pattern compiles")
}

/// Looks for the shape of that number where one of its literals was found.
pub(super) fn find(number: usize, hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let Shape { back, label, .. } = SHAPES[number];
    let Some(hit) = hit.checked_sub(back) else { return };
    if hit > 0 && text::is_word(hay[hit - 1]) && hay[hit].is_ascii_alphanumeric() {
        // A capital or digit inside base64 or a longer word; `\n` before a token in escaped text is none.
        let escape = hit > 1 && hay[hit - 2] == b'\\' && matches!(hay[hit - 1], b'n' | b't' | b'r');
        if !escape {
            return;
        }
    }
    let pattern = &PATTERNS[number];
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
    edits.push(Edit { start, end, label, open: (end == hay.len()).then_some(Open::Bare) });
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
