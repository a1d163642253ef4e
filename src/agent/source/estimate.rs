//! How much a collection will read: the sizes of the files it names, before the first of them is read.
//!
//! It comes out of a walk that opens nothing but folders and asks for each name's size in them, bounded in files and time. It is for a
//! percentage on somebody's screen, for the shares of a budget, and for whoever asks before anything is collected. Journals and
//! commands are not in it, nor what lies on mounts that may hang.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::Stat;

use super::collector::{Collector, Files};
use super::slice;
use super::walk::{Ground, Met, Seen, Walk};

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

/// Shows every file that these collectors name and its size, each once. Whether that were all.
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
        let bytes = u64::try_from(stat.st_size).unwrap_or(0).min(files.max_bytes.unwrap_or(ground.file_bytes));
        if !MADE_UP.iter().any(|folder| path.starts_with(folder)) {
            sum.bytes = sum.bytes.saturating_add(bytes);
        }
        sum.cost = sum.cost.saturating_add(super::budget::cost(bytes));
        ControlFlow::Continue(())
    });
    whole.then_some(sum)
}
