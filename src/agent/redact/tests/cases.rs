//! What is a secret and what is not: the corpus, in `corpus/rules`, run as a whole, rule by rule, and split everywhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::rules;
use super::*;

const CORPUS: [&str; 2] = [include_str!("../corpus/places.toml"), include_str!("../corpus/shapes.toml")];
const PEM: &str = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA3Tz2mr7SZiAMfQyuvBjM9Oi8/xyzABCDEFGHIJKLMNOPQRST\nB5qP6TkvG2m9vPqRZ7o0aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789+/abcdef\nshort==\n-----END RSA PRIVATE KEY-----";

/// A text, and what redaction must make of it.
pub(super) struct Case {
    pub(super) rule: String,
    pub(super) mark: String,
    pub(super) plain: String,
    pub(super) expected: String,
    pub(super) count: u64,
}

impl Case {
    /// Of a text with its secrets between « and ».
    fn new(rule: &str, mark: &str, marked: &str) -> Self {
        let (mut plain, mut expected, mut count) = (String::new(), String::new(), 0);
        for (number, part) in marked.split('«').enumerate() {
            let (secret, rest) = if number == 0 { ("", part) } else { part.split_once('»').unwrap_or((part, "")) };
            plain.push_str(secret);
            plain.push_str(rest);
            if number > 0 {
                let _ = write!(expected, "[redacted:{mark}]");
                count += 1;
            }
            expected.push_str(rest);
        }
        Self { rule: rule.to_owned(), mark: mark.to_owned(), plain, expected, count }
    }

    /// Whether it reaches to the end of its source, or begins before it: nothing can stand beside it.
    pub(super) fn is_cut(&self) -> bool {
        self.plain.contains("unclosed") || self.expected.starts_with("cut:") || self.plain.starts_with("MII")
    }
}

type Table = BTreeMap<String, BTreeMap<String, Vec<String>>>;

fn corpus() -> Table {
    CORPUS.iter().flat_map(|text| toml::from_str::<Table>(text).expect("a corpus in TOML")).collect()
}

pub(super) fn all_true() -> Vec<Case> {
    let mut cases = Vec::new();
    for (rule, marks) in corpus() {
        for (mark, texts) in marks.iter().filter(|(mark, _)| *mark != "plain") {
            cases.extend(texts.iter().map(|text| Case::new(&rule, mark, text)));
        }
    }
    cases.extend(keys());
    cases
}

