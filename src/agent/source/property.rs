//! Properties: what a deployment may set of a collector, as the node's own file declares it.
//!
//! ```toml
//! [properties.instance]
//! type = "string"                    # string, integer, boolean or list (of strings)
//! pattern = "[a-z][a-z0-9-]{0,30}"   # the whole value must match; or values = ["a", "b"]
//! default = "main"                   # without it, the collector runs only where a deployment gives a value
//! description = "Which instance's logs."
//! [properties.lines]
//! type = "integer"
//! min = 1                            # 0 when not given
//! max = 10000
//! default = 500
//! ```
//!
//! Rules come from collector files, values from deployments; what goes out is checked text. A value is never looked at by a shell, and
//! never more than one component of a path or one argument: [`super::template`] sees to that.

use std::fmt;

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::Value;

use crate::report;

/// Bytes of one value at most, whatever its pattern takes.
const BYTES: usize = 255;
/// Values of a list at most, unless its property says less.
const MOST: usize = 64;
/// Bytes that a compiled pattern may take.
const PATTERN: usize = 256 << 10;

/// What a property takes.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Property {
    rule: Rule,
    default: Option<Filled>,
    /// What it is for.
    pub description: String,
}

/// A value that its property took, ready for a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filled {
    /// One text.
    One(String),
    /// Several; what they stand in is repeated for each.
    Many(Vec<String>),
}

#[derive(Clone, Debug)]
enum Rule {
    Text(Texts),
    List { of: Texts, most: usize },
    Integer { min: i64, max: i64 },
    Boolean,
}

#[derive(Clone, Debug)]
enum Texts {
    Matching { whole: Regex, pattern: String },
    OneOf(Vec<String>),
}

/// The TOML of a property.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(rename = "type", default)]
    kind: Kind,
    pattern: Option<String>,
    values: Option<Vec<String>>,
    min: Option<i64>,
    max: Option<i64>,
    most: Option<usize>,
    default: Option<Value>,
    #[serde(default)]
    description: String,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    String,
    Integer,
    Boolean,
    List,
}

impl TryFrom<Raw> for Property {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let stray = |given: bool, key: &str, of: &str| match given {
            true => Err(format!("`{key}` belongs to {of}")),
            false => Ok(()),
        };
        let is_text = matches!(raw.kind, Kind::String | Kind::List);
        stray(!is_text && raw.pattern.is_some(), "pattern", "strings and lists")?;
        stray(!is_text && raw.values.is_some(), "values", "strings and lists")?;
        stray(raw.kind != Kind::Integer && raw.min.is_some(), "min", "integers")?;
        stray(raw.kind != Kind::Integer && raw.max.is_some(), "max", "integers")?;
        stray(raw.kind != Kind::List && raw.most.is_some(), "most", "lists")?;
        let rule = match raw.kind {
            Kind::String => Rule::Text(texts(raw.pattern, raw.values)?),
            Kind::List => {
                let most = raw.most.unwrap_or(MOST);
                if !(1..=MOST).contains(&most) {
                    return Err(format!("`most` must be 1 to {MOST}"));
                }
                Rule::List { of: texts(raw.pattern, raw.values)?, most }
            }
            Kind::Integer => {
                let (min, max) = (raw.min.unwrap_or(0), raw.max.unwrap_or(i64::MAX));
                if min > max {
                    return Err("`min` must not be more than `max`".to_owned());
                }
                Rule::Integer { min, max }
            }
            Kind::Boolean => Rule::Boolean,
        };
        let mut property = Self { rule, default: None, description: raw.description };
        if let Some(default) = raw.default {
            property.default = Some(property.take(&default).map_err(|problem| format!("its default {problem}"))?);
        }
        Ok(property)
    }
}

