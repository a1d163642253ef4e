//! One collection: a plan's sources, one after the other, cheap state before large files.
//!
//! It reads what the plan holds and hands out records, and notes on what gave none. Each source fails alone. It never decides what may be read:
//! that stands in the plan.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::Stat;
use tokio_util::sync::CancellationToken;

use super::collector::{self, Collector};
use super::command::{self, Ending, Output, Program};
use super::condition::{self, Conditions};
use super::estimate::estimate;
use super::file::{Extent, FileContent};
use super::http::{Answer, Refusal, Request};
use super::inventory::Inventory;
use super::journal::{Journal as _, Journalctl};
use super::mounts::Mounts;
use super::patience::Patient;
use super::vitals;
use super::walk::{FoundFile, Ground, Met, Seen, Walk};
use super::{Content, Found, Kind, Plan, Record, kind};
use crate::agent::config::AgentLimits;
use crate::agent::host::Host;
use crate::bundle::outcome::Outcome;
use crate::bundle::path::EntryPath;
use crate::bundle::segment::Note;
use crate::report;
use crate::secret::Secret;

/// Bytes of a token's file at most.
const TOKEN: u64 = 16 << 10;
/// Characters of a reason.
const REASON: usize = 400;

/// Reads all sources of a plan in a fixed order and hands each to `sink`, which reads it before it returns. It blocks, and belongs on a thread
/// of its own; it ends early when `stop` is cancelled or `sink` breaks.
pub fn collect(
    plan: &Plan,
    host: &Host,
    stop: &CancellationToken,
    sink: &mut dyn FnMut(Found) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mounts = Mounts::of(host, plan.remote, plan.bounds.mount_wait);
    let left = Left { bytes: plan.bounds.total_bytes, entries: plan.bounds.entries };
    let path = command::path();
    let conditions = Conditions { host, mounts: &mounts, path: &path };
    let mut gather = Gather { plan, host, stop, sink, path: &path, conditions, left, full: false };
    for note in &plan.notes {
        gather.missing(note.clone())?;
    }
    gather.inventory()?;
    let ready = gather.ready()?;
    if ready.iter().any(|collector| collector.vitals) {
        gather.vitals()?;
    }
    for collector in &ready {
        gather.commands(collector)?;
        gather.requests(collector)?;
    }
    gather.estimate(&ready, &mounts)?;
    let mut met = Met::default();
    for collector in &ready {
        gather.files(collector, &mounts, &mut met)?;
    }
    for collector in &ready {
        gather.journal(collector)?;
    }
    ControlFlow::Continue(())
}

/// What the collection's own bounds leave.
struct Left {
    bytes: u64,
    entries: u64,
}

struct Gather<'a> {
    plan: &'a Plan,
    host: &'a Host,
    stop: &'a CancellationToken,
    sink: &'a mut dyn FnMut(Found) -> ControlFlow<()>,
    /// Where programs are looked up.
    path: &'a [PathBuf],
    conditions: Conditions<'a>,
    left: Left,
    full: bool,
}

