//! Rules that a site adds in its agents' configuration, or a request brings along: they take out more, and never less.
//!
//! ```toml
//! [[redact.rules]]
//! name = "customer"
//! pattern = 'customer=(\w+)'     # its first group is taken out, or else all that it matches
//!
//! [[redact.rules]]
//! name = "badge"
//! pattern = '(?<who>badge )\d{6}(?<rest> at \w+)'
//! keep = ["who", "rest"]         # of what it matches, these groups stay
//! literals = ["badge "]          # only lines that hold one of these are looked at; found in the pattern where not given
//! label = "badge-number"         # stands in the marker instead of the name
//! ```
//!
//! A pattern sees one line at a time. Patterns run in linear time, and one that has a literal in it costs next to nothing where that does
//! not occur. [`lint`] says what is wrong with a rule before it is relied on.

use aho_corasick::AhoCorasick;
use regex::bytes::{Captures, Regex, RegexBuilder};
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Hir, HirKind, Look};
use serde::Deserialize;

use super::dead::{self, Language};
use super::label::{self, Label};
use super::rules;
use super::scan::View;
use super::text::Edit;

/// Added rules at most, bytes of a pattern, and literals of one.
const MOST: (usize, usize, usize) = (64, 2048, 64);
/// Memory of one added rule's program at most.
const PROGRAM: usize = 1 << 20;
/// Bytes that a literal has at least to be worth searching for.
const LITERAL: usize = 3;
/// Lines as every log has them: what takes something out of each of them takes something out of everything.
const ORDINARY: [&[u8]; 5] = [
    b"May  1 10:00:00 host systemd[1]: Started Session 12 of user root.",
    b"[    0.000000] Linux version 6.12.0-amd64",
    b"10.0.0.7 - - [21/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 612",
    b"{\"level\":\"info\",\"msg\":\"ready\",\"port\":8080}",
    b"I1121 10:00:00.000000       1 main.go:42] started",
];

/// The section `[redact]` of the agent's configuration.
///
/// There is no switch for the built-in rules: a site adds to them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedactConfig {
    /// What is taken out beyond what the built-in rules do.
    pub rules: Vec<SiteRule>,
}

/// A rule that a node's configuration, or a request, adds to the built-in ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteRule {
    /// Its name in counts, and in markers where it has no label: lower-case letters, digits and `-`.
    pub name: String,
    /// A regular expression over the bytes of one line; its first group, or else the whole match, is taken out.
    pub pattern: String,
    /// Only lines that hold one of these are looked at; taken from the pattern when empty.
    #[serde(default)]
    pub literals: Vec<String>,
    /// Groups, by name or number, that stay when everything else of the match is taken out.
    #[serde(default)]
    pub keep: Vec<String>,
    /// What the marker says, instead of the name.
    #[serde(default)]
    pub label: Option<String>,
}

impl SiteRule {
    /// A rule of a request, which has no more than a name and a pattern.
    pub fn asked(name: &str, pattern: &str) -> Self {
        Self { name: name.to_owned(), pattern: pattern.to_owned(), ..Self::default() }
    }

    /// What the marker says.
    pub(super) fn mark(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.name)
    }
}

/// Why added rules are none.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// More rules than are matched in reasonable time.
    #[error("there are {0} added redaction rules; at most 64 are taken: join some with `|`")]
    TooMany(usize),
    /// A rule that cannot be meant.
    #[error("redaction rule `{name}`: {problem}")]
    Rule {
        /// Which one.
        name: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
}

/// What [`lint`] says of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's name.
    pub rule: String,
    /// Whether the rule cannot be taken; otherwise it works, and this is a warning.
    pub refused: bool,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// An added rule, compiled.
pub(super) struct Ready {
    #[cfg(test)]
    name: String,
    pattern: Regex,
    /// Finds the lines worth a look, where the rule has literals.
    literals: Option<AhoCorasick>,
    /// Numbers of the groups that stay; without any, the first group or all of it goes.
    keep: Vec<usize>,
}

/// A site's rule of this name panics when it is tried, in tests of what happens then.
#[cfg(test)]
pub(super) const PANICS: &str = "panics-in-tests";

/// Compiles added rules.
pub(super) fn ready(rules: &[SiteRule]) -> Result<Vec<Ready>, RuleError> {
    if rules.len() > MOST.0 {
        return Err(RuleError::TooMany(rules.len()));
    }
    let refused = |rule: &SiteRule, problem| RuleError::Rule { name: crate::report::brief(&rule.name, 40), problem };
    rules.iter().map(|rule| Ready::new(rule).map_err(|problem| refused(rule, problem))).collect()
}

