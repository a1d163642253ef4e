//! How much a collection will probably read: the sizes of the files it names, before the first of them is read.
//!
//! For a percentage on somebody's screen, so it costs little or is not made: one walk that opens and reads nothing but names and sizes, bounded in
//! time and files, and none where network file systems are read. Journals and commands are not in it; nobody knows before.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::collector::Collector;
use super::walk::{Ground, Met, Seen, Walk};

/// Files that are looked at, and time for it, at most.
const FILES: u64 = 50_000;
const TIME: Duration = Duration::from_secs(2);

/// Bytes of the files that these collectors name; `None` where it takes too long to say.
pub(super) fn estimate(ready: &[&Collector], ground: &Ground<'_>) -> Option<u64> {
    let (began, mut met, mut files, mut bytes) = (Instant::now(), Met::default(), 0_u64, 0_u64);
    for collector in ready {
        for block in &collector.files {
            let most = block.max_bytes.unwrap_or(ground.file_bytes);
            let mut visit = |seen| {
                files += 1;
                if let Seen::File(found) = seen {
                    bytes = bytes.saturating_add(u64::try_from(found.stat.st_size).unwrap_or(0).min(most));
                }
                if files > FILES || began.elapsed() > TIME { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            if Walk::over(collector, block, ground, &mut met, &mut visit).is_break() {
                return None;
            }
        }
    }
    Some(bytes)
}
