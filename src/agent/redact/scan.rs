//! One pass over the bytes: a vectorised search for all literals of all rules, then the hit's own rules around the hit only.
//!
//! Running every rule over every line costs ten times as much, and one automaton for all rules does not fit into any cache.

use std::sync::OnceLock;

use aho_corasick::packed::{self, Searcher};
use aho_corasick::{AhoCorasick, Anchored, Input, Span};
use regex::bytes::Regex;

use super::export::{self, Export, Field};
use super::label;
use super::rules::{self, How, Rule};
use super::site::{self, SiteRule};
use super::text::{Edit, LOOK};
use super::{RuleError, assign, audit, command, header, key, line, manifest, netrc, sentence, shape, url};

/// Literals by the searches that look for them, in their order.
///
/// Which of them share a place in a search's tables depends on their order, and with it how often the search stops at what is none of them: up
/// to ten times the speed. A search has eight places; the first literals go to the last place, the one before it, and so on around; one whose
/// first bytes have the low halves of another's goes to that one's. This order was found by exchanging literals until nothing
/// got better any more on logs of many kinds. A search of more than 32 works on half as many bytes at once; the shortest literal of
/// a search is what it compares, so that those of three bytes have one of their own.
const ORDER: [&[&str]; 4] = [
    &[
        "hvs", "ghp", "PSK", ":*:", "xox", "Key", "{SS", "SG.", "hvb", "whs", "Pwd", "gho", "xap", "hf_", "ya2", "GOC",
        "glp", "ghu", "{CR", "ghr", "8Q~", "ASI", "{SH", "eyJ", "glr", "LS0", "psk", "KEY", "key", "ghs", "PWD", "pwd",
    ],
    &[
        "indpw",
        "data:\n",
        "snmp",
        "dentified by ",
        "glagent-",
        "asic ",
        "ipmitool",
        "hooks.slack.com/services/",
        "gldt-",
        "ootpw",
        "UTHORIZATION",
        "dckr_pat_",
        "OKEN",
        "shpat_",
        "sk-proj-",
        ":99999:",
        "glft-",
        "data\"",
        "data\\",
        "DENTIFIED BY ",
        "uthorization",
        "oken",
        "ootPW",
        "on_id",
        "github_pat_",
        "glsa_",
        "_PW=",
        "_pw=",
        "dapi",
        "ssid",
        "mysql",
        "on-id",
    ],
    &[
        "END ",
        "REDENTIAL",
        "ignature=",
        "createUser",
        "ldap",
        "sk-ant-",
        "machine ",
        "sig=",
        "stringData",
        "redis-cli",
        "sheaf1.",
        "AKIA",
        "OOKIE",
        "-user",
        "Pass",
        "shpss_",
        "shpca_",
        "redential",
        "AIza",
        "PASS",
        "pypi-AgE",
        "telegram.org/bot",
        "_PW\"",
        "_pw:",
        "ookie",
        "scord.com/api/webhooks/",
        "scordapp.com/api/webhooks/",
        "k_live_",
        "office.com/webhookb2/",
        "_PW:",
        "_pw\"",
        "shppa_",
    ],
    &[
        "glcbt-",
        "k_test_",
        "SESSI",
        "BEGIN ",
        "onid",
        "dockerc",
        "mariadb",
        "glsoat-",
        "pass",
        "auth = ",
        "ccessSignature",
        "earer ",
        ":543",
        " login -",
        "onID",
        "dop_v1_",
        "masterauth",
        "\0-u\0",
        "npm_",
        "auth\\",
        "onId",
        "auth\"",
        "ecret",
        "community",
        "ECRET",
        " -u ",
        "glc_",
        "%2F%2F",
        "proctitle=",
        "com2sec",
        "EXECVE",
    ],
];

/// A search for some of the literals: vectorised where the processor can.
struct Finder {
    search: Search,
    /// The rules that each literal leads to, by their numbers.
    rules: Vec<Vec<usize>>,
}

enum Search {
    Packed(Searcher),
    Plain(AhoCorasick),
}

/// A built-in rule, with what is compiled of it once it is first tried.
struct Ready {
    rule: &'static Rule,
    pattern: OnceLock<Regex>,
    option: OnceLock<Regex>,
}

