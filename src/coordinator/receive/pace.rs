//! A node's pace: when it last moved, and how long it was held up by us.
//!
//! The listener notes what arrives; the node's lane asks. Time that a node waits for our memory is not its own. Durations
//! come from tokio's clock. Nothing here decides anything.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Time that one node may pause in one download.
const PAUSES: Duration = Duration::from_secs(900);

#[derive(Debug)]
struct State {
    moved: Instant,
    /// Requests of the node that wait for us now.
    excused: u32,
    since: Instant,
    held_up: Duration,
    /// When the node began to pause, and when that ends at the latest.
    pause: Option<(Instant, Instant)>,
    /// Time that it was given for pauses.
    granted: Duration,
}

impl State {
    /// The pause that is over by `now`, or that ends now, counts as held up.
    fn resume(&mut self, now: Instant) {
        if let Some((from, until)) = self.pause.take() {
            let end = now.min(until);
            self.held_up += end - from;
            self.moved = self.moved.max(end);
        }
    }

    fn paused(&self) -> Duration {
        self.pause.map_or(Duration::ZERO, |(from, until)| Instant::now().min(until) - from)
    }
}

/// One node's pace.
#[derive(Debug)]
pub struct Pace(Mutex<State>);

impl Default for Pace {
    fn default() -> Self {
        let now = Instant::now();
        Self(Mutex::new(State {
            moved: now,
            excused: 0,
            since: now,
            held_up: Duration::ZERO,
            pause: None,
            granted: Duration::ZERO,
        }))
    }
}

impl Pace {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of the node came.
    pub fn moved(&self) {
        let (now, mut state) = (Instant::now(), self.state());
        state.resume(now);
        state.moved = now;
    }

    /// The node says that nothing comes from it for so long at most; how much of that is granted. Its next bytes end the pause.
    pub fn pause(&self, most: Duration) -> Duration {
        let (now, mut state) = (Instant::now(), self.state());
        state.resume(now);
        let granted = most.min(PAUSES.saturating_sub(state.granted));
        state.granted += granted;
        state.pause = Some((now, now + granted));
        granted
    }

    /// The pause is over, if there is one.
    pub fn resume(&self) {
        self.state().resume(Instant::now());
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
        let moved = state.pause.map_or(state.moved, |(_, until)| until.max(state.moved));
        if state.excused > 0 { Duration::ZERO } else { Instant::now().saturating_duration_since(moved) }
    }

    /// How long it was held up by us, or paused, all in all.
    pub fn held_up(&self) -> Duration {
        let state = self.state();
        state.held_up + state.paused() + if state.excused > 0 { state.since.elapsed() } else { Duration::ZERO }
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
    async fn a_pause_is_no_standing_still_for_as_long_as_it_may_be() {
        let pace = Pace::default();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(pace.pause(Duration::from_secs(60)), Duration::from_secs(60));
        tokio::time::advance(Duration::from_secs(50)).await;
        assert_eq!((pace.still(), pace.held_up()), (Duration::ZERO, Duration::from_secs(50)));
        tokio::time::advance(Duration::from_secs(13)).await;
        assert_eq!((pace.still(), pace.held_up()), (Duration::from_secs(3), Duration::from_secs(60)));
        pace.moved();
        assert_eq!((pace.still(), pace.held_up()), (Duration::ZERO, Duration::from_secs(60)));
        assert_eq!(pace.pause(Duration::MAX), PAUSES - Duration::from_secs(60), "not for ever");
        tokio::time::advance(Duration::from_secs(1)).await;
        pace.resume();
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!((pace.still(), pace.held_up()), (Duration::from_secs(7), Duration::from_secs(61)));
        assert_eq!(pace.pause(Duration::from_secs(1)), Duration::ZERO, "it is used up");
    }

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