/// Keys in every notation.
fn keys() -> Vec<Case> {
    let key = |before: &str, after: &str, key: &str| {
        Case::new("private-key", "private-key", &format!("{before}«{key}»{after}"))
    };
    let one_line = PEM.replace('\n', "\\n");
    let lines = PEM.replace('\n', "\\n\"}\n{\"log\":\"");
    vec![
        key("before\n", "\nafter", PEM),
        key("  indented: |\n    ", "\nx", &PEM.replace('\n', "\n    ")),
        key("{\"k\":\"", "\\n\",\"x\":1}\nnext line", &one_line),
        key("{\"log\":\"", "\\n\"}\nnext", &lines),
        key("", "\r\nafter", &PEM.replace('\n', "\r\n")),
        key("", "\n", &PEM.replace("RSA PRIVATE", "OPENSSH PRIVATE")),
        key(
            "",
            "\n",
            &PEM.replace("RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK").replace("KEY-----\n", "KEY-----\nVersion: x\n\n"),
        ),
        key(
            "",
            "\n",
            &PEM.replace("KEY-----\nMIIE", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AB\n\nMIIE"),
        ),
        key("cut:\n", "", PEM.split("short").next().unwrap_or_default()),
        // A log that begins inside a key.
        Case::new("private-key-end", "private-key", &format!("«{}»\nafter", &PEM[32..])),
    ]
}

#[test]
fn every_rule_has_its_cases() {
    let corpus = corpus();
    let shown: Vec<_> = rules::built_in();
    for row in &shown {
        let marks = corpus.get(row.name).unwrap_or_else(|| panic!("no cases of `{}`", row.name));
        assert!(marks.get("plain").is_some_and(|plain| !plain.is_empty()), "`{}` has no text that stays", row.name);
        assert!(marks.len() > 1, "`{}` has no secret", row.name);
        for mark in marks.keys().filter(|mark| *mark != "plain") {
            assert!(row.marks.contains(&mark.as_str()), "`{}` does not say that it leaves `{mark}`", row.name);
        }
    }
    assert!(corpus.keys().all(|rule| shown.iter().any(|row| row.name == rule)), "cases of a rule that is none");
}

/// Each rule finds its own secrets with no help from the others; what the list says by example is true.
#[test]
fn every_rule_works_alone() {
    let mut wrong = String::new();
    for row in rules::built_in() {
        // The audit log's rule looks with all others.
        let wanted = |rule: &rules::Rule| rule.name == row.name || row.name == "audit";
        let alone = Arc::new(Rules::of(&[], wanted).expect("builds"));
        let mut cases: Vec<Case> = all_true().into_iter().filter(|case| case.rule == row.name).collect();
        cases.push(Case::new(row.name, row.marks[0], row.example));
        for case in cases {
            let got = text(&in_blocks(&alone, case.plain.as_bytes(), Sizes::default(), 4096));
            // A key that begins inside a log has one rule for its end and none for the rest.
            if got != case.expected {
                let _ = writeln!(wrong, "{}: {}\n  want {}\n  got  {got}", row.name, case.plain, case.expected);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn secrets_are_taken_out_and_nothing_else() {
    let mut wrong = String::new();
    for case in all_true() {
        let Case { mark, plain, expected, count, .. } = &case;
        let mut texts = vec![(plain.clone(), expected.clone())];
        if !case.is_cut() {
            texts.push((format!("first line\n{plain}\nlast line\n"), format!("first line\n{expected}\nlast line\n")));
        }
        for (plain, expected) in texts {
            let (out, report) = cleaned(Kind::Text, plain.as_bytes());
            let counted = report.redacted.get(mark).copied().unwrap_or(0);
            if text(&out) != expected || counted != *count || report.redacted.len() != 1 {
                let (rule, got) = (&case.rule, text(&out));
                let _ = writeln!(wrong, "{rule}: {plain}\n  want {expected}\n  got  {got}\n  {:?}", report.redacted);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn ordinary_text_stays_as_it_is() {
    let mut wrong = String::new();
    for (rule, marks) in corpus() {
        for case in &marks["plain"] {
            for prefix in ["", "May  1 10:00:00 host app[12]: "] {
                let plain = format!("{prefix}{case}\n");
                let (out, report) = cleaned(Kind::Text, plain.as_bytes());
                if out != plain.as_bytes() {
                    let _ = writeln!(wrong, "{rule}: {plain}  {}  {:?}", text(&out), report.redacted);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn what_was_redacted_stays_as_it_is() {
    for Case { plain, expected, .. } in all_true() {
        let (again, report) = cleaned(Kind::Text, expected.as_bytes());
        assert_eq!(text(&again), expected, "of {plain}");
        assert!(report.redacted.is_empty(), "{expected}: {:?}", report.redacted);
    }
}

/// Logs, manifests and listings as they come: hundreds of lines with every word that a rule looks for.
const ORDINARY: [(&str, &str); 7] = [
    ("node", include_str!("../corpus/ordinary/node.log")),
    ("cluster", include_str!("../corpus/ordinary/cluster.log")),
    ("syslog", include_str!("../corpus/ordinary/syslog.log")),
    ("kernel", include_str!("../corpus/ordinary/kernel.log")),
    ("web", include_str!("../corpus/ordinary/web.log")),
    ("containers", include_str!("../corpus/ordinary/containers.log")),
    ("services", include_str!("../corpus/ordinary/services.log")),
];

#[test]
fn ordinary_logs_stay_as_they_are_to_the_byte() {
    let (mut wrong, mut lines) = (String::new(), 0);
    for (name, log) in ORDINARY {
        lines += log.lines().count();
        let (out, report) = cleaned(Kind::Text, log.as_bytes());
        for (line, got) in log.lines().zip(text(&out).lines()).filter(|(line, got)| line != got) {
            let _ = writeln!(wrong, "{name}: {line}\n  {got}");
        }
        if out != log.as_bytes() || !report.redacted.is_empty() {
            let _ = writeln!(wrong, "{name}: {:?}", report.redacted);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(lines > 550, "only {lines} lines");
}
