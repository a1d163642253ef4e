//! The node's vitals over the last hour and the last two days, in one bounded file: what was, before anybody asked.
//!
//! Samples come from the daemon, one each 10 s, and go into the file `history.ring` of the state folder; out of it come the lines of a
//! bundle's `vitals/history.ndjson` ([`Lines`]) and the answer to the coordinator's question ([`answer()`]), both read from the file and never
//! from memory, so that another process reads them as well. Its full size is taken when it is made: a disk that fills up later takes nothing.
//!
//! [`Sample`] is one record, [`ring`] the file, [`Recorder`] writes both rings: each sample into the short one, averages and peaks of a
//! minute into the long one. Nothing here measures, and nothing waits for a disk: there is no fsync. What the agent wrote is the kernel's,
//! so that the end of the process, `kill -9` too, loses nothing but the minute at hand of the long ring; a crash of the machine
//! loses what the kernel had not written yet, half a minute by its default.

mod answer;
mod lines;
mod recorder;
pub mod ring;
mod sample;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use answer::answer;
pub use lines::Lines;
pub use recorder::Recorder;
pub use sample::{Sample, WORST};

/// The file, in the state folder.
const FILE: &str = "history.ring";

/// Where the history of an agent with this state folder lies.
pub fn file(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// How often samples are taken, and how long they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Time between two samples.
    pub short: Duration,
    /// Samples that are kept.
    pub short_slots: u32,
    /// Time that an average is about.
    pub long: Duration,
    /// Averages that are kept.
    pub long_slots: u32,
}

/// Why there is no history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// No such file.
    #[error("none was recorded")]
    Absent,
    /// The file is there, and nothing is in it yet.
    #[error("no sample was taken yet")]
    Empty,
    /// The file is not what it should be; says why.
    #[error("the file is {0}")]
    Damaged(&'static str),
    /// Another process writes it.
    #[error("another agent writes it; each needs a `state_dir` of its own")]
    Taken,
    /// The system says no.
    #[error("cannot {doing}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}

impl HistoryError {
    fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

#[cfg(test)]
mod tests;
