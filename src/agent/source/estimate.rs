//! How much a collection will read: the sizes of the files it names, before the first of them is read.
//!
//! It comes out of a walk that opens nothing but folders and asks for each name's size in them, bounded in files and time. It is for a
//! percentage on somebody's screen, for the shares of a budget, and for whoever asks before anything is collected. Journals and
//! commands are not in it, nor what lies on mounts that may hang.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::Stat;
use tokio_util::sync::CancellationToken;

use super::collector::{Collector, Files};
use super::condition::Conditions;
use super::mounts::Mounts;
use super::slice;
use super::walk::{Ground, Met, Seen, Walk};
use super::{Plan, budget, command};
use crate::agent::host::Host;
use crate::protocol::questions::{self, CollectorSize};
use crate::report;

/// How much is looked at before it is given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Files.
    pub(super) files: u64,
    /// Time.
    pub(super) time: Duration,
}

/// What a collection pays for a percentage.
pub(super) const CHEAP: Patience = Patience { files: 50_000, time: Duration::from_secs(2) };

/// Folders whose files have no size before they are read.
const MADE_UP: &[&str] = &["/proc", "/sys"];

/// Shows every file that these collectors name and its size, each once; not logs that were last written before the window. Whether
/// that were all.
pub(super) fn sizes(
    ready: &[&Collector],
    ground: &Ground<'_>,
    patience: Patience,
    each: &mut dyn FnMut(&Collector, &Files, &Path, &Stat) -> ControlFlow<()>,
) -> bool {
    let (began, mut met, mut seen) = (Instant::now(), Met::default(), 0_u64);
    for collector in ready {
        for files in &collector.files {
            let mut visit = |what| {
                seen += 1;
                if let Seen::Sized { path, stat } = what
                    && !slice::is_outside(ground.window, files.window, &path, &stat)
                {
                    each(collector, files, &path, &stat)?;
                }
                let late = seen > patience.files || began.elapsed() > patience.time;
                if late { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            if Walk::sizes(collector, files, ground, &mut met, &mut visit).is_break() {
                return false;
            }
        }
    }
    true
}

/// What the files of a collection come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Estimate {
    /// Bytes that will be read.
    pub(super) bytes: u64,
    /// The same with what each entry takes beside its content.
    pub(super) cost: u64,
}

/// What the files that these collectors name come to; `None` where it takes too long to say.
pub(super) fn estimate(ready: &[&Collector], ground: &Ground<'_>) -> Option<Estimate> {
    let mut sum = Estimate::default();
    let whole = sizes(ready, ground, CHEAP, &mut |_, files, path, stat| {
        let bytes = budget::bytes(files, path, stat, ground.file_bytes);
        if !MADE_UP.iter().any(|folder| path.starts_with(folder)) {
            sum.bytes = sum.bytes.saturating_add(bytes);
        }
        sum.cost = sum.cost.saturating_add(budget::cost(bytes));
        ControlFlow::Continue(())
    });
    whole.then_some(sum)
}

/// What is looked at for somebody who waits for the answer.
const ASKED: Patience = Patience { files: 500_000, time: Duration::from_secs(6) };
/// Collectors, and notes on each, that an answer has at most.
const COLLECTORS: usize = 256;
const NOTES: usize = 20;

/// What a plan would read, by collector. It blocks, and opens nothing but folders.
pub fn forecast(plan: &Plan, host: &Host, stop: &CancellationToken) -> questions::Estimate {
    let mounts = Mounts::of(host, plan.remote, plan.bounds.mount_wait);
    let path = command::path();
    let conditions = Conditions { host, mounts: &mounts, path: &path };
    let (mut ready, mut rows) = (Vec::new(), Vec::new());
    for note in plan.notes.iter().take(COLLECTORS) {
        let notes = vec![report::brief(&note.reason, 200)];
        rows.push(CollectorSize { collector: report::brief(&note.collector, 63), notes, ..CollectorSize::default() });
    }
    let first = rows.len();
    for collector in plan.collectors.iter().take(COLLECTORS) {
        let mut row = CollectorSize { collector: collector.name.to_string(), ..CollectorSize::default() };
        match conditions.missing(&collector.when, None) {
            Some(reason) => row.notes = vec![report::brief(&format!("would be skipped: {reason}"), 200)],
            None => {
                ready.push(collector);
                row.notes = unsized_parts(collector, plan);
                row.journal_most =
                    collector.journal.iter().fold(0, |sum, it| sum.saturating_add(journal_most(it, plan)));
            }
        }
        rows.push(row);
    }
    let (never, file_bytes, window) = (&plan.never, plan.bounds.file_bytes, plan.window_here());
    let ground = Ground { host, mounts: &mounts, stop, never, file_bytes, window };
    let mut at = first;
    let whole = sizes(&ready, &ground, ASKED, &mut |collector, files, path, stat| {
        // They come collector by collector.
        while rows[at].collector != collector.name.as_str() {
            at += 1;
        }
        let bytes = budget::bytes(files, path, stat, ground.file_bytes);
        rows[at].files += 1;
        rows[at].bytes = rows[at].bytes.saturating_add(bytes);
        ControlFlow::Continue(())
    });
    questions::Estimate { collectors: rows, limit: plan.bounds.total_bytes, cut_short: !whole }
}

/// Bytes that an export may have.
fn journal_most(journal: &super::collector::Journal, plan: &Plan) -> u64 {
    journal.max_bytes.unwrap_or(plan.bounds.journal_bytes)
}

/// What a collector takes that has no size yet.
fn unsized_parts(collector: &Collector, plan: &Plan) -> Vec<String> {
    let most = |journal| report::bytes(journal_most(journal, plan));
    let journals = collector.journal.iter().map(|it| format!("journal {}: at most {}", it.name, most(it)));
    let count = |many: usize, what: &str| (many > 0).then(|| format!("{many} {what}, of unknown size"));
    let others = [count(collector.commands.len(), "commands"), count(collector.http.len(), "requests")];
    journals.chain(others.into_iter().flatten()).take(NOTES).collect()
}