/// All rules of a redactor, ready to run.
pub(super) struct Rules {
    finders: Vec<Finder>,
    ready: Vec<Ready>,
    /// Rules whose literal is one byte, which have a search of their own.
    rare: Vec<(u8, usize)>,
    site: Vec<site::Ready>,
    /// Names of the kinds, by [`label::Label::index`].
    pub(super) names: Vec<String>,
    /// What stands in place of a secret, by [`label::Label::index`].
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

/// What was found in a view.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What to take out; in order, none over another.
    pub(super) edits: Vec<Edit>,
    /// What is judged as a whole: where it begins, and where it ends, which is beyond everything when that is not at hand.
    pub(super) wholes: Vec<(usize, usize)>,
    /// Whether nothing follows the bytes at hand.
    pub(super) ended: bool,
    /// Where in an export of the journal the view begins; none in anything else.
    pub(super) export: Option<Export>,
    /// Fields of that, which edits stay within, where there are any edits.
    pub(super) fields: Vec<Field>,
}

impl Found {
    /// Asks that nothing be cut between `start` and `end`.
    pub(super) fn whole(&mut self, start: usize, end: Option<usize>) {
        self.wholes.push((start, end.unwrap_or(usize::MAX)));
    }

    /// Where to cut instead of at `cut`, so that nothing is cut that is judged as a whole, as far back as `floor`.
    pub(super) fn spare(&self, mut cut: usize, floor: usize) -> usize {
        // They may lie over one another: what begins last is gone back over first.
        for (start, end) in self.wholes.iter().rev() {
            if *end > cut && (floor..cut).contains(start) {
                cut = *start;
            }
        }
        cut
    }
}

impl Rules {
    /// The built-in rules, unless `bare`, and the added ones.
    pub(super) fn new(bare: bool, site: &[SiteRule]) -> Result<Self, RuleError> {
        Self::of(site, |_| !bare)
    }

    /// Those of the built-in rules that are wanted, and the added ones.
    pub(super) fn of(site: &[SiteRule], wanted: impl Fn(&Rule) -> bool) -> Result<Self, RuleError> {
        let names = label::names(site.iter().map(|rule| rule.name.as_str()));
        let marks = label::names(site.iter().map(SiteRule::mark));
        let markers = marks.iter().map(|name| label::marker(name)).collect();
        let site = site::ready(site)?;
        let ready: Vec<Ready> = rules::all().filter(|rule| wanted(rule)).map(Ready::new).collect();
        let (finders, rare) = (finders(&ready), rare(&ready));
        Ok(Self { finders, ready, rare, site, names, markers })
    }

