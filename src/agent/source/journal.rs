//! The journal, as its own export format: every field of every entry, binary-safe, readable by `systemd-journal-remote`.
//!
//! Entries come from `journalctl -o export`, run like any other command with a time and a byte limit; another reader can take its place behind
//! [`Journal`]. With another root than `/` the journal's folder below that root is read. Of an entry nothing is looked at but where it begins
//! and ends, and only so that one that is too long for all is cut between two.

mod entries;
mod newest;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::thread::CapabilitySet;
use tokio_util::sync::CancellationToken;

use self::newest::{Again, Newest};
use super::Content;
use super::collector::{self, Boot, Priority, Transport};
use super::command::{self, Ending, Output, Program};
use super::ends::Most;
use crate::agent::config::AgentLimits;
use crate::agent::host::Host;
use crate::bundle::outcome::Outcome;
use crate::bundle::slice::{Rule, Slice};
use crate::report;
use crate::window::Window;

/// Time for an export, unless its collector says otherwise.
const TIME: Duration = Duration::from_secs(120);
/// Bytes that are looked at before an export is said to be there.
const FIRST: usize = 4 << 10;
/// Where the journal may lie, the kept one first.
const FOLDERS: &[&str] = &["/var/log/journal", "/run/log/journal"];

/// An export, not yet read.
pub struct Export {
    /// Its bytes.
    pub content: Box<dyn Content>,
    /// How reading it ended.
    pub ending: Arc<Mutex<Ending>>,
}

/// An export that has begun: its first bytes are here.
struct Begun {
    first: Vec<u8>,
    taken: usize,
    output: Output,
    opened: bool,
}

impl Begun {
    fn new(mut output: Output) -> io::Result<Self> {
        output.open()?;
        let mut first = vec![0; FIRST];
        let n = output.read(&mut first)?;
        first.truncate(n);
        Ok(Self { first, taken: 0, output, opened: false })
    }
}

impl Read for Begun {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = &self.first[self.taken..];
        if left.is_empty() {
            return self.output.read(buffer);
        }
        let n = left.len().min(buffer.len());
        buffer[..n].copy_from_slice(&left[..n]);
        self.taken += n;
        Ok(n)
    }
}

impl Content for Begun {
    fn open(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.opened, true) {
            false => Ok(()),
            true => Err(io::Error::new(io::ErrorKind::Unsupported, "an export is read once")),
        }
    }

    fn again(&self) -> bool {
        false
    }

    fn after(&mut self) -> Option<(Outcome, String)> {
        self.output.after()
    }
}

/// Whatever can export entries.
pub trait Journal {
    /// Begins an export.
    ///
    /// # Errors
    /// With the reason when this node has no journal, or nothing to read it with.
    fn export(&self, wanted: &collector::Journal, most: Most, stop: &CancellationToken) -> Result<Export, String>;
}

/// The journal through `journalctl`.
pub struct Journalctl<'a> {
    /// The host.
    pub host: &'a Host,
    /// Where `journalctl` is looked up.
    pub path: &'a [PathBuf],
    /// Bounds, where the collector says none.
    pub bounds: &'a AgentLimits,
    /// The time that entries are taken from, by this node's clock.
    pub window: Window,
}

impl Journal for Journalctl<'_> {
    fn export(&self, wanted: &collector::Journal, most: Most, stop: &CancellationToken) -> Result<Export, String> {
        // How much of it is given is decided here, by whole entries.
        let program = Program { bytes: u64::MAX, ..self.program(wanted)? };
        let again = Again { program: program.clone(), path: self.path.to_vec(), stop: stop.clone() };
        let output = Output::new(program, self.path.to_vec(), stop.clone());
        let ending = output.ending();
        let source: Box<dyn Content> = match wanted.boot {
            // Most machines do not keep as many boots as are asked for, and that is no failure.
            Boot::Back(1..) => Box::new(begin(output)?),
            _ => Box::new(output),
        };
        let content = Newest::new((source, ending), again, most, self.slice(wanted));
        Ok(Export { ending: content.ending(), content: Box::new(content) })
    }
}