/// What is wrong with rules, the worst of each first: what refuses them, and what only makes them slow or odd.
pub fn lint(rules: &[SiteRule]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |rule: &SiteRule, refused, problem: String| {
        findings.push(Finding { rule: crate::report::brief(&rule.name, 40), refused, problem });
    };
    for (number, rule) in rules.iter().enumerate() {
        if rules[..number].iter().any(|other| other.name == rule.name) {
            say(rule, true, "there is another one of this name: counts would be mixed; rename one".to_owned());
        }
        match Ready::new(rule) {
            Err(problem) => say(rule, true, problem),
            Ok(ready) => ready.warn(rule, &mut |problem| say(rule, false, problem)),
        }
    }
    if let Some(rule) = rules.get(MOST.0) {
        say(
            rule,
            true,
            format!("there are {} rules, and at most {} are taken: join some with `|`", rules.len(), MOST.0),
        );
    }
    findings
}

fn named(what: &str, name: &str) -> Result<(), String> {
    let shaped = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=32).contains(&name.len()) && name.bytes().all(shaped) {
        return Ok(());
    }
    Err(format!("its {what} must be 1 to 32 lower-case letters, digits and `-`"))
}

impl Ready {
    fn new(rule: &SiteRule) -> Result<Self, String> {
        named("name", &rule.name)?;
        if let Some(label) = &rule.label {
            named("label", label)?;
        }
        if label::is_built_in(&rule.name) || rules::all().any(|built_in| built_in.name == rule.name) {
            return Err("a built-in rule or its mark has this name: counts would be mixed; rename it".to_owned());
        }
        if rule.pattern.len() > MOST.1 || rule.literals.len() > MOST.2 {
            return Err(format!("a pattern may have {} bytes and {} literals; make two rules of it", MOST.1, MOST.2));
        }
        let hir = parsed(&rule.pattern)?;
        judge(&hir)?;
        let pattern = RegexBuilder::new(&rule.pattern)
            .unicode(false)
            .multi_line(true)
            .size_limit(PROGRAM)
            .dfa_size_limit(PROGRAM)
            .build()
            .map_err(|error| told(&error.to_string()))?;
        if ORDINARY.iter().all(|line| pattern.find(line).is_some_and(|found| found.len() == line.len())) {
            return Err(
                "its pattern matches every line whole: name what is to go, and put that into a group".to_owned()
            );
        }
        let keep = kept(rule, &pattern)?;
        let literals = literals(rule, &hir)?;
        Ok(Self {
            #[cfg(test)]
            name: rule.name.clone(),
            pattern,
            literals,
            keep,
        })
    }

    fn warn(&self, rule: &SiteRule, say: &mut dyn FnMut(String)) {
        if self.literals.is_none() {
            say(format!(
                "slow: nothing of {LITERAL} or more bytes must occur in what it matches, so that every line is tried; give it `literals`"
            ));
        }
        if ORDINARY.iter().all(|line| self.pattern.is_match(line)) {
            say("it takes something out of every ordinary line: say more closely what is to go".to_owned());
        }
        if let Some(class) = dead::doubled(&rule.pattern) {
            let meant = class.trim_start_matches('\\');
            say(format!("`{class}` in its pattern is a backslash and the letter {meant}; a class is `\\{meant}`"));
        }
        if let Some(language) = parsed(&rule.pattern).ok().as_ref().and_then(Language::of) {
            if !language.fits_a_line() {
                say("it takes out nothing: its pattern needs a line's end, and it sees one line at a time".to_owned());
            } else if !rule.literals.is_empty() && !rule.literals.iter().any(|one| language.may_hold(one.as_bytes())) {
                say("none of its literals can stand in what it matches, so that it works only on lines that hold one elsewhere; \
                     leave `literals` out, and they are found in the pattern"
                    .to_owned());
            }
        }
        if !rule.keep.is_empty() && self.keep.contains(&0) {
            say("it keeps group 0, which is all that it matches, and so takes out nothing".to_owned());
        }
    }

    /// One line at a time, so that what is found does not depend on where reading stopped.
    pub(super) fn scan(&self, number: usize, view: View<'_>, edits: &mut Vec<Edit>) {
        let hay = view.hay;
        let mut at = view.look;
        while let Some(hit) = self.next(hay, at) {
            #[cfg(test)]
            assert!(self.name != PANICS, "a site's rule that panics");
            let line = memchr::memrchr(b'\n', &hay[at..hit]).map_or(at, |n| at + n + 1);
            let end = memchr::memchr(b'\n', &hay[hit..]).map_or(hay.len(), |n| hit + n);
            let label = Label::Extra(u8::try_from(number).expect("there are few added rules"));
            for groups in self.pattern.captures_iter(&hay[line..end]) {
                self.take(&groups, &mut |start, end| {
                    edits.push(Edit { start: line + start, end: line + end, label, open: None });
                });
            }
            at = end + 1;
            if at > hay.len() {
                return;
            }
        }
    }

