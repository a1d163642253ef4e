//! Says what a bundle is: complete, partial, truncated, corrupt, sealed by someone else, or given up.
//!
//! Reads a `.tar` or a `.tar.zst` once from front to end, from a file or a pipe, and holds everything against everything: frames against
//! digest and seek table, entries against manifest and B3SUMS, those and the root against the signed statement, and the statement
//! against what the manifest says of nodes and files. What it must remember of each entry is spooled to unlinked files, so memory
//! does not grow with the bundle. It extracts nothing and trusts nothing, the signer least of all.

use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;

use super::Format;
use super::manifest::Statement;
use super::outcome::Verdict;
use super::seal::PublicKey;
use super::tape::{Broken, Tape};
use crate::report;
use walk::Walk;

mod observed;
#[cfg(test)]
mod tests;
mod walk;

/// What a [`Finding`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Matter {
    /// Left out, and the bundle says so.
    Skipped,
    /// Should be there and is not, and the bundle says so.
    Failed,
    /// There only in part.
    Cut,
    /// Not as it was written.
    Wrong,
}

/// One thing to know about a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Skipped, failed, cut or wrong.
    pub matter: Matter,
    /// The node, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The path below the bundle's folder, or the source's on the node, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What is the matter, in words.
    pub reason: String,
}

impl std::fmt::Display for Finding {
    /// One line, with nothing foreign that could move a cursor.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let matter = match self.matter {
            Matter::Skipped => "skipped",
            Matter::Failed => "failed",
            Matter::Cut => "cut",
            Matter::Wrong => "wrong",
        };
        write!(f, "{matter}: ")?;
        for part in [&self.node, &self.path].into_iter().flatten().filter(|p| !p.is_empty()) {
            write!(f, "{}: ", report::escape(part))?;
        }
        f.write_str(&report::escape(&self.reason))
    }
}

/// Whose seal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Signer {
    /// There is a good seal, and no key was given to hold it against.
    Unchecked,
    /// The given key made the seal.
    Matches,
    /// Another key made the seal.
    Other,
    /// No good seal was found.
    None,
}

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What the bundle is.
    pub verdict: Verdict,
    /// Whose seal it has.
    pub signer: Signer,
    /// The key that the seal names.
    pub key: Option<PublicKey>,
    /// Which format it is, if that could be told.
    pub format: Option<Format>,
    /// The bundle's name, if one was found.
    pub bundle: Option<String>,
    /// The statement of a good seal.
    pub statement: Option<Statement>,
    /// Entries found before the seal: files and folders, as its statement counts them.
    pub entries: u64,
    /// Files found, the seal among them.
    pub files: u64,
    /// Folders found that are entries of their own.
    pub folders: u64,
    /// Bytes of the file that were read.
    pub bytes: u64,
}

/// Verifies a bundle. `key` is whose seal it must have; `spool` takes what memory should not hold; `sink` takes each finding.
///
/// # Errors
/// When the input cannot be read or the spool not be used. A bundle that is bad in any way is no error but a verdict.
pub fn verify(
    input: impl Read,
    key: Option<&PublicKey>,
    spool: &Path,
    sink: &mut dyn FnMut(&Finding),
) -> io::Result<Report> {
    let mut tape = match Tape::new(input, spool) {
        Ok(tape) => tape,
        Err(broken) => {
            let (verdict, finding) = ends(broken, None)?;
            sink(&finding);
            return Ok(Report {
                verdict,
                signer: Signer::None,
                key: None,
                format: None,
                bundle: None,
                statement: None,
                entries: 0,
                files: 0,
                folders: 0,
                bytes: 0,
            });
        }
    };
    let mut walk = Walk::new(tape.format(), spool, sink);
    let ended = loop {
        let stopped = match tape.chunk() {
            Ok(Some(chunk)) => walk.chunk(chunk),
            Ok(None) => break walk.finish(),
            Err(broken) => Err(broken),
        };
        if stopped.is_err() {
            break stopped;
        }
    };
    let broken = match ended {
        Ok(()) => None,
        Err(broken) => Some(ends(broken, walk.inside())?),
    };
    let (format, bytes) = (Some(tape.format()), tape.consumed());
    let cut = broken.as_ref().is_some_and(|(verdict, _)| *verdict == Verdict::Truncated);
    if let Some((_, finding)) = &broken {
        walk.found(finding);
    }
    if cut {
        walk.absent();
    } else {
        walk.repeated()?;
    }
    let signer = match (walk.key(), key) {
        (None, _) => Signer::None,
        (Some(_), None) => Signer::Unchecked,
        (Some(made), Some(wanted)) if made == *wanted => Signer::Matches,
        _ => Signer::Other,
    };
    let verdict = match walk.statement() {
        _ if walk.wrongs() > 0 => Verdict::Corrupt,
        _ if cut => Verdict::Truncated,
        _ if signer == Signer::Other => Verdict::WrongSigner,
        Some(statement) => statement.verdict,
        None => Verdict::Corrupt,
    };
    Ok(Report {
        verdict,
        signer,
        key: walk.key(),
        format,
        bundle: walk.bundle(),
        statement: walk.statement().cloned(),
        entries: walk.entries(),
        files: walk.files(),
        folders: walk.folders(),
        bytes,
    })
}

/// What it means that reading ended early.
fn ends(broken: Broken, inside: Option<(String, u64, u64)>) -> io::Result<(Verdict, Finding)> {
    let (path, rest) = match inside {
        Some((path, there, size)) => (Some(path), format!(": {there} of {size} bytes of this entry are there")),
        None => (None, String::new()),
    };
    match broken {
        Broken::Io(error) => Err(error),
        Broken::Cut(place) => {
            let reason = format!("file ends {place}{rest}");
            Ok((Verdict::Truncated, Finding { matter: Matter::Cut, node: None, path, reason }))
        }
        Broken::Wrong(reason) => Ok((Verdict::Corrupt, Finding { matter: Matter::Wrong, node: None, path, reason })),
    }
}
