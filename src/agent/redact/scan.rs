//! One pass over the bytes: a vectorised search for all literals of all rules, then the hit's own rule around the hit only.
//!
//! Running every rule over every line costs ten times as much, and one automaton for all rules does not fit into any cache.

use aho_corasick::packed::{self, Searcher};
use aho_corasick::{AhoCorasick, Anchored, Input, Span};
use regex::bytes::Regex;

use super::label::{self, Label};
use super::shape::SHAPES;
use super::text::Edit;
use super::{ExtraRule, RuleError, assign, command, header, key, shape, url};

/// Added rules at most, and bytes of one.
const EXTRA: (usize, usize) = (64, 2048);
/// Memory of one added rule's program at most.
const PROGRAM: usize = 1 << 20;

/// What to do where a literal was found.
#[derive(Clone, Copy, Debug)]
enum Rule {
    Assign,
    Signature,
    Authorization,
    Cookie,
    Bearer,
    Basic,
    Registry,
    Identified,
    Shape(usize),
    KeyBegin,
    KeyEnd,
    KeyWrapped,
    Program(usize),
    User,
    #[cfg(test)]
    Panic,
}

/// Parts of secrets' names and of what stands before secrets, chosen so that few other words hold them.
const LITERALS: [(Rule, &[&str]); 17] = [
    (Rule::Assign, &["pass", "Pass", "PASS", "ecret", "ECRET", "oken", "OKEN", "redential", "REDENTIAL"]),
    (Rule::Assign, &["key", "Key", "KEY", "pwd", "Pwd", "PWD", "psk", "PSK"]),
    (Rule::Assign, &["indpw", "ootpw", "community", "SESSI", "ccessSignature"]),
    (Rule::Signature, &["sig=", "ignature="]),
    (Rule::Authorization, &["uthorization", "UTHORIZATION"]),
    (Rule::Cookie, &["ookie", "OOKIE"]),
    (Rule::Bearer, &["earer "]),
    (Rule::Basic, &["asic "]),
    (Rule::Registry, &["auth\"", "auth\\"]),
    (Rule::Identified, &["DENTIFIED BY ", "dentified by "]),
    (Rule::KeyBegin, &["BEGIN "]),
    (Rule::KeyEnd, &["END "]),
    (Rule::KeyWrapped, &["LS0tLS1CRUdJTi"]),
    (Rule::User, &[" -u ", "\0-u\0", "--user"]),
    (Rule::Program(0), &["mysql", "mariadb"]),
    (Rule::Program(1), &["redis-cli"]),
    (Rule::Program(2), &["ldap"]),
];
/// Literals that one search takes at most: beyond, it works on half as many bytes at once, and finds more that is none.
const TOGETHER: usize = 32;

/// A search for some of the literals: vectorised where the processor can.
struct Finder {
    search: Search,
    rules: Vec<Rule>,
}

enum Search {
    Packed(Searcher),
    Plain(AhoCorasick),
}

/// All rules of a redactor, ready to run.
pub(super) struct Rules {
    finders: Vec<Finder>,
    extra: Vec<Regex>,
    /// Names of the kinds, by [`Label::index`].
    pub(super) names: Vec<String>,
    /// What stands in place of a secret, by [`Label::index`].
    pub(super) markers: Vec<Vec<u8>>,
}

/// Bytes to look through.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// What was passed on already, as context; then what is to be looked through.
    pub(super) hay: &'a [u8],
    /// Where context ends.
    pub(super) from: usize,
    /// Where to look from: before `from` by as much as a secret may stand behind its name.
    pub(super) look: usize,
}

impl Rules {
    /// The built-in rules, unless `bare`, and the added ones.
    pub(super) fn new(bare: bool, extra: &[ExtraRule]) -> Result<Self, RuleError> {
        if extra.len() > EXTRA.0 || extra.iter().any(|rule| rule.pattern.len() > EXTRA.1) {
            return Err(RuleError::TooMany);
        }
        let names = label::names(extra.iter().map(|rule| rule.name.as_str()));
        let markers = names.iter().map(|name| label::marker(name)).collect();
        let extra = extra.iter().map(compile).collect::<Result<_, _>>()?;
        let finders = if bare { Vec::new() } else { finders() };
        Ok(Self { finders, extra, names, markers })
    }