    /// A byte of the next line that is worth a look.
    fn next(&self, hay: &[u8], at: usize) -> Option<usize> {
        match &self.literals {
            Some(literals) => literals.find(aho_corasick::Input::new(hay).range(at..)).map(|found| found.start()),
            None => self.pattern.find_at(hay, at).map(|found| found.start()),
        }
    }

    fn take(&self, groups: &Captures<'_>, take: &mut dyn FnMut(usize, usize)) {
        let whole = groups.get(0).expect("group 0 is the match");
        if self.keep.is_empty() {
            let value = groups.get(1).unwrap_or(whole);
            if !value.is_empty() && !label::is_marker(value.as_bytes()) {
                take(value.start(), value.end());
            }
            return;
        }
        let mut kept: Vec<_> = self.keep.iter().filter_map(|group| groups.get(*group)).map(|m| m.range()).collect();
        kept.sort_by_key(|range| range.start);
        let mut at = whole.start();
        for range in kept.into_iter().chain(std::iter::once(whole.end()..whole.end())) {
            let text =
                whole.as_bytes().get(at - whole.start()..range.start.max(at) - whole.start()).unwrap_or_default();
            if !text.is_empty() && !label::is_marker(text) {
                take(at, range.start);
            }
            at = at.max(range.end);
        }
    }
}

fn told(error: &str) -> String {
    // The crate draws the pattern over several lines; what is wrong stands in the last.
    let last = error.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("is none");
    let last = last.trim().trim_start_matches("error: ");
    format!("its pattern is no usable regular expression: {}", crate::report::brief(last, 200))
}

fn parsed(pattern: &str) -> Result<Hir, String> {
    let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).multi_line(true).build();
    parser.parse(pattern).map_err(|error| told(&error.to_string()))
}

/// What no pattern may be, whatever its words.
fn judge(hir: &Hir) -> Result<(), String> {
    let looks = hir.properties().look_set();
    if looks.contains(Look::Start) || looks.contains(Look::End) {
        return Err(
            "its pattern has `\\A` or `\\z`: write `^` or `$`, which stand for a line's start and end".to_owned()
        );
    }
    match hir.properties().minimum_len() {
        None => Err("its pattern can never match: a class in it is empty".to_owned()),
        Some(0) => Err("its pattern matches the empty string: let it need a byte, `+` for `*`, or no `?`".to_owned()),
        Some(_) => Ok(()),
    }
}

fn kept(rule: &SiteRule, pattern: &Regex) -> Result<Vec<usize>, String> {
    let group = |name: &String| {
        let number = pattern.capture_names().position(|known| known == Some(name.as_str()));
        let number = number.or_else(|| name.parse().ok().filter(|number| *number < pattern.captures_len()));
        number.ok_or_else(|| {
            format!("it keeps the group `{}`, which its pattern does not have", crate::report::brief(name, 40))
        })
    };
    rule.keep.iter().map(group).collect()
}

/// The search for the lines worth a look: by the literals given, else by those that the pattern needs.
fn literals(rule: &SiteRule, hir: &Hir) -> Result<Option<AhoCorasick>, String> {
    let given: Vec<Vec<u8>> = rule.literals.iter().map(|literal| literal.clone().into_bytes()).collect();
    if given.iter().any(|literal| literal.is_empty() || literal.contains(&b'\n')) {
        return Err("one of its literals is empty or has a line's end in it".to_owned());
    }
    let literals = if given.is_empty() { required(hir) } else { Some(given) };
    let search = literals.map(|literals| AhoCorasick::new(literals).map_err(|error| told(&error.to_string())));
    search.transpose()
}

/// Literals of which one must occur wherever the pattern matches, if it has such that are worth it.
fn required(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    let parts = match hir.kind() {
        HirKind::Capture(group) => return required(&group.sub),
        HirKind::Concat(parts) => parts.as_slice(),
        _ => std::slice::from_ref(hir),
    };
    let best = (0..parts.len()).filter_map(|from| {
        let mut extractor = Extractor::new();
        extractor.limit_total(MOST.2);
        let found = extractor.extract(&Hir::concat(parts[from..].to_vec()));
        let shortest = found.min_literal_len()?;
        let literals: Vec<_> = found.literals()?.iter().map(|literal| literal.as_bytes().to_vec()).collect();
        (shortest >= LITERAL).then_some((shortest, literals))
    });
    best.max_by_key(|(shortest, _)| *shortest).map(|(_, literals)| literals)
}
