//! Rules of redaction that a request brings along. They can only add to what a node takes out anyway.
//!
//! They travel from whoever asks through the coordinator to the nodes, which judge them as their own. A node that cannot use one gives nothing.

use serde::{Deserialize, Serialize};

use crate::report;

/// Rules of one request, and bytes of a pattern, at most.
const MOST: (usize, usize) = (16, 2048);

/// Something to take out beyond what a node takes out anyway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedRule {
    /// Its name in markers and counts: lower-case letters, digits and `-`.
    pub name: String,
    /// A regular expression over the bytes of one line; its first group, or else all that it matches, is taken out.
    pub pattern: String,
}

impl AskedRule {
    /// A rule written as `NAME=PATTERN`.
    ///
    /// # Errors
    /// With what is wrong, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, pattern) = text.split_once('=').ok_or("write NAME=PATTERN, such as customer='customer (\\w+)'")?;
        let rule = Self { name: name.to_owned(), pattern: pattern.to_owned() };
        Self::check(std::slice::from_ref(&rule))?;
        Ok(rule)
    }

    /// Whether rules can be meant, so that nobody asks all nodes for what none can do. Nodes look closer.
    ///
    /// # Errors
    /// With the rule, and what is wrong with it.
    pub fn check(rules: &[Self]) -> Result<(), String> {
        if rules.len() > MOST.0 {
            return Err(format!("a request may bring {} redaction rules: join some with `|`", MOST.0));
        }
        let shaped = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        for (number, rule) in rules.iter().enumerate() {
            let fail = |problem: &str| Err(format!("redaction rule `{}`: {problem}", report::brief(&rule.name, 40)));
            if !(1..=32).contains(&rule.name.len()) || !rule.name.bytes().all(shaped) {
                return fail("its name must be 1 to 32 lower-case letters, digits and `-`");
            }
            if rules[..number].iter().any(|other| other.name == rule.name) {
                return fail("there is another one of this name");
            }
            if rule.pattern.len() > MOST.1 {
                return fail("its pattern is longer than 2048 bytes");
            }
            match regex::bytes::RegexBuilder::new(&rule.pattern).unicode(false).size_limit(1 << 20).build() {
                Err(error) => {
                    // The last line says it; those before draw the pattern.
                    let why = error.to_string();
                    let why = why.trim_end().lines().next_back().unwrap_or_default().trim_start_matches("error: ");
                    return fail(&format!("its pattern is no usable regular expression: {}", report::brief(why, 200)));
                }
                Ok(pattern) if pattern.is_match(b"") => return fail("its pattern matches the empty string"),
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_a_name_and_a_pattern() {
        let rule = AskedRule::parse("case=case-[0-9]+=x").expect("a rule");
        assert_eq!((rule.name.as_str(), rule.pattern.as_str()), ("case", "case-[0-9]+=x"));
        for wrong in ["case", "Case=x", "=x", "case=(x", "case=x*"] {
            assert!(AskedRule::parse(wrong).is_err(), "{wrong}");
        }
        assert!(AskedRule::check(&[rule.clone(), rule.clone()]).is_err());
        assert!(AskedRule::check(&vec![rule; 17]).is_err());
    }
}
