//! Secrets that are known by their own shape: tokens with a prefix, JWTs, stored passwords.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::label::Label;
use super::open::Open;
use super::text::{self, Edit};

/// A shape: what it begins with, what it goes on with, and its kind.
pub(super) struct Shape {
    pub(super) literals: &'static [&'static str],
    pub(super) pattern: &'static str,
    pub(super) label: Label,
}

/// The shapes; a pattern is matched where a literal was found, and its second group, if any, is a secret of its own.
pub(super) const SHAPES: [Shape; 15] = [
    Shape {
        literals: &["AKIA", "ASIA"],
        pattern: r#"A[KS]IA[0-9A-Z]{16}(?:["' \t]{0,2}[,:;/| \t]["' \t]{0,2}([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$))?"#,
        label: Label::AwsKey,
    },
    Shape {
        literals: &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        pattern: r"(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})",
        label: Label::GithubToken,
    },
    Shape {
        literals: &["glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glft-", "glsoat-", "glagent-"],
        pattern: r"gl(?:pat|dt|rt|ptt|cbt|ft|soat|agent)-[A-Za-z0-9_.-]{16,}",
        label: Label::GitlabToken,
    },
    Shape { literals: &["xox", "xapp-"], pattern: r"x(?:ox[abeprs]|app)-[A-Za-z0-9-]{10,}", label: Label::SlackToken },
    Shape {
        literals: &["hooks.slack.com/services/"],
        pattern: r"hooks\.slack\.com/services/([A-Za-z0-9/]{16,})",
        label: Label::SlackToken,
    },
    Shape {
        literals: &["eyJ"],
        pattern: r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+){0,2}",
        label: Label::Jwt,
    },
    Shape { literals: &["npm_"], pattern: r"npm_[A-Za-z0-9]{36,}", label: Label::PackageToken },
    Shape { literals: &["pypi-AgE"], pattern: r"pypi-AgE[A-Za-z0-9_-]{32,}", label: Label::PackageToken },
    Shape { literals: &["dckr_pat_"], pattern: r"dckr_pat_[A-Za-z0-9_-]{16,}", label: Label::PackageToken },
    Shape {
        literals: &["sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"],
        pattern: r"(?:[sr]k_(?:live|test)|whsec)_[A-Za-z0-9+/=]{10,}",
        label: Label::StripeKey,
    },
    Shape { literals: &["AIza"], pattern: r"AIza[A-Za-z0-9_-]{35}", label: Label::GoogleKey },
    Shape { literals: &["ya29."], pattern: r"ya29\.[A-Za-z0-9_-]{20,}", label: Label::GoogleKey },
    Shape {
        literals: &["sheaf1."],
        pattern: r"sheaf1\.[0-9A-Fa-f]{8,64}\.[A-Za-z0-9_-]{16,}",
        label: Label::AgentSecret,
    },
    Shape {
        literals: &["hvs.", "hvb.", "dop_v1_", "AGE-SECRET-KEY-1", "sk-ant-", "sk-proj-"],
        pattern: r"(?:hv[sb]\.[A-Za-z0-9_-]{20,}|dop_v1_[a-f0-9]{32,}|AGE-SECRET-KEY-1[A-Z0-9]{40,}|sk-(?:ant|proj)-[A-Za-z0-9_-]{20,})",
        label: Label::CloudToken,
    },
    Shape {
        literals: &["{SSHA", "{SHA", "{SMD5", "{CRYPT}", "pbkdf2_sha", "$pbkdf2"],
        pattern: r"(?:\{(?:S?SHA|SMD5|CRYPT)(?:256|384|512)?\}([./A-Za-z0-9+=$]{16,})|pbkdf2_sha[0-9]+\$[0-9]+\$[^\s:$]+\$[A-Za-z0-9+/=]{16,}|\$pbkdf2[a-z0-9-]*\$[./A-Za-z0-9=,$+-]{20,})",
        label: Label::PasswordHash,
    },
];

/// Stored passwords as crypt(3) writes them; found by their `$`, which is rare.
const HASH: &str = concat!(
    r"\$(?:1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}|2[abxy]?\$[0-9]{2}\$[./A-Za-z0-9]{40,}",
    r"|apr1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{16,}|argon2(?:id|i|d)\$[^\s:\x22'\\]{20,}",
    r"|(?:5|6|7|y|gy|sha1|scrypt|md5)\$[./A-Za-z0-9=,$+-]{20,})"
);

static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| SHAPES.iter().map(|shape| anchored(shape.pattern)).collect());
static HASHES: LazyLock<Regex> = LazyLock::new(|| anchored(HASH));

fn anchored(pattern: &str) -> Regex {
    Regex::new(&format!(r"(?-u)\A(?:{pattern})")).expect("a constant pattern compiles")
}

/// Looks for the shape of that number where one of its literals was found.
pub(super) fn find(number: usize, hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    if hit > 0 && text::is_word(hay[hit - 1]) && hay[hit].is_ascii_alphanumeric() {
        // A capital or digit inside base64 or a longer word; `\n` before a token in escaped text is none.
        let escape = hit > 1 && hay[hit - 2] == b'\\' && matches!(hay[hit - 1], b'n' | b't' | b'r');
        if !escape {
            return;
        }
    }
    let label = SHAPES[number].label;
    let Some(found) = PATTERNS[number].captures(&hay[hit..]) else { return };
    let whole = found.get(0).expect("group 0 is the match");
    match found.get(1) {
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
    if let Some(found) = HASHES.find(&hay[hit..]) {
        push(hay, hit, hit + found.end(), Label::PasswordHash, edits);
    }
}
