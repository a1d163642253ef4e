//! How many orders to collect this node follows in an hour, where its administrator has set a bound.
//!
//! Orders come from the worker, the window lies in the state folder so that a restart does not open it anew. An order that comes
//! again, after a cut line or a restart, is the same one. What cannot be written is kept in memory all the same.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::id::TaskId;
use crate::report;
use crate::state;

/// Name of the file in the state folder.
const FILE: &str = "orders.json";
const HOUR_MS: i64 = 3_600_000;
/// How often an order may come again as the same one: past that, somebody uses one to get round the bound.
const TIMES: u32 = 8;

/// The orders of the last hour.
#[derive(Debug)]
pub(super) struct Hourly {
    file: PathBuf,
    followed: Mutex<VecDeque<Followed>>,
}

/// An order that was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Followed {
    task: TaskId,
    at_ms: i64,
    times: u32,
}

impl Hourly {
    /// What the state folder remembers.
    pub(super) fn load(state_dir: &std::path::Path) -> Self {
        let file = state_dir.join(FILE);
        let followed = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(file = %file.display(), error = %report::chain(&error), "the record of orders is damaged and begins anew");
                VecDeque::new()
            }),
            Err(_) => VecDeque::new(),
        };
        Self { file, followed: Mutex::new(followed) }
    }

    /// Counts an order, if there may be one more within the hour; else says when there may. Waits for the disk.
    pub(super) fn admit(&self, task: TaskId, most: u32, now_ms: i64) -> Result<(), i64> {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not hold orders up for longer than the hour.
        followed.iter_mut().for_each(|one| one.at_ms = one.at_ms.min(now_ms));
        followed.retain(|one| now_ms - one.at_ms < HOUR_MS);
        if let Some(again) = followed.iter_mut().find(|one| one.task == task && one.times < TIMES) {
            again.times += 1;
        } else if let Some(over) = followed.len().checked_sub(most as usize) {
            return Err(followed.get(over).map_or(now_ms, |one| one.at_ms) + HOUR_MS);
        } else {
            followed.push_back(Followed { task, at_ms: now_ms, times: 1 });
        }
        let text = serde_json::to_vec(&*followed).expect("plain values serialise");
        if let Err(error) = state::write(&self.file, &text, 0o600) {
            tracing::warn!(file = %self.file.display(), error = %report::chain(&error), "the record of orders cannot be kept");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn task() -> TaskId {
        static LAST: AtomicU64 = AtomicU64::new(0);
        TaskId(LAST.fetch_add(1, Ordering::Relaxed))
    }

    #[test]
    fn the_window_slides_and_survives_a_restart() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let hourly = Hourly::load(folder.path());
        let first = task();
        assert_eq!(hourly.admit(first, 2, 1_000), Ok(()));
        assert_eq!(hourly.admit(task(), 2, 5_000), Ok(()));
        assert_eq!(hourly.admit(task(), 2, 6_000), Err(1_000 + HOUR_MS));
        let hourly = Hourly::load(folder.path());
        assert_eq!(hourly.admit(task(), 2, 7_000), Err(1_000 + HOUR_MS), "a restart does not open it");
        assert_eq!(hourly.admit(first, 2, 7_000), Ok(()), "the same order again is no other");
        assert_eq!(hourly.admit(task(), 1, 8_000), Err(5_000 + HOUR_MS), "a tighter bound waits for the later one");
        assert_eq!(hourly.admit(task(), 2, 1_000 + HOUR_MS), Ok(()), "the oldest has left");
        assert_eq!(hourly.admit(task(), 2, 1_001 + HOUR_MS), Err(5_000 + HOUR_MS));
    }

    #[test]
    fn one_order_again_and_again_is_no_way_round_the_bound() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (hourly, task) = (Hourly::load(folder.path()), task());
        assert!((0..TIMES).all(|_| hourly.admit(task, 1, 0) == Ok(())));
        assert_eq!(hourly.admit(task, 1, 0), Err(HOUR_MS));
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nothing_up_for_ever() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let hourly = Hourly::load(folder.path());
        assert_eq!(hourly.admit(task(), 1, 50 * HOUR_MS), Ok(()));
        assert_eq!(hourly.admit(task(), 1, HOUR_MS), Err(2 * HOUR_MS));
        assert_eq!(hourly.admit(task(), 1, 2 * HOUR_MS), Ok(()));
    }

    #[test]
    fn a_damaged_record_and_a_folder_that_is_not_there_are_no_end() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join(FILE), "[{").expect("written");
        assert_eq!(Hourly::load(folder.path()).admit(task(), 1, 0), Ok(()));
        let hourly = Hourly::load(&folder.path().join("absent"));
        assert_eq!(hourly.admit(task(), 1, 0), Ok(()));
        assert_eq!(hourly.admit(task(), 1, 1), Err(HOUR_MS), "it counts in memory");
    }
}