/// Begins an export of a boot, if there is such a boot.
fn begin(output: Output) -> Result<Begun, String> {
    let ending = output.ending();
    let begun = Begun::new(output).map_err(|error| format!("`journalctl` cannot be run: {error}"))?;
    let said = ending.lock().unwrap_or_else(PoisonError::into_inner);
    if begun.first.is_empty() && said.trouble.as_ref().is_some_and(|(outcome, _)| *outcome == Outcome::Failed) {
        let said = String::from_utf8_lossy(&said.stderr);
        return Err(format!("the journal has no such boot: {}", report::brief(said.trim(), 200)));
    }
    Ok(begun)
}

impl Journalctl<'_> {
    /// The command of an export, or why there is none.
    pub(super) fn program(&self, wanted: &collector::Journal) -> Result<Program, String> {
        let folders: Vec<PathBuf> = FOLDERS.iter().filter_map(|folder| self.folder(folder)).collect();
        let Some(first) = folders.first() else {
            return Err("this node keeps no journal".to_owned());
        };
        let file = command::find(self.path, "journalctl").ok_or("`journalctl` is not installed")?;
        let mut arguments: Vec<String> = ["--output=export", "--no-pager", "--quiet"].map(str::to_owned).to_vec();
        if !self.host.is_own() {
            arguments.push(format!("--directory={}", first.display()));
        }
        arguments.extend(filters(wanted, self.window));
        Ok(Program {
            file,
            arguments,
            time: wanted.timeout.unwrap_or(TIME),
            bytes: wanted.max_bytes.unwrap_or(self.bounds.journal_bytes),
            exits: [0].into(),
            capabilities: CapabilitySet::DAC_READ_SEARCH,
        })
    }

    /// What bounds the entries in time, for the manifest.
    fn slice(&self, wanted: &collector::Journal) -> Option<Slice> {
        let rule = match (wanted.window, wanted.since) {
            (true, _) => Some(Rule::Journal).filter(|_| !self.window.is_all()),
            (false, since) => since.map(|_| Rule::Collector),
        };
        rule.map(Slice::whole)
    }

    /// A journal's folder as this process sees it, if a machine's journal lies in it.
    fn folder(&self, folder: &str) -> Option<PathBuf> {
        let real = self.host.below(&self.host.resolve(Path::new(folder), &|_| None).ok()?);
        let mut machines = std::fs::read_dir(&real).ok()?.take(1000).filter_map(Result::ok);
        let is_journal = |name: &std::ffi::OsStr| Path::new(name).extension().is_some_and(|end| end == "journal");
        machines
            .any(|machine| {
                let mut files = std::fs::read_dir(machine.path()).into_iter().flatten().filter_map(Result::ok);
                is_journal(&machine.file_name()) || files.any(|file| is_journal(&file.file_name()))
            })
            .then_some(real)
    }
}

fn filters(wanted: &collector::Journal, window: Window) -> Vec<String> {
    let mut arguments: Vec<String> = wanted.units.iter().map(|unit| format!("--unit={unit}")).collect();
    arguments.extend(wanted.priority.map(|priority| format!("--priority={}", priority.as_str())));
    let (window, own) = if wanted.window { (window, None) } else { (Window::ALL, wanted.since) };
    arguments.extend(window.since.map(|since| format!("--since=@{}", since.div_euclid(1000))));
    arguments.extend(own.map(|since| format!("--since=-{}s", since.as_secs())));
    arguments.extend(window.until.map(|until| format!("--until=@{}", until.saturating_add(999).div_euclid(1000))));
    match wanted.boot {
        Boot::All => {}
        Boot::Back(0) => arguments.push("--boot=0".to_owned()),
        Boot::Back(back) => arguments.push(format!("--boot=-{back}")),
    }
    // Several are alternatives. They are matches of fields, and stand last.
    arguments.extend(wanted.transports.iter().map(|transport| format!("_TRANSPORT={}", transport.as_str())));
    arguments
}

impl Transport {
    /// The journal's own word.
    fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Driver => "driver",
            Self::Journal => "journal",
            Self::Kernel => "kernel",
            Self::Stdout => "stdout",
            Self::Syslog => "syslog",
        }
    }
}

impl Priority {
    /// The word that `journalctl --priority` takes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Emerg => "emerg",
            Self::Alert => "alert",
            Self::Crit => "crit",
            Self::Err => "err",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}
