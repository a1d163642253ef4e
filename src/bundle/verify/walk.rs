//! The walk over a bundle's entries: each in its place, digested, and held against manifest, B3SUMS and seal when those come.

mod claims;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::observed::{Observed, Seen};
use super::{Finding, Matter};
use crate::bundle::Format;
use crate::bundle::entry::{Head, Kind, padding};
use crate::bundle::manifest::lines::{Lines, ManifestError};
use crate::bundle::manifest::{Request, Statement};
use crate::bundle::names::{key, sorted::Sorted};
use crate::bundle::outcome::Outcome;
use crate::bundle::seal::PublicKey;
use crate::bundle::stream::{Event, Parser};
use crate::bundle::tape::{Broken, unreadable};
use crate::id::BundleName;
use crate::report;

/// Bytes of REQUEST.json or SEAL.json at most; they are held in memory.
const SMALL: u64 = 8 << 20;
/// Wrong things named at most; one is enough for the verdict.
const WRONGS: u64 = 100;

/// How far the archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Body,
    Warned,
    Listed,
    Summed,
    Sealed,
    OneZero,
    Closed,
}

/// What an entry's content is for.
enum Role {
    Plain,
    Request(Vec<u8>),
    Manifest(Box<Lines>),
    Sums(Vec<u8>),
    Seal(Vec<u8>),
}

struct Open {
    head: Head,
    /// Path below the bundle's folder.
    path: String,
    there: u64,
    content: blake3::Hasher,
    role: Role,
}

pub(super) struct Walk<'s> {
    framed: bool,
    sink: &'s mut dyn FnMut(&Finding),
    parser: Parser,
    /// Bytes of tar seen.
    position: u64,
    /// Where the entry begins that is open or comes next.
    next: u64,
    /// The last place where a frame and an entry can have begun together.
    aligned: u64,
    stage: Stage,
    open: Option<Open>,
    bundle: Option<BundleName>,
    request: Request,
    /// Expected nodes of which there is no entry yet.
    absent: BTreeSet<String>,
    root: blake3::Hasher,
    entries: u64,
    files: u64,
    folders: u64,
    observed: Observed,
    names: Option<Sorted>,
    /// Whether the rows of manifest or B3SUMS are out of step with the archive, so that comparing on makes no sense.
    astray: bool,
    manifest: (u64, Option<blake3::Hash>),
    b3sums: (u64, Option<blake3::Hash>),
    partial: bool,
    collected: u64,
    seal: Option<(Statement, PublicKey)>,
    wrongs: u64,
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Broken> {
    Err(Broken::Wrong(what.into()))
}

impl<'s> Walk<'s> {
    pub(super) fn new(format: Format, spool: &Path, sink: &'s mut dyn FnMut(&Finding)) -> Self {
        Self {
            framed: format == Format::TarZst,
            sink,
            parser: Parser::default(),
            position: 0,
            next: 0,
            aligned: 0,
            stage: Stage::Start,
            open: None,
            bundle: None,
            request: Request::default(),
            absent: BTreeSet::new(),
            root: blake3::Hasher::new(),
            entries: 0,
            files: 0,
            folders: 0,
            observed: Observed::new(spool),
            names: Some(Sorted::new(spool.to_owned())),
            astray: false,
            manifest: (0, None),
            b3sums: (0, None),
            partial: false,
            collected: 0,
            seal: None,
            wrongs: 0,
        }
    }

    /// Takes the next chunk of tar; for frames, the content of one.
    pub(super) fn chunk(&mut self, mut chunk: &[u8]) -> Result<(), Broken> {
        if self.open.is_none() && !self.parser.inside_head() {
            self.aligned = self.position;
        }
        self.position += chunk.len() as u64;
        loop {
            if self.stage == Stage::Closed && !chunk.is_empty() {
                return wrong("bytes follow the end of the archive");
            }
            let event = self.parser.next(&mut chunk).map_err(|e| unreadable(self.bundle.is_some(), &e))?;
            match event {
                None => return Ok(()),
                Some(Event::Head(head)) => self.head(head)?,
                Some(Event::Data(data)) => self.data(data)?,
                Some(Event::End) => self.end()?,
                Some(Event::ZeroBlock) => {
                    self.stage = match self.stage {
                        Stage::Sealed => Stage::OneZero,
                        Stage::OneZero => Stage::Closed,
                        _ => return wrong("the archive ends before its seal"),
                    };
                }
            }
        }
    }

