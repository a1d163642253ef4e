//! How fast a node sends, measured in the time that is its own.
//!
//! Waits and arrivals come in from the lane; out goes whether the node may hold the output's turn, and for how long it still may
//! without sending. Time that the node waits for us never counts. Plain arithmetic, no clock.

use std::time::Duration;

use crate::limits::SEGMENT_RAW;

/// A node goes live only well above the rate that keeps it there, so that it does not fall out at once.
const EAGER: f64 = 16.0;

/// Measures one node.
#[derive(Clone, Debug)]
pub(super) struct Tempo {
    /// Raw bytes a second that hold the turn.
    floor: f64,
    /// Seconds of allowance at most.
    most: f64,
    allowance: f64,
    /// Raw bytes and seconds, older ones counting half with each segment.
    raw: f64,
    time: f64,
    waited: f64,
}

impl Tempo {
    /// `floor` raw bytes a second hold the turn; a pause of `stall` is always allowed.
    pub(super) fn new(floor: u64, stall: Duration) -> Self {
        let floor = floor.max(1) as f64;
        // A whole segment at the lowest rate comes at once, after its time: it must be waited for.
        let most = stall.as_secs_f64().max(SEGMENT_RAW as f64 / floor);
        Self { floor, most, allowance: most, raw: 0.0, time: 0.0, waited: 0.0 }
    }

    /// For the whole of a node's part: `floor` raw bytes a second, and pauses of `pauses` in all. Far below what holds a turn; it
    /// only keeps a node from dripping for ever.
    pub(super) fn whole_part(floor: u64, pauses: Duration) -> Self {
        Self { most: pauses.as_secs_f64(), allowance: pauses.as_secs_f64(), ..Self::new(floor, pauses) }
    }

    /// The node let us wait.
    pub(super) fn waited(&mut self, time: Duration) {
        self.waited += time.as_secs_f64();
        self.allowance -= time.as_secs_f64();
    }

    /// A segment of `raw` bytes came.
    pub(super) fn came(&mut self, raw: u64) {
        self.raw = self.raw / 2.0 + raw as f64;
        self.time = self.time / 2.0 + self.waited;
        self.waited = 0.0;
        self.allowance = (self.allowance + raw as f64 / self.floor).min(self.most);
    }

    /// Whether the node sends so well that it may take the turn for an entry that has only begun.
    pub(super) fn is_eager(&self) -> bool {
        self.time > 0.0 && self.raw >= self.time * self.floor * EAGER
    }

    /// The node takes the turn now.
    pub(super) fn begin_turn(&mut self) {
        self.allowance = self.most;
    }

    /// How long the node may go on in its turn without sending.
    pub(super) fn left(&self) -> Duration {
        Duration::from_secs_f64(self.allowance.max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    #[test]
    fn a_node_at_the_lowest_rate_keeps_its_turn_and_a_slower_one_loses_it() {
        let floor = 64 << 10;
        for (seconds, keeps) in [(15, true), (17, false)] {
            let mut tempo = Tempo::new(floor, STALL);
            tempo.begin_turn();
            let mut kept = true;
            for _ in 0..200 {
                tempo.waited(Duration::from_secs(seconds));
                kept &= tempo.left() > Duration::ZERO;
                tempo.came(16 * floor);
            }
            assert_eq!(kept, keeps, "{seconds} s for what should take 16 s");
        }
    }

    #[test]
    fn a_burst_is_not_saved_up_for_ever() {
        let mut tempo = Tempo::new(64 << 10, STALL);
        for _ in 0..1000 {
            tempo.came(4 << 20);
        }
        assert_eq!(tempo.left(), Duration::from_secs(64));
    }

    #[test]
    fn eagerness_follows_the_last_segments() {
        let mut tempo = Tempo::new(64 << 10, STALL);
        assert!(!tempo.is_eager(), "nothing is known yet");
        tempo.waited(Duration::from_millis(100));
        tempo.came(1 << 20);
        assert!(tempo.is_eager());
        for _ in 0..4 {
            tempo.waited(Duration::from_secs(4));
            tempo.came(1 << 20);
        }
        assert!(!tempo.is_eager());
    }
}
