//! One collection: a plan's sources, one after the other, cheap state before large files.
//!
//! It reads what the plan holds and hands out records, and notes on what gave none. Each source fails alone. It never decides what may be read:
//! that stands in the plan.

mod commands;
mod requests;

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::Stat;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::collector::{self, Collector};
use super::command::{self, Ending, Program};
use super::condition::{self, Conditions};
use super::ends::Most;
use super::estimate::estimate;
use super::file::{Extent, FileContent};
use super::history;
use super::inventory::Inventory;
use super::journal::{Journal as _, Journalctl};
use super::mounts::Mounts;
use super::patience::Patient;
use super::slice::{self, Lens, Lenses, Outside, Sliced};
use super::vitals;
use super::walk::{FoundFile, Ground, Met, Seen, Walk};
use super::{Content, Found, Kind, Plan, Record, kind};
use crate::agent::config::AgentLimits;
use crate::agent::host::Host;
use crate::bundle::outcome::{CutBy, Outcome};
use crate::bundle::path::EntryPath;
use crate::bundle::segment::Note;
use crate::limits::NODE_BYTES;
use crate::report;

/// Characters of a reason.
const REASON: usize = 400;
/// Sources without room that are named.
const LEFT_OUT: u64 = 10_000;
/// A command may write this part of what is left at most.
const COMMANDS: u64 = 4;
/// Bytes below which a file is not cut but left out.
const PARTS: u64 = 4096;

/// Reads all sources of a plan in a fixed order and hands each to `sink`, which reads it before it returns. It blocks, and belongs on a thread
/// of its own; it ends early when `stop` is cancelled or `sink` breaks.
pub fn collect(
    plan: &Plan,
    host: &Host,
    stop: &CancellationToken,
    sink: &mut dyn FnMut(Found) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mounts = Mounts::of(host, plan.remote, plan.bounds.mount_wait);
    let budget = Budget::new(plan.bounds.total_bytes, plan.bounds.entries);
    let path = command::path();
    let conditions = Conditions { host, mounts: &mounts, path: &path };
    let lenses = Lenses::of(host, plan.window_here());
    let mut gather =
        Gather { plan, host, stop, sink, path: &path, conditions, lenses, budget, left_out: 0, full: false };
    for note in &plan.notes {
        gather.missing(note.clone())?;
    }
    gather.inventory()?;
    let ready = gather.ready()?;
    let vitals = ready.iter().any(|collector| collector.vitals);
    if vitals {
        gather.vitals()?;
    }
    gather.history(vitals)?;
    for collector in &ready {
        gather.commands(collector)?;
        gather.requests(collector)?;
    }
    gather.survey(&ready, &mounts)?;
    let mut met = Met::default();
    // A file that two collectors name is read once: whole, where one of them wants it whole.
    let windowed = gather.lenses.is_some();
    for exempt in if windowed { [true, false].as_slice() } else { &[false] } {
        for collector in &ready {
            gather
                .files(collector, &mounts, &mut met, &|files| !windowed || (files.window == Some(false)) == *exempt)?;
        }
    }
    gather.budget.release();
    let mut exports: u64 = ready.iter().map(|collector| collector.journal.len() as u64).sum();
    for collector in &ready {
        gather.journal(collector, &mut exports)?;
    }
    ControlFlow::Continue(())
}

struct Gather<'a> {
    plan: &'a Plan,
    host: &'a Host,
    stop: &'a CancellationToken,
    sink: &'a mut dyn FnMut(Found) -> ControlFlow<()>,
    /// Where programs are looked up.
    path: &'a [PathBuf],
    conditions: Conditions<'a>,
    /// What logs are read through, where a window counts.
    lenses: Option<Lenses>,
    budget: Budget,
    /// Sources that found no room, as far as each was said.
    left_out: u64,
    full: bool,
}