impl<'a> Gather<'a> {
    /// The collectors that have what they need here.
    fn ready(&mut self) -> ControlFlow<(), Vec<&'a Collector>> {
        let mut ready = Vec::new();
        for collector in &self.plan.collectors {
            match self.conditions.missing(&collector.when) {
                None => ready.push(collector),
                Some(reason) => self.missing(skipped(format!("collectors/{}", collector.name), collector, reason))?,
            }
        }
        ControlFlow::Continue(ready)
    }

    fn missing(&mut self, note: Note) -> ControlFlow<()> {
        (self.sink)(Found::Missing(note))
    }

    /// Hands a record on, unless the collection's bounds are reached; that is said once.
    fn record(&mut self, record: Record) -> ControlFlow<()> {
        if self.stop.is_cancelled() {
            return ControlFlow::Break(());
        }
        let bytes = record.size_hint.unwrap_or(0);
        if self.full {
            return ControlFlow::Continue(());
        }
        if self.left.entries == 0 || bytes > self.left.bytes {
            self.full = true;
            let AgentLimits { total_bytes, entries, .. } = self.plan.bounds;
            let reason =
                format!("the limit of {total_bytes} bytes and {entries} entries is reached; all after it is left out");
            let path = record.path.to_string();
            return self.missing(Note { path, outcome: Outcome::Truncated, reason, ..Note::default() });
        }
        self.left.entries -= 1;
        self.left.bytes -= bytes;
        (self.sink)(Found::Record(record))
    }

    /// Says that a source failed, and puts an `.err` in its place.
    fn failed(&mut self, note: Note, err: EntryPath) -> ControlFlow<()> {
        let (collector, reason) = (note.collector.clone(), note.reason.clone());
        self.missing(note)?;
        self.record(text(err, &collector, &format!("{reason}\n")))
    }

    fn inventory(&mut self) -> ControlFlow<()> {
        let inventory = Inventory::read(self.host, &self.plan.known);
        self.json("node.json", "", &inventory)
    }

    fn vitals(&mut self) -> ControlFlow<()> {
        let vitals = vitals::now(self.host, self.plan.bounds.mount_wait);
        self.json("vitals/now.json", "system", &vitals)
    }

    fn json<T: serde::Serialize>(&mut self, path: &str, collector: &str, value: &T) -> ControlFlow<()> {
        let Ok(path) = EntryPath::parse(path) else { return ControlFlow::Continue(()) };
        match serde_json::to_string_pretty(value) {
            Ok(json) => self.record(text(path, collector, &format!("{json}\n"))),
            Err(error) => {
                let reason = error.to_string();
                let (path, outcome) = (path.to_string(), Outcome::Failed);
                self.missing(Note { path, collector: collector.to_owned(), outcome, reason, ..Note::default() })
            }
        }
    }

    fn commands(&mut self, collector: &Collector) -> ControlFlow<()> {
        if !self.host.is_own() && !collector.commands.is_empty() {
            let reason = "another root than / is read: commands would speak of another system";
            let path = "commands/*".to_owned();
            return self.missing(skipped(path, collector, reason.to_owned()));
        }
        for command in &collector.commands {
            match resolve(command, &self.conditions, &self.plan.bounds) {
                Err(reason) => self.missing(skipped(format!("commands/{}.txt", command.name), collector, reason))?,
                Ok(program) => {
                    let output = Output::new(program, self.path.to_vec(), self.stop.clone());
                    let ending = output.ending();
                    self.output(&format!("commands/{}.txt", command.name), collector, Box::new(output), &ending)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn requests(&mut self, collector: &Collector) -> ControlFlow<()> {
        for wanted in &collector.http {
            let path = format!("http/{}.txt", wanted.name);
            if !self.host.is_own() {
                let reason =
                    "another root than / is read: this node's servers would speak of another system".to_owned();
                self.missing(skipped(path, collector, reason))?;
                continue;
            }
            match self.ask(collector, wanted) {
                Ok(answer) => {
                    let ending = answer.ending();
                    self.output(&path, collector, Box::new(answer), &ending)?;
                }
                Err(Refusal::Absent(reason)) => self.missing(skipped(path, collector, reason))?,
                Err(Refusal::Failed(reason)) => {
                    let err = EntryPath::parse(&format!("{path}.err"));
                    let note = Note { outcome: Outcome::Failed, ..skipped(path, collector, reason) };
                    match err {
                        Ok(err) => self.failed(note, err)?,
                        Err(_) => self.missing(note)?,
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn ask(&self, collector: &Collector, wanted: &collector::Http) -> Result<Answer, Refusal> {
        if let Some(reason) = self.conditions.missing(&wanted.when) {
            return Err(Refusal::Absent(reason));
        }
        let token = wanted.token_file.as_ref().map(|file| self.token(collector, file)).transpose()?;
        let bounds = &self.plan.bounds;
        let request = Request {
            at: &wanted.at,
            path: &wanted.path,
            statuses: &wanted.statuses,
            time: wanted.timeout.unwrap_or(bounds.command_time),
            bytes: wanted.max_bytes.unwrap_or(bounds.command_bytes),
            token,
            stop: self.stop,
        };
        request.send()
    }

    /// A token out of its file, which lies below a root of the collector wherever links lead.
    fn token(&self, collector: &Collector, file: &Path) -> Result<Secret, Refusal> {
        let failed = |problem: &str| Refusal::Failed(format!("token file {} {problem}", file.display()));
        let resolve = |path: &Path| self.conditions.resolve(path);
        let real = resolve(file).map_err(|_| Refusal::Absent(format!("token file {} is not there", file.display())))?;
        let own = self.host.below(&real);
        if !collector.roots.iter().any(|root| resolve(root).is_ok_and(|root| real.starts_with(root)))
            || self.plan.never.iter().any(|never| own.starts_with(never))
        {
            return Err(failed("lies outside of the declared roots"));
        }
        let text = self.host.read_plain(&real, TOKEN).map_err(|error| failed(&format!("cannot be read: {error}")))?;
        let text = String::from_utf8(text).unwrap_or_default();
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(failed("holds no token: one line of visible ASCII"));
        }
        Ok(Secret::new(token))
    }

    fn journal(&mut self, collector: &Collector) -> ControlFlow<()> {
        let window = self.plan.window_here();
        let journal = Journalctl { host: self.host, path: self.path, bounds: &self.plan.bounds, window };
        for wanted in &collector.journal {
            let path = format!("journal/{}.export", wanted.name);
            match journal.export(wanted, self.stop) {
                Err(reason) => self.missing(skipped(path, collector, reason))?,
                Ok(export) => self.output(&path, collector, export.content, &export.ending)?,
            }
        }
        ControlFlow::Continue(())
    }

    /// Hands on what a program writes; once it was read, its bytes are charged and an `.err` goes beside it if it failed.
    fn output(
        &mut self,
        path: &str,
        collector: &Collector,
        content: Box<dyn Content>,
        ending: &Arc<Mutex<Ending>>,
    ) -> ControlFlow<()> {
        let (Ok(entry), Ok(err)) = (EntryPath::parse(path), EntryPath::parse(&format!("{path}.err"))) else {
            return ControlFlow::Continue(());
        };
        let mut record = text(entry, collector.name.as_str(), "");
        record.content = content;
        record.size_hint = None;
        self.record(record)?;
        let ending = ending.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.left.bytes = self.left.bytes.saturating_sub(ending.bytes);
        match ending.report() {
            Some(report) => self.record(text(err, collector.name.as_str(), &report)),
            None => ControlFlow::Continue(()),
        }
    }

    fn ground(&self, mounts: &'a Mounts) -> Ground<'a> {
        let plan = self.plan;
        Ground { host: self.host, mounts, stop: self.stop, never: &plan.never, file_bytes: plan.bounds.file_bytes }
    }

    /// Says how much the files will be, where that was asked for. A mount that may hang is not asked twice for it.
    fn estimate(&mut self, ready: &[&Collector], mounts: &'a Mounts) -> ControlFlow<()> {
        let wanted = self.plan.estimate && !self.plan.remote;
        let bytes = if wanted { estimate(ready, &self.ground(mounts)) } else { None };
        match bytes {
            Some(bytes) => (self.sink)(Found::Estimate(bytes)),
            None => ControlFlow::Continue(()),
        }
    }

    fn files(&mut self, collector: &Collector, mounts: &'a Mounts, met: &mut Met) -> ControlFlow<()> {
        let ground = self.ground(mounts);
        for files in &collector.files {
            let mut visit = |seen| match seen {
                Seen::File(found) => {
                    let patient = mounts.patient(&found.path);
                    self.file(collector, files, found, patient)
                }
                Seen::Missed { path, outcome, reason } => self.missed(collector, &path, outcome, &reason),
            };
            let matched = Walk::over(collector, files, &ground, met, &mut visit)?;
            if !matched && let Some(first) = files.paths.first() {
                let path = format!("files{}", report::brief(&first.to_string(), REASON));
                self.missing(skipped(path, collector, "is not there".to_owned()))?;
            }
            if self.full {
                break;
            }
        }
        ControlFlow::Continue(())
    }

    fn file(
        &mut self,
        collector: &Collector,
        files: &collector::Files,
        found: FoundFile,
        patient: Option<Patient>,
    ) -> ControlFlow<()> {
        let most = files.max_bytes.unwrap_or(self.plan.bounds.file_bytes);
        // Asking what kind of file system it is may hang as well.
        let extent = match patient {
            Some(_) => Extent::Pinned(u64::try_from(found.stat.st_size).unwrap_or(0)),
            None => extent(&found.file, &found.stat),
        };
        let mut content = FileContent::new(found.file, extent, most).patiently(patient);
        let head = match content.head(kind::HEAD) {
            Ok(head) => head,
            Err(error) => return self.missed(collector, &found.path, Outcome::Failed, &error.to_string()),
        };
        let name = found.path.file_name().unwrap_or_default();
        let (path, original) = EntryPath::from_host("files", found.path.as_os_str().as_bytes());
        self.record(Record {
            path,
            collector: collector.name.to_string(),
            kind: kind::detect(&head, name.as_bytes(), files.binary),
            mode: Some(found.stat.st_mode & 0o7777),
            mtime_ns: mtime(&found.stat),
            size_hint: content.size_hint(),
            original,
            link: found.link.map(|link| shown(&link)),
            content: Box::new(content),
        })
    }

    fn missed(&mut self, collector: &Collector, path: &Path, outcome: Outcome, reason: &str) -> ControlFlow<()> {
        let bytes = path.as_os_str().as_bytes();
        let (entry, original) = EntryPath::from_host("files", bytes);
        let note = Note {
            path: entry.to_string(),
            collector: collector.name.to_string(),
            outcome,
            reason: report::brief(reason, REASON),
            original,
            ..Note::default()
        };
        if outcome != Outcome::Failed {
            return self.missing(note);
        }
        let (err, _) = EntryPath::from_host("files", &[bytes, b".err"].concat());
        self.failed(note, err)
    }
}

/// What a declared command comes to on this node, or why it is skipped.
pub(super) fn resolve(
    command: &collector::Command,
    conditions: &Conditions<'_>,
    bounds: &AgentLimits,
) -> Result<Program, String> {
    if let Some(reason) = conditions.missing(&command.when) {
        return Err(reason);
    }
    let (program, arguments) = command.argv.split_first().ok_or("names no program")?;
    let file = command::find(conditions.path, program).ok_or_else(|| format!("`{program}` is not installed"))?;
    if let Some(reason) = condition::lacking(&command.needs) {
        return Err(reason);
    }
    let kept = command.needs.iter().chain(&command.capabilities);
    Ok(Program {
        file,
        arguments: arguments.to_vec(),
        time: command.timeout.unwrap_or(bounds.command_time),
        bytes: command.max_bytes.unwrap_or(bounds.command_bytes),
        exits: command.exits.iter().copied().collect(),
        capabilities: kept.filter_map(|name| command::capability(name)).collect(),
    })
}

fn skipped(path: String, collector: &Collector, reason: String) -> Note {
    Note { path, collector: collector.name.to_string(), outcome: Outcome::Skipped, reason, ..Note::default() }
}

fn text(path: EntryPath, collector: &str, text: &str) -> Record {
    let mut record = Record::text(path, collector, text.as_bytes().to_vec());
    record.mtime_ns = jiff::Timestamp::now().as_nanosecond();
    record.kind = Kind::Text;
    record
}

fn shown(path: &Path) -> String {
    report::brief(&path.to_string_lossy(), REASON)
}

fn mtime(stat: &Stat) -> i128 {
    i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec)
}

/// Files of `/proc`, `/sys` and their like say that they are empty, or as large as a page, and give other bytes each time.
pub(super) fn extent(file: &File, stat: &Stat) -> Extent {
    const MADE_UP: &[u64] = &[
        0x9fa0,      // proc
        0x6265_6572, // sysfs
        0x6265_6570, // configfs
        0x6462_6720, // debugfs
        0x7472_6163, // tracefs
        0x7363_6673, // securityfs
        0x0027_e0eb, // cgroup
        0x6367_7270, // cgroup2
        0x6573_5546, // FUSE, where lxcfs stands over /proc
    ];
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let made_up = || rustix::fs::fstatfs(file).is_ok_and(|fs| MADE_UP.contains(&(fs.f_type as u64 & 0xffff_ffff)));
    if stat.st_blocks == 0 && made_up() { Extent::Stream } else { Extent::Pinned(size) }
}
