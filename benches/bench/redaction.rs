//! Redaction, against what most tools do: every rule replaced on every line.

use std::hint::black_box;
use std::io::{self, Read};
use std::sync::Arc;

use regex::bytes::Regex;
use sheaf::agent::redact::{Profile, Redactor};
use sheaf::agent::source::{Content, Record};
use sheaf::bundle::path::EntryPath;

use super::corpus::{self, Kind, Random};
use super::measure::{Cost, Row, here, pairs};

/// Bytes of each text.
const TEXT: usize = 24 << 20;

pub(crate) fn rows() {
    let rules = naive_rules();
    let mut redactor = Redactor::new(Profile::Secrets, &[]).expect("the built-in rules are usable");
    let kinds = [Kind::Syslog, Kind::Nginx, Kind::Containers, Kind::Journal];
    let mixed: Vec<Vec<u8>> = kinds.iter().map(|kind| corpus::text(*kind, TEXT / 4, &mut Random::new(7))).collect();
    let texts = [
        ("redaction, mixed logs, vs each rule on each line", mixed.concat()),
        ("redaction, syslog, same", corpus::text(Kind::Syslog, TEXT, &mut Random::new(7))),
        ("redaction, nginx (nothing to find), same", corpus::text(Kind::Nginx, TEXT, &mut Random::new(7))),
        ("redaction, container logs, same", corpus::text(Kind::Containers, TEXT, &mut Random::new(7))),
    ];
    for (name, text) in texts {
        let text: Arc<[u8]> = text.into();
        let pairs = pairs(|| ours(&mut redactor, &text), || here(|| naive(&rules, &text)));
        pairs.speed(&Row { name, unit: "MB/s", of: |cost: &Cost| cost.cpu, gate: 5.0, goal: 12.0 }, text.len());
    }
}

fn ours(redactor: &mut Redactor, text: &Arc<[u8]>) -> Cost {
    let path = EntryPath::parse("files/x").expect("is a path");
    let record = Record { content: Box::new(Shared(Arc::clone(text), 0)), ..Record::text(path, "bench", Vec::new()) };
    let mut out = vec![0; 1 << 20];
    here(|| {
        let mut clean = redactor.clean(record);
        while clean.read(&mut out).is_ok_and(|count| count > 0) {
            black_box(&out);
        }
        black_box(clean.finish());
    })
}

/// Text in memory, read without a copy of its own.
struct Shared(Arc<[u8]>, usize);

impl Read for Shared {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = (&self.0[self.1..]).read(out)?;
        self.1 += count;
        Ok(count)
    }
}

impl Content for Shared {
    fn open(&mut self) -> io::Result<()> {
        self.1 = 0;
        Ok(())
    }

    fn again(&self) -> bool {
        true
    }
}

fn naive(rules: &[(Regex, &[u8])], text: &[u8]) {
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let mut line = std::borrow::Cow::Borrowed(line);
        for (rule, with) in rules {
            if let std::borrow::Cow::Owned(changed) = rule.replace_all(&line, *with) {
                line = changed.into();
            }
        }
        black_box(&line);
    }
}

/// The same kinds of secrets, as one would write them down for such a tool.
fn naive_rules() -> Vec<(Regex, &'static [u8])> {
    [
        (r#"(?i)((?:pass(?:word|wd|phrase)?|pwd|secret|token|credential|api[_-]?key|access[_-]?key|private[_-]?key)\\*["']?\s*[:=]\s*\\*["']?)[^\s"'&,;]+"#, b"${1}[redacted:password]".as_slice()),
        (r"(?i)(--(?:password|token|secret)[ =])\S+", b"${1}[redacted:password]"),
        (r#"(?i)(authorization\\*["']?\s*[:=]\s*\\*["']?(?:bearer|basic|digest|token)\s+)[^\s"']+"#, b"${1}[redacted:authorization]"),
        (r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{16,}", b"${1}[redacted:authorization]"),
        (r"(?i)\b((?:set-)?cookie:\s*)[^\r\n]+", b"${1}[redacted:cookie]"),
        (r"([a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@]+@", b"${1}[redacted:url-password]@"),
        (r"([?&](?:sig|signature|X-Amz-Signature)=)[^&\s]+", b"${1}[redacted:signature]"),
        (r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", b"[redacted:aws-key]"),
        (r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}", b"[redacted:github-token]"),
        (r"\bglpat-[A-Za-z0-9_-]{16,}", b"[redacted:gitlab-token]"),
        (r"\bxox[abeprs]-[A-Za-z0-9-]{10,}", b"[redacted:slack-token]"),
        (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", b"[redacted:jwt]"),
        (r"\bnpm_[A-Za-z0-9]{36}|\bsk_live_[A-Za-z0-9]{10,}|\bAIza[A-Za-z0-9_-]{35}", b"[redacted:token]"),
        (r"\bsheaf1\.[0-9a-f]{16}\.[A-Za-z0-9_-]{16,}", b"[redacted:agent-secret]"),
        (r"\$(?:1|2[aby]|5|6|y)\$[./A-Za-z0-9$=,]{20,}", b"[redacted:password-hash]"),
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----", b"[redacted:private-key]"),
    ]
    .map(|(pattern, with)| (Regex::new(&format!("(?-u){pattern}")).expect("a constant pattern compiles"), with))
    .into()
}
