//! Redaction: secrets leave the stream here, on the node, before anything is packed.
//!
//! [`crate::agent::source::Record`]s come in, [`Clean`]s go out, and only this module can make one: nothing unredacted is packed. It fails
//! closed: what cannot be redacted is withheld and says so. It never opens a source that was not handed to it.
//!
//! A secret gives way to a marker that says what it was, `[redacted:password]`, and is counted under that name. What is taken out: private
//! keys (PEM, OpenSSH, PGP; over lines, over entries of the journal, on one line with `\n`, or in base64); credentials in headers, cookies and URLs; values of settings
//! whose name says that they are secret (`key=value`, YAML, JSON at any depth of escaping, XML, environments, command lines); stored
//! passwords; tokens known by their shape. What only speaks of a secret (`password authentication failed`) stays as it is, byte by byte.
//!
//! NUL counts as a line's end: `/proc/<pid>/environ` separates by it, and logs have runs of it after a crash. Text in UTF-16 is withheld,
//! since no rule would find anything in it. In exports of the journal, binary fields keep their length. Compressed files are looked through inside; they pass as they are, or are redacted and compressed again.

mod apart;
mod assign;
mod audit;
mod before;
mod below;
mod clean;
mod command;
mod dead;
mod encoded;
mod entries;
mod export;
mod header;
mod key;
mod label;
mod line;
mod manifest;
mod name;
mod netrc;
mod open;
mod packed;
mod rules;
mod scan;
mod sentence;
mod shape;
mod site;
mod sniff;
mod stream;
mod text;
mod url;
mod value;
mod words;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

pub use clean::{Clean, CleanReport};
pub use rules::{RuleRow, VERSION, built_in, digest};
pub use site::{Finding, RedactConfig, RuleError, SiteRule, lint};

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

/// What a node adds to the built-in rules for one collection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Added<'a> {
    /// By its own configuration.
    pub site: &'a [SiteRule],
    /// By the request.
    pub asked: &'a [SiteRule],
}

/// What was redacted by, for whoever reads the result: names, never a pattern of a site's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// [`Profile::name`].
    pub profile: &'static str,
    /// [`VERSION`] of the built-in rules.
    pub version: u32,
    /// [`digest`] of them.
    pub digest: String,
    /// Names of the site's rules.
    pub site: Vec<String>,
    /// Names of the request's rules.
    pub asked: Vec<String>,
}

impl About {
    /// Of the built-in rules and what was added.
    pub fn of(profile: Profile, added: Added<'_>) -> Self {
        let names = |rules: &[SiteRule]| rules.iter().map(|rule| rule.name.clone()).collect();
        let (site, asked) = (names(added.site), names(added.asked));
        Self { profile: profile.name(), version: VERSION, digest: digest(), site, asked }
    }
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
    pub fn new(profile: Profile, added: &[SiteRule]) -> Result<Self, RuleError> {
        let rules = Arc::new(scan::Rules::new(profile == Profile::None, added)?);
        Ok(Self { shared: Arc::new(Shared { rules, spare: Mutex::new(None) }) })
    }

    /// Takes a record in; nothing is opened before the first read.
    pub fn clean(&mut self, record: Record) -> Clean {
        Clean::new(record, Arc::clone(&self.shared))
    }
}
