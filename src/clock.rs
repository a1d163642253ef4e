//! The time, as every room asks for it.
//!
//! Wall-clock time comes from the system, or in tests from a hand that turns it. Durations that guard a peer
//! use tokio's clock and never this one. It never sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Where the wall-clock time comes from; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    hand: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `start` until [`Clock::advance`] turns it.
    pub fn manual(start: Timestamp) -> Self {
        Self { hand: Some(Arc::new(AtomicI64::new(start.as_millisecond()))) }
    }

    /// The time now, to the millisecond.
    pub fn now(&self) -> Timestamp {
        match &self.hand {
            None => Timestamp::now(),
            Some(hand) => Timestamp::from_millisecond(hand.load(Ordering::SeqCst)).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }

    /// Milliseconds since 1970, which is how times are stored and sent.
    pub fn now_ms(&self) -> i64 {
        self.now().as_millisecond()
    }

    /// Turns a manual clock on; the system's clock takes no notice.
    pub fn advance(&self, by: std::time::Duration) {
        if let Some(hand) = &self.hand {
            hand.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}

/// `2026-11-21T09:30:00.000Z`, from milliseconds since 1970.
pub fn rfc3339(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// `20261121T093000Z`: the form without colons that names a bundle.
pub fn basic(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH).strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.now_ms(), 0);
        clock.advance(std::time::Duration::from_secs(90));
        assert_eq!(rfc3339(clock.now_ms()), "1970-01-01T00:01:30.000Z");
        assert_eq!(basic(clock.now_ms()), "19700101T000130Z");
    }
}
