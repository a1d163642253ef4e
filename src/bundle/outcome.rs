//! What became of a source, a node, a bundle: always a value, never an error path.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::report;

/// What became of one source, entry or node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All of it is in the bundle.
    #[default]
    Collected,
    /// Left out by rule, by request, or since it is not there.
    Skipped,
    /// Should be there and is not.
    Failed,
    /// The start is there, the rest is not.
    Truncated,
}

/// What was left out of the middle of an entry, whose head and tail are there with a mark between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// What did not let it pass.
    pub by: CutBy,
    /// Bytes that are left out, as they were on the host.
    pub bytes: u64,
    /// Lines that end in them.
    pub lines: u64,
    /// How well both are known.
    #[serde(default, skip_serializing_if = "Counted::is_all")]
    pub counted: Counted,
}

impl fmt::Display for Cut {
    /// `1048576 bytes, 9000 lines`, with what is not known exactly said so.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |count: u64, one| report::counted(usize::try_from(count).unwrap_or(usize::MAX), one);
        let (bytes, lines) = (counted(self.bytes, "byte"), counted(self.lines, "line"));
        match self.counted {
            Counted::All => write!(f, "{bytes}, {lines}"),
            Counted::Guess => write!(f, "{bytes}, about {lines}"),
            Counted::AtLeast | Counted::Other => write!(f, "more than {bytes}, {lines}"),
        }
    }
}

/// How well it is known what a cut left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// All of it was read and counted.
    #[default]
    All,
    /// The bytes are exact; they were too many to be read for their lines, of which the number is a guess by those that were.
    Guess,
    /// It was too much to be read to its end: more was left out than the numbers say.
    AtLeast,
    /// Something that a later version knows.
    #[serde(other)]
    Other,
}

impl Counted {
    fn is_all(&self) -> bool {
        *self == Self::All
    }
}

/// What cut an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CutBy {
    /// The bytes that one file may have.
    Limit,
    /// The bytes that the node may give in all.
    Budget,
    /// Something that a later version knows.
    #[serde(other)]
    Other,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Collected => "collected",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Truncated => "truncated",
        })
    }
}

/// What a bundle is, as `sheaf bundle verify` says it; the numbers are exit codes and public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Whole, and every node is in it. Exit code 0.
    Complete,
    /// Whole, and says itself that a node or an entry is missing or cut. Exit code 3.
    Partial,
    /// Ends before its seal. Exit code 4.
    Truncated,
    /// Something in it is not as it was written. Exit code 5.
    Corrupt,
    /// Whole, but sealed by another key than the expected one. Exit code 6.
    WrongSigner,
    /// Given up by its writer, which says so. Exit code 7.
    Aborted,
}

impl Verdict {
    /// The exit code that stands for it.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Partial => 3,
            Self::Truncated => 4,
            Self::Corrupt => 5,
            Self::WrongSigner => 6,
            Self::Aborted => 7,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Truncated => "truncated",
            Self::Corrupt => "corrupt",
            Self::WrongSigner => "wrong signer",
            Self::Aborted => "aborted",
        })
    }
}