    /// Whether there is nothing to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.finders.is_empty() && self.extra.is_empty()
    }

    /// Finds all secrets in a view that end behind its `from`; in order, none over another.
    pub(super) fn scan(&self, view: View<'_>, edits: &mut Vec<Edit>) {
        edits.clear();
        for finder in &self.finders {
            finder.scan(view, edits);
        }
        if !self.finders.is_empty() {
            scan_rare(view, edits);
        }
        for (number, rule) in self.extra.iter().enumerate() {
            scan_extra(rule, number, view, edits);
        }
        settle(view.from, edits);
    }
}

impl Rule {
    fn run(self, hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
        match self {
            Self::Assign => assign::find(hay, hit, edits),
            Self::Signature => assign::signature(hay, hit, edits),
            Self::Authorization => header::authorization(hay, hit, edits),
            Self::Cookie => header::cookie(hay, hit, edits),
            Self::Bearer => header::bearer(hay, hit, edits),
            Self::Basic => header::basic(hay, hit, edits),
            Self::Registry => header::registry(hay, hit, edits),
            Self::Identified => command::identified(hay, hit, edits),
            Self::Shape(number) => shape::find(number, hay, hit, edits),
            Self::KeyBegin => key::begin(hay, hit, edits),
            Self::KeyEnd => key::end(hay, hit, edits),
            Self::KeyWrapped => key::wrapped(hay, hit, edits),
            Self::Program(number) => command::program(number, hay, hit, edits),
            Self::User => command::user(hay, hit, edits),
            #[cfg(test)]
            Self::Panic => panic!("a rule that panics"),
        }
    }
}

/// Text that makes the redactor panic, in tests of what happens then.
#[cfg(test)]
pub(super) const PANIC: &str = "\u{1}panic in a rule\u{1}";

/// Every literal, and the rule it leads to.
fn literals() -> Vec<(&'static str, Rule)> {
    let shapes = SHAPES.iter().enumerate().map(|(number, shape)| (Rule::Shape(number), shape.literals));
    let all = LITERALS.into_iter().chain(shapes);
    #[cfg(test)]
    let all = all.chain([(Rule::Panic, [PANIC].as_slice())]);
    all.flat_map(|(rule, literals)| literals.iter().map(move |literal| (*literal, rule))).collect()
}

/// The searches for all literals. Those of three bytes have one of their own, since the shortest literal of a search is
/// what it compares.
fn finders() -> Vec<Finder> {
    let (short, long): (Vec<_>, Vec<_>) = literals().into_iter().partition(|(literal, _)| literal.len() < 4);
    let each = long.len().div_ceil(long.len().div_ceil(TOGETHER));
    long.chunks(each).chain([short.as_slice()]).map(Finder::new).collect()
}

impl Finder {
    fn new(literals: &[(&str, Rule)]) -> Self {
        let (literals, rules): (Vec<_>, Vec<_>) = literals.iter().copied().unzip();
        let packed = packed::Config::new().heuristic_pattern_limits(false).builder().extend(&literals).build();
        let search = match packed {
            Some(searcher) => Search::Packed(searcher),
            None => Search::Plain(AhoCorasick::new(&literals).expect("a constant set of literals builds")),
        };
        Self { search, rules }
    }

    fn scan(&self, view: View<'_>, edits: &mut Vec<Edit>) {
        let mut at = view.look;
        while let Some((pattern, hit)) = self.search.find(view.hay, at) {
            let known = edits.len();
            self.rules[pattern].run(view.hay, hit, edits);
            // What was found is taken out whole: nothing else needs finding in it.
            at = edits[known..].iter().map(|edit| edit.end).max().unwrap_or(0).max(hit + 1);
        }
    }
}

impl Search {
    /// The next literal at or behind `at`: its number, and where it begins.
    fn find(&self, hay: &[u8], at: usize) -> Option<(usize, usize)> {
        if at >= hay.len() {
            return None;
        }
        match self {
            Self::Packed(searcher) => {
                let found = searcher.find_in(hay, Span::from(at..hay.len()))?;
                Some((found.pattern().as_usize(), found.start()))
            }
            Self::Plain(searcher) => {
                let found = searcher.find(Input::new(hay).range(at..).anchored(Anchored::No))?;
                Some((found.pattern().as_usize(), found.start()))
            }
        }
    }
}

/// `@` and `$`: too short for the literals' search, and rare enough for one of their own.
fn scan_rare(view: View<'_>, edits: &mut Vec<Edit>) {
    for found in memchr::memchr2_iter(b'@', b'$', &view.hay[view.look..]) {
        let hit = view.look + found;
        if view.hay[hit] == b'@' {
            url::find(view.hay, hit, edits);
        } else {
            shape::hash(view.hay, hit, edits);
        }
    }
}

