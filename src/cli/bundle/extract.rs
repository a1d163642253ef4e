//! `sheaf bundle cat` and `sheaf bundle extract`: content out of a bundle, each file held against its digest.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
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

/// Write one file of a bundle to standard output
#[derive(Debug, Args)]
#[command(after_help = "Examples:
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
            Opened::Front(input) => {
                let mut cat = Cat { path: &self.path, out, found: None, whole: false };
                let end = scan(input, &spool(), &mut cat)?;
                let whole = cat.whole;
                let Some(row) = cat.found else {
                    let _ = ended(&self.file, &end);
                    return damage(&self.file, ReadError::NotFound(self.path));
                };
                (if whole { ExitCode::SUCCESS } else { ended(&self.file, &end) }, row)
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
        let mut extraction = Extraction { into, bundle: String::new(), wanted, files: 0, bytes: 0, open: None };
        let mut code = ExitCode::SUCCESS;
        match opened {
            Opened::Whole(mut reader) => {
                if let Err(error) = extraction.whole(&mut reader) {
                    return damage(&self.file, error);
                }
            }
            Opened::Front(input) => {
                let end = scan(input, &spool(), &mut extraction).with_context(|| self.file.display().to_string())?;
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
            writeln!(out, "{files} files, {} in {into}/{}", indicatif::HumanBytes(done.bytes), done.bundle)
        } else {
            Ok(())
        }
    }
}

/// Extraction of some or all files.
struct Extraction {
    into: Into,
    bundle: String,
    /// What was asked for, and whether it was there.
    wanted: Vec<(String, bool)>,
    files: u64,
    bytes: u64,
    open: Option<(BufWriter<File>, EntryHead)>,
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

    fn create(&mut self, path: &str, mode: u32) -> io::Result<BufWriter<File>> {
        let whole = EntryPath::parse(&format!("{}/{path}", self.bundle)).map_err(io::Error::other)?;
        let file = self.into.create(&whole, mode);
        let named =
            |e: io::Error| io::Error::new(e.kind(), format!("cannot write {whole}: {e}; extract into an empty folder"));
        file.map(|file| BufWriter::with_capacity(64 << 10, file)).map_err(named)
    }

    fn close(&mut self, file: BufWriter<File>, head: &EntryHead) -> io::Result<()> {
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        stamp(&file, head)?;
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
                Kind::Folder => self.into.folder(head.entry.path.as_str()).map(drop)?,
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
