//! A node's pace: when it last moved, and how long it was held up by us.
//!
//! The listener notes what arrives; the node's lane asks. Time that a node waits for our memory is not its own. Durations
//! come from tokio's clock. Nothing here decides anything.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
struct State {
    moved: Instant,
    /// Requests of the node that wait for us now.
    excused: u32,
    since: Instant,
    held_up: Duration,
}

/// One node's pace.
#[derive(Debug)]
pub struct Pace(Mutex<State>);

impl Default for Pace {
    fn default() -> Self {
        let now = Instant::now();
        Self(Mutex::new(State { moved: now, excused: 0, since: now, held_up: Duration::ZERO }))
    }
}

impl Pace {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of the node came.
    pub fn moved(&self) {
        self.state().moved = Instant::now();
    }

    /// The node waits for us until the answer is dropped.
    pub fn excuse(&self) -> Excuse<'_> {
        let mut state = self.state();
        if state.excused == 0 {
            state.since = Instant::now();
        }
        state.excused += 1;
        Excuse(self)
    }

    /// How long the node has stood still by its own doing.
    pub fn still(&self) -> Duration {
        let state = self.state();
        if state.excused > 0 { Duration::ZERO } else { state.moved.elapsed() }
    }

    /// How long it was held up by us, all in all.
    pub fn held_up(&self) -> Duration {
        let state = self.state();
        state.held_up + if state.excused > 0 { state.since.elapsed() } else { Duration::ZERO }
    }
}

/// While it lives, a node waits for us.
#[derive(Debug)]
pub struct Excuse<'a>(&'a Pace);

impl Drop for Excuse<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.0.state();
        state.excused -= 1;
        if state.excused == 0 {
            let since = state.since;
            state.held_up += now - since;
        }
        // What it waited for is there only now: its time to move begins here.
        state.moved = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_for_us_is_not_standing_still() {
        let pace = Pace::default();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(pace.still(), Duration::from_secs(3));
        let first = pace.excuse();
        let second = pace.excuse();
        tokio::time::advance(Duration::from_secs(50)).await;
        drop(first);
        assert_eq!((pace.still(), pace.held_up()), (Duration::ZERO, Duration::from_secs(50)));
        drop(second);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!((pace.still(), pace.held_up()), (Duration::from_secs(2), Duration::from_secs(50)));
    }
}