    /// Whether there is nothing to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.site.is_empty()
    }

    /// Finds all secrets in a view that end behind its `from`.
    pub(super) fn scan(&self, view: View<'_>, found: &mut Found) {
        found.edits.clear();
        found.wholes.clear();
        for finder in &self.finders {
            self.scan_with(finder, view, found);
        }
        self.scan_rare(view, found);
        for (number, rule) in self.site.iter().enumerate() {
            rule.scan(number, view, &mut found.edits);
        }
        found.wholes.sort_unstable();
        found.fields.clear();
        if let Some(mut export) = found.export.filter(|_| !found.edits.is_empty()) {
            export.fields(view.hay, view.from, &mut found.fields);
        }
        export::fit(&found.fields, view.from, &mut found.edits);
        settle(view.from, &mut found.edits);
    }

    /// How often something is to be taken out of a text, by [`label::Label::index`].
    pub(super) fn count(&self, text: &[u8]) -> Vec<u64> {
        let mut found = Found { ended: true, ..Found::default() };
        if !text.is_empty() {
            self.scan(View { hay: text, from: 0, look: 0 }, &mut found);
        }
        let mut counts = vec![0; self.names.len()];
        found.edits.iter().for_each(|edit| counts[edit.label.index()] += 1);
        counts
    }

    fn scan_with(&self, finder: &Finder, view: View<'_>, found: &mut Found) {
        let (mut at, mut taken) = (view.look, 0..0);
        while let Some((pattern, hit)) = finder.search.find(view.hay, at) {
            at = hit + 1;
            // What was found is taken out whole: nothing else needs finding in it, but for what may go on behind it.
            if taken.contains(&hit) && taken.end - hit > LOOK {
                at = taken.end - LOOK;
                continue;
            }
            let known = found.edits.len();
            for number in &finder.rules[pattern] {
                match &self.ready[*number] {
                    Ready { rule: Rule { how: How::Audit, .. }, .. } => {
                        audit::find(self, view.hay, hit, &mut found.edits)
                    }
                    ready => ready.run(view.hay, hit, found),
                }
            }
            // In an export it may yet turn out to end with its field.
            if let ([edit], None) = (&found.edits[known..], found.export)
                && edit.end > taken.end
            {
                taken = edit.start..edit.end;
            }
        }
    }

    /// Literals of one byte: too short for the others' search, and rare enough for one of their own.
    fn scan_rare(&self, view: View<'_>, found: &mut Found) {
        let bytes = match *self.rare.as_slice() {
            [] => return,
            [(one, _)] => (one, one),
            [(one, _), (other, _), ..] => (one, other),
        };
        let mut taken = 0;
        for at in memchr::memchr2_iter(bytes.0, bytes.1, &view.hay[view.look..]) {
            let hit = view.look + at;
            // What was found is taken out whole: nothing else needs finding in it.
            let rule = self.rare.iter().find(|(byte, _)| *byte == view.hay[hit]);
            if let Some((_, number)) = rule.filter(|_| hit >= taken) {
                let known = found.edits.len();
                self.ready[*number].run(view.hay, hit, found);
                taken = found.edits[known..]
                    .iter()
                    .filter(|edit| edit.start <= hit)
                    .map(|edit| edit.end)
                    .max()
                    .unwrap_or(taken);
            }
        }
    }
}

impl Ready {
    fn new(rule: &'static Rule) -> Self {
        Self { rule, pattern: OnceLock::new(), option: OnceLock::new() }
    }

    fn run(&self, hay: &[u8], hit: usize, found: &mut Found) {
        let edits = &mut found.edits;
        let label = self.rule.marks.first().copied();
        match self.rule.how {
            How::Setting => assign::find(hay, hit, found),
            How::Sentence => sentence::find(hay, hit, edits),
            How::SignedUrl => assign::signature(hay, hit, edits),
            How::Authorization => header::authorization(hay, hit, edits),
            How::Cookie => header::cookie(hay, hit, edits),
            How::Bearer => header::bearer(hay, hit, edits),
            How::Basic => header::basic(hay, hit, edits),
            How::Registry => header::registry(hay, hit, edits),
            How::Identified => command::identified(hay, hit, edits),
            How::KeyBegin => key::begin(hay, hit, edits),
            How::KeyEnd => key::end(hay, hit, edits),
            How::KeyWrapped => key::wrapped(hay, hit, edits),
            How::User => command::user(hay, hit, edits),
            How::Manifest => manifest::find(hay, hit, found),
            How::Netrc => netrc::find(hay, hit, found),
            // It takes all rules.
            How::Audit => {}
            How::Url => url::find(hay, hit, edits),
            How::Hash => shape::hash(hay, hit, edits),
            How::Command { program, option } => {
                let program = self.pattern.get_or_init(|| compiled(program));
                command::options(program, self.option.get_or_init(|| compiled(option)), hay, hit, edits);
            }
            How::Line { pattern } => {
                let pattern = self.pattern.get_or_init(|| compiled(pattern));
                line::find(pattern, label.expect("a pattern has its mark"), hay, hit, edits);
            }
            How::Shape { back, pattern } => {
                let pattern = self.pattern.get_or_init(|| compiled(&format!(r"(?-u)\A(?:{pattern})")));
                shape::find(pattern, back, label.expect("a shape has its mark"), hay, hit, edits);
            }
            #[cfg(test)]
            How::Panic => panic!("a rule that panics"),
        }
    }
}

fn compiled(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern compiles")
}

fn rare(ready: &[Ready]) -> Vec<(u8, usize)> {
    let rules = ready.iter().enumerate();
    let single = |literal: &&str| match literal.as_bytes() {
        [byte] => Some(*byte),
        _ => None,
    };
    rules
        .flat_map(|(n, ready)| ready.rule.literals.iter().filter_map(move |l| single(l).map(|byte| (byte, n))))
        .collect()
}

