//! Redaction: secrets leave the stream here, on the node, before anything is packed.
//!
//! [`crate::agent::source::Record`]s come in, [`Clean`]s go out, and only this module can make one: nothing unredacted is packed. It fails
//! closed: what cannot be redacted is withheld and says so. It never opens a source that was not handed to it.

use std::collections::BTreeMap;
use std::io;

use crate::agent::source::Record;
use crate::bundle::outcome::Outcome;

/// A redacted source on its way; read it to its end, then ask [`Clean::finish`].
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
    pub fn path(&self) -> &crate::bundle::path::EntryPath {
        &self.record.path
    }
}

impl io::Read for Clean {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        todo!()
    }
}
