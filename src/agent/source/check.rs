//! What each collector would read, may not read, and how large it is, without reading it.
//!
//! It goes the same way as a collection, opens what a collection would open, and hands out rows for people. No command is run and no byte of a
//! file is taken.

use std::ops::ControlFlow;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Plan;
use super::collector::{self, Address, Collector, Names};
use super::command;
use super::condition::Conditions;
use super::each;
use super::file::Extent;
use super::gather;
use super::journal::Journalctl;
use super::lint::{Finding, Level};
use super::mounts::Mounts;
use super::walk::{Ground, Met, Seen, Walk};
use crate::agent::host::Host;
use crate::bundle::outcome::Outcome;
use crate::report;
use crate::window::Window;

/// Whether a source can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// It would be collected.
    #[default]
    Ok,
    /// It is there and may not be read.
    Denied,
    /// It is not there.
    Absent,
    /// It is there and left out by rule.
    Skipped,
    /// It is no source: there is something to say of a collector's file.
    Lint,
}

/// One source of one collector, or a finding in its file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The collector.
    pub collector: String,
    /// The file's path, `command NAME`, `http NAME`, `journal NAME`, or what else it is; escaped.
    pub source: String,
    /// Bytes it has now, where that can be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Whether it can be read.
    pub access: Access,
    /// Why not; for commands, what would run.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// Of a finding, how bad it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Of a finding, the line in the file that is its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

impl From<Finding> for Row {
    fn from(finding: Finding) -> Self {
        let Finding { level, collector, file, line, problem } = finding;
        let (source, why) = (report::brief(&file.to_string_lossy(), 1000), report::brief(&problem, 1000));
        Self { collector, source, size: None, access: Access::Lint, why, level: Some(level), line }
    }
}

/// Goes through a plan and shows each source. It blocks as [`super::collect()`] does.
pub fn check(
    plan: &Plan,
    host: &Host,
    stop: &CancellationToken,
    show: &mut dyn FnMut(Row) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mounts = Mounts::of(host, plan.remote, plan.bounds.mount_wait);
    let paths = command::path();
    let conditions = Conditions { host, mounts: &mounts, path: &paths };
    let mut met = Met::default();
    for note in &plan.notes {
        let access = if note.outcome == Outcome::Failed { Access::Denied } else { Access::Absent };
        show(Row {
            collector: note.collector.clone(),
            source: note.path.clone(),
            size: None,
            access,
            why: note.reason.clone(),
            ..Row::default()
        })?;
    }
    for collector in &plan.collectors {
        if let Some(why) = conditions.missing(&collector.when, collector.granted_by.as_deref()) {
            show(row(collector, "everything", None, Access::Absent, why))?;
            continue;
        }
        if collector.vitals {
            show(row(collector, "vitals", None, Access::Ok, String::new()))?;
        }
        for command in &collector.commands {
            command_rows(collector, command, &conditions, plan).into_iter().try_for_each(&mut *show)?;
        }
        for wanted in &collector.http {
            show(http_row(collector, wanted, &conditions))?;
        }
        files(collector, plan, host, &mounts, stop, &mut met, show)?;
        for wanted in &collector.journal {
            let journal = Journalctl { host, path: &paths, bounds: &plan.bounds, window: Window::ALL };
            let source = format!("journal {}", wanted.name);
            let (access, why) = match journal.program(wanted) {
                Ok(program) => (Access::Ok, shown(&program)),
                Err(why) => (Access::Absent, why),
            };
            show(row(collector, &source, None, access, why))?;
        }
    }
    ControlFlow::Continue(())
}

