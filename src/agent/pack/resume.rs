//! Going on inside an entry that an earlier process of this agent left open.
//!
//! The coordinator holds the entry's header and the start of its content, and says how much and which. Where the source still
//! begins with that, its rest follows under the size that was declared; where it does not, or cannot be read twice, or another
//! source comes first, the open entry is given up and everything is packed as ever.

use std::io;
use std::ops::ControlFlow;

use super::PackError;
use super::Packed;
use super::entry::{Filled, judge};
use super::input::Input;
use super::packer::Packer;
use crate::agent::redact::CleanReport;
use crate::bundle::entry::padding;
use crate::bundle::outcome::Outcome;
use crate::bundle::segment::{Note, OpenEntry};
use crate::report;

impl<S: FnMut(Packed) -> ControlFlow<()>> Packer<S> {
    /// The open entry stays as it is. Where some of it is in the bundle already, its name is taken.
    pub(super) fn give_up(&mut self) {
        if let Some(open) = self.open.take()
            && open.placed
        {
            self.names.reserve(&open.path);
        }
    }

    /// Packs the rest of the open entry, whose source `input` is. Gives the source back, at its start, where that cannot be.
    pub(super) fn go_on<I: Input>(&mut self, mut input: I) -> Result<Option<I>, PackError> {
        let Some(open) = self.open.clone().filter(|_| input.again()) else {
            self.give_up();
            return Ok(Some(input));
        };
        if self.begins_with(&mut input, &open) {
            let (path, names) = self.names.take(input.path());
            if let Ok(mut entry) = self.begin(&input, path, names) {
                self.open = None;
                self.continues = true;
                (entry.head.size, entry.bytes, entry.limit) = (open.size, open.sent, open.size);
                // Its header is of another time: whoever wants rows has none for it.
                entry.hasher = None;
                return self.rest(input, entry).map(|()| None);
            }
            self.names.give_back();
        }
        self.give_up();
        match input.rewind() {
            Ok(()) => Ok(Some(input)),
            Err(error) => {
                let reason = format!("cannot be read again: {}", report::chain(&error));
                let note = Note { outcome: Outcome::Failed, reason, ..super::input::describe(&input) };
                self.note(note).map(|()| None)
            }
        }
    }

    /// Reads what is held of it, and whether that is still what the source begins with.
    fn begins_with(&mut self, input: &mut impl Input, open: &OpenEntry) -> bool {
        let mut hasher = blake3::Hasher::new();
        let mut left = open.sent;
        while left > 0 && !self.stop.is_cancelled() {
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(self.stage.len());
            match input.read(&mut self.stage[..room]) {
                Ok(0) => return false,
                Ok(read) => {
                    hasher.update(&self.stage[..read]);
                    left -= read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        left == 0 && open.sent <= open.size && hasher.finalize().to_hex().as_str() == open.blake3
    }

    /// Packs what follows, up to the size that was declared.
    fn rest(&mut self, mut input: impl Input, mut entry: super::entry::Entry) -> Result<(), PackError> {
        self.used = 0;
        while self.fill(&mut input, &mut entry) == Filled::Frame {
            self.full_frame()?;
        }
        // What was written to it since is as little part of it as what is written after any other collection.
        let grew = entry.cut.is_some() && entry.bytes == entry.head.size;
        if grew {
            entry.cut = None;
        }
        let mut report = judge(input.finish(), &entry);
        if grew {
            report = CleanReport { outcome: Outcome::Collected, reason: String::new(), ..report };
        }
        let report = self.fill_up(&mut entry, report, "it shrank while its agent was restarted")?;
        // The frames need not begin at a block of tar.
        self.zeros(padding(entry.head.size), |_| {})?;
        self.end_parts(entry, report, false)
    }
}