/// What a string may be: every one says it, since what is not thought of is what is misused.
fn texts(pattern: Option<String>, values: Option<Vec<String>>) -> Result<Texts, String> {
    match (pattern, values) {
        (Some(pattern), None) => {
            let compile = |text: &str| RegexBuilder::new(text).size_limit(PATTERN).build();
            // Compiled alone first, so that no unbalanced bracket gets around the anchors.
            let whole = compile(&pattern).and_then(|_| compile(&format!(r"\A(?:{pattern})\z")));
            let whole = whole.map_err(|error| format!("`pattern` cannot be used: {}", last_line(&error)))?;
            Ok(Texts::Matching { whole, pattern })
        }
        (None, Some(values)) => {
            if values.is_empty() {
                return Err("`values` must not be empty".to_owned());
            }
            if let Some(problem) = values.iter().find_map(|value| plain(value).err()) {
                return Err(format!("one of `values` {problem}"));
            }
            Ok(Texts::OneOf(values))
        }
        (None, None) => Err("needs a `pattern`, or a list of `values`, that says what it may be".to_owned()),
        (Some(_), Some(_)) => Err("has both `pattern` and `values`; one of them says what it may be".to_owned()),
    }
}

fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// What holds for every text, whatever its pattern.
fn plain(text: &str) -> Result<(), String> {
    if text.len() > BYTES {
        return Err(format!("is longer than {BYTES} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("must hold no line ends and no other control characters".to_owned());
    }
    Ok(())
}

impl Texts {
    fn take(&self, text: &str) -> Result<String, String> {
        plain(text)?;
        match self {
            Self::Matching { whole, .. } if whole.is_match(text) => Ok(text.to_owned()),
            Self::OneOf(values) if values.iter().any(|value| value == text) => Ok(text.to_owned()),
            // What was given is not repeated: it goes into events, and a password may stand there.
            _ => Err(format!("must be {self}")),
        }
    }
}

impl fmt::Display for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matching { pattern, .. } => write!(f, "a text that matches `{}`", report::escape(pattern)),
            Self::OneOf(values) => write!(f, "one of {}", report::brief(&values.join(", "), 300)),
        }
    }
}

impl Property {
    /// Takes a value, if it is one of those that the property may have.
    ///
    /// # Errors
    /// With what it must be, as the end of a sentence about the value.
    pub fn take(&self, given: &Value) -> Result<Filled, String> {
        match (&self.rule, given) {
            (Rule::Text(texts), Value::String(text)) => texts.take(text).map(Filled::One),
            (Rule::List { of, most }, Value::Array(all)) => {
                if all.len() > *most {
                    return Err(format!("must have at most {most} values"));
                }
                let text = |value: &Value| value.as_str().ok_or("must be a list of texts").map(str::to_owned);
                let texts = all.iter().map(|value| text(value).map_err(str::to_owned));
                texts.map(|text| of.take(&text?)).collect::<Result<_, _>>().map(Filled::Many)
            }
            (Rule::Integer { min, max }, Value::Number(number)) => match number.as_i64() {
                Some(whole) if (*min..=*max).contains(&whole) => Ok(Filled::One(whole.to_string())),
                _ => Err(format!("must be {self}, not {number}")),
            },
            (Rule::Boolean, Value::Bool(on)) => Ok(Filled::One(on.to_string())),
            _ => Err(format!("must be {self}")),
        }
    }

    /// A text that matches a pattern whole.
    ///
    /// # Errors
    /// When it is no pattern.
    pub(super) fn matching(pattern: String) -> Result<Self, String> {
        Ok(Self { rule: Rule::Text(texts(Some(pattern), None)?), default: None, description: String::new() })
    }

    /// Whether it takes a text.
    pub(super) fn takes(&self, text: &str) -> bool {
        matches!(&self.rule, Rule::Text(texts) if texts.take(text).is_ok())
    }

    /// What it is when nobody says otherwise.
    pub fn default(&self) -> Option<&Filled> {
        self.default.as_ref()
    }

    /// A stand-in that fits every place, for checking templates before there is a value.
    pub(super) fn sample(&self) -> Filled {
        match (&self.default, &self.rule) {
            (Some(Filled::Many(values)), _) if values.is_empty() => Filled::Many(vec!["x".to_owned()]),
            (Some(default), _) => default.clone(),
            (None, Rule::List { .. }) => Filled::Many(vec!["x".to_owned()]),
            (None, Rule::Integer { .. }) => Filled::One("1".to_owned()),
            (None, _) => Filled::One("x".to_owned()),
        }
    }

    /// Whether it would take a text that no place takes.
    pub(super) fn is_wide(&self) -> bool {
        let (Rule::Text(texts) | Rule::List { of: texts, .. }) = &self.rule else { return false };
        ["../x", "-x"].iter().any(|text| texts.take(text).is_ok())
    }
}

