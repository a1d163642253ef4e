//! Verbs on bundles: `sheaf bundle create|stored`, which are the operator's, and `verify|list|cat|extract|info` on bundle files.
//!
//! The latter read files or standard input and write to standard output and, for `extract`, below one folder. A bundle with its end in
//! place is read through its seek table; one without, or a pipe, from front to end. They never speak to a coordinator.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;

use crate::bundle::outcome::Verdict;
use crate::bundle::reader::{ReadError, Reader};
use crate::bundle::scan::Ended;
use crate::bundle::seal::PublicKey;
use crate::cli::output::counted;
use crate::report;

mod extract;
mod info;
mod list;
mod verify;

/// `sheaf bundle …`
#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Ask a coordinator for a bundle, and take it in while it is made
    Create(Box<super::operate::bundle::CreateCommand>),
    /// Ask all nodes what a bundle would hold, without making one
    Estimate(Box<super::operate::estimate::EstimateCommand>),
    /// Bundles that the coordinator keeps
    Stored(super::operate::StoredCommand),
    /// Say whether a bundle is complete, and what in it is skipped, cut or wrong
    Verify(verify::VerifyCommand),
    /// List the files of a bundle
    List(list::ListCommand),
    /// Write one file of a bundle to standard output
    Cat(extract::CatCommand),
    /// Extract files of a bundle, or all of them, into a folder
    Extract(extract::ExtractCommand),
    /// Show who asked for a bundle, when, and what became of each node
    Info(info::InfoCommand),
}

impl BundleCommand {
    /// Runs it to its end.
    ///
    /// # Errors
    /// Whatever the verb could not do; what a bundle is, is an exit code.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create(command) => command.run(),
            Self::Estimate(command) => command.run(),
            Self::Stored(command) => command.run(),
            Self::Verify(command) => command.run(),
            Self::List(command) => command.run(),
            Self::Cat(command) => command.run(),
            Self::Extract(command) => command.run(),
            Self::Info(command) => command.run(),
        }
    }
}

/// A bundle as it can be read.
enum Opened {
    /// Through its seek table and manifest.
    Whole(Box<Reader>),
    /// From front to end; what is known already of its end.
    Front(Box<dyn Read>, Option<Verdict>),
}

/// Opens a bundle, `-` for standard input; says on standard error when its end is missing.
fn open(path: &Path) -> anyhow::Result<Opened> {
    if path == Path::new("-") {
        return Ok(Opened::Front(Box::new(io::stdin()), None));
    }
    let mut file = open_file(path)?;
    if !file.metadata()?.is_file() {
        return Ok(Opened::Front(Box::new(file), None));
    }
    let (why, known) = match Reader::open(file.try_clone()?) {
        Ok(reader) => return Ok(Opened::Whole(Box::new(reader))),
        Err(ReadError::NoEnd(why)) => (why, None),
        Err(ReadError::Unsealed(why)) => (format!("nobody vouches for it: {why}"), Some(Verdict::Corrupt)),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    warn(&format!("{}: {}; reading from the front what is there", path.display(), report::escape(&why)));
    file.rewind()?;
    Ok(Opened::Front(Box::new(file), known))
}

/// Opens a bundle that a key must have sealed, where one is given; else gives the exit code of what it is instead.
fn open_by(path: &Path, key: Option<&str>) -> anyhow::Result<Result<Opened, ExitCode>> {
    let Some(key) = key.map(read_key).transpose()? else { return Ok(Ok(open(path)?)) };
    match open(path)? {
        Opened::Whole(reader) if reader.key() == key => Ok(Ok(Opened::Whole(reader))),
        Opened::Whole(reader) => {
            let (path, other) = (path.display(), reader.key());
            let _ = writeln!(io::stderr(), "error: {path}: sealed by another than the given key: {other}");
            Ok(Err(ExitCode::from(Verdict::WrongSigner.exit_code())))
        }
        Opened::Front(..) => {
            anyhow::bail!(
                "{}: who sealed a bundle stands at its end: --key needs a whole bundle in a file; `sheaf bundle verify --key` reads standard input",
                path.display()
            )
        }
    }
}

/// The key from a file, or the text itself where there is no such file.
fn read_key(text: &str) -> anyhow::Result<PublicKey> {
    match std::fs::read_to_string(text) {
        Ok(content) => PublicKey::parse(&content).with_context(|| format!("cannot use {text}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => PublicKey::parse(text)
            .map_err(|_| anyhow::anyhow!("--key {text}: there is no such file, and it is no key itself; `sheaf bundle info` prints the key of a bundle")),
        Err(error) => Err(error).with_context(|| format!("cannot read {text}")),
    }
}

fn open_file(path: &Path) -> anyhow::Result<File> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    anyhow::ensure!(!file.metadata()?.is_dir(), "{} is a folder; give the bundle file itself", path.display());
    Ok(file)
}

/// What is missing is a word on standard error; a closed one is no reason to stop.
fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "warning: {}", report::escape(text));
}

/// Makes damage an exit code and everything else an error.
fn damage(path: &Path, error: ReadError) -> anyhow::Result<ExitCode> {
    match error {
        ReadError::Damaged(what) => {
            let what = report::escape(&what);
            let path = path.display();
            let _ =
                writeln!(io::stderr(), "error: {path}: {what}; `sheaf bundle verify {path}` says what else is wrong");
            Ok(ExitCode::from(Verdict::Corrupt.exit_code()))
        }
        ReadError::NotFound(what) => {
            let path = path.display();
            anyhow::bail!("{path}: no such file in the bundle: {what}; `sheaf bundle list {path}` names those that are")
        }
        other => Err(other).with_context(|| path.display().to_string()),
    }
}

/// Says how a reading from the front ended, when not well, and gives the exit code of that.
fn ended(path: &Path, ended: &Ended) -> ExitCode {
    let (what, verdict) = match ended {
        Ended::Well => return ExitCode::SUCCESS,
        Ended::Cut(what) => (what, Verdict::Truncated),
        Ended::Wrong(what) => (what, Verdict::Corrupt),
    };
    warn(&format!("{}: {what}", path.display()));
    ExitCode::from(verdict.exit_code())
}

/// So many files and, where there are any, folders: the same words of the same bundle in every verb.
fn contents(files: u64, folders: u64) -> String {
    let files = counted(files, "file");
    if folders == 0 { files } else { format!("{files} and {}", counted(folders, "folder")) }
}

/// Where large things that memory should not hold are kept meanwhile.
fn spool() -> PathBuf {
    std::env::temp_dir()
}

/// A path as a user gives it, below the bundle's folder.
fn below<'a>(path: &'a str, bundle: &str) -> &'a str {
    let path = path.strip_prefix("./").unwrap_or(path);
    let path = path.strip_prefix(bundle).and_then(|rest| rest.strip_prefix('/')).unwrap_or(path);
    path.trim_end_matches('/')
}
