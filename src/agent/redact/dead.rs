//! Added rules that can never take anything out: what a pattern needs that no line has, and literals that stand in none of its matches.
//!
//! A pattern comes in as it was parsed, and answers go out for [`super::site`] to warn with. They err on one side: what looks around
//! (`^`, `\b`) is taken to hold, so that a rule is called dead only where it is. Nothing is matched here but literals.

use std::collections::BTreeSet;

use regex_automata::nfa::thompson::{Compiler, Config, NFA, State, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_syntax::hir::Hir;

/// Bytes that a pattern's program may take here.
const PROGRAM: usize = 1 << 20;

/// What a pattern can match.
pub(super) struct Language {
    nfa: NFA,
    /// States that a match without a line's end goes through.
    states: BTreeSet<StateID>,
}

impl Language {
    /// None where its program is too large to be looked at.
    pub(super) fn of(hir: &Hir) -> Option<Self> {
        let config = Config::new().utf8(false).nfa_size_limit(Some(PROGRAM)).which_captures(WhichCaptures::None);
        let nfa = Compiler::new().configure(config).build_from_hir(hir).ok()?;
        let mut this = Self { nfa, states: BTreeSet::new() };
        let mut open = vec![this.nfa.start_anchored()];
        while let Some(state) = open.pop() {
            if this.states.insert(state) {
                this.next(state, &|from, to| (from..=to).any(|byte| byte != b'\n'), &mut |next| open.push(next));
                this.silent(state, &mut |next| open.push(next));
            }
        }
        Some(this)
    }

    /// Whether something matches that has no line's end in it.
    pub(super) fn fits_a_line(&self) -> bool {
        self.states.iter().any(|state| matches!(self.nfa.state(*state), State::Match { .. }))
    }

    /// Whether a text can be a part of a match.
    pub(super) fn may_hold(&self, text: &[u8]) -> bool {
        let mut at = self.states.clone();
        for byte in text {
            let mut open = Vec::new();
            for state in &at {
                self.next(*state, &|from, to| (from..=to).contains(byte), &mut |next| open.push(next));
            }
            at.clear();
            while let Some(state) = open.pop() {
                if at.insert(state) {
                    self.silent(state, &mut |next| open.push(next));
                }
            }
        }
        !at.is_empty()
    }

    /// Where a state leads by bytes of a range that counts.
    fn next(&self, state: StateID, counts: &dyn Fn(u8, u8) -> bool, to: &mut dyn FnMut(StateID)) {
        let one = |start, end, next| (counts(start, end)).then_some(next);
        match self.nfa.state(state) {
            State::ByteRange { trans } => one(trans.start, trans.end, trans.next).into_iter().for_each(to),
            State::Sparse(sparse) => {
                sparse.transitions.iter().filter_map(|trans| one(trans.start, trans.end, trans.next)).for_each(to);
            }
            State::Dense(dense) => {
                let each = (0..=u8::MAX).zip(dense.transitions.iter());
                each.filter(|(_, next)| **next != StateID::ZERO)
                    .filter_map(|(byte, next)| one(byte, byte, *next))
                    .for_each(to);
            }
            _ => {}
        }
    }

    /// Where it leads without a byte.
    fn silent(&self, state: StateID, to: &mut dyn FnMut(StateID)) {
        match self.nfa.state(state) {
            State::Look { next, .. } | State::Capture { next, .. } => to(*next),
            State::Union { alternates } => alternates.iter().copied().for_each(to),
            State::BinaryUnion { alt1, alt2 } => [*alt1, *alt2].into_iter().for_each(to),
            _ => {}
        }
    }
}

/// A `\\d` that was meant as `\d`: a class of which the pattern has only the letter, repeated or at the end of a group.
pub(super) fn doubled(pattern: &str) -> Option<&str> {
    let bytes = pattern.as_bytes();
    let at = bytes.windows(3).enumerate().position(|(at, three)| {
        let is_class = three.starts_with(br"\\") && b"dwsDWS".contains(&three[2]);
        let runs = bytes[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        is_class && runs.is_multiple_of(2) && bytes.get(at + 3).is_none_or(|after| b"+*?{)|".contains(after))
    })?;
    pattern.get(at..at + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(pattern: &str) -> Language {
        let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).multi_line(true).build();
        Language::of(&parser.parse(pattern).expect(pattern)).expect("small")
    }

    #[test]
    fn a_pattern_that_needs_a_line_end_fits_no_line() {
        for (pattern, fits) in [
            ("abc", true),
            (r"a\nb", false),
            (r"a\s+b", true),
            (r"a\n?b", true),
            (r"^a$\n^b", false),
            (r"(?:a\nb|c)", true),
            (r"a[\n]b", false),
            (r"[^x]{3}", true),
        ] {
            assert_eq!(language(pattern).fits_a_line(), fits, "{pattern}");
        }
    }

    #[test]
    fn a_literal_is_a_part_of_some_match_or_of_none() {
        for (pattern, literal, may) in [
            (r"badge \d{6} at \w+", "badge ", true),
            (r"badge \d{6} at \w+", "ge 1", true),
            (r"badge \d{6} at \w+", "6 at x", true),
            (r"badge \d{6} at \w+", "nosuch", true),
            (r"badge \d{6}", "nosuch", false),
            (r"badge \d{6}", "badge  ", false),
            (r"badge \d{6}", "1234567", false),
            (r"(?i)case-\d+", "CASE-", true),
            (r"(?i)case-\d+", "case_", false),
            (r"line (\\d+)", "line 1", false),
            (r"a.*b", "anything", true),
            (r"[a-cx-z]+[^0]", "axz!", true),
        ] {
            assert_eq!(language(pattern).may_hold(literal.as_bytes()), may, "{pattern} {literal}");
        }
    }

    #[test]
    fn a_backslash_too_many_is_found() {
        for (pattern, found) in [
            (r"line (\\d+)", Some(r"\\d")),
            (r"id=\\w", Some(r"\\w")),
            (r"line (\d+)", None),
            (r"C:\\windows", None),
            (r"a\\\d+", None),
            (r"a\\\\d+", Some(r"\\d")),
            ("é\\\\s*", Some(r"\\s")),
        ] {
            assert_eq!(doubled(pattern), found, "{pattern}");
        }
    }
}
