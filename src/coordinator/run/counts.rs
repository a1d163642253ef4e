//! What the engine counts for the metrics. Written by lanes and the listener, read by whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bundle::outcome::Outcome;

/// Figures for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Nodes connected now.
    pub nodes_connected: u64,
    /// Downloads that run now.
    pub downloads_running: u64,
    /// Downloads begun.
    pub downloads_started: u64,
    /// Segments accepted.
    pub segments: u64,
    /// Segments refused for breaking a rule.
    pub segments_refused: u64,
    /// Compressed bytes accepted.
    pub wire_bytes: u64,
    /// Bytes sent to readers.
    pub sent_bytes: u64,
    /// Nodes skipped, failed or cut.
    pub nodes_lost: u64,
    /// Bytes of segments in memory now, and what running downloads have set aside.
    pub memory_used: u64,
    /// Bytes of spool in use now.
    pub spool_used: u64,
}

/// Counters that only grow.
#[derive(Debug, Default)]
pub(super) struct Counts {
    downloads: AtomicU64,
    segments: AtomicU64,
    refused: AtomicU64,
    wire: AtomicU64,
    lost: AtomicU64,
    /// Counted by the delivery.
    pub(super) sent: Arc<AtomicU64>,
}

impl Counts {
    pub(super) fn download(&self) {
        self.downloads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn segment(&self, wire: u64) {
        self.segments.fetch_add(1, Ordering::Relaxed);
        self.wire.fetch_add(wire, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn node(&self, outcome: Outcome) {
        if outcome != Outcome::Collected {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counters as figures; what is only known now is left at zero.
    pub(super) fn figures(&self) -> Figures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            downloads_started: read(&self.downloads),
            segments: read(&self.segments),
            segments_refused: read(&self.refused),
            wire_bytes: read(&self.wire),
            sent_bytes: read(&self.sent),
            nodes_lost: read(&self.lost),
            ..Figures::default()
        }
    }
}
