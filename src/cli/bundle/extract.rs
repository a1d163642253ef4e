//! `sheaf bundle cat` and `sheaf bundle extract`: content out of a bundle, each file held against its digest.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{Opened, below, damage, ended, open_by, spool};
use crate::bundle::entry::{EntryHead, Head, Kind};
use crate::bundle::extract::{Into, stamp};
use crate::bundle::manifest::FileRow;
use crate::bundle::manifest::lines::Row;
use crate::bundle::path::EntryPath;
use crate::bundle::reader::{ReadError, Reader};
use crate::bundle::scan::{Ended, Visitor, scan};
use crate::cli::output::{bytes, counted};

/// Write one file of a bundle to standard output
#[derive(Debug, Args)]
#[command(after_help = "Exit codes:
  0 the file is whole   4 the bundle is cut inside it   5 corrupt: the file is not what its digest says, or nobody vouches for the bundle
  6 wrong signer   1 no such file, or it cannot be read

Examples:
  sheaf bundle cat bundle.tar.zst nodes/web-1/files/var/log/syslog
  sheaf bundle cat bundle.tar.zst WARNINGS.txt")]
pub struct CatCommand {
    /// The bundle, .tar.zst or .tar; - for standard input
    pub file: PathBuf,
    /// The file, as `list` names it
    pub path: String,
    /// File with the public key that must have sealed it (PEM or base64), or the key itself
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Print one JSON object with the file's row of the manifest and its content, which must be UTF-8
    #[arg(long)]
    pub json: bool,
}

impl CatCommand {
    /// Runs it to its end.
    ///
    /// # Errors
    /// When the bundle cannot be read or has no such file.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let opened = match open_by(&self.file, self.key.as_deref())? {
            Ok(opened) => opened,
            Err(code) => return Ok(code),
        };
        let mut content = Vec::new();
        let mut stdout = io::stdout().lock();
        let out: &mut dyn Write = if self.json { &mut content } else { &mut stdout };
        let (code, row) = match opened {
            Opened::Whole(mut reader) => match one(&mut reader, &self.path, out) {
                Ok(row) => (ExitCode::SUCCESS, row),
                Err(error) => return damage(&self.file, error),
            },
            Opened::Front(input, known) => {
                let mut cat = Cat { path: &self.path, out, found: None, whole: false };
                let end = scan(input, &spool(), &mut cat)?;
                let whole = cat.whole;
                let Some(row) = cat.found else {
                    let _ = ended(&self.file, &end);
                    return damage(&self.file, ReadError::NotFound(self.path));
                };
                let code = match known {
                    _ if !whole => ended(&self.file, &end),
                    Some(verdict) => ExitCode::from(verdict.exit_code()),
                    None => ExitCode::SUCCESS,
                };
                (code, row)
            }
        };
        if self.json {
            let content = String::from_utf8(content)
                .with_context(|| format!("{} is not UTF-8; leave out --json to have it as it is", self.path))?;
            writeln!(stdout, "{}", json!({ "name": row.path, "row": row, "content": content }))?;
        }
        stdout.flush()?;
        Ok(code)
    }
}

fn one(reader: &mut Reader, path: &str, mut out: &mut dyn Write) -> Result<FileRow, ReadError> {
    let bundle = reader.statement().bundle.clone();
    let row = reader.find(below(path, &bundle))?;
    reader.copy(&row, &mut out)?;
    Ok(row)
}

/// Looks for one file in a scan.
struct Cat<'a> {
    path: &'a str,
    out: &'a mut dyn Write,
    found: Option<FileRow>,
    whole: bool,
}