impl<'a> Gather<'a> {
    /// The collectors that have what they need here.
    fn ready(&mut self) -> ControlFlow<(), Vec<&'a Collector>> {
        let mut ready = Vec::new();
        for collector in &self.plan.collectors {
            match self.conditions.missing(&collector.when, collector.granted_by.as_deref()) {
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
        if self.full {
            return ControlFlow::Continue(());
        }
        if !self.budget.take(record.size_hint.unwrap_or(0)) {
            return self.no_room(record.path.to_string(), &record.collector, record.size_hint);
        }
        (self.sink)(Found::Record(record))
    }

    /// Says that a source finds no room; after many of them, or where no entry may follow, that all others do not either.
    fn no_room(&mut self, path: String, collector: &str, bytes: Option<u64>) -> ControlFlow<()> {
        let AgentLimits { total_bytes, entries, .. } = self.plan.bounds;
        self.left_out += 1;
        self.full = self.budget.entries == 0 || self.left_out >= LEFT_OUT;
        let (outcome, reason) = if self.full {
            let limit = format!("the limit of {total_bytes} bytes and {entries} entries is reached");
            (Outcome::Truncated, format!("{limit}; all after it is left out"))
        } else {
            let what = bytes.map(|bytes| format!("{bytes} bytes ")).unwrap_or_default();
            (
                Outcome::Skipped,
                format!("left out: {what}beyond the budget of {total_bytes} bytes; what is newer comes first"),
            )
        };
        self.missing(Note { path, collector: collector.to_owned(), outcome, reason, ..Note::default() })
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

    /// What was before goes into every bundle that there is, and is missed where vitals are wanted.
    fn history(&mut self, wanted: bool) -> ControlFlow<()> {
        let Ok(path) = EntryPath::parse(history::PATH) else { return ControlFlow::Continue(()) };
        match history::record(&self.plan.history, path, "system") {
            Ok(record) => self.record(record),
            Err(_) if !wanted => ControlFlow::Continue(()),
            Err(error) => {
                let reason = format!("there is no history of this node: {}", report::chain(&error));
                let (path, collector, outcome) = (history::PATH.to_owned(), "system".to_owned(), Outcome::Skipped);
                self.missing(Note { path, collector, outcome, reason, ..Note::default() })
            }
        }
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

    /// Exports the journal; `exports` are still to come, and share what is left.
    fn journal(&mut self, collector: &Collector, exports: &mut u64) -> ControlFlow<()> {
        let window = self.plan.window_here();
        let journal = Journalctl { host: self.host, path: self.path, bounds: &self.plan.bounds, window };
        for wanted in &collector.journal {
            let path = format!("journal/{}.export", wanted.name);
            if !self.plan.wants(collector.name.as_str(), Path::new(&path)) {
                continue;
            }
            let most = wanted.max_bytes.unwrap_or(self.plan.bounds.journal_bytes);
            let most = self.budget.most(most, *exports, "a journal");
            *exports = exports.saturating_sub(1);
            let Some(most) = most else {
                self.no_room(path, collector.name.as_str(), None)?;
                continue;
            };
            match journal.export(wanted, most, self.stop) {
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
        self.budget.charge(ending.bytes);
        match ending.report() {
            Some(report) => self.record(text(err, collector.name.as_str(), &report)),
            None => ControlFlow::Continue(()),
        }
    }

    fn ground(&self, mounts: &'a Mounts) -> Ground<'a> {
        let plan = self.plan;
        let (never, file_bytes, window) = (&plan.never, plan.bounds.file_bytes, plan.window_here());
        Ground { host: self.host, mounts, stop: self.stop, never, file_bytes, window }
    }

    /// Looks at how much the files are: says it where that was asked for, and shares out what there is room for where that is less.
    fn survey(&mut self, ready: &[&Collector], mounts: &'a Mounts) -> ControlFlow<()> {
        let ground = self.ground(mounts);
        let estimate = estimate(ready, &ground);
        let most = |journal: &collector::Journal| journal.max_bytes.unwrap_or(self.plan.bounds.journal_bytes);
        let journals: u64 = ready.iter().flat_map(|collector| &collector.journal).map(most).sum();
        // Where there is too much to look at, whoever wants less than the most that a node may give still has it shared out.
        let unknown = self.budget.total < NODE_BYTES;
        if estimate.map_or(unknown, |estimate| self.budget.is_short_of(estimate.cost)) {
            self.budget.share_out(ready, &ground, journals);
        }
        // What lies on mounts that may hang is not in it, and may be most of it.
        match estimate.filter(|_| self.plan.estimate && !self.plan.remote) {
            Some(estimate) => (self.sink)(Found::Estimate(estimate.bytes)),
            None => ControlFlow::Continue(()),
        }
    }

    /// Reads those blocks of files that are `meant`.
    fn files(
        &mut self,
        collector: &Collector,
        mounts: &'a Mounts,
        met: &mut Met,
        meant: &dyn Fn(&collector::Files) -> bool,
    ) -> ControlFlow<()> {
        let ground = self.ground(mounts);
        for files in collector.files.iter().filter(|files| meant(files)) {
            let mut outside = Outside::default();
            let mut visit = |seen| match seen {
                Seen::File(found) if !self.plan.wants(collector.name.as_str(), &found.path) => {
                    ControlFlow::Continue(())
                }
                Seen::File(found) => {
                    let patient = mounts.patient(&found.path);
                    self.file(collector, files, found, patient, &mut outside)
                }
                Seen::Sized { .. } => ControlFlow::Continue(()),
                Seen::Missed { path, outcome, reason } => self.missed(collector, &path, outcome, &reason),
            };
            let matched = Walk::over(collector, files, &ground, met, &mut visit)?;
            if !matched && let Some(first) = files.paths.first() {
                let path = format!("files{}", report::brief(&first.to_string(), REASON));
                self.missing(skipped(path, collector, "is not there".to_owned()))?;
            }
            if let Some(reason) = outside.reason() {
                self.missing(skipped(outside.path(), collector, reason))?;
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
        outside: &mut Outside,
    ) -> ControlFlow<()> {
        let logs = files.window.unwrap_or_else(|| slice::is_log(&found.path));
        let lens = self.lenses.as_ref().filter(|_| logs).map(|lenses| lenses.lens(mtime(&found.stat)));
        if lens.as_ref().is_some_and(Lens::is_before) {
            outside.add(&found.path, &found.stat);
            return ControlFlow::Continue(());
        }
        let most = files.max_bytes.unwrap_or(self.plan.bounds.file_bytes);
        let room = self.budget.room(&found.stat);
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
        let kind = kind::detect(&head, found.path.file_name().unwrap_or_default().as_bytes(), files.binary);
        let mut sliced = match slice::cut(content, kind, lens) {
            Ok(Some(sliced)) => sliced,
            Ok(None) => {
                outside.add(&found.path, &found.stat);
                return ControlFlow::Continue(());
            }
            Err(error) => return self.missed(collector, &found.path, Outcome::Failed, &error.to_string()),
        };
        let ending = match fit(&mut sliced, kind, most, (room, self.budget.total)) {
            Ok(Fit::Sized) => None,
            Ok(Fit::Unsized(ending)) => Some(ending),
            Ok(Fit::Not(size)) if room < size.unwrap_or(most).min(most) => {
                let (entry, _) = EntryPath::from_host("files", found.path.as_os_str().as_bytes());
                return self.no_room(entry.to_string(), collector.name.as_str(), size);
            }
            Ok(Fit::Not(size)) => {
                let size = size.unwrap_or(most);
                let reason = format!("left out: {size} bytes that are of no use in parts; the limit is {most}");
                return self.missed(collector, &found.path, Outcome::Skipped, &reason);
            }
            Err(error) => return self.missed(collector, &found.path, Outcome::Failed, &error.to_string()),
        };
        let (path, original) = EntryPath::from_host("files", found.path.as_os_str().as_bytes());
        self.record(Record {
            path,
            collector: collector.name.to_string(),
            kind,
            mode: Some(found.stat.st_mode & 0o7777),
            mtime_ns: mtime(&found.stat),
            size_hint: sliced.size_hint(),
            original,
            link: found.link.map(|link| shown(&link)),
            lens: sliced.lens.take(),
            content: sliced.boxed(),
        })?;
        if let Some(ending) = ending {
            self.budget.charge(ending.lock().unwrap_or_else(PoisonError::into_inner).bytes);
        }
        ControlFlow::Continue(())
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

/// What a file's size is to what it may be.
enum Fit {
    /// It fits, or is cut so that it does.
    Sized,
    /// How much it is shows when it is read, and stands here then; it is cut on the way.
    Unsized(Arc<Mutex<Ending>>),
    /// It is too large, by its size where it has one, and of no use in parts.
    Not(Option<u64>),
}

/// Cuts a file that is larger than it may be, in its middle, if it is any use in parts.
fn fit(sliced: &mut Sliced, kind: Kind, most: u64, (room, budget): (u64, u64)) -> io::Result<Fit> {
    let limit = most.min(room);
    let size = sliced.size();
    // What is withheld anyway says so itself, and a head is all that can be had of what is no text and has no size.
    let withheld = kind == Kind::Binary { declared: false } || (kind != Kind::Text && size.is_none());
    if withheld || size.is_some_and(|size| size <= limit) {
        return Ok(Fit::Sized);
    }
    if kind != Kind::Text || room.min(size.unwrap_or(most).min(most)) < PARTS {
        return Ok(Fit::Not(size));
    }
    let (by, why) = match room < most {
        true => (CutBy::Budget, format!("budget of {budget} bytes")),
        false => (CutBy::Limit, format!("limit of {most} bytes a file")),
    };
    match size.filter(|_| !sliced.is_sifted()) {
        None => Ok(Fit::Unsized(sliced.keep_ends(Most { bytes: limit, by, why }))),
        Some(_) => sliced.content.cut_to(limit, (by, &why)).map(|()| Fit::Sized),
    }
}

/// What a declared command comes to on this node, or why it is skipped.
pub(super) fn resolve(
    collector: &Collector,
    command: &collector::Command,
    conditions: &Conditions<'_>,
    bounds: &AgentLimits,
) -> Result<Program, String> {
    let grant = collector.granted_by.as_deref();
    let (program, arguments) = command.argv.split_first().ok_or("names no program")?;
    let file = command::find(conditions.path, program).ok_or_else(|| format!("`{program}` is not installed"))?;
    let lacking = || condition::lacking(&command.needs, grant);
    if let Some(reason) = conditions.missing(&command.when, grant).or_else(lacking) {
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