    /// Says that there are no more chunks.
    pub(super) fn finish(&mut self) -> Result<(), Broken> {
        match self.stage {
            Stage::Closed => Ok(()),
            _ if self.framed => wrong("the archive has no end inside the last frame"),
            Stage::Sealed | Stage::OneZero => Err(Broken::Cut("inside the end of the archive")),
            _ if self.open.is_some() => Err(Broken::Cut("inside an entry")),
            _ if self.parser.inside_head() => Err(Broken::Cut("inside an entry's header")),
            _ => Err(Broken::Cut("between two entries, before the seal")),
        }
    }

    fn head(&mut self, head: Head) -> Result<(), Broken> {
        let whole = head.entry.path.as_str();
        let Some((folder, below)) = whole.split_once('/') else {
            return wrong(format!("entry {whole} stands outside of the bundle's folder"));
        };
        let below = below.to_owned();
        if self.bundle.is_none() {
            let name = BundleName::try_from(folder.to_owned()).map_err(|e| Broken::Wrong(e.to_string()))?;
            self.bundle = Some(name);
        }
        if self.bundle.as_ref().is_none_or(|name| name.as_str() != folder) {
            return wrong(format!("entry {whole} stands outside of the bundle's folder"));
        }
        let role = self.role(&below, &head)?;
        if let Some(names) = &mut self.names {
            names.add(&below, head.kind)?;
        }
        if let Some(node) = below.strip_prefix("nodes/").and_then(|rest| rest.split_once('/')) {
            self.absent.remove(node.0);
        }
        self.open = Some(Open { head, path: below, there: 0, content: blake3::Hasher::new(), role });
        Ok(())
    }

    /// What an entry is for, which depends on its name and its place.
    fn role(&mut self, below: &str, head: &Head) -> Result<Role, Broken> {
        let small = || {
            let fits = head.entry.size <= SMALL;
            if fits { Ok(Vec::new()) } else { wrong(format!("{below} is too large")) }
        };
        let (stage, role) = match (self.stage, below) {
            (Stage::Start, "REQUEST.json") => (Stage::Body, Role::Request(small()?)),
            (Stage::Start, _) => return wrong("REQUEST.json is not the first entry"),
            (Stage::Body, "WARNINGS.txt") => (Stage::Warned, Role::Plain),
            (Stage::Body, "REQUEST.json" | "manifest.json" | "B3SUMS" | "SEAL.json") => {
                return wrong(format!("{below} is out of its place"));
            }
            (Stage::Body, _) => return Ok(Role::Plain),
            (Stage::Warned, "manifest.json") => {
                self.observed.rewind()?;
                self.manifest.0 = self.next;
                let bundle = self.bundle.as_ref().map_or("", |name| name.as_str());
                (Stage::Listed, Role::Manifest(Box::new(Lines::new(bundle))))
            }
            (Stage::Listed, "B3SUMS") => {
                self.observed.rewind()?;
                self.b3sums.0 = self.next;
                self.astray = false;
                (Stage::Summed, Role::Sums(Vec::new()))
            }
            (Stage::Summed, "SEAL.json") => (Stage::Sealed, Role::Seal(small()?)),
            (Stage::Sealed | Stage::OneZero | Stage::Closed, _) => return wrong(format!("{below} follows the seal")),
            (Stage::Warned | Stage::Listed | Stage::Summed, _) => return wrong(format!("{below} is out of its place")),
        };
        if head.kind != Kind::File {
            return wrong(format!("{below} is a folder"));
        }
        let begins_frame = !matches!(stage, Stage::Listed | Stage::Summed | Stage::Sealed) || self.aligned == self.next;
        if self.framed && !begins_frame {
            return wrong(format!("{below} does not begin a frame"));
        }
        self.stage = stage;
        Ok(role)
    }

