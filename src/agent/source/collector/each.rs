//! What a command is run for, once each: the names in a folder, or the lines of another command.
//!
//! It comes from a collector's text and goes out as a checked value, with the rule that every name has to keep. Nothing here lists or runs
//! anything.

use std::path::PathBuf;

use serde::Deserialize;

use crate::agent::source::property::Property;

/// Things of one command unless its file says otherwise, and at most.
const MOST: (usize, usize) = (64, 256);
/// Bytes of one thing's name: it becomes the name of a file too.
const BYTES: usize = 128;

/// For what a command is run.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Each {
    /// Where the names come from.
    pub of: Names,
    /// How many are taken.
    pub most: usize,
    rule: Property,
}

/// Where names come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// What stands in a folder.
    In(PathBuf),
    /// What a program writes, a line each.
    Lines(Vec<String>),
}

/// The TOML of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    names_in: Option<PathBuf>,
    lines_of: Option<Vec<String>>,
    pattern: String,
    most: Option<usize>,
}

impl TryFrom<Raw> for Each {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let of = match (raw.names_in, raw.lines_of) {
            (Some(folder), None) => Names::In(folder),
            (None, Some(argv)) => Names::Lines(argv),
            _ => return Err("each needs one of `names_in` and `lines_of`".to_owned()),
        };
        let most = raw.most.unwrap_or(MOST.0);
        if !(1..=MOST.1).contains(&most) {
            return Err(format!("each.most must be 1 to {}", MOST.1));
        }
        Ok(Self { of, most, rule: Property::matching(raw.pattern)? })
    }
}

impl Each {
    /// Whether a command may be run for this name.
    pub fn takes(&self, name: &str) -> bool {
        // A folder lists itself and the one above it, and no pattern may mean those.
        (1..=BYTES).contains(&name.len()) && !matches!(name, "." | "..") && self.rule.takes(name)
    }

    /// Whether it would be run for what no command should get.
    pub(super) fn is_wide(&self) -> bool {
        self.rule.is_wide()
    }
}
