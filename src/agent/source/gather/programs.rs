//! Exports of the journal, and what programs write, as a part of a collection: each an entry, or a note that says why not.
//!
//! What is run comes from collectors; output goes out as records, its ends where it is too long, and is charged once it was read.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Gather, skipped, text};
use crate::agent::config::AgentLimits;
use crate::agent::source::Content;
use crate::agent::source::collector::{self, Collector};
use crate::agent::source::command::{self, Ending, Program};
use crate::agent::source::condition::{self, Conditions};
use crate::agent::source::journal::{Journal as _, Journalctl};
use crate::bundle::path::EntryPath;

impl Gather<'_> {
    /// Exports the journal; `exports` are still to come, and share what is left.
    pub(super) fn journal(&mut self, collector: &Collector, exports: &mut u64) -> ControlFlow<()> {
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
    pub(super) fn output(
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
}

/// What a declared command comes to on this node, or why it is skipped.
pub(in super::super) fn resolve(
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
