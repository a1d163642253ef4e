//! Sources: what a node's collectors name, opened one after the other.
//!
//! Files, the journal, commands, vitals and the inventory come in from the node; each goes out as a [`Record`] to redaction, or
//! as a [`Note`] that says why there is none. Nothing here redacts, packs or sends.
//!
//! [`library`] holds the collectors that the node declares, [`collector`] the format they are written in, with places for
//! [`property`] values that [`template`] fills in; a request's names become a [`Plan`], which [`collect()`] reads and [`check()`] tries; [`lint()`] says what is wrong with files of collectors. Below them: [`walk`] finds and opens files, [`file`](mod@file) reads them,
//! [`command`] and [`journal`] run what is declared, `http` asks servers of this node, [`vitals`] and [`inventory`] say how the node is and what it is.

mod budget;
mod check;
pub mod collector;
pub mod command;
mod condition;
mod declared;
mod disks;
mod each;
pub(crate) mod ends;
mod estimate;
pub mod file;
mod fill;
mod gather;
pub mod glob;
mod history;
mod http;
pub mod inventory;
pub mod journal;
pub mod kind;
pub mod library;
mod lint;
pub mod measure;
pub mod meter;
pub mod mounts;
pub mod patience;
pub mod plan;
pub mod property;
mod rotated;
mod running;
pub mod slice;
pub mod template;
pub mod units;
pub mod vitals;
pub mod walk;

use std::io::{self, Read};

use crate::bundle::outcome::{Cut, Outcome};
use crate::bundle::path::EntryPath;
use crate::bundle::segment::Note;
use crate::bundle::slice::Slice;

pub use check::{Access, Row, check};
pub use declared::declared;
pub use estimate::forecast;
pub use gather::collect;
pub use library::Library;
pub use lint::{Finding, Level, lint};
pub use plan::Plan;
pub use slice::{Filter, Lens};

/// What a record's bytes are, by their first bytes and their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text, or anything that redaction may read as text.
    Text,
    /// gzip around something.
    Gzip,
    /// xz around something.
    Xz,
    /// zstd around something.
    Zstd,
    /// Not text; passes only where the collector says so by rule.
    Binary {
        /// Whether the collector declares this binary source.
        declared: bool,
    },
}

/// One thing to read, not yet redacted.
pub struct Record {
    /// Path below `nodes/<node>/`.
    pub path: EntryPath,
    /// The collector that declares it.
    pub collector: String,
    /// What its bytes are.
    pub kind: Kind,
    /// Mode on the host.
    pub mode: Option<u32>,
    /// Nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Bytes it will probably have.
    pub size_hint: Option<u64>,
    /// Name on the host where it differs from the path.
    pub original: Option<String>,
    /// Symbolic link that led to it.
    pub link: Option<String>,
    /// What its lines are looked at through, where that takes decompressing it.
    pub lens: Option<Lens>,
    /// Where its bytes come from.
    pub content: Box<dyn Content>,
}

/// What a content gives whoever has to know what stands around a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes of what is given; 0 at the end.
    Shown(usize),
    /// So many bytes of what is left out, before or behind what is given: only to be known.
    Hidden(usize),
    /// Nothing, since something is left out here: what follows has another beginning.
    Gap,
}

/// Bytes of a record: opened, then read to their end.
///
/// A content reads itself rather than lending a reader, so that a stage can own it while it reads.
pub trait Content: Read + Send {
    /// Begins to read, from the start. A source that cannot be read twice fails the second time.
    ///
    /// # Errors
    /// Any error of the source.
    fn open(&mut self) -> io::Result<()>;

    /// Whether [`Content::open`] may be called again and gives the same bytes.
    fn again(&self) -> bool;

    /// Reads as [`Read::read`] does, with what stands around gaps.
    ///
    /// # Errors
    /// Any error of the source.
    fn piece(&mut self, buffer: &mut [u8]) -> io::Result<Piece> {
        self.read(buffer).map(Piece::Shown)
    }

    /// What the source has to say once it was read to its end: it shrank, ran into a limit, was killed.
    fn after(&mut self) -> Option<(Outcome, String)> {
        None
    }

    /// What it left out of its middle.
    fn cut(&self) -> Option<Cut> {
        None
    }

    /// How it was cut to the request's window; `None` where no window counts.
    fn slice(&self) -> Option<Slice> {
        None
    }
}

impl Content for io::Cursor<Vec<u8>> {
    fn open(&mut self) -> io::Result<()> {
        self.set_position(0);
        Ok(())
    }

    fn again(&self) -> bool {
        true
    }
}

impl Record {
    /// A record of text that is already in memory.
    pub fn text(path: EntryPath, collector: &str, bytes: Vec<u8>) -> Self {
        Self {
            path,
            collector: collector.to_owned(),
            kind: Kind::Text,
            mode: None,
            mtime_ns: 0,
            size_hint: Some(bytes.len() as u64),
            original: None,
            link: None,
            lens: None,
            content: Box::new(io::Cursor::new(bytes)),
        }
    }
}

/// What a source gives.
pub enum Found {
    /// Something to read.
    Record(Record),
    /// Nothing, and why.
    Missing(Note),
    /// Bytes that the files to come will probably have.
    Estimate(u64),
}

#[cfg(test)]
mod tests;