/// What it may be.
impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Rule::Text(texts) => texts.fmt(f),
            Rule::List { of, most } => write!(f, "a list of at most {most}, each {of}"),
            Rule::Integer { min, max: i64::MAX } => write!(f, "a whole number, {min} or more"),
            Rule::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            Rule::Boolean => f.write_str("true or false"),
        }
    }
}

impl fmt::Display for Filled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(text) => f.write_str(text),
            Self::Many(all) => write!(f, "[{}]", all.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn property(toml: &str) -> Property {
        toml::from_str(toml).expect(toml)
    }

    #[test]
    fn a_value_is_taken_only_whole_and_of_its_type() {
        let name = property("pattern = \"[a-z]{1,8}\"");
        assert_eq!(name.take(&json!("main")), Ok(Filled::One("main".to_owned())));
        let huge = "a".repeat(1 << 20);
        let hostile = [
            "",
            "MAIN",
            "../x",
            "a;b",
            "a\n",
            "\na",
            "a\0",
            "$(a)",
            "a b",
            "*",
            "-a",
            "abcdefghi",
            "main\u{202e}",
            &huge,
        ];
        for bad in hostile {
            assert!(name.take(&json!(bad)).is_err(), "{}", report::brief(bad, 20));
        }
        for bad in [json!(7), json!(true), json!(null), json!(["main"]), json!({"a": "main"})] {
            assert_eq!(name.take(&bad), Err("must be a text that matches `[a-z]{1,8}`".to_owned()), "{bad}");
        }
    }

    #[test]
    fn a_pattern_that_takes_all_takes_no_control_character_and_nothing_endless() {
        let all = property("pattern = '(?s).*'");
        assert!(all.take(&json!("any/../thing; at all")).is_ok());
        for bad in ["a\nb", "a\0b", "\u{7f}", "\u{1b}[2J", &"a".repeat(256)] {
            assert!(all.take(&json!(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_other_types() {
        let level = property("values = [\"info\", \"debug\"]");
        assert!(level.take(&json!("debug")).is_ok() && level.take(&json!("warn")).is_err());
        let lines = property("type = \"integer\"\nmin = 1\nmax = 100");
        assert_eq!(lines.take(&json!(100)), Ok(Filled::One("100".to_owned())));
        for bad in [json!(0), json!(101), json!(1.5), json!("7"), json!(u64::MAX), json!(1e300)] {
            assert!(lines.take(&bad).is_err(), "{bad}");
        }
        let on = property("type = \"boolean\"");
        assert!(on.take(&json!(true)).is_ok() && on.take(&json!("true")).is_err() && on.take(&json!(1)).is_err());
        let units = property("type = \"list\"\npattern = \"[a-z]+\"\nmost = 2");
        assert_eq!(units.take(&json!(["a", "b"])), Ok(Filled::Many(vec!["a".to_owned(), "b".to_owned()])));
        for bad in [json!(["a", "b", "c"]), json!(["a", "../b"]), json!([["a"]]), json!("a")] {
            assert!(units.take(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (toml, expected) in [
            ("", "needs a `pattern`"),
            ("pattern = \"[a\"", "`pattern` cannot be used"),
            ("pattern = \"a)|(?:b\"", "`pattern` cannot be used"),
            ("pattern = \"(?:a{1000}){1000}\"", "`pattern` cannot be used"),
            ("pattern = \"a\"\nvalues = [\"a\"]", "both `pattern` and `values`"),
            ("values = []", "must not be empty"),
            ("pattern = \"a\"\ndefault = \"b\"", "its default must be a text that matches `a`"),
            ("type = \"integer\"\npattern = \"1\"", "`pattern` belongs to strings and lists"),
            ("type = \"integer\"\nmin = 2\nmax = 1", "`min` must not be more"),
            ("type = \"list\"\npattern = \"a\"\nmost = 0", "`most` must be"),
            ("type = \"float\"", "unknown variant `float`"),
            ("pattern = \"a\"\nshell = true", "unknown field `shell`"),
        ] {
            let error = toml::from_str::<Property>(toml).expect_err(toml).to_string();
            assert!(error.contains(expected), "{toml}: {error}");
        }
    }
}