impl Visitor for Cat<'_> {
    fn head(&mut self, bundle: &str, path: &str, head: &Head) -> io::Result<ControlFlow<()>> {
        if path == below(self.path, bundle) && head.kind == Kind::File {
            self.found = Some(FileRow { path: path.to_owned(), size: head.entry.size, ..FileRow::default() });
        }
        Ok(ControlFlow::Continue(()))
    }

    fn data(&mut self, data: &[u8]) -> io::Result<()> {
        if self.found.is_some() { self.out.write_all(data) } else { Ok(()) }
    }

    fn end(&mut self) -> io::Result<ControlFlow<()>> {
        self.whole = self.found.is_some();
        Ok(if self.whole { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

/// Extract files of a bundle, or all of them, into a folder
#[derive(Debug, Args)]
#[command(after_help = "Nothing is ever written outside of the folder, and nothing in it is overwritten.

Exit codes:
  0 whole   4 cut: what is there is extracted   5 corrupt   6 wrong signer   1 no such file, or it cannot be read or written

Examples:
  sheaf bundle extract bundle.tar.zst --into case-4711
  sheaf bundle extract bundle.tar.zst nodes/web-1 WARNINGS.txt --into case-4711")]
pub struct ExtractCommand {
    /// The bundle, .tar.zst or .tar; - for standard input
    pub file: PathBuf,
    /// Files or folders, as `list` names them; all when none is given
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// The folder, made when it is not there
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,
    /// File with the public key that must have sealed it (PEM or base64), or the key itself
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl ExtractCommand {
    /// Runs it to its end.
    ///
    /// # Errors
    /// When the bundle cannot be read, has no such file, or the folder cannot be written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let opened = match open_by(&self.file, self.key.as_deref())? {
            Ok(opened) => opened,
            Err(code) => return Ok(code),
        };
        let into = Into::open(&self.into).with_context(|| format!("cannot use the folder {}", self.into.display()))?;
        let wanted = self.paths.iter().map(|path| (path.clone(), false)).collect();
        let place = self.into.clone();
        let mut extraction = Extraction { into, place, bundle: String::new(), wanted, files: 0, bytes: 0, open: None };
        let mut code = ExitCode::SUCCESS;
        match opened {
            Opened::Whole(mut reader) => match extraction.whole(&mut reader) {
                Err(ReadError::Io(error)) => return Err(blame(&self.file, error)),
                Err(error) => return damage(&self.file, error),
                Ok(()) => {}
            },
            Opened::Front(input, _) => {
                let end = scan(input, &spool(), &mut extraction).map_err(|error| blame(&self.file, error))?;
                if end != Ended::Well {
                    code = ended(&self.file, &end);
                }
            }
        }
        if let Some((path, _)) = extraction.wanted.iter().find(|(_, found)| !found) {
            return damage(&self.file, ReadError::NotFound(path.clone()));
        }
        self.say(&extraction)?;
        Ok(code)
    }

    fn say(&self, done: &Extraction) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let (into, files) = (self.into.display(), done.files);
        if self.json {
            let into = into.to_string();
            writeln!(out, "{}", json!({ "name": done.bundle, "into": into, "files": files, "bytes": done.bytes }))
        } else if out.is_terminal() {
            let (files, size) = (counted(files, "file"), bytes(done.bytes));
            writeln!(out, "{files}, {size} in {into}/{}", done.bundle)
        } else {
            Ok(())
        }
    }
}

/// Extraction of some or all files.
struct Extraction {
    into: Into,
    place: PathBuf,
    bundle: String,
    /// What was asked for, and whether it was there.
    wanted: Vec<(String, bool)>,
    files: u64,
    bytes: u64,
    open: Option<(Target, EntryHead)>,
}

/// A file that is being written, whose name is in what goes wrong with it: else the bundle would be blamed.
struct Target {
    file: BufWriter<File>,
    path: PathBuf,
}

/// A file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
struct Unwritten {
    path: PathBuf,
    source: io::Error,
}

impl Target {
    fn named(&self, source: io::Error) -> io::Error {
        unwritten(self.path.clone(), source)
    }

    /// Writes what is left, and stamps it.
    fn close(mut self, head: &EntryHead) -> io::Result<()> {
        let done = self.file.flush().and_then(|()| stamp(self.file.get_ref(), head));
        done.map_err(|error| self.named(error))
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|error| self.named(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|error| self.named(error))
    }
}

fn unwritten(path: PathBuf, source: io::Error) -> io::Error {
    let kind = source.kind();
    let source = match kind {
        io::ErrorKind::AlreadyExists => io::Error::new(kind, format!("{source}; extract into an empty folder")),
        _ => source,
    };
    io::Error::new(kind, Unwritten { path, source })
}

/// Says whether it is the bundle that cannot be read, or a file that cannot be written.
fn blame(bundle: &Path, error: io::Error) -> anyhow::Error {
    match error.downcast::<Unwritten>() {
        Ok(unwritten) => unwritten.into(),
        Err(error) => anyhow::Error::new(error).context(bundle.display().to_string()),
    }
}

impl Extraction {
    /// Files of a bundle with its end in place: each by its row, in the order they lie in the file.
    fn whole(&mut self, reader: &mut Reader) -> Result<(), ReadError> {
        self.bundle = reader.statement().bundle.clone();
        let mut rows = tempfile::spooled_tempfile_in(1 << 20, spool());
        // The manifest is read through first: it is checked as a whole, and reading it evicts the frame in hand.
        reader.rows(|row| {
            if let Row::File(row) = row.parse()?
                && self.wants(&row.path)
            {
                serde_json::to_writer(&mut rows, &row).map_err(io::Error::from)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        io::Seek::rewind(&mut rows)?;
        for row in serde_json::Deserializer::from_reader(io::BufReader::new(rows)).into_iter() {
            self.file(reader, &row.map_err(io::Error::from)?)?;
        }
        for row in reader.tail()? {
            if self.wants(&row.path) {
                self.file(reader, &row)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, reader: &mut Reader, row: &FileRow) -> Result<(), ReadError> {
        let mut file = self.create(&row.path, reader.stat(row)?.mode)?;
        let head = reader.copy(row, &mut file)?;
        self.close(file, &head).map_err(ReadError::from)
    }

    fn wants(&mut self, path: &str) -> bool {
        let bundle = &self.bundle;
        let mut wants = self.wanted.is_empty();
        for (wanted, found) in &mut self.wanted {
            let wanted = below(wanted, bundle);
            let hit = path.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if hit || wanted.is_empty() || wanted == bundle {
                (*found, wants) = (true, true);
            }
        }
        wants
    }

    fn create(&mut self, path: &str, mode: u32) -> io::Result<Target> {
        let whole = EntryPath::parse(&format!("{}/{path}", self.bundle)).map_err(io::Error::other)?;
        let path = self.place.join(whole.as_str());
        match self.into.create(&whole, mode) {
            Ok(file) => Ok(Target { file: BufWriter::with_capacity(64 << 10, file), path }),
            Err(error) => Err(unwritten(path, error)),
        }
    }

    fn close(&mut self, file: Target, head: &EntryHead) -> io::Result<()> {
        file.close(head)?;
        self.files += 1;
        self.bytes += head.size;
        Ok(())
    }
}

impl Visitor for Extraction {
    fn head(&mut self, bundle: &str, path: &str, head: &Head) -> io::Result<ControlFlow<()>> {
        self.bundle.clear();
        self.bundle.push_str(bundle);
        if self.wants(path) {
            match head.kind {
                Kind::File => self.open = Some((self.create(path, head.entry.mode)?, head.entry.clone())),
                Kind::Folder => {
                    let path = head.entry.path.as_str();
                    self.into.folder(path).map_err(|error| unwritten(self.place.join(path), error))?;
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn data(&mut self, data: &[u8]) -> io::Result<()> {
        match &mut self.open {
            Some((file, _)) => file.write_all(data),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> io::Result<ControlFlow<()>> {
        if let Some((file, head)) = self.open.take() {
            self.close(file, &head)?;
        }
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report;

    #[test]
    fn a_full_disk_is_not_the_bundles_fault() {
        let full = File::options().write(true).open("/dev/full").expect("a full device");
        let mut target = Target { file: BufWriter::with_capacity(4, full), path: "case/x/REQUEST.json".into() };
        let error = target.write_all(b"more than it takes").expect_err("full");
        let said = report::chain(blame(Path::new("b.tar.zst"), error).as_ref());
        assert!(said.starts_with("cannot write case/x/REQUEST.json: No space left"), "{said}");
        let error = io::Error::new(io::ErrorKind::InvalidData, "cannot be read");
        assert_eq!(report::chain(blame(Path::new("b.tar.zst"), error).as_ref()), "b.tar.zst: cannot be read");
        let there = unwritten("case/x".into(), io::ErrorKind::AlreadyExists.into());
        let said = report::chain(blame(Path::new("b.tar.zst"), there).as_ref());
        assert_eq!(said, "cannot write case/x: entity already exists; extract into an empty folder");
    }
}
