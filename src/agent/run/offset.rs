//! How far this node's clock is from the coordinator's, and how long a round trip takes.
//!
//! Each heartbeat gives a sample out of four times: sent and received here, received and answered there. Of the last few the one with
//! the shortest round trip counts, since what a sample may be wrong by is half of its own. It goes into node.json, to the
//! coordinator, and to what slices logs by time. Nothing here sets a clock.

use std::collections::VecDeque;
use std::time::Duration;

/// Samples that are looked at: two minutes of heartbeats.
const SAMPLES: usize = 8;
/// What two samples may differ by beyond what their round trips explain, before the clock counts as set anew, milliseconds.
const SLACK_MS: u64 = 50;

/// What is known of the coordinator's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// This node's clock minus the coordinator's, milliseconds.
    pub(super) offset_ms: i64,
    /// Time on the way, there and back, milliseconds.
    pub(super) round_trip_ms: u64,
}

impl Sample {
    /// Out of what was said: sent at `sent_ms` of this node's clock and answered `after` that; received and answered at those times
    /// of the coordinator's. How long it took is not read from a clock that may be set meanwhile.
    pub(super) fn of(sent_ms: i64, after: Duration, received_ms: i64, answered_ms: i64) -> Self {
        let took = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        let held = answered_ms.saturating_sub(received_ms).clamp(0, took);
        let round_trip = took - held;
        let offset_ms = sent_ms.saturating_add(round_trip / 2).saturating_sub(received_ms);
        Self { offset_ms, round_trip_ms: round_trip.unsigned_abs() }
    }

    /// Whether both cannot be true of the same two clocks.
    fn contradicts(self, other: Self) -> bool {
        let explained = (self.round_trip_ms / 2).saturating_add(other.round_trip_ms / 2).saturating_add(SLACK_MS);
        self.offset_ms.abs_diff(other.offset_ms) > explained
    }
}

/// The last few samples.
#[derive(Debug, Default)]
pub(super) struct Offset {
    samples: VecDeque<Sample>,
}

impl Offset {
    /// Takes a sample in. One that contradicts the best means that a clock was set: what was known before is forgotten.
    pub(super) fn add(&mut self, sample: Sample) {
        if self.best().is_some_and(|best| best.contradicts(sample)) {
            self.samples.clear();
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The sample that is wrong by the least; the latest of several.
    pub(super) fn best(&self) -> Option<Sample> {
        self.samples.iter().rev().min_by_key(|sample| sample.round_trip_ms).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(offset_ms: i64, round_trip_ms: u64) -> Sample {
        Sample { offset_ms, round_trip_ms }
    }

    #[test]
    fn four_times_give_the_offset_and_the_way_without_what_the_coordinator_took() {
        // Ahead by 5000; 40 on the way there, 60 back, 300 spent there.
        let of = |sent: i64| Sample::of(sent + 5000, Duration::from_millis(400), sent + 40, sent + 340);
        assert_eq!(of(1_000_000), sample(5010, 100));
        // An older coordinator says one time only.
        assert_eq!(Sample::of(1000, Duration::from_millis(20), 4000, 4000), sample(-2990, 20));
        // Nonsense stays bounded.
        assert_eq!(Sample::of(1000, Duration::from_millis(20), 5000, 4000), sample(-3990, 20));
        assert_eq!(Sample::of(0, Duration::from_millis(20), 0, i64::MAX), sample(0, 0));
        assert_eq!(Sample::of(i64::MIN, Duration::MAX, i64::MAX, i64::MIN).round_trip_ms, i64::MAX.unsigned_abs());
    }

    #[test]
    fn the_shortest_way_counts_until_it_is_old() {
        let mut offset = Offset::default();
        assert_eq!(offset.best(), None);
        offset.add(sample(30, 80));
        offset.add(sample(5, 4));
        offset.add(sample(-20, 90));
        assert_eq!(offset.best(), Some(sample(5, 4)));
        (0..SAMPLES).for_each(|_| offset.add(sample(12, 20)));
        assert_eq!(offset.best(), Some(sample(12, 20)));
    }

    #[test]
    fn a_clock_that_is_set_is_believed_at_once() {
        let mut offset = Offset::default();
        offset.add(sample(90_000, 2));
        offset.add(sample(1, 40));
        assert_eq!(offset.best(), Some(sample(1, 40)));
    }
}
