//! The memory that segments take, all downloads together.
//!
//! One budget of bytes. Each download sets two segments' worth of it aside for as long as it runs, and shares the rest with the
//! others. What is set aside keeps every download moving, whatever the others hold: one half is for any of its nodes, the
//! other for the one that holds the output's turn, so that nodes which wait for the turn never starve the one that has it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::limits::SEGMENT_WIRE;

/// What a segment is taken to need at most. A larger head than this leaves room for is rare, and bounded by its own limit.
const UNIT: usize = SEGMENT_WIRE + (192 << 10);

/// The whole budget; cheap to clone.
#[derive(Clone, Debug)]
pub struct Memory {
    all: Arc<Semaphore>,
    bytes: usize,
}

impl Memory {
    /// A budget of `bytes`, and never less than one download needs.
    pub fn new(bytes: usize) -> Self {
        let bytes = bytes.max(3 * UNIT);
        Self { all: Arc::new(Semaphore::new(bytes)), bytes }
    }

    /// Bytes that are taken now.
    pub fn used(&self) -> usize {
        self.bytes.saturating_sub(self.all.available_permits())
    }

    /// What one download needs to keep moving; `None` when as many run as can.
    pub fn share(&self) -> Option<Share> {
        // One unit stays in common, or downloads could only move one segment at a time.
        let spare = self.all.available_permits().checked_sub(UNIT)?;
        if spare < 2 * UNIT {
            return None;
        }
        let aside = Arc::clone(&self.all).try_acquire_many_owned(permits(2 * UNIT)).ok()?;
        Some(Share {
            all: Arc::clone(&self.all),
            any: Arc::new(Semaphore::new(UNIT)),
            turn: Arc::new(Semaphore::new(UNIT)),
            has_turn: watch::Sender::new(false).subscribe(),
            _aside: Arc::new(aside),
        })
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// One download's part of the budget, as one of its nodes sees it; cheap to clone.
#[derive(Clone, Debug)]
pub struct Share {
    all: Arc<Semaphore>,
    any: Arc<Semaphore>,
    turn: Arc<Semaphore>,
    has_turn: watch::Receiver<bool>,
    _aside: Arc<OwnedSemaphorePermit>,
}

impl Share {
    /// The same part for a node that has the output's turn when `has_turn` says so.
    pub fn of_node(&self, has_turn: watch::Receiver<bool>) -> Self {
        Self { has_turn, ..self.clone() }
    }

    /// Takes memory for a segment of `bytes`, waiting until there is some. Cancel safe.
    pub async fn lease(&self, bytes: usize) -> Lease {
        let wanted = permits(bytes.clamp(1, UNIT));
        let from = |pool: &Arc<Semaphore>| Arc::clone(pool).acquire_many_owned(wanted);
        let permit = tokio::select! {
            biased;
            permit = from(&self.all) => permit,
            permit = from(&self.any) => permit,
            permit = self.in_turn(wanted) => permit,
        };
        Lease { _permit: permit.ok() }
    }

    async fn in_turn(&self, wanted: u32) -> Result<OwnedSemaphorePermit, tokio::sync::AcquireError> {
        let mut has_turn = self.has_turn.clone();
        if has_turn.wait_for(|has| *has).await.is_err() {
            // The node's part is over, and with it the wait.
            std::future::pending::<()>().await;
        }
        Arc::clone(&self.turn).acquire_many_owned(wanted).await
    }

    /// Takes memory beside a segment's own, if there is some at once.
    pub fn more(&self, bytes: usize) -> Option<Lease> {
        Arc::clone(&self.all).try_acquire_many_owned(permits(bytes)).ok().map(|permit| Lease { _permit: Some(permit) })
    }
}

/// Memory in use; dropping it gives it back.
#[derive(Debug)]
pub struct Lease {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Lease {
    /// No memory, for what is too small to count.
    pub fn none() -> Self {
        Self { _permit: None }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn share(memory: &Memory) -> Share {
        memory.share().expect("room for a download")
    }

    #[tokio::test]
    async fn what_is_given_back_is_given_again() {
        let memory = Memory::new(3 * UNIT);
        let share = share(&memory);
        let first = share.lease(UNIT).await;
        let second = share.lease(UNIT).await;
        assert_eq!(memory.used(), 3 * UNIT);
        assert!(share.lease(1).now_or_never().is_none(), "all is taken");
        drop(first);
        assert!(share.lease(UNIT).now_or_never().is_some());
        drop((second, share));
        assert_eq!(memory.used(), 0);
    }

    #[tokio::test]
    async fn the_node_with_the_turn_is_never_starved() {
        let memory = Memory::new(3 * UNIT);
        let share = share(&memory);
        let _waiting = (share.lease(UNIT).await, share.lease(UNIT).await);
        let turn = watch::Sender::new(false);
        let node = share.of_node(turn.subscribe());
        let mut wait = std::pin::pin!(node.lease(UNIT));
        assert!((&mut wait).now_or_never().is_none());
        turn.send_replace(true);
        assert!(wait.now_or_never().is_some());
    }

    #[test]
    fn a_download_that_could_not_move_does_not_begin() {
        let memory = Memory::new(5 * UNIT);
        let _first = share(&memory);
        let _second = share(&memory);
        assert!(memory.share().is_none());
    }
}