fn files(
    collector: &Collector,
    plan: &Plan,
    host: &Host,
    mounts: &Mounts,
    stop: &CancellationToken,
    met: &mut Met,
    show: &mut dyn FnMut(Row) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let (never, file_bytes) = (&plan.never, plan.bounds.file_bytes);
    let ground = Ground { host, mounts, stop, never, file_bytes, window: Window::ALL };
    for files in &collector.files {
        let mut visit = |seen| match seen {
            Seen::File(found) => {
                // What the kernel makes up when it is read has no size before.
                let has_size = found.stat.st_size > 0 || gather::extent(&found.file, &found.stat) != Extent::Stream;
                let size = u64::try_from(found.stat.st_size).ok().filter(|_| has_size);
                let why = found.link.map(|link| format!("through the link {}", link.display())).unwrap_or_default();
                show(row(collector, &found.path.to_string_lossy(), size, Access::Ok, why))
            }
            Seen::Sized { .. } => ControlFlow::Continue(()),
            Seen::Missed { path, outcome, reason } => {
                let access = if outcome == Outcome::Failed { Access::Denied } else { Access::Skipped };
                show(row(collector, &path.to_string_lossy(), None, access, reason))
            }
        };
        let matched = Walk::over(collector, files, &ground, met, &mut visit)?;
        if !matched {
            let patterns: Vec<String> = files.paths.iter().map(ToString::to_string).collect();
            show(row(collector, &patterns.join(" "), None, Access::Absent, String::new()))?;
        }
    }
    ControlFlow::Continue(())
}

/// What would be run: for each of several things a row, where they are known without running anything.
fn command_rows(
    collector: &Collector,
    command: &collector::Command,
    conditions: &Conditions<'_>,
    plan: &Plan,
) -> Vec<Row> {
    let source = format!("command {}", command.name);
    let row = |access, why| vec![row(collector, &source, None, access, why)];
    if !conditions.host.is_own() {
        return row(Access::Skipped, "another root than / is read".to_owned());
    }
    let program = match gather::resolve(collector, command, conditions, &plan.bounds) {
        Ok(program) => program,
        Err(why) => return row(Access::Absent, why),
    };
    let Some(each) = &command.each else { return row(Access::Ok, shown(&program)) };
    let picked = match &each.of {
        Names::In(folder) => each::names_in(folder, each, conditions),
        Names::Lines(argv) => {
            let why = format!("{} for each line of `{}`, at most {}", shown(&program), argv.join(" "), each.most);
            return row(Access::Ok, why);
        }
    };
    match picked {
        Ok(picked) => {
            let one = |name: &String| match each::program_for(&program, name) {
                Ok(program) => self::row(collector, &format!("{source} {name}"), None, Access::Ok, shown(&program)),
                Err(why) => self::row(collector, &format!("{source} {name}"), None, Access::Skipped, why),
            };
            let left_out = picked.left_out.map(|why| self::row(collector, &source, None, Access::Skipped, why));
            picked.names.iter().map(one).chain(left_out).collect()
        }
        Err(why) => row(Access::Absent, why),
    }
}

/// A request is not made: who serves may count it.
fn http_row(collector: &Collector, wanted: &collector::Http, conditions: &Conditions<'_>) -> Row {
    let source = format!("http {}", wanted.name);
    if !conditions.host.is_own() {
        return row(collector, &source, None, Access::Skipped, "another root than / is read".to_owned());
    }
    let grant = collector.granted_by.as_deref();
    // Whoever listens there is not told why somebody came.
    let absent = conditions.missing(&wanted.when, grant).or_else(|| match &wanted.at {
        Address::Socket(path) => conditions.unheard(std::slice::from_ref(path), grant),
        Address::Port(_) => None,
    });
    match absent {
        Some(why) => row(collector, &source, None, Access::Absent, why),
        None => row(collector, &source, None, Access::Ok, format!("GET {} {}", wanted.at, wanted.path)),
    }
}

fn shown(program: &command::Program) -> String {
    let words = std::iter::once(program.file.to_string_lossy().into_owned()).chain(program.arguments.iter().cloned());
    words.collect::<Vec<_>>().join(" ")
}

fn row(collector: &Collector, source: &str, size: Option<u64>, access: Access, why: String) -> Row {
    let (source, why) = (report::brief(source, 1000), report::brief(&why, 1000));
    Row { collector: collector.name.to_string(), source, size, access, why, ..Row::default() }
}