    fn data(&mut self, data: &[u8]) -> Result<(), Broken> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.there += data.len() as u64;
        open.content.update(data);
        match &mut open.role {
            Role::Plain => {}
            Role::Request(content) | Role::Seal(content) => content.extend_from_slice(data),
            Role::Manifest(lines) => match lines.feed(data, |row| self.row(row.parse()?)) {
                Err(Stop::Manifest(error)) => return wrong(report::chain(&error)),
                Err(Stop::Io(error)) => return Err(error.into()),
                Ok(()) => {}
            },
            Role::Sums(line) => self.sums(line, data)?,
        }
        self.open = Some(open);
        Ok(())
    }

    fn end(&mut self) -> Result<(), Broken> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let content = open.content.finalize();
        let offset = self.next;
        let Head { kind, entry, blocks } = &open.head;
        self.next += blocks.len() as u64 + entry.size + padding(entry.size);
        match kind {
            Kind::File => self.files += 1,
            Kind::Folder => self.folders += 1,
        }
        if let Role::Seal(seal) = &open.role {
            return self.sealed(seal, entry, blocks, offset);
        }
        self.root.update(blocks);
        self.root.update(content.as_bytes());
        self.entries += 1;
        match open.role {
            Role::Request(request) => self.requested(&request)?,
            Role::Manifest(lines) => {
                lines.finish().map_err(|e| Broken::Wrong(e.to_string()))?;
                self.rest_unlisted("manifest.json")?;
                self.manifest.1 = Some(content);
                self.observed.forward()?;
            }
            Role::Sums(line) => {
                if !line.is_empty() {
                    self.wrong("B3SUMS", "it ends inside a line");
                }
                self.rest_unlisted("B3SUMS")?;
                self.b3sums.1 = Some(content);
                return Ok(());
            }
            Role::Plain | Role::Seal(_) => {}
        }
        if *kind == Kind::File {
            self.observed.push(&Seen { path: open.path, size: entry.size, offset, content })?;
        }
        Ok(())
    }

    /// Passes on what the manifest says of something that is not simply there.
    fn said(&mut self, outcome: Outcome, node: Option<String>, path: Option<String>, reason: String) {
        let matter = match outcome {
            Outcome::Collected => return,
            Outcome::Skipped => Matter::Skipped,
            Outcome::Failed => Matter::Failed,
            Outcome::Truncated => Matter::Cut,
        };
        self.found(&Finding { matter, node, path, reason });
    }

    fn wrong(&mut self, path: &str, reason: &str) {
        let path = Some(path.to_owned());
        self.found(&Finding { matter: Matter::Wrong, node: None, path, reason: reason.to_owned() });
    }

    /// Passes a finding on.
    pub(super) fn found(&mut self, finding: &Finding) {
        if finding.matter == Matter::Wrong {
            self.wrongs += 1;
            if self.wrongs > WRONGS {
                return;
            }
        }
        (self.sink)(finding);
    }

    /// Names the nodes of a cut bundle of which there is nothing.
    pub(super) fn absent(&mut self) {
        for node in std::mem::take(&mut self.absent) {
            let reason = "the file ends before anything of this node".to_owned();
            self.found(&Finding { matter: Matter::Cut, node: Some(node), path: None, reason });
        }
    }

    /// Names a path that came twice, or that is in the way of another.
    pub(super) fn repeated(&mut self) -> io::Result<()> {
        let Some(clash) = self.names.take().map(Sorted::conflict).transpose()?.flatten() else { return Ok(()) };
        self.observed.rewind()?;
        let mut path = None;
        while let (None, Some(seen)) = (&path, self.observed.next()?) {
            path = (key(&seen.path) == clash).then_some(seen.path);
        }
        self.wrong(path.as_deref().unwrap_or_default(), "the path comes twice, or is a file where a folder has to be");
        Ok(())
    }

    /// The open entry: path, bytes there, bytes declared.
    pub(super) fn inside(&self) -> Option<(String, u64, u64)> {
        self.open.as_ref().map(|open| (open.path.clone(), open.there, open.head.entry.size))
    }

    pub(super) fn key(&self) -> Option<PublicKey> {
        self.seal.as_ref().map(|(_, key)| *key)
    }

    pub(super) fn statement(&self) -> Option<&Statement> {
        self.seal.as_ref().map(|(statement, _)| statement)
    }

    pub(super) fn bundle(&self) -> Option<String> {
        self.bundle.as_ref().map(ToString::to_string)
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// Files that are whole, with the seal.
    pub(super) fn files(&self) -> u64 {
        self.files
    }

    pub(super) fn folders(&self) -> u64 {
        self.folders
    }

    pub(super) fn wrongs(&self) -> u64 {
        self.wrongs
    }
}

/// Why reading the manifest stops.
enum Stop {
    Manifest(ManifestError),
    Io(io::Error),
}
impl From<ManifestError> for Stop {
    fn from(error: ManifestError) -> Self {
        Self::Manifest(error)
    }
}
impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