/// Every literal of more than one byte, and the rules that it leads to.
fn literals(ready: &[Ready]) -> Vec<(&'static str, Vec<usize>)> {
    let mut all: Vec<(&'static str, Vec<usize>)> = Vec::new();
    for (number, ready) in ready.iter().enumerate() {
        for literal in ready.rule.literals.iter().filter(|literal| literal.len() > 1) {
            match all.iter_mut().find(|(known, _)| known == literal) {
                Some((_, rules)) => rules.push(number),
                None => all.push((literal, vec![number])),
            }
        }
    }
    all
}

/// The searches for all literals, in their order; one that has no place in it is searched for behind the others.
fn finders(ready: &[Ready]) -> Vec<Finder> {
    let mut left = literals(ready);
    let mut take =
        |wanted: &&str| left.iter().position(|(literal, _)| literal == wanted).map(|at| left.swap_remove(at));
    let mut searches: Vec<Vec<_>> =
        ORDER.iter().map(|literals| literals.iter().filter_map(&mut take).collect()).collect();
    searches.push(left);
    searches.iter().filter(|literals| !literals.is_empty()).map(|literals| Finder::new(literals)).collect()
}

impl Finder {
    fn new(literals: &[(&str, Vec<usize>)]) -> Self {
        let (literals, rules): (Vec<_>, Vec<_>) = literals.iter().cloned().unzip();
        let packed = packed::Config::new().heuristic_pattern_limits(false).builder().extend(&literals).build();
        let search = match packed {
            Some(searcher) => Search::Packed(searcher),
            None => Search::Plain(AhoCorasick::new(&literals).expect("a constant set of literals builds")),
        };
        Self { search, rules }
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

/// Puts edits in order and joins those that overlap; what was passed on already is left alone.
pub(super) fn settle(from: usize, edits: &mut Vec<Edit>) {
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

#[cfg(test)]
mod tests {
    use super::rules::PANIC;
    use super::*;

    fn all() -> Vec<(&'static str, Vec<usize>)> {
        literals(&rules::all().map(Ready::new).collect::<Vec<_>>())
    }

    /// Where one literal began with another, only one of the two rules would run.
    #[test]
    fn no_literal_begins_with_another() {
        let literals = all();
        for (number, (one, _)) in literals.iter().enumerate() {
            assert!(one.len() >= 3, "{one:?} is too short to search for quickly");
            for (other_number, (other, _)) in literals.iter().enumerate() {
                assert!(number == other_number || !other.starts_with(one), "{other:?} begins with {one:?}");
            }
        }
    }

    #[test]
    fn every_literal_has_its_place() {
        let mut literals: Vec<&str> = all().into_iter().map(|(literal, _)| literal).filter(|l| *l != PANIC).collect();
        let mut places: Vec<&str> = ORDER.concat();
        literals.sort_unstable();
        places.sort_unstable();
        assert_eq!(literals, places, "a new literal needs a place in the order, where it costs least");
        for literals in ORDER {
            let short = literals.iter().filter(|literal| literal.len() < 4).count();
            assert!(literals.len() <= 32 && (short == 0 || short == literals.len()));
        }
    }

    /// Processors without vectors get the slow search, and those with them must never.
    #[test]
    fn the_plain_search_finds_the_same() {
        let text = all().iter().map(|(literal, _)| *literal).collect::<Vec<_>>().join(" and ").repeat(3);
        let hits = |search: &Search| {
            let mut found = Vec::new();
            let mut at = 0;
            while let Some((pattern, hit)) = search.find(text.as_bytes(), at) {
                found.push((pattern, hit));
                at = hit + 1;
            }
            found
        };
        for literals in ORDER {
            let literals: Vec<_> = literals.iter().map(|literal| (*literal, vec![0])).collect();
            let plain = Search::Plain(AhoCorasick::new(literals.iter().map(|(literal, _)| literal)).expect("builds"));
            let finder = Finder::new(&literals);
            assert_eq!(hits(&finder.search), hits(&plain));
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("ssse3") {
                assert!(matches!(finder.search, Search::Packed(_)));
            }
        }
    }
}
