//! Waits between two attempts: longer each time, never the same on two nodes, for ever.
//!
//! Failures come in, durations go out. Nothing here sleeps.

use std::time::Duration;

use crate::limits::BACKOFF;
use crate::secret::random_bytes;

/// A row of waits that doubles up to [`BACKOFF`]'s longest, each cut by chance to between half and the whole.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait before the next attempt.
    pub fn wait(&mut self) -> Duration {
        let (first, longest) = BACKOFF;
        let whole = first.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures = self.failures.saturating_add(1);
        // A fleet that lost its coordinator at one moment must not come back at one moment.
        let chance = f64::from(u16::from_le_bytes(random_bytes())) / f64::from(u16::MAX);
        whole.mul_f64(0.5 + chance / 2.0)
    }

    /// The longest wait at once, for what time alone does not mend.
    pub fn longest(&mut self) -> Duration {
        self.failures = 16;
        self.wait()
    }

    /// It works again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_start_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..40).map(|_| backoff.wait()).collect();
        assert!(waits[0] >= BACKOFF.0 / 2 && waits[0] <= BACKOFF.0);
        assert!(waits[39] >= BACKOFF.1 / 2 && waits[39] <= BACKOFF.1);
        assert!(waits[20..].windows(2).any(|pair| pair[0] != pair[1]), "no chance in {waits:?}");
        backoff.reset();
        assert!(backoff.wait() <= BACKOFF.0);
        assert!(backoff.longest() >= BACKOFF.1 / 2);
    }
}
