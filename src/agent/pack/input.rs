//! What the packer reads: redacted sources, and its own short explanations of those that failed.
//!
//! The trait is this room's own: nothing else than a [`Clean`] comes in from outside.

use std::io::{self, Read};

use crate::agent::redact::{Clean, CleanReport};
use crate::bundle::path::EntryPath;
use crate::bundle::segment::Note;
use crate::report;

/// What the packer reads: a [`Clean`], and its own short explanations.
pub(super) trait Input: Read + Sized {
    fn path(&self) -> &EntryPath;
    fn collector(&self) -> &str;
    fn mode(&self) -> Option<u32>;
    fn mtime_ns(&self) -> i128;
    fn original(&self) -> Option<&str>;
    fn link(&self) -> Option<&str>;
    fn again(&self) -> bool;
    fn rewind(&mut self) -> io::Result<()>;
    fn finish(self) -> CleanReport;
    /// Whether it is a source, rather than something of the packer's own.
    fn is_source(&self) -> bool {
        false
    }
}

/// Whether a source has a byte left.
pub(super) fn more(input: &mut impl Input) -> bool {
    loop {
        match input.read(&mut [0]) {
            Ok(read) => return read > 0,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

/// What is known of a source before it is read.
pub(super) fn describe(input: &impl Input) -> Note {
    Note {
        path: input.path().as_str().to_owned(),
        collector: input.collector().to_owned(),
        original: input.original().map(str::to_owned),
        mode: input.mode().map(|mode| format!("{:04o}", mode & 0o7777)),
        link: input.link().map(str::to_owned),
        ..Note::default()
    }
}

impl Input for Clean {
    fn path(&self) -> &EntryPath {
        self.path()
    }
    fn collector(&self) -> &str {
        self.collector()
    }
    fn mode(&self) -> Option<u32> {
        self.mode()
    }
    fn mtime_ns(&self) -> i128 {
        self.mtime_ns()
    }
    fn original(&self) -> Option<&str> {
        self.original()
    }
    fn link(&self) -> Option<&str> {
        self.link()
    }
    fn again(&self) -> bool {
        self.again()
    }
    fn rewind(&mut self) -> io::Result<()> {
        self.rewind()
    }
    fn finish(self) -> CleanReport {
        self.finish()
    }
    fn is_source(&self) -> bool {
        true
    }
}

/// The content of an `.err` entry.
pub(super) struct Reason {
    path: EntryPath,
    collector: String,
    text: io::Cursor<Vec<u8>>,
}

impl Reason {
    pub(super) fn new(path: EntryPath, note: &Note) -> Self {
        let text = format!("{}: {}: {}\n", report::escape(&note.path), note.outcome, report::brief(&note.reason, 1000));
        Self { path, collector: note.collector.clone(), text: io::Cursor::new(text.into_bytes()) }
    }

    /// A text of the packer's own, of no collector.
    pub(super) fn text(path: EntryPath, text: String) -> Self {
        Self { path, collector: String::new(), text: io::Cursor::new(text.into_bytes()) }
    }
}

impl Read for Reason {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.text.read(buffer)
    }
}

impl Input for Reason {
    fn path(&self) -> &EntryPath {
        &self.path
    }
    fn collector(&self) -> &str {
        &self.collector
    }
    fn mode(&self) -> Option<u32> {
        None
    }
    fn mtime_ns(&self) -> i128 {
        jiff::Timestamp::now().as_nanosecond()
    }
    fn original(&self) -> Option<&str> {
        None
    }
    fn link(&self) -> Option<&str> {
        None
    }
    fn again(&self) -> bool {
        false
    }
    fn rewind(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn finish(self) -> CleanReport {
        CleanReport::default()
    }
}
