//! One collection: a plan's sources, one after the other, cheap state before large files.
//!
//! It reads what the plan holds and hands out records, and notes on what gave none. Each source fails alone. It never decides what may be read:
//! that stands in the plan.

mod commands;
mod files;
mod programs;
mod requests;

use std::ops::ControlFlow;
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

pub(super) use self::files::extent;
pub(super) use self::programs::resolve;
use super::budget::Budget;
use super::collector::{self, Collector};
use super::command;
use super::condition::Conditions;
use super::estimate::estimate;
use super::history;
use super::inventory::Inventory;
use super::mounts::Mounts;
use super::slice::Lenses;
use super::vitals;
use super::walk::{Ground, Met};
use super::{Found, Kind, Plan, Record};
use crate::agent::config::AgentLimits;
use crate::agent::host::Host;
use crate::bundle::outcome::Outcome;
use crate::bundle::path::EntryPath;
use crate::bundle::segment::Note;
use crate::limits::NODE_BYTES;
use crate::report;

/// Sources without room that are named.
const LEFT_OUT: u64 = 10_000;
/// Folders of what a bundle is wanted for.
const SOURCES: [&str; 4] = ["files/", "commands/", "http/", "journal/"];
/// A command may write this part of what is left at most.
const COMMANDS: u64 = 4;
/// The history may have this part of what is left at most; then its newest lines are taken.
const HISTORY: u64 = 4;

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
    let mut gather = Gather {
        plan,
        host,
        stop,
        sink,
        path: &path,
        conditions,
        lenses,
        budget,
        left_out: 0,
        full: false,
        gave: false,
    };
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
    gather.nothing_fitted()
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
    /// Whether a source gave an entry.
    gave: bool,
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
        self.gave |= SOURCES.iter().any(|folder| record.path.as_str().starts_with(folder));
        (self.sink)(Found::Record(record))
    }

    /// A node's part without any of its sources is not whole, and says so, though each of them is left out by rule.
    fn nothing_fitted(&mut self) -> ControlFlow<()> {
        if self.gave || self.left_out == 0 || self.full {
            return ControlFlow::Continue(());
        }
        let total = self.plan.bounds.total_bytes;
        let reason =
            format!("nothing is here: each source is beyond the budget of {total} bytes; ask with a larger one");
        let (path, outcome) = ("collectors/*".to_owned(), Outcome::Truncated);
        self.missing(Note { path, outcome, reason, ..Note::default() })
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
        match history::record(&self.plan.history, path, "system", self.budget.part(HISTORY)) {
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
