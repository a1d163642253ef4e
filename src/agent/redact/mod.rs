//! Redaction: secrets leave the stream here, on the node, before anything is packed.
//!
//! [`crate::agent::source::Record`]s come in, [`Clean`]s go out, and only this module can make one: nothing unredacted is packed. It fails
//! closed: what cannot be redacted is withheld and says so. It never opens a source that was not handed to it.
//!
//! A secret gives way to a marker that says what it was, `[redacted:password]`, and is counted under that name. What is taken out: private
//! keys (PEM, OpenSSH, PGP; over lines, on one line with `\n`, or in base64); credentials in headers, cookies and URLs; values of settings
//! whose name says that they are secret (`key=value`, YAML, JSON at any depth of escaping, XML, environments, command lines); stored
//! passwords; tokens known by their shape. What only speaks of a secret (`password authentication failed`) stays as it is, byte by byte.
//!
//! NUL counts as a line's end: `/proc/<pid>/environ` separates by it, and logs have runs of it after a crash. Text in UTF-16 is withheld,
//! since no rule would find anything in it. Compressed files are looked through inside; they pass as they are, or are redacted and compressed again.

mod assign;
mod clean;
mod command;
mod header;
mod key;
mod label;
mod name;
mod open;
mod packed;
mod scan;
mod shape;
mod sniff;
mod stream;
mod text;
mod url;
mod value;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

pub use clean::{Clean, CleanReport};

use crate::agent::source::Record;

/// How much is taken out; its name stands in REQUEST.json.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Private keys, passwords, tokens and everything else that opens a door.
    #[default]
    Secrets,
    /// Nothing: for a node whose own configuration says so.
    None,
}

impl Profile {
    /// Its name in configurations and in REQUEST.json.
    pub fn name(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::None => "none",
        }
    }

    /// The profile of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Secrets, Self::None].into_iter().find(|profile| profile.name() == name)
    }
}

/// A rule that a node's configuration, or a request, adds to the built-in ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraRule {
    /// Its name in markers and counts: lower-case letters, digits and `-`.
    pub name: String,
    /// A regular expression over the bytes of one line; its first group, or else the whole match, is taken out.
    pub pattern: String,
}

/// Why an added rule is none.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// Not a name for markers.
    #[error("redaction rule has a name other than 1 to 32 lower-case letters, digits and `-`")]
    Name,
    /// More rules, or longer ones, than are matched in reasonable time.
    #[error("redaction rules are too many or too long")]
    TooMany,
    /// Not a regular expression, or too large a one.
    #[error("redaction rule `{name}` is no usable pattern")]
    Pattern {
        /// Which one.
        name: String,
        /// What is wrong with it.
        #[source]
        source: Box<regex::Error>,
    },
}

/// Makes [`Clean`]s of records: the rules, compiled once, and the buffers they share.
pub struct Redactor {
    shared: Arc<Shared>,
}

/// What all [`Clean`]s of a redactor share.
struct Shared {
    rules: Arc<scan::Rules>,
    /// A buffer that is not in use: one is enough while sources are read one after the other.
    spare: Mutex<Option<Vec<u8>>>,
}

impl Shared {
    fn take_buffer(&self) -> Vec<u8> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    fn keep_buffer(&self, buffer: Vec<u8>) {
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = Some(buffer);
    }
}

impl Redactor {
    /// The built-in rules of a profile, and added ones.
    ///
    /// # Errors
    /// When an added rule is no usable pattern.
    pub fn new(profile: Profile, extra: &[ExtraRule]) -> Result<Self, RuleError> {
        let rules = Arc::new(scan::Rules::new(profile == Profile::None, extra)?);
        Ok(Self { shared: Arc::new(Shared { rules, spare: Mutex::new(None) }) })
    }

    /// Takes a record in; nothing is opened before the first read.
    pub fn clean(&mut self, record: Record) -> Clean {
        Clean::new(record, Arc::clone(&self.shared))
    }
}
