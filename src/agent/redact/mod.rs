//! Redaction: secrets leave the stream here, on the node, before anything is packed.
//!
//! [`crate::agent::source::Record`]s come in, [`Clean`]s go out, and only this module can make one: nothing unredacted is packed. It fails
//! closed: what cannot be redacted is withheld and says so. It never opens a source that was not handed to it.

use std::collections::BTreeMap;
use std::io;

use crate::agent::source::Record;
use crate::bundle::outcome::Outcome;
use crate::bundle::path::EntryPath;

/// How much is taken out; its name stands in REQUEST.json.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Private keys, passwords, tokens and everything else that opens a door.
    #[default]
    Secrets,
    /// Nothing: for a node whose own configuration says so.
    None,
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
pub struct Redactor {}

impl Redactor {
    /// The built-in rules of a profile, and added ones.
    ///
    /// # Errors
    /// When an added rule is no usable pattern.
    pub fn new(_profile: Profile, _extra: &[ExtraRule]) -> Result<Self, RuleError> {
        Ok(Self {})
    }

    /// Takes a record in; nothing is opened before the first read.
    pub fn clean(&mut self, record: Record) -> Clean {
        Clean { record }
    }
}

/// A redacted source on its way; read it to its end, then ask [`Clean::finish`].
///
/// Reading never gives an error: what goes wrong in the source ends the bytes and stands in the report.
pub struct Clean {
    record: Record,
}

/// What redaction and the source have to say once a [`Clean`] was read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanReport {
    /// What became of it.
    pub outcome: Outcome,
    /// Why, when not collected.
    pub reason: String,
    /// Replacements per rule.
    pub redacted: BTreeMap<String, u64>,
}

impl Clean {
    /// The path below `nodes/<node>/`.
    pub fn path(&self) -> &EntryPath {
        &self.record.path
    }

    /// The collector that declares it.
    pub fn collector(&self) -> &str {
        &self.record.collector
    }

    /// Mode on the host.
    pub fn mode(&self) -> Option<u32> {
        self.record.mode
    }

    /// Nanoseconds since 1970.
    pub fn mtime_ns(&self) -> i128 {
        self.record.mtime_ns
    }

    /// Bytes the source will probably have before redaction; nothing to rely on.
    pub fn size_hint(&self) -> Option<u64> {
        self.record.size_hint
    }

    /// Name on the host where it differs from the path.
    pub fn original(&self) -> Option<&str> {
        self.record.original.as_deref()
    }

    /// Symbolic link that led to it.
    pub fn link(&self) -> Option<&str> {
        self.record.link.as_deref()
    }

    /// Whether [`Clean::rewind`] works: a second reading gives the same bytes, as far as the source does.
    pub fn again(&self) -> bool {
        self.record.content.again()
    }

    /// Back to the start, to be read once more.
    ///
    /// # Errors
    /// When the source can be read only once.
    pub fn rewind(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// What is to be said once [`io::Read::read`] has given 0. Before that, the outcome is `truncated`.
    pub fn finish(self) -> CleanReport {
        CleanReport::default()
    }
}

impl io::Read for Clean {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        todo!()
    }
}
