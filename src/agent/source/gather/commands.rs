//! Commands, as a part of a collection: one after the other, each an entry, or a note that says why not.
//!
//! What is run comes from collectors; outputs go out as records. A command that is run for each of several things has an entry for each, and
//! together they get no more time than a few of them may take.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::{COMMANDS, Gather, resolve, skipped};
use crate::agent::source::budget::cut::COUNT;
use crate::agent::source::collector::{Collector, Command, Each, Names};
use crate::agent::source::command::{Output, Program};
use crate::agent::source::each;
use crate::agent::source::ends::Ends;
use crate::bundle::outcome::Outcome;
use crate::bundle::path::EntryPath;
use crate::bundle::segment::Note;

/// Times its own time that a command may take for all that it is run for.
const TIMES: u32 = 4;

impl Gather<'_> {
    /// Runs what a collector runs.
    pub(super) fn commands(&mut self, collector: &Collector) -> ControlFlow<()> {
        if !self.host.is_own() && !collector.commands.is_empty() {
            let reason = "another root than / is read: commands would speak of another system";
            let path = "commands/*".to_owned();
            return self.missing(skipped(path, collector, reason.to_owned()));
        }
        for command in &collector.commands {
            let path = match &command.each {
                None => format!("commands/{}.txt", command.name),
                Some(_) => format!("commands/{}/*", command.name),
            };
            let wants = |path: &str| self.plan.wants(collector.name.as_str(), Path::new(path));
            if command.each.is_none() && !wants(&path) {
                continue;
            }
            match (resolve(collector, command, &self.conditions, &self.plan.bounds), &command.each) {
                (Err(reason), _) => self.missing(skipped(path, collector, reason))?,
                (Ok(program), None) => self.run(&path, collector, program)?,
                (Ok(program), Some(each)) => self.run_each(&path, collector, (command, each), &program)?,
            }
        }
        ControlFlow::Continue(())
    }

    fn run(&mut self, path: &str, collector: &Collector, mut program: Program) -> ControlFlow<()> {
        let Some(most) = self.budget.most(program.bytes, COMMANDS, "a command") else {
            return self.no_room(path.to_owned(), collector.name.as_str(), None);
        };
        program.bytes = most.bytes.saturating_add(COUNT);
        let output = Output::new(program, self.path.to_vec(), self.stop.clone());
        let ending = output.ending();
        self.output(path, collector, Box::new(Ends::new(output, most, Arc::clone(&ending))), &ending)
    }

    fn run_each(
        &mut self,
        all: &str,
        collector: &Collector,
        (command, each): (&Command, &Each),
        program: &Program,
    ) -> ControlFlow<()> {
        let (began, time) = (Instant::now(), program.time * TIMES);
        let picked = match &each.of {
            Names::In(folder) => match each::names_in(folder, each, &self.conditions) {
                Ok(picked) => picked,
                Err(reason) => return self.missing(skipped(all.to_owned(), collector, reason)),
            },
            Names::Lines(argv) => match each::lines_of(argv, each, program, &self.conditions, self.stop) {
                Ok(picked) => picked,
                Err(reason) => return self.no_list(command, skipped(all.to_owned(), collector, reason)),
            },
        };
        if let Some(reason) = picked.left_out {
            self.missing(skipped(all.to_owned(), collector, reason))?;
        }
        for (done, name) in picked.names.iter().enumerate() {
            let path = format!("commands/{}/{}.txt", command.name, each::file_name(name));
            if !self.plan.wants(collector.name.as_str(), Path::new(&path)) {
                continue;
            }
            if began.elapsed() >= time {
                let (left, secs) = (picked.names.len() - done, time.as_secs_f32());
                let reason = format!("{left} more are left out: those before took {secs} s");
                return self.missing(skipped(all.to_owned(), collector, reason));
            }
            match each::program_for(program, name) {
                Ok(program) => self.run(&path, collector, program)?,
                Err(reason) => self.missing(skipped(path, collector, reason))?,
            }
        }
        ControlFlow::Continue(())
    }

    /// What a command is run for cannot be listed.
    fn no_list(&mut self, command: &Command, note: Note) -> ControlFlow<()> {
        match EntryPath::parse(&format!("commands/{}.txt.err", command.name)) {
            Ok(err) => self.failed(Note { outcome: Outcome::Failed, ..note }, err),
            Err(_) => self.missing(note),
        }
    }
}