/// An added rule sees one line at a time, so that what it finds does not depend on where reading stopped. Searching all
/// lines at once first finds the lines worth it.
fn scan_extra(rule: &Regex, number: usize, view: View<'_>, edits: &mut Vec<Edit>) {
    let hay = view.hay;
    let mut at = view.look;
    while let Some(found) = rule.find_at(hay, at) {
        let line = memchr::memrchr(b'\n', &hay[view.look..found.start()]).map_or(view.look, |n| view.look + n + 1);
        let end = memchr::memchr(b'\n', &hay[found.start()..]).map_or(hay.len(), |n| found.start() + n);
        for groups in rule.captures_iter(&hay[line..end]) {
            let value = groups.get(1).or_else(|| groups.get(0)).expect("group 0 is the match");
            if !value.is_empty() && !label::is_marker(value.as_bytes()) {
                let label = Label::Extra(u8::try_from(number).expect("there are few added rules"));
                edits.push(Edit { start: line + value.start(), end: line + value.end(), label, open: None });
            }
        }
        at = end + 1;
        if at > hay.len() {
            return;
        }
    }
}

/// Puts edits in order and joins those that overlap; what was passed on already is left alone.
fn settle(from: usize, edits: &mut Vec<Edit>) {
    edits.retain(|edit| edit.end > from && edit.end > edit.start);
    edits.sort_by_key(|edit| edit.start);
    edits.dedup_by(|next, kept| {
        // What is open goes on to the end of the bytes at hand, whatever else is found there.
        let joins = next.start < kept.end || kept.open.is_some();
        if joins && kept.open.is_none() && (next.open.is_some() || next.end > kept.end) {
            kept.end = kept.end.max(next.end);
            kept.open = next.open.take();
        }
        joins
    });
    if let Some(first) = edits.first_mut() {
        first.start = first.start.max(from);
    }
}

fn compile(rule: &ExtraRule) -> Result<Regex, RuleError> {
    let shaped = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !(1..=32).contains(&rule.name.len()) || !rule.name.bytes().all(shaped) {
        return Err(RuleError::Name);
    }
    regex::bytes::RegexBuilder::new(&rule.pattern)
        .unicode(false)
        .multi_line(true)
        .size_limit(PROGRAM)
        .dfa_size_limit(PROGRAM)
        .build()
        .map_err(|source| RuleError::Pattern { name: rule.name.clone(), source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where one literal began with another, only one of the two rules would run.
    #[test]
    fn no_literal_begins_with_another() {
        let literals = literals();
        for (number, (one, _)) in literals.iter().enumerate() {
            assert!(one.len() >= 3, "{one:?} is too short to search for quickly");
            for (other_number, (other, _)) in literals.iter().enumerate() {
                assert!(number == other_number || !other.starts_with(one), "{other:?} begins with {one:?}");
            }
        }
    }

    /// A third search over all bytes would cost a tenth of the speed.
    #[test]
    fn two_searches_take_all_long_literals() {
        let long = literals().iter().filter(|(literal, _)| literal.len() > 3 && *literal != PANIC).count();
        assert!(long <= 2 * TOGETHER, "{long} literals");
    }

    /// Processors without vectors get the slow search, and those with them must never.
    #[test]
    fn the_plain_search_finds_the_same() {
        let text = literals().iter().map(|(literal, _)| *literal).collect::<Vec<_>>().join(" and ").repeat(3);
        let all = |search: &Search| {
            let mut found = Vec::new();
            let mut at = 0;
            while let Some((pattern, hit)) = search.find(text.as_bytes(), at) {
                found.push((pattern, hit));
                at = hit + 1;
            }
            found
        };
        let (short, long): (Vec<_>, Vec<_>) = literals().into_iter().partition(|(literal, _)| literal.len() < 4);
        for literals in long.chunks(TOGETHER).chain([short.as_slice()]) {
            let plain = Search::Plain(AhoCorasick::new(literals.iter().map(|(literal, _)| literal)).expect("builds"));
            let finder = Finder::new(literals);
            assert_eq!(all(&finder.search), all(&plain));
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("ssse3") {
                assert!(matches!(finder.search, Search::Packed(_)));
            }
        }
    }
}
